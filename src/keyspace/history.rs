//! The most recent changes, so that a watch can start in the past.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Event, KeyError, Kind};

/// The last so many indexes' worth of changes.
#[derive(Clone, Debug)]
pub struct History {
    events: VecDeque<Arc<Event>>,
    capacity: u64,
    /// Nothing before this index is kept, whatever the capacity.
    floor: u64,
}

impl History {
    /// An empty history that keeps what happened in the last `capacity` indexes.
    pub fn new(capacity: u64) -> Self {
        Self { events: VecDeque::new(), capacity: capacity.max(1), floor: 1 }
    }

    /// Takes in the newest change and drops what is too old by now.
    pub fn push(&mut self, event: Arc<Event>) {
        let last = self.events.back().map_or(0, |e| e.index);
        assert!(event.index > last, "history went from index {last} to {}", event.index);
        let oldest = self.oldest(event.index);
        self.events.push_back(event);
        while self.events.front().is_some_and(|event| event.index < oldest) {
            self.events.pop_front();
        }
    }

    /// The oldest index that is kept when the store's index is `index`.
    pub fn oldest(&self, index: u64) -> u64 {
        (index + 1).saturating_sub(self.capacity).max(self.floor)
    }

    /// Forgets everything up to and including `index`, as if it had never been kept.
    pub fn clear(&mut self, index: u64) {
        self.events.clear();
        self.floor = self.floor.max(index + 1);
    }

    /// The first index that [`History::clear`] left; 1 when nothing was ever cleared.
    pub fn floor(&self) -> u64 {
        self.floor
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

/// Whether a watcher of `path` is to hear of `event`, as far as the event alone tells: at the path itself, below it
/// when recursive and not hidden from there, or the removal of a directory above it.
pub fn concerns(event: &Event, path: &[u8], recursive: bool) -> bool {
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
