//! Rounds of keys that run out, compared when both servers have let them: which, in which order, and who was told.

use std::time::{Duration, Instant};

use super::dice::Dice;
use super::pool::Listener;
use super::{length, seed};
use crate::common::http;
use crate::common::wait_for;
use crate::conformance::Pair;

/// Rounds when nobody asks for more; each takes more than two seconds.
const ROUNDS: usize = 4;

/// Requests in one round.
const WRITES: usize = 30;

const KEYS: &str = "/a /b /c /d /d/x /d/y /d/e /d/e/z /d/_h /f /f/x /_r";

/// Longer than the writes of a round may take for the order of what follows to be known: it is whole seconds that keep
/// keys apart, and less than that lies between the writes.
const LONG: Duration = Duration::from_millis(700);

const LIMIT: Duration = Duration::from_secs(20);

fn write(dice: &mut Dice, folder: &str) -> String {
    let key = format!("~{folder}{}", dice.word(KEYS));
    match dice.roll(10) {
        0..=4 => format!("PUT {key} value=1&ttl={}", dice.word("1 1 2")),
        5 => format!("PUT {key} dir=true&ttl={}", dice.word("1 2")),
        6 => format!("PUT {key} value=2&prevExist=true&ttl=1"),
        7 => format!("PUT {key} refresh=true&prevExist=true&ttl=2"),
        8 => format!("PUT {key} value=3"),
        _ => format!("DELETE {key}?recursive=true"),
    }
}

#[test]
fn mix_of_keys_that_run_out() {
    let seed = seed();
    let rounds = length(ROUNDS * WRITES) / WRITES;
    println!("MUSTER_TEST_SEED={seed}, {rounds} rounds");
    let mut dice = Dice::new(seed);
    let Some(mut pair) = Pair::start() else { return };
    for round in 0..rounds {
        let folder = format!("/e{round}");
        let began = Instant::now();
        let first = pair.index + 1;
        let differences = pair.differences.len();
        for _ in 0..WRITES {
            let request = write(&mut dice, &folder);
            pair.ask(&request);
        }
        let took = began.elapsed();
        wait_until_run_out(&pair, &folder);
        if took > LONG {
            // Something may have run out between the writes, earlier on one than on the other.
            println!("round {round}: the machine is too slow to tell the order ({took:?})");
            pair.differences.truncate(differences);
            pair.level();
            continue;
        }
        pair.run(&[
            &format!("GET ~{folder}?recursive=true&sorted=true"),
            &format!("PUT ~{folder}/end value=1"),
        ]);
        for since in first..=pair.index {
            hear(&pair, &format!("{folder}?wait=true&recursive=true&waitIndex={since}"), seed);
        }
    }
    pair.finish();
}

/// Compares what a watch of the past hears.
fn hear(pair: &Pair, target: &str, seed: u64) {
    if let Err((why, ours, theirs)) = Listener::open(pair, 0, target).check() {
        panic!("MUSTER_TEST_SEED={seed}: {target}: {why}\n  ours   {ours}\n  etcd's {theirs}");
    }
}

/// Nothing below `folder` has a lifetime any more.
fn wait_until_run_out(pair: &Pair, folder: &str) {
    for url in pair.urls() {
        wait_for(&format!("keys to run out on {url}"), LIMIT, || {
            let page = format!("/v2/keys{folder}?recursive=true");
            let hidden = format!("/v2/keys{folder}/_r");
            let lasts = |page| {
                http::request(&url, "GET", page, None)
                    .is_ok_and(|answer| !answer.text().contains("\"expiration\""))
            };
            lasts(&page) && lasts(&hidden) && lasts(&format!("/v2/keys{folder}/d/_h"))
        });
    }
}
