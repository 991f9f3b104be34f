//! Watches between writes: live ones, in the past, in the future, streams.

use super::Step;
use super::dice::Dice;
use super::keys;

const PATHS: &str = "/a /a /b /d /d /d/a /d/b /d/e /d/e/f /d/_h /d/_h/x /a/x /_r /q / / /none /none/deep /d/none /d/ /q/{o+1} /de";

const SINCE: &str = "0 1 5 {i} {i} {i} {i-1} {i-2} {i-3} {i-5} {i-10} {i-20} {i-50} {i-100} {i-500} {i-998} {i-999} {i-1000} \
                     {i+1} {i+1} {i+2} {i+5} 18446744073709551615 x";

/// The next few steps: mostly writes, so that something happens.
pub fn more(dice: &mut Dice) -> Vec<Step> {
    if !dice.one_in(4) {
        return keys::more(dice).into_iter().map(Step::Ask).collect();
    }
    let mut query = vec!["wait=true".to_string()];
    if dice.one_in(2) {
        query.push("recursive=true".into());
    }
    if dice.one_in(2) {
        query.push(format!("waitIndex={}", dice.word(SINCE)));
    }
    if dice.one_in(5) {
        query.push(
            dice.pick(&["stream=true", "stream=true", "stream=true", "stream=false", "stream=x"]).to_string(),
        );
    }
    if dice.one_in(10) {
        query.push(
            dice.pick(&["quorum=false", "sorted=true", "ttl=x", "prevValue=1", "dir=true", "prevExist=x"])
                .to_string(),
        );
    }
    vec![Step::Watch(format!("{}?{}", dice.word(PATHS), query.join("&")))]
}
