//! What snapshots and backups are made of: a keyspace as a sequence of records.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::auth::Auth;
use super::{Blob, Counters, Event, Members, Node, Restored, Roster, Staged};
use crate::clock::Stamp;
use crate::format::Version;

/// What the history does not reach back to, and what earlier restores left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// The last index whose change is no longer in the history; 0 for none.
    pub cleared: u64,
    /// The last restore.
    pub restored: Option<Restored>,
    /// What the cluster clock read when the lifetimes were written down, if they do not count yet.
    pub base: Option<i64>,
}

/// One piece of a frozen keyspace: a record as [`crate::format`] has them. New kinds go to the end, and so do new fields
/// of a kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// Index, stamp and members; comes first.
    Head {
        /// The store's index.
        index: u64,
        /// The newest stamp.
        now: Stamp,
        /// What the members said of themselves.
        members: Members,
    },
    /// A file or directory.
    Node(Arc<Node>),
    /// A recent change.
    Event(Arc<Event>),
    /// Users, roles and whether they matter; absent when they were never used.
    Auth(Arc<Auth>),
    /// How many operations were applied.
    Counters(Counters),
    /// Who belongs to the cluster.
    Roster(Roster),
    /// What is no longer in the history, and what earlier restores left behind; comes before the changes.
    Past(Past),
    /// A restore is under way.
    Staging(Staged),
    /// A record of what is staged, encoded: records never nest without end.
    Staged(Blob),
    /// The cluster's version.
    Version(Version),
}
