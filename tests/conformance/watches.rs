//! Waiting for changes: who hears what, live and from history.

use std::time::Duration;

use super::Pair;

/// Long enough for an event to arrive that should not.
const SILENCE: Duration = Duration::from_millis(200);

/// A watch, what happens then, and the first event is compared.
fn first_event(pair: &mut Pair, watch: &str, requests: &[&str]) -> String {
    let watch = pair.watch(watch);
    pair.run(requests);
    pair.hear_last(watch)
}

#[test]
fn a_live_watch_hears_the_first_change_that_concerns_it() {
    let Some(mut pair) = Pair::start() else { return };
    let table: [(&str, &[&str]); 24] = [
        ("/a?wait=true", &["PUT ~/a value=1"]),
        ("/a?wait=true", &["PUT ~/a value=%3C2"]),
        ("/a/?wait=true", &["PUT ~/a value=2"]),
        ("/a?wait=true&stream=false", &["PUT ~/ab value=0", "PUT ~/a?prevExist=true value=3"]),
        ("/a?wait=true", &["PUT ~/a?prevValue=no value=4", "PUT ~/a?prevValue=3 value=4"]),
        ("/a?wait=true", &["PUT ~/a?noValueOnSuccess=true value=5"]),
        ("/a?wait=true", &["PUT ~/a?ttl=1000 value=5"]),
        ("/a?wait=true", &["PUT ~/a?ttl=1000&refresh=true", "DELETE ~/a"]),
        ("/a?wait=true", &["PUT ~/a?prevExist=false value=5"]),
        ("/a?wait=true", &["DELETE ~/a?prevValue=5"]),
        ("/d?wait=true", &["PUT ~/d/x value=1", "PUT ~/d?prevExist=true"]),
        ("/d?wait=true&recursive=true", &["PUT ~/d/_h value=1", "PUT ~/d/x value=1"]),
        ("/d?wait=true&recursive=true", &["PUT ~/e value=1", "PUT ~/d?prevExist=true"]),
        ("/d/_h?wait=true", &["PUT ~/d/_h value=2"]),
        ("/d/_s?wait=true&recursive=true", &["PUT ~/d/_s/x value=2"]),
        ("/d/_s?wait=true&recursive=true", &["PUT ~/d/_s/_y value=2", "PUT ~/d/_s/z/z value=2"]),
        ("/d/x?wait=true", &["DELETE ~/d?recursive=true"]),
        ("/?wait=true&recursive=true", &["PUT ~/d/e/f value=2"]),
        ("?wait=true&recursive=true", &["POST ~/d/e value=2"]),
        ("/d/e?wait=true", &["DELETE ~/d?recursive=true"]),
        ("/d?wait=true&recursive=true&sorted=true&quorum=false", &["PUT ~/d dir=true"]),
        ("/d?wait=true&recursive=true", &["DELETE ~/d?dir=true"]),
        ("/a/below/deep?wait=true", &["PUT ~/a value=1", "DELETE ~/a", "PUT ~/a/below/deep value=1"]),
        ("/x?wait=true&waitIndex=0", &["PUT ~/x value=1"]),
    ];
    for (watch, requests) in table {
        let event = first_event(&mut pair, watch, requests);
        assert!(event.contains("modifiedIndex"), "{watch}: {event}");
    }
    pair.finish();
}

#[test]
fn removing_a_directory_tells_those_at_what_was_in_it() {
    let Some(mut pair) = Pair::start() else { return };
    pair.run(&["PUT ~/d/x/y value=1", "PUT ~/d/_h/z value=1"]);
    let heard = ["/d?", "/d/x?", "/d/x/y?", "/d/x?recursive=true&", "/d/_h/z?", "/?recursive=true&"];
    let heard = heard.map(|path| pair.watch(&format!("{path}wait=true")));
    let not = ["/d/none?", "/?", "/da?recursive=true&", "/d/x/y/z?", "/d/none?recursive=true&"];
    let not = not.map(|path| pair.watch(&format!("{path}wait=true")));
    pair.run(&["DELETE ~/d?recursive=true"]);
    for watch in heard {
        let event = pair.hear_last(watch);
        assert!(event.contains("\"key\":\"/d\""), "{event}");
    }
    for mut watch in not {
        assert_eq!(watch.is_silent(SILENCE), [true, true]);
    }
    pair.finish();
}

#[test]
fn what_does_not_concern_a_watch_is_not_heard() {
    let Some(mut pair) = Pair::start() else { return };
    pair.run(&["PUT ~/d/x value=1", "PUT ~/f?ttl=1000 value=1"]);
    let paths = ["/d?", "/?", "/d/x/below?", "/d/xx?", "/d/_h?recursive=true&", "/f?", "/parent?", "/D/x?"];
    let watches = paths.map(|path| pair.watch(&format!("{path}wait=true")));
    pair.run(&[
        "PUT ~/d/x value=2",
        "PUT ~/d/y value=2",
        "PUT ~/f?ttl=1000&refresh=true",
        "PUT ~/parent/child/x value=1",
        "PUT ~/d/x?prevValue=no value=3",
        "PUT ~/d/x?prevExist=false value=3",
        "PUT ~/d value=3",
        "DELETE ~/parent/child",
    ]);
    for (mut watch, path) in watches.into_iter().zip(paths) {
        assert_eq!(watch.is_silent(SILENCE), [true, true], "{path}");
    }
    pair.finish();
}

#[test]
fn a_watch_in_the_past_is_answered_from_history() {
    let Some(mut pair) = Pair::start() else { return };
    let first = pair.index + 1;
    pair.run(&[
        "PUT ~/a value=1",
        "PUT ~/d/x value=1",
        "PUT ~/a?prevExist=true value=2",
        "PUT ~/a?ttl=1000&refresh=true",
        "PUT ~/d/y?prevExist=false value=1",
        "PUT ~/d/y?prevValue=1 value=%3C2",
        "DELETE ~/d/x",
        "PUT ~/d/e dir=true",
        "PUT ~/d/e?prevExist=true ttl=1000",
        "POST ~/d/q value=1",
        "DELETE ~/d/y?prevValue=%3C2",
        "PUT ~/a?noValueOnSuccess=true value=5",
        "DELETE ~/d?recursive=true",
        "PUT ~/f value=1",
        "DELETE ~/f",
        "PUT ~/f/x value=1",
        "PUT ~/d dir=true",
    ]);
    let last = pair.index;
    let paths = ["/a", "/d", "/d/x", "/d/y", "/d/e", "/d/never", "/d/q/deep", "/f", "/f/x", "/"];
    for path in paths {
        for recursive in [false, true] {
            for since in first..=last {
                let watch = format!("{path}?wait=true&recursive={recursive}&waitIndex={since}");
                let Some(end) = last_change(path, recursive, first) else { continue };
                if since <= end {
                    let watch = pair.watch(&watch);
                    pair.hear_last(watch);
                }
            }
        }
    }
    pair.finish();
}

/// The last of the changes above that concerns a path.
fn last_change(path: &str, recursive: bool, first: u64) -> Option<u64> {
    let step = match (path, recursive) {
        ("/a", _) => 11,
        ("/d", _) | ("/", true) => 16,
        ("/d/x" | "/d/y" | "/d/e" | "/d/never" | "/d/q/deep", _) => 12,
        ("/f", false) => 14,
        ("/f" | "/f/x", _) => 15,
        _ => return None,
    };
    Some(first + step)
}

#[test]
fn a_watch_in_the_future_waits_for_its_index() {
    let Some(mut pair) = Pair::start() else { return };
    for ahead in [1, 2, 3] {
        let puts = ["PUT ~/a value=1", "PUT ~/a value=2", "PUT ~/b value=2", "PUT ~/a value=3"];
        let event = first_event(&mut pair, &format!("/a?wait=true&waitIndex={{i+{ahead}}}"), &puts);
        assert!(event.contains("/a"));
    }
    let mut never = pair.watch("/a?wait=true&waitIndex=18446744073709551615");
    pair.run(&["PUT ~/a value=1"]);
    assert_eq!(never.is_silent(SILENCE), [true, true]);
    pair.finish();
}

#[test]
fn a_stream_goes_on() {
    let Some(mut pair) = Pair::start() else { return };
    let mut stream = pair.watch("/s?wait=true&stream=true&recursive=true");
    let mut ahead = pair.watch("/s?wait=true&stream=true&recursive=true&waitIndex={i+3}");
    let mut one = pair.watch("/s/a?wait=true&stream=true");
    pair.run(&[
        "PUT ~/s/a value=1",
        "PUT ~/s/b value=1",
        "PUT ~/t value=1",
        "PUT ~/s/_h value=1",
        "PUT ~/s/a?ttl=1000&refresh=true",
        "PUT ~/s/a?prevExist=true value=2",
        "DELETE ~/s/b",
        "PUT ~/s/a value=3",
    ]);
    for _ in 0..5 {
        pair.hear(&mut stream);
    }
    for _ in 0..3 {
        pair.hear(&mut ahead);
        pair.hear(&mut one);
    }
    for mut watch in [stream, ahead, one] {
        assert_eq!(watch.is_silent(SILENCE), [true, true]);
    }
    pair.finish();
}
