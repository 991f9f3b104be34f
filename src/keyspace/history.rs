//! The most recent changes, so that a watch can start in the past.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use super::{Event, KeyError, Kind};

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

/// Changes that are kept together: a copy of a history shares them, and costs one step for each such chunk.
const CHUNK_EVENTS: usize = 256;

/// Changes one after another.
pub(super) type Chunks = VecDeque<Arc<VecDeque<Arc<Event>>>>;

/// The last so many indexes' worth of changes. A copy is cheap, and stays as it is.
#[derive(Clone, Debug)]
pub struct History {
    /// None is empty.
    chunks: Chunks,
    /// How many changes are in them.
    count: usize,
    memory: Memory,
    /// What the events take, in bytes.
    bytes: u64,
    /// The newest index whose change was dropped or cleared.
    dropped: u64,
}

impl History {
    /// An empty history that keeps as much as `memory` says.
    pub fn new(memory: Memory) -> Self {
        Self { chunks: VecDeque::new(), count: 0, memory, bytes: 0, dropped: 0 }
    }

    /// Takes in the newest change and drops what is too old by now.
    pub fn push(&mut self, event: Arc<Event>) {
        let last = self.chunks.back().and_then(|chunk| chunk.back()).map_or(0, |e| e.index);
        assert!(event.index > last, "history went from index {last} to {}", event.index);
        let oldest = self.oldest(event.index);
        self.bytes += event.weight();
        self.count += 1;
        match self.chunks.back_mut().filter(|chunk| chunk.len() < CHUNK_EVENTS) {
            Some(chunk) => Arc::make_mut(chunk).push_back(event),
            None => self.chunks.push_back(Arc::new(VecDeque::from([event]))),
        }
        while self.count > 1
            && let Some(front) = self.chunks.front().and_then(|chunk| chunk.front())
            && (front.index < oldest || self.bytes > self.memory.bytes)
        {
            self.bytes -= front.weight();
            self.dropped = front.index;
            self.pop();
        }
    }

    /// Drops the oldest changes until the others take at most about so many bytes.
    pub(super) fn shorten(&mut self, bytes: u64) {
        while self.bytes > bytes
            && let Some(front) = self.chunks.front().and_then(|chunk| chunk.front())
        {
            self.bytes -= front.weight();
            self.dropped = front.index;
            self.pop();
        }
    }

    fn pop(&mut self) {
        self.count -= 1;
        if self.chunks.front().is_some_and(|chunk| chunk.len() == 1) {
            self.chunks.pop_front();
        } else if let Some(chunk) = self.chunks.front_mut() {
            Arc::make_mut(chunk).pop_front();
        }
    }

    /// Forgets everything up to and including `index`, as if it had never been kept, and gives what there was.
    pub(super) fn clear(&mut self, index: u64) -> Chunks {
        self.count = 0;
        self.bytes = 0;
        self.dropped = self.dropped.max(index);
        mem::take(&mut self.chunks)
    }

    /// A copy for [`scan`](Self::scan) from `since` on; it may have some earlier changes, and costs less than a whole one.
    pub fn since(&self, since: u64) -> Self {
        let chunks = self.chunks.range(self.chunk_of(since)..).cloned().collect();
        let &Self { count, memory, bytes, dropped, .. } = self;
        Self { chunks, count, memory, bytes, dropped }
    }

    /// The place of the first chunk that has a change at or after `since`.
    fn chunk_of(&self, since: u64) -> usize {
        self.chunks.partition_point(|chunk| chunk.back().is_some_and(|event| event.index < since))
    }

    /// The newest index whose change is known to have been dropped; 0 when none was.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// How many changes are kept.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.count == 0
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
        let mut later = self.chunks.range(self.chunk_of(since)..).flat_map(|chunk| {
            let start = chunk.partition_point(|event| event.index < since);
            chunk.range(start..)
        });
        Ok(later.find(|event| concerns(event, path, recursive)).cloned())
    }

    /// The changes that are kept, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Event>> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }
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
