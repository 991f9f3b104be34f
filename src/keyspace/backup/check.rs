//! What a sequence of records must look like so that a keyspace may be built from it. A checksum says that bytes
//! are as they were written; this says that whoever wrote them wrote a keyspace.

use crate::keyspace::{Key, Kind, Node, Record};

/// Indexes stay below this, so that there is always a next one.
const INDEX_LIMIT: u64 = 1 << 62;

/// Follows the records of a backup: the head, the nodes in the order of the tree, users and roles once.
#[derive(Clone, Debug, Default)]
pub struct Check {
    /// The store's index and the reading of the cluster clock, once the head has come.
    head: Option<(u64, i64)>,
    /// The directories above the last node, the topmost first.
    above: Vec<Key>,
    last: Option<Key>,
    /// Users and roles have come.
    auth: bool,
    counts: Counts,
}

/// How much there is of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// How many files there are.
    pub keys: u64,
    /// Directories, the root left out.
    pub directories: u64,
    /// Files and directories that run out.
    pub expiring: u64,
}

/// A record that cannot stand where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Misplaced(&'static str);

impl Check {
    /// The store's index, once the head has come.
    pub fn index(&self) -> Option<u64> {
        self.head.map(|(index, _)| index)
    }

    /// What the cluster clock read when the records were written, in nanoseconds, once the head has come.
    pub fn clock(&self) -> Option<i64> {
        self.head.map(|(_, clock)| clock)
    }

    /// What has come so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// It does not belong here; nothing may be built from these records.
    pub fn accept(&mut self, record: &Record) -> Result<(), Misplaced> {
        match (record, self.head) {
            (Record::Head { index, now, .. }, None) => {
                if *index >= INDEX_LIMIT || now.clock < 0 {
                    return Err(Misplaced("its index or its clock is out of range"));
                }
                self.head = Some((*index, now.clock));
                Ok(())
            }
            (Record::Head { .. }, Some(_)) => Err(Misplaced("it has two heads")),
            (_, None) => Err(Misplaced("it does not begin with its head")),
            (Record::Node(node), Some((index, _))) => self.accept_node(node, index),
            (Record::Auth(_), Some(_)) if !self.auth => {
                self.auth = true;
                Ok(())
            }
            (
                Record::Auth(_)
                | Record::Counters(_)
                | Record::Event(_)
                | Record::Past(_)
                | Record::Staging(_)
                | Record::Staged(_)
                | Record::Roster(_)
                | Record::Version(_),
                Some(_),
            ) => Err(Misplaced("it holds what no backup has")),
        }
    }

    fn accept_node(&mut self, node: &Node, index: u64) -> Result<(), Misplaced> {
        let key = &node.key;
        if key.is_root() || self.last.as_ref().is_some_and(|last| last >= key) {
            return Err(Misplaced("its keys are not in order"));
        }
        if node.created > node.modified || node.modified > index {
            return Err(Misplaced("a key is newer than the whole"));
        }
        while self.above.last().is_some_and(|dir| !key.is_below(dir.as_bytes())) {
            self.above.pop();
        }
        let parent = key.ancestors().last().unwrap_or_default();
        if self.above.last().map_or(&[][..], Key::as_bytes) != parent {
            return Err(Misplaced("a key lies in no directory"));
        }
        match node.kind {
            Kind::File(_) => self.counts.keys += 1,
            Kind::Dir => {
                self.counts.directories += 1;
                self.above.push(key.clone());
            }
            Kind::GoneFile | Kind::GoneDir => return Err(Misplaced("it holds a removed key")),
        }
        self.counts.expiring += u64::from(node.deadline.is_some());
        self.last = Some(key.clone());
        Ok(())
    }
}

#[cfg(test)]
#[path = "check_test.rs"]
mod more_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Stamp;
    use crate::keyspace::Members;
    use std::sync::Arc;

    fn head(index: u64) -> Record {
        Record::Head { index, now: Stamp::default(), members: Members::default() }
    }

    fn node(path: &str, kind: Kind, modified: u64) -> Record {
        let key = Key::parse(path.as_bytes()).unwrap();
        Record::Node(Arc::new(Node { key, kind, created: 1, modified, deadline: None }))
    }

    fn file(path: &str) -> Record {
        node(path, Kind::File("x".into()), 1)
    }

    fn dir(path: &str) -> Record {
        node(path, Kind::Dir, 1)
    }

    fn check(records: &[Record]) -> Result<Counts, Misplaced> {
        let mut check = Check::default();
        records.iter().try_for_each(|record| check.accept(record))?;
        Ok(check.counts())
    }

    #[test]
    fn a_tree_in_order_passes_and_is_counted() {
        let records =
            [head(5), dir("/a"), dir("/a/b"), file("/a/b/c"), file("/a/c"), file("/a!"), file("/b")];
        assert_eq!(check(&records), Ok(Counts { keys: 4, directories: 2, expiring: 0 }));
    }

    #[test]
    fn whatever_is_no_tree_is_refused() {
        let refused = [
            vec![file("/a")],
            vec![head(5), head(5)],
            vec![head(u64::MAX)],
            vec![head(5), file("/b"), file("/a")],
            vec![head(5), file("/a"), file("/a")],
            vec![head(5), file("/")],
            vec![head(5), file("/a/b")],
            vec![head(5), file("/a"), file("/a/b")],
            vec![head(5), dir("/a"), dir("/b"), file("/b/c/d")],
            vec![head(5), node("/a", Kind::GoneFile, 1)],
            vec![head(5), node("/a", Kind::Dir, 6)],
            vec![head(5), Record::Staged("".into())],
        ];
        for records in refused {
            assert!(check(&records).is_err(), "{records:?}");
        }
    }
}
