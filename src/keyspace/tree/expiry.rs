//! Which keys run out when.

use std::collections::BTreeSet;

use crate::keyspace::{Key, Node};

/// The deadlines of all keys that have one, soonest first.
#[derive(Debug, Default)]
pub struct Deadlines(BTreeSet<(i64, Key)>);

impl Deadlines {
    /// Notes the deadline of a node that came, if it has one.
    pub fn note(&mut self, node: &Node) {
        if let Some(deadline) = &node.deadline {
            let is_new = self.0.insert((deadline.clock, node.key.clone()));
            debug_assert!(is_new, "the deadline of {node:?} was noted already");
        }
    }

    /// Forgets the deadline of a node that went, if it had one.
    pub fn forget(&mut self, node: &Node) {
        if let Some(deadline) = &node.deadline {
            let was_there = self.0.remove(&(deadline.clock, node.key.clone()));
            debug_assert!(was_there, "the deadline of {node:?} was not noted");
        }
    }

    /// The soonest deadline, in nanoseconds on the cluster clock.
    pub fn soonest(&self) -> Option<i64> {
        self.0.first().map(|(clock, _)| *clock)
    }

    /// A key whose deadline has come when the clock reads `clock`; the earliest first.
    pub fn due(&self, clock: i64) -> Option<&Key> {
        self.0.first().filter(|(deadline, _)| *deadline <= clock).map(|(_, key)| key)
    }

    /// Takes all keys that have a deadline, the soonest first.
    pub fn take(&mut self) -> impl Iterator<Item = Key> + use<> {
        std::mem::take(&mut self.0).into_iter().map(|(_, key)| key)
    }

    /// How many keys have a deadline.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}
