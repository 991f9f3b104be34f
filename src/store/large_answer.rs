//! Answers that are rendered while they are sent, and what they keep in memory meanwhile.

use std::mem;

use super::Store;
use super::limits::{KEPT_BYTES, PIECE_BYTES, Room, SMALL_ANSWER_BYTES};
use crate::keyspace::{Key, Listing, Outline};
use crate::raft::discard;

/// The JSON of an answer.
#[derive(Debug)]
pub enum Body {
    /// All of it.
    Small(Vec<u8>),
    /// More than 64 KiB, or what takes long to look through.
    Large(Box<LargeAnswer>),
}

/// An answer that is rendered while it is sent. Until it is dropped it keeps in memory what has been overwritten or
/// removed since it was made, so whoever sends it has to see to it that it comes to an end, and gives it up when that
/// becomes too much ([`Store::keeps_too_much`]).
#[derive(Debug)]
pub struct LargeAnswer {
    key: Key,
    first: Vec<u8>,
    rest: Option<Rest>,
    /// What had been overwritten when it was made.
    since: u64,
    _room: Room,
}

/// What is still to be rendered.
#[derive(Debug)]
pub(super) enum Rest {
    /// Of what a read found.
    Listing(Listing),
    /// Of a change, or of a refusal.
    Outline(Outline),
}

impl LargeAnswer {
    pub(super) fn new(key: &Key, first: Vec<u8>, rest: Rest, since: u64, room: Room) -> Self {
        Self { key: key.clone(), first, rest: Some(rest), since, _room: room }
    }

    /// What was asked for.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The next bytes, of which there may be none after a stretch of hidden nodes; `None` after the last. To be asked for
    /// when there is room to send them.
    pub fn next_piece(&mut self) -> Option<Vec<u8>> {
        if !self.first.is_empty() {
            return Some(mem::take(&mut self.first));
        }
        match self.rest.as_mut()? {
            Rest::Listing(rest) => (!rest.is_finished()).then(|| rest.next_piece(PIECE_BYTES)),
            Rest::Outline(rest) => (!rest.is_empty()).then(|| rest.next_piece(PIECE_BYTES)),
        }
    }
}

impl Drop for LargeAnswer {
    fn drop(&mut self) {
        // It may be the last that has what was removed meanwhile.
        discard(self.rest.take());
    }
}

impl Store {
    /// The answer to a write at `key`; `None` when it is large and too many others have been on their way for too long.
    pub async fn answer(&self, key: &Key, outline: Outline) -> Option<Body> {
        if outline.len() <= SMALL_ANSWER_BYTES {
            return Some(Body::Small(outline.into_whole()));
        }
        // Before it waits, and as if nothing of it were in use any more.
        let since = {
            let replica = self.node.state().read();
            replica.keyspace.keep(replica.keyspace.index());
            replica.keyspace.overwritten().saturating_sub(outline.len() as u64)
        };
        let room = match self.limits.large_answer() {
            Some(room) => room,
            None => self.limits.large_answer_in_time().await?,
        };
        Some(Body::Large(Box::new(LargeAnswer::new(key, Vec::new(), Rest::Outline(outline), since, room))))
    }

    /// Whether so much was overwritten or removed since an answer was made that it is no longer to be kept in memory.
    pub fn keeps_too_much(&self, answer: &LargeAnswer) -> bool {
        is_too_much(self.node.state().read().keyspace.overwritten(), answer.since)
    }
}

/// Whether what was overwritten since then is more than may be kept. The count begins anew when the whole state is
/// replaced by a leader's snapshot: then all of it is kept.
fn is_too_much(overwritten: u64, since: u64) -> bool {
    overwritten.checked_sub(since).is_none_or(|kept| kept > KEPT_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_answers_together_keep_what_was_overwritten_since_the_oldest_and_no_more_than_a_bound() {
        assert!(!is_too_much(10, 10));
        assert!(!is_too_much(KEPT_BYTES, 0));
        assert!(is_too_much(KEPT_BYTES + 1, 0));
        assert!(is_too_much(9, 10), "all was replaced");
    }
}
