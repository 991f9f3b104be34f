//! What is taken for a keyspace: every one that there can be, and nothing that was made of one by a mistake.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::clock::{NANOS, Stamp};
use crate::keyspace::{Command, Content, Keyspace, Ttl};

fn keyspace() -> impl Strategy<Value = Keyspace> {
    let path = vec(prop::sample::select(vec!["a", "a!", "b", "_h"]), 1..4);
    let ttl = prop::option::weighted(0.3, 100u64..200);
    vec((path, any::<bool>(), ttl), 1..30).prop_map(|writes| {
        let mut keyspace = Keyspace::new(10);
        for (path, dir, ttl) in writes {
            let key = Key::parse(path.join("/").as_bytes()).expect("a key");
            let content = Content { value: "v".into(), ttl: ttl.map(Ttl::from_secs), refresh: false };
            // Some meet a file where a directory is needed; the rest makes a tree.
            let at = Stamp { clock: 5 * NANOS, wall: 1_790_000_000 * NANOS };
            let _ = keyspace.apply(&Command::Create { key, dir, content }, at, &mut Vec::new());
        }
        keyspace
    })
}

fn records(keyspace: &Keyspace) -> Vec<Record> {
    keyspace.freeze().backup(7 * NANOS).collect()
}

fn check(records: &[Record]) -> Result<Counts, Misplaced> {
    let mut check = Check::default();
    records.iter().try_for_each(|record| check.accept(record))?;
    Ok(check.counts())
}

fn changed(record: &Record, change: impl FnOnce(&mut Node)) -> Record {
    let Record::Node(node) = record else { return record.clone() };
    let mut node = Node::clone(node);
    change(&mut node);
    Record::Node(node.into())
}

proptest! {
    #[test]
    fn every_keyspace_passes_and_is_counted(keyspace in keyspace()) {
        let records = records(&keyspace);
        let counts = check(&records);
        prop_assert!(counts.is_ok(), "{:?}", counts);
        let Counts { keys, directories, expiring } = counts.unwrap_or_default();
        prop_assert_eq!(keys + directories, keyspace.len() as u64);
        prop_assert_eq!(directories, keyspace.extent().directories as u64);
        prop_assert_eq!(expiring, keyspace.mortal() as u64);
        let mut check = Check::default();
        records.iter().try_for_each(|record| check.accept(record)).expect("it has passed");
        prop_assert_eq!((check.index(), check.clock()), (Some(keyspace.index()), Some(7 * NANOS)));
    }

    #[test]
    fn two_records_that_change_places_are_noticed(keyspace in keyspace(), one in any::<prop::sample::Index>()) {
        let mut records = records(&keyspace);
        prop_assume!(records.len() > 2);
        let at = one.index(records.len() - 1);
        records.swap(at, at + 1);
        prop_assert!(check(&records).is_err());
    }

    #[test]
    fn a_record_that_comes_twice_is_noticed(keyspace in keyspace(), one in any::<prop::sample::Index>()) {
        let mut records = records(&keyspace);
        let at = one.index(records.len());
        records.insert(at, records[at].clone());
        prop_assert!(check(&records).is_err());
    }

    #[test]
    fn a_directory_that_is_missing_is_missed_by_what_lies_in_it(
        keyspace in keyspace(),
        one in any::<prop::sample::Index>(),
    ) {
        let mut records = records(&keyspace);
        let gone = records.remove(one.index(records.len()));
        let is_needed = match &gone {
            Record::Node(gone) => records.iter().any(|record| {
                matches!(record, Record::Node(node) if node.key.is_below(gone.key.as_bytes()))
            }),
            _ => !records.is_empty(),
        };
        prop_assert_eq!(check(&records).is_err(), is_needed, "without {:?}", gone);
    }

    #[test]
    fn a_node_that_cannot_be_is_noticed(keyspace in keyspace(), one in any::<prop::sample::Index>(), how in 0usize..5) {
        let mut records = records(&keyspace);
        prop_assume!(records.len() > 1);
        let at = 1 + one.index(records.len() - 1);
        let index = keyspace.index();
        records[at] = changed(&records[at], |node| match how {
            0 => node.modified = index + 1,
            1 => node.created = node.modified + 1,
            2 => node.kind = Kind::GoneFile,
            3 => node.kind = Kind::GoneDir,
            _ => node.key = Key::root(),
        });
        prop_assert!(check(&records).is_err(), "{:?}", records[at]);
    }
}
