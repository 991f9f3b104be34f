//! The most recent changes, so that a watch can start in the past.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Event, KeyError, Kind, View};

/// How much a history keeps; whichever limit is reached first counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The changes of this many indexes.
    pub events: u64,
    /// About this many bytes; the newest change is kept however large it is.
    pub bytes: u64,
}

/// So many indexes, however large their changes are.
impl From<u64> for Memory {
    fn from(events: u64) -> Self {
        Self { events, bytes: u64::MAX }
    }
}

/// About what a change takes in memory beside its keys and values, in bytes.
const EVENT_BYTES: u64 = 400;

/// The last so many indexes' worth of changes.
#[derive(Clone, Debug)]
pub struct History {
    events: VecDeque<Arc<Event>>,
    memory: Memory,
    /// What the events take, in bytes.
    bytes: u64,
    /// The newest index whose change was dropped or cleared.
    dropped: u64,
}

impl History {
    /// An empty history that keeps as much as `memory` says.
    pub fn new(memory: Memory) -> Self {
        Self { events: VecDeque::new(), memory, bytes: 0, dropped: 0 }
    }

    /// Takes in the newest change and drops what is too old by now.
    pub fn push(&mut self, event: Arc<Event>) {
        let last = self.events.back().map_or(0, |e| e.index);
        assert!(event.index > last, "history went from index {last} to {}", event.index);
        let oldest = self.oldest(event.index);
        self.bytes += weight(&event);
        self.events.push_back(event);
        while self.events.len() > 1
            && let Some(front) = self.events.front()
            && (front.index < oldest || self.bytes > self.memory.bytes)
        {
            self.bytes -= weight(front);
            self.dropped = front.index;
            self.events.pop_front();
        }
    }

    /// Forgets everything up to and including `index`, as if it had never been kept.
    pub fn clear(&mut self, index: u64) {
        self.events.clear();
        self.bytes = 0;
        self.dropped = self.dropped.max(index);
    }

    /// The newest index whose change is known to have been dropped; 0 when none was.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// How many changes are kept.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// About how many bytes the kept changes take. A value that two of them share counts twice.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The oldest index that is kept when the store's index is `index`.
    pub fn oldest(&self, index: u64) -> u64 {
        (index + 1).saturating_sub(self.memory.events.max(1)).max(self.dropped + 1)
    }

    /// The first change at or after `since` that a watcher of `path` is to hear; `None` when it has not happened yet.
    ///
    /// # Errors
    /// `HistoryCleared` when changes since then are no longer kept; `index` is the store's.
    pub fn scan(
        &self,
        path: &[u8],
        recursive: bool,
        since: u64,
        index: u64,
    ) -> Result<Option<Arc<Event>>, KeyError> {
        let oldest = self.oldest(index);
        if since < oldest {
            return Err(KeyError::HistoryCleared { oldest, asked: since });
        }
        let start = self.events.partition_point(|event| event.index < since);
        Ok(self.events.range(start..).find(|event| concerns(event, path, recursive)).cloned())
    }

    /// The changes that are kept, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Event>> {
        self.events.iter()
    }
}

fn weight(event: &Event) -> u64 {
    let view = |view: &View| (view.node.key.as_bytes().len() + view.node.value().len()) as u64;
    EVENT_BYTES + view(&event.node) + event.prev.as_ref().map_or(0, view)
}

/// Whether a watcher of `path` is to hear of `event`, as far as the event alone tells: at the path itself, below it
/// when recursive and not hidden from there, or the removal of a directory above it.
fn concerns(event: &Event, path: &[u8], recursive: bool) -> bool {
    if event.silent {
        return false;
    }
    let key = event.key();
    if key.as_bytes() == path {
        return true;
    }
    if recursive && key.is_below(path) {
        return !key.is_hidden_from(path);
    }
    event.node.node.kind == Kind::GoneDir && lies_below(path, key.as_bytes())
}

fn lies_below(path: &[u8], dir: &[u8]) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.starts_with(b"/"))
}

#[cfg(test)]
#[path = "history_test.rs"]
mod tests;
