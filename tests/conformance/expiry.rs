//! Lifetimes: what is accepted, what is shown, and what running out looks like.

use std::time::Duration;

use super::Pair;
use crate::common::http;
use crate::common::wait_for;

const LIMIT: Duration = Duration::from_secs(20);

/// Waits until a key is gone on both.
fn wait_until_gone(pair: &Pair, key: &str) {
    for url in pair.urls() {
        wait_for(&format!("{key} to run out on {url}"), LIMIT, || {
            http::request(&url, "GET", &format!("/v2/keys{key}"), None).is_ok_and(|a| a.status == 404)
        });
    }
}

#[test]
fn lifetimes_are_set_replaced_and_removed() {
    let Some(mut pair) = Pair::start() else { return };
    pair.run(&[
        "PUT ~/a?ttl=100 value=1",
        "GET ~/a",
        "PUT ~/a?ttl=200 value=2",
        "PUT ~/a value=3",
        "GET ~/a",
        "PUT ~/a?ttl= value=4",
        "PUT ~/a?ttl=100&prevExist=true value=5",
        "PUT ~/a?prevExist=true value=6",
        "PUT ~/a?ttl=100&prevValue=6 value=7",
        "PUT ~/a?prevValue=7 value=8",
        "PUT ~/c?ttl=100&prevExist=false value=1",
        "PUT ~/c/x?ttl=100 value=1",
        "PUT ~/d?ttl=100&dir=true",
        "PUT ~/d/x/y value=1",
        "GET ~/d?recursive=true",
        "PUT ~/d?prevExist=true",
        "GET ~/d",
        "PUT ~/p/q?ttl=100 value=1",
        "GET ~/p?recursive=true",
        "GET ~/p",
        "PUT ~/p/q?ttl=00100 value=1",
        "PUT ~/z ttl=100&value=x",
        "PUT ~/z?ttl=7 ttl=100&value=x",
        "PUT ~/f?ttl=100 value=file",
        "PUT ~/f dir=true",
        "GET ~/f",
    ])
    .finish();
}

#[test]
fn lifetimes_at_the_edges_of_their_range() {
    let Some(mut pair) = Pair::start() else { return };
    pair.run(&[
        "PUT ~/long?ttl=7000000000 value=1",
        "GET ~/long",
        "PUT ~/never?ttl=9223372036 value=1",
        "GET ~/never",
        "PUT ~/never2?ttl=9223372037 value=1",
        "GET ~/never2",
        "PUT ~/bad?ttl=18446744073709551616 value=1",
    ]);
    for ttl in ["0", "18446744073709551615", "9223372036854775807", "1"] {
        pair.ask(&format!("PUT ~/edge?ttl={ttl} value=1"));
        wait_until_gone(&pair, "/edge");
        pair.level();
    }
    pair.finish();
}

#[test]
fn running_out_takes_one_index_and_is_one_event() {
    let Some(mut pair) = Pair::start() else { return };
    let file = pair.watch("/file?wait=true");
    let above = pair.watch("/?wait=true&recursive=true&waitIndex={i+2}");
    pair.run(&["PUT ~/file?ttl=1 value=%3C1"]);
    // What the first watch hears is the set.
    pair.hear_last(file);
    wait_until_gone(&pair, "/file");
    let event = pair.hear_last(above);
    assert!(event.contains("\"action\":\"expire\""), "{event}");
    pair.run(&["GET ~/file", "PUT ~/dir?ttl=1&dir=true"]);
    let base = pair.index;
    pair.run(&["PUT ~/dir/x/y value=1", "PUT ~/dir/_h value=1"]);
    let mut watches: Vec<_> = ["/dir", "/dir/x/y", "/dir/_h", "/dir/none", "/?recursive=true"]
        .map(|path| {
            let mark = if path.contains('?') { '&' } else { '?' };
            pair.watch(&format!("{path}{mark}wait=true&waitIndex={}", base + 3))
        })
        .into();
    wait_until_gone(&pair, "/dir");
    let root = watches.pop().expect("the last");
    let mut none = watches.pop().expect("the one before");
    for watch in watches {
        let event = pair.hear_last(watch);
        assert!(event.contains("\"key\":\"/dir\",\"dir\":true"), "{event}");
    }
    pair.hear_last(root);
    assert_eq!(none.is_silent(Duration::from_millis(200)), [true, true]);
    pair.run(&["GET ~/dir", "GET ~/?recursive=true&sorted=true"]);
    pair.finish();
}

#[test]
fn several_keys_run_out_in_the_order_of_their_instants() {
    let Some(mut pair) = Pair::start() else { return };
    pair.run(&["PUT ~/o/c?ttl=2 value=1", "PUT ~/o/a?ttl=1 value=1", "PUT ~/o/b?ttl=1 value=1"]);
    let from = pair.index + 1;
    wait_until_gone(&pair, "/o/c");
    for step in 0..3 {
        let watch = pair.watch(&format!("/o?wait=true&recursive=true&waitIndex={}", from + step));
        pair.hear_last(watch);
    }
    pair.run(&["PUT ~/o/d value=1"]).finish();
}

#[test]
fn a_refresh_puts_running_out_off_and_nobody_hears_it() {
    let Some(mut pair) = Pair::start() else { return };
    pair.run(&["PUT ~/r?ttl=1 value=1"]);
    let watch = pair.watch("/r?wait=true");
    let past = pair.index + 1;
    pair.run(&["PUT ~/r?ttl=3&refresh=true", "PUT ~/r?ttl=3&refresh=true&prevExist=true"]);
    let event = pair.hear_last(watch);
    assert!(event.contains("\"action\":\"expire\""), "{event}");
    let history = pair.watch(&format!("/r?wait=true&waitIndex={past}"));
    pair.hear_last(history);
    pair.run(&["PUT ~/r value=2"]).finish();
}
