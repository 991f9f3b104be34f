//! Changes as watchers and callers are told of them.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::json;
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
    /// Removed.
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

/// One change.
#[derive(Debug, Serialize, Deserialize)]
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
    /// The JSON form, made at first use and then shared by everybody who waits for it.
    #[serde(skip)]
    encoded: OnceLock<Bytes>,
}

impl Event {
    /// A change at `index`.
    pub fn new(action: Action, index: u64, node: View, prev: Option<View>, silent: bool) -> Self {
        Self { action, index, node, prev, silent, encoded: OnceLock::new() }
    }

    /// Where the change was.
    pub fn key(&self) -> &Key {
        &self.node.node.key
    }

    /// The answer to the caller and the line for watchers: JSON and a line feed.
    pub fn encoded(&self) -> Bytes {
        self.encoded.get_or_init(|| json::event(self).into()).clone()
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        (self.action, self.index, &self.node, &self.prev, self.silent)
            == (other.action, other.index, &other.node, &other.prev, other.silent)
    }
}

impl Eq for Event {}

/// A change and the nodes that went with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The change.
    pub event: Arc<Event>,
    /// For the removal of a directory: every node that was below it.
    pub removed: Vec<Key>,
}
