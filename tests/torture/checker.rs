//! Whether a history makes sense: each key linearizable, and indexes in the order of real time over all keys.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;
use std::time::Duration;

use stateright::semantics::{ConsistencyTester, LinearizabilityTester};

use super::history::{Act, Record, Told};
use super::model::Key;

/// The tester tries orders one after the other; a key whose history takes longer is not decided.
const KEY_LIMIT: Duration = Duration::from_secs(120);

/// Operations without an answer are threads of their own, from this number on, so that they are tried last.
const UNANSWERED: usize = 1 << 20;

/// Checks every key for itself.
///
/// # Errors
/// A key's history fits no order, or was too much for the tester; with that history.
pub fn linearizable(records: &[Record]) -> Result<usize, String> {
    let mut keys: BTreeMap<u64, Vec<Record>> = BTreeMap::new();
    for record in records {
        keys.entry(record.key).or_default().push(record.clone());
    }
    let count = keys.len();
    for (key, mut records) in keys {
        records.sort_by_key(|record| record.began);
        let shown = show(&records);
        let (tell, told) = mpsc::channel();
        // A thread of its own, with room for the tester's recursion; one that takes too long is left behind.
        let work = move || drop(tell.send(key_linearizable(&records)));
        std::thread::Builder::new().stack_size(64 << 20).spawn(work).expect("a thread");
        match told.recv_timeout(KEY_LIMIT) {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return Err(format!("key {key} is not linearizable:\n{shown}")),
            Ok(Err(why)) => return Err(format!("key {key}: {why}")),
            Err(_) => return Err(format!("key {key} could not be decided within {KEY_LIMIT:?}:\n{shown}")),
        }
    }
    Ok(count)
}

/// # Errors
/// The records are not a history: a client asks twice at a time.
fn key_linearizable(records: &[Record]) -> Result<bool, String> {
    let mut tester = LinearizabilityTester::new(Key::default());
    // Invocations before returns at the same time: that allows more, never less.
    let mut events = Vec::new();
    for (number, record) in records.iter().enumerate() {
        let thread = if record.told.is_some() { record.client } else { UNANSWERED + number };
        if record.told.is_none() && record.act == Act::Get {
            continue;
        }
        events.push((record.began, 0, thread, record));
        events.extend(record.ended.map(|ended| (ended, 1, thread, record)));
    }
    events.sort_by_key(|(at, kind, ..)| (*at, *kind));
    for (_, kind, thread, record) in events {
        match record.told {
            _ if kind == 0 => tester.on_invoke(thread, record.act)?,
            Some(told) => tester.on_return(thread, told)?,
            None => &mut tester,
        };
    }
    Ok(tester.is_consistent())
}

fn show(records: &[Record]) -> String {
    let line = |r: &Record| {
        let ended = r.ended.map_or("?".into(), |at| format!("{:.3}", at as f64 / 1e6));
        let began = r.began as f64 / 1e6;
        format!(
            "  {began:.3}..{ended} ms client {} node {} {:?} -> {:?} index {:?}",
            r.client, r.node, r.act, r.told, r.index
        )
    };
    records.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Checks indexes over all keys: each write has its own, a later one a higher one, and whoever reads after a write
/// was acknowledged is told an index at least as high.
///
/// # Errors
/// The records that contradict each other.
pub fn indexes_in_order(records: &[Record]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    let mut events = Vec::new();
    for (number, record) in records.iter().enumerate() {
        let Some(ended) = record.ended else { continue };
        events.push((record.began, 0, number));
        events.push((ended, 1, number));
    }
    events.sort_unstable();
    let mut highest = 0;
    let mut floors = vec![0; records.len()];
    for (_, kind, number) in events {
        let record = &records[number];
        if kind == 0 {
            floors[number] = highest;
            continue;
        }
        let floor = floors[number];
        if let Some(Told::Done { index, .. }) = record.told {
            if !seen.insert(index) {
                return Err(format!("two writes have index {index}; the second is {record:?}"));
            }
            if index <= floor {
                return Err(format!(
                    "a write after index {floor} was acknowledged got a lower one: {record:?}"
                ));
            }
            highest = highest.max(index);
        }
        if let Some(index) = record.index {
            if index < floor {
                return Err(format!(
                    "index {floor} was known before this began, and it was told less: {record:?}"
                ));
            }
            highest = highest.max(index);
        }
    }
    Ok(())
}
