//! The keyspace as it was at one moment, for snapshots: frozen at no cost while writes go on, told as a sequence of
//! records, and built up from them again.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Event, History, Keyspace, Members, Node, Tree};
use crate::clock::Stamp;

/// A keyspace that no longer changes.
#[derive(Clone, Debug)]
pub struct Frozen {
    tree: Tree,
    history: History,
    members: Members,
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
    /// Changes up to this index were dropped; comes before the first change that is kept.
    Dropped(u64),
}

impl Frozen {
    /// Every record, the head first, then nodes with parents before children, then what was dropped of the history,
    /// then changes, oldest first.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        let head = Record::Head { index: self.index, now: self.now, members: self.members.clone() };
        let dropped = Some(self.history.dropped()).filter(|index| *index > 0);
        std::iter::once(head)
            .chain(self.tree.iter().map(|node| Record::Node(node.clone())))
            .chain(dropped.map(Record::Dropped))
            .chain(self.history.iter().map(|event| Record::Event(event.clone())))
    }
}

impl Keyspace {
    /// The keyspace as it is now.
    pub fn freeze(&self) -> Frozen {
        Frozen {
            tree: self.tree.clone(),
            history: self.history.clone(),
            members: self.members.clone(),
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
            Record::Node(node) => {
                self.deadlines.note(&node);
                self.tree.insert(node);
            }
            Record::Dropped(index) => self.history.forget(index),
            Record::Event(event) => {
                if event.index >= self.history.oldest(self.index) {
                    self.history.push(event);
                }
            }
        }
    }
}
