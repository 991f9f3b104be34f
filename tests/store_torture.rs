//! The store under fire: see `torture`. The short run is one of the tests; `contrib/torture` makes long ones.

mod common;
mod torture;

use std::path::PathBuf;
use std::time::Duration;

use torture::driver::{Plan, history_file, run};
use torture::history::{Act, Cell, Record, Told};
use torture::network::Network;
use torture::{checker, number};

/// How long the short run lasts.
const SHORT: Duration = Duration::from_secs(40);

fn torment(seed: u64, nodes: usize, length: Duration, folder: PathBuf) -> bool {
    let plan = Plan { seed, nodes, length, folder };
    let verdict = run(&plan);
    println!("{verdict}");
    println!("history: {}", history_file(&plan.folder).display());
    verdict.passed()
}

#[test]
fn a_short_torture_loses_nothing_and_shows_nothing_stale() {
    if let Some(why) = Network::missing() {
        common::skip(&why);
        return;
    }
    let folder = tempfile::Builder::new().prefix("muster-torture-").tempdir().expect("a folder");
    let seed = number("MUSTER_TORTURE_SEED", u64::from(std::process::id()));
    let passed = torment(seed, 3, SHORT, folder.path().to_path_buf());
    if !passed {
        // What happened is worth a look.
        println!("kept: {}", folder.keep().display());
    }
    assert!(passed, "seed {seed}");
}

#[test]
#[ignore = "contrib/torture runs it"]
fn a_long_torture() {
    let minutes = number("MUSTER_TORTURE_MINUTES", 20);
    let seed = number("MUSTER_TORTURE_SEED", 1);
    let nodes = usize::try_from(number("MUSTER_TORTURE_NODES", 3)).expect("a few nodes");
    let folder =
        std::env::var_os("MUSTER_TORTURE_FOLDER").expect("MUSTER_TORTURE_FOLDER names a folder").into();
    assert!(torment(seed, nodes, Duration::from_secs(60 * minutes), folder), "FAILED");
}

/// One operation that was answered, from `began` to `ended`.
fn record(client: usize, act: Act, began: u64, ended: u64, told: Told) -> Record {
    let index = match told {
        Told::Done { index, .. } | Told::Found(Cell { index, .. }) => Some(index),
        _ => None,
    };
    Record { client, node: 0, key: 1, act, began, ended: Some(ended), told: Some(told), index }
}

fn done(index: u64, before: Option<(u64, u64)>) -> Told {
    Told::Done { index, before: before.map(|(value, index)| Cell { value, index }) }
}

fn found(value: u64, index: u64) -> Told {
    Told::Found(Cell { value, index })
}

/// A history as a store makes it that works.
fn good() -> Vec<Record> {
    let unanswered =
        Record { ended: None, told: None, index: None, ..record(3, Act::Set(4), 45, 0, Told::Absent) };
    vec![
        record(1, Act::Set(1), 0, 10, done(5, None)),
        record(2, Act::Get, 5, 30, found(1, 5)),
        record(1, Act::Swap { from: 1, to: 2 }, 20, 40, done(6, Some((1, 5)))),
        record(1, Act::SwapAt { at: 5, to: 3 }, 50, 60, Told::Differs),
        unanswered,
        record(2, Act::Get, 70, 80, found(2, 6)),
        record(2, Act::Get, 90, 95, found(4, 9)),
        record(1, Act::Delete, 100, 110, done(10, Some((4, 9)))),
        record(1, Act::Create(5), 120, 130, done(11, None)),
        record(2, Act::Create(6), 140, 150, Told::Exists),
    ]
}

#[test]
fn a_history_that_a_working_store_makes_is_accepted() {
    assert_eq!(checker::linearizable(&good()), Ok(1));
    assert_eq!(checker::indexes_in_order(&good()), Ok(()));
}

#[test]
fn a_history_with_one_stale_read_is_refused() {
    let mut records = good();
    // It began after the swap was acknowledged, and shows what stood there before.
    records.push(record(4, Act::Get, 61, 65, found(1, 5)));
    let error = checker::linearizable(&records).unwrap_err();
    assert!(error.contains("key 1 is not linearizable") && error.contains("client 4"), "{error}");
    let error = checker::indexes_in_order(&records).unwrap_err();
    assert!(error.contains("client: 4"), "{error}");
}

#[test]
fn a_history_with_one_lost_write_is_refused() {
    let mut records = good();
    // Acknowledged, and never seen: the read at its heels and the next write show what stood there before.
    records.push(record(4, Act::Set(7), 82, 84, done(8, Some((2, 6)))));
    records.push(record(4, Act::Get, 85, 88, found(2, 6)));
    assert!(checker::linearizable(&records).unwrap_err().contains("key 1 is not linearizable"));
}

#[test]
fn two_swaps_of_the_same_value_are_refused() {
    let mut records = good();
    records.push(record(4, Act::Swap { from: 1, to: 8 }, 21, 41, done(7, Some((1, 5)))));
    assert!(checker::linearizable(&records).is_err());
}

#[test]
fn indexes_out_of_order_are_refused_even_over_different_keys() {
    let mut records = good();
    records.push(Record { key: 2, ..record(4, Act::Set(9), 135, 138, done(8, None)) });
    assert_eq!(checker::linearizable(&records), Ok(2), "each key for itself is fine");
    assert!(checker::indexes_in_order(&records).unwrap_err().contains("got a lower one"));
    let last = records.last_mut().expect("one was added");
    *last = Record { key: 2, ..record(4, Act::Set(9), 135, 138, done(11, None)) };
    assert!(checker::indexes_in_order(&records).unwrap_err().contains("two writes have index 11"));
}

#[test]
fn a_write_that_the_store_says_it_has_not_begun_and_that_shows_up_is_refused() {
    let mut records = good();
    records.push(Record { index: None, ..record(4, Act::Set(7), 82, 84, Told::Untouched) });
    assert_eq!(checker::linearizable(&records), Ok(1), "it did not happen");
    records.push(record(4, Act::Get, 85, 88, found(7, 8)));
    assert!(checker::linearizable(&records).is_err());
}
