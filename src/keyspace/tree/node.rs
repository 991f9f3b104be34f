//! A file or directory of the keyspace, and how it looked at one moment.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::{NANOS, Stamp};
use crate::keyspace::{Blob, Key, Ttl};

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A file with its value.
    File(Blob),
    /// A directory.
    Dir,
    /// A removed file, as the `node` of a delete or expire event.
    GoneFile,
    /// A removed directory.
    GoneDir,
}

/// When a node runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadline {
    /// On the cluster clock, in nanoseconds: this decides.
    pub clock: i64,
    /// On the wall clock, in nanoseconds since 1970: this is shown.
    pub wall: i64,
}

/// Deadlines before this wall time (2000-01-01) mean "never": etcd's guard against overflown lifetimes.
const EARLIEST_EXPIRY: i64 = 946_684_800 * NANOS;

impl Deadline {
    /// The deadline of a lifetime that starts at `at`; `None` when it never runs out.
    pub fn new(ttl: Option<Ttl>, at: Stamp) -> Option<Self> {
        let ttl = ttl?;
        let wall = at.wall.wrapping_add(ttl.nanos);
        (wall >= EARLIEST_EXPIRY).then(|| Self { clock: at.clock.saturating_add(ttl.nanos), wall })
    }

    /// Seconds left at `clock`, rounded up.
    pub fn seconds_left(&self, clock: i64) -> i64 {
        let left = self.clock - clock;
        left / NANOS + i64::from(left % NANOS > 0)
    }
}

/// A file or directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Node {
    /// Where it is.
    pub key: Key,
    /// What it is.
    pub kind: Kind,
    /// Index of the change that made it.
    pub created: u64,
    /// Index of the change that last changed it.
    pub modified: u64,
    /// When it runs out. Boxed because most nodes never do.
    pub deadline: Option<Box<Deadline>>,
}

crate::format::extendable!(Node);

impl Node {
    /// Whether this is a directory.
    pub fn is_dir(&self) -> bool {
        matches!(self.kind, Kind::Dir)
    }

    /// The value of a file, nothing for a directory.
    pub fn value(&self) -> &[u8] {
        self.blob().map_or(&[], |value| value)
    }

    /// The value of a file, to be shared.
    pub fn blob(&self) -> Option<&Blob> {
        match &self.kind {
            Kind::File(value) => Some(value),
            Kind::Dir | Kind::GoneFile | Kind::GoneDir => None,
        }
    }

    /// Seconds that it has left when the cluster clock reads `clock`; 0 when it never runs out.
    pub fn seconds_left(&self, clock: i64) -> i64 {
        self.deadline.as_ref().map_or(0, |deadline| deadline.seconds_left(clock))
    }

    /// The `node` of the event that removes this node.
    pub fn gone(&self, index: u64) -> Self {
        debug_assert!(index > self.modified, "{self:?} was to go at index {index}");
        let kind = if self.is_dir() { Kind::GoneDir } else { Kind::GoneFile };
        Self { key: self.key.clone(), kind, created: self.created, modified: index, deadline: None }
    }
}

/// A node as it looked at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// The node.
    pub node: Arc<Node>,
    /// Seconds it had left; 0 is not shown.
    pub ttl: i64,
}

impl View {
    /// How `node` looks when the cluster clock reads `clock`.
    pub fn new(node: Arc<Node>, clock: i64) -> Self {
        let ttl = node.seconds_left(clock);
        Self { node, ttl }
    }
}

#[cfg(test)]
#[path = "node_test.rs"]
mod tests;
