//! Changes as watchers and callers are told of them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Key, View};

/// What was done; the names on the wire are etcd's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Written whatever was there.
    Set,
    /// Made where nothing was.
    Create,
    /// Changed where something was.
    Update,
    /// Changed because it was as expected.
    CompareAndSwap,
    /// Removed because somebody asked for it.
    Delete,
    /// Removed because it was as expected.
    CompareAndDelete,
    /// Run out.
    Expire,
}

impl Action {
    /// The `action` member of etcd's answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Create => "create",
            Self::Update => "update",
            Self::CompareAndSwap => "compareAndSwap",
            Self::Delete => "delete",
            Self::CompareAndDelete => "compareAndDelete",
            Self::Expire => "expire",
        }
    }

    /// Whether the node is gone afterwards.
    pub fn removes(self) -> bool {
        matches!(self, Self::Delete | Self::CompareAndDelete | Self::Expire)
    }
}

/// About what a change takes in memory beside its keys and values, in bytes.
const EVENT_BYTES: u64 = 400;

/// One change.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What was done.
    pub action: Action,
    /// The store's index that the change took.
    pub index: u64,
    /// The node afterwards.
    pub node: View,
    /// The node before, where there was one.
    pub prev: Option<View>,
    /// A refresh: no watcher is told, though it took an index.
    pub silent: bool,
}

impl Event {
    /// A change at `index`.
    pub fn new(action: Action, index: u64, node: View, prev: Option<View>, silent: bool) -> Self {
        debug_assert!(
            prev.as_ref().is_none_or(|prev| prev.node.key == node.node.key),
            "{action:?} of {node:?} has {prev:?} before it"
        );
        debug_assert!(!action.removes() || prev.is_some(), "{action:?} of {node:?} removes nothing");
        Self { action, index, node, prev, silent }
    }

    /// Where the change was.
    pub fn key(&self) -> &Key {
        &self.node.node.key
    }

    /// About what it takes in memory, in bytes.
    pub fn weight(&self) -> u64 {
        let view = |view: &View| (view.node.key.as_bytes().len() + view.node.value().len()) as u64;
        EVENT_BYTES + view(&self.node) + self.prev.as_ref().map_or(0, view)
    }
}

/// A change and the nodes that went with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The change.
    pub event: Arc<Event>,
    /// For the removal of a directory: every node that was below it.
    pub removed: Vec<Key>,
}

impl Change {
    /// About what it takes in memory, in bytes.
    pub fn weight(&self) -> u64 {
        let key = |key: &Key| (key.as_bytes().len() + size_of::<Key>()) as u64;
        self.event.weight() + self.removed.iter().map(key).sum::<u64>()
    }
}
