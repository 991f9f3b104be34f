//! The keyspace as it was at one moment, for snapshots: frozen at no cost while writes go on, told as a sequence of
//! records, and built up from them again.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::auth::Auth;
use super::{Counters, Event, History, Keyspace, Members, Node, Roster, Tree};
use crate::clock::Stamp;

/// A keyspace that no longer changes.
#[derive(Clone, Debug)]
pub struct Frozen {
    tree: Tree,
    history: History,
    members: Members,
    auth: Arc<Auth>,
    counters: Counters,
    roster: Roster,
    index: u64,
    now: Stamp,
}

/// One piece of a frozen keyspace. New kinds go to the end: the order is part of the snapshot's format.
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
}

impl Frozen {
    /// Every record, the head first, then nodes with parents before children, then changes, oldest first, then the
    /// rest.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        let head = Record::Head { index: self.index, now: self.now, members: self.members.clone() };
        std::iter::once(head)
            .chain(self.tree.iter().map(|node| Record::Node(node.clone())))
            .chain(self.history.iter().map(|event| Record::Event(event.clone())))
            .chain(self.auth.is_used().then(|| Record::Auth(self.auth.clone())))
            .chain(std::iter::once(Record::Counters(self.counters)))
            .chain(std::iter::once(Record::Roster(self.roster.clone())))
    }
}

impl Keyspace {
    /// The keyspace as it is now.
    pub fn freeze(&self) -> Frozen {
        Frozen {
            tree: self.tree.clone(),
            history: self.history.clone(),
            members: self.members.clone(),
            auth: self.auth.clone(),
            counters: self.counters,
            roster: self.roster.clone(),
            index: self.index,
            now: self.now,
        }
    }

    /// Takes in the next record of a frozen keyspace; starts with [`Keyspace::new`].
    pub fn restore(&mut self, record: Record) {
        match record {
            Record::Head { index, now, members } => {
                self.index = index;
                self.now = now;
                self.members = members;
            }
            Record::Roster(roster) => self.roster = roster,
            Record::Node(node) => {
                self.deadlines.note(&node);
                self.tree.insert(node);
            }
            Record::Event(event) => {
                if event.index >= self.history.oldest(self.index) {
                    self.history.push(event);
                }
            }
            Record::Auth(auth) => self.auth = auth,
            Record::Counters(counters) => self.counters = counters,
        }
    }
}
