//! What waits for one watcher to take it. Small, because thousands of watchers are idle at a time: an empty mailbox
//! holds no buffer.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};

use bytes::Bytes;

use crate::keyspace::Event;

/// Events that may wait for a watcher. One that is further behind is told from the history, so that a slow reader
/// takes no memory.
pub const QUEUE_EVENTS: usize = 100;

/// Bytes of events that may wait for a watcher. One event is always taken, however large.
pub const QUEUE_BYTES: usize = 16 << 20;

/// An event as watchers are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The store's index that the change took.
    pub index: u64,
    /// JSON and a line feed.
    pub line: Line,
}

/// The text of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Shared by everybody who waits for it.
    Written(Bytes),
    /// Written while it is sent: the history has it as well, and each who is told of it would hold a text of his own.
    Unwritten(Arc<Event>),
}

impl Line {
    /// About how many bytes it has.
    pub fn size(&self) -> usize {
        match self {
            Self::Written(text) => text.len(),
            Self::Unwritten(event) => event.value_bytes(),
        }
    }
}

/// Why a watcher is told nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It asked for one event and had it.
    Done,
    /// What happened after this index is to be looked for in the history: too much waited already, or the node's state
    /// was replaced.
    Moved(u64),
    /// All that it watches was replaced.
    Closed,
}

/// The events that one watcher has not taken yet.
#[derive(Debug, Default)]
pub struct Mailbox(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Told>,
    bytes: usize,
    end: Option<End>,
    waker: Option<Waker>,
}

impl Mailbox {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("mailbox lock poisoned")
    }

    /// Puts an event in, the last one when `last`; one that does not fit is left to the history, with all that follow.
    /// Gives the task to wake, and whether the watcher may be told more.
    pub fn put(&self, told: &Told, last: bool) -> (Option<Waker>, bool) {
        let mut state = self.state();
        if state.end.is_some() {
            return (None, false);
        }
        let full = state.queue.len() >= QUEUE_EVENTS || state.bytes + told.line.size() > QUEUE_BYTES;
        match state.queue.back().filter(|_| full) {
            Some(newest) => state.end = Some(End::Moved(newest.index)),
            None => {
                state.bytes += told.line.size();
                state.queue.push_back(told.clone());
                state.end = last.then_some(End::Done);
            }
        }
        (state.waker.take(), state.end.is_none())
    }

    /// Nothing more will come, for this reason. Gives the task to wake.
    pub fn end(&self, end: End) -> Option<Waker> {
        let mut state = self.state();
        state.end.get_or_insert(end);
        state.waker.take()
    }

    /// The next event, as soon as there is one.
    ///
    /// # Errors
    /// Why there will be none.
    pub async fn next(&self) -> Result<Told, End> {
        poll_fn(|cx| {
            let mut state = self.state();
            if let Some(told) = state.queue.pop_front() {
                state.bytes -= told.line.size();
                if state.queue.is_empty() {
                    state.queue = VecDeque::new();
                }
                return Poll::Ready(Ok(told));
            }
            if let Some(end) = state.end {
                return Poll::Ready(Err(end));
            }
            if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                state.waker = Some(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// Whether nothing waits to be taken.
    pub fn is_empty(&self) -> bool {
        self.state().queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(index: u64, bytes: usize) -> Told {
        Told { index, line: Line::Written(vec![b'x'; bytes].into()) }
    }

    #[tokio::test]
    async fn a_reader_that_is_far_behind_gets_what_waits_and_then_where_to_go_on() {
        let mailbox = Mailbox::default();
        let kept = (0..=QUEUE_EVENTS as u64).filter(|index| mailbox.put(&told(*index, 10), false).1).count();
        assert_eq!(kept, QUEUE_EVENTS);
        for index in 0..QUEUE_EVENTS as u64 {
            assert_eq!(mailbox.next().await.map(|told| told.index), Ok(index));
        }
        assert_eq!(mailbox.next().await, Err(End::Moved(QUEUE_EVENTS as u64 - 1)));
    }

    #[tokio::test]
    async fn bytes_count_as_well_but_one_event_is_always_taken() {
        let mailbox = Mailbox::default();
        assert!(mailbox.put(&told(1, QUEUE_BYTES + 1), false).1);
        assert!(!mailbox.put(&told(2, 1), false).1);
        assert!(!mailbox.put(&told(3, 1), false).1, "nothing comes behind a gap");
        assert_eq!(mailbox.next().await.map(|told| told.index), Ok(1));
        assert_eq!(mailbox.next().await, Err(End::Moved(1)));
    }

    #[tokio::test]
    async fn the_last_event_ends_it() {
        let mailbox = Mailbox::default();
        mailbox.put(&told(1, 1), true);
        assert_eq!(mailbox.next().await.map(|told| told.index), Ok(1));
        assert_eq!(mailbox.next().await, Err(End::Done));
    }
}
