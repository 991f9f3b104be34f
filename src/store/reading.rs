//! Reads of keys: what there is is frozen under the lock, for a moment, and rendered outside of it.

use std::mem;

use super::limits::{PIECE_BYTES, Room, SMALL_ANSWER_BYTES};
use super::{Consistency, Store, StoreError};
use crate::keyspace::{Key, Listing, Refusal, Tally};
use crate::raft::discard;

/// The answer to a read.
#[derive(Debug)]
pub struct Found {
    /// The JSON.
    pub body: Body,
    /// The store's index.
    pub index: u64,
    /// The last log entry applied here.
    pub raft_index: u64,
    /// Raft's term.
    pub raft_term: u64,
}

/// The JSON of an answer to a read.
#[derive(Debug)]
pub enum Body {
    /// All of it.
    Small(Vec<u8>),
    /// More than 64 KiB, or what takes long to look through.
    Large(Box<LargeAnswer>),
}

/// An answer that is rendered while it is sent. Until it is dropped it keeps in memory what has been overwritten or
/// removed since the read, so whoever sends it has to see to it that it comes to an end.
#[derive(Debug)]
pub struct LargeAnswer {
    key: Key,
    first: Vec<u8>,
    rest: Option<Listing>,
    _room: Room,
}

impl LargeAnswer {
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
        let rest = self.rest.as_mut().filter(|rest| !rest.is_finished())?;
        Some(rest.next_piece(PIECE_BYTES))
    }
}

impl Drop for LargeAnswer {
    fn drop(&mut self) {
        // It may be the last that has what was removed meanwhile.
        discard(self.rest.take());
    }
}

/// What a read finds.
struct Frozen {
    listing: Listing,
    index: u64,
    raft_index: u64,
}

impl Store {
    /// A file, or a directory with its children or, when recursive, everything below.
    ///
    /// # Errors
    /// `Refused` when there is no such key, `TimedOut` when it cannot be read as recently as asked, `Busy` when too many
    /// large answers are on their way.
    pub async fn get(
        &self,
        key: &Key,
        recursive: bool,
        consistency: Consistency,
    ) -> Result<Found, StoreError> {
        self.wait_for(consistency).await?;
        let mut room = None;
        loop {
            let frozen = self.freeze(key, recursive);
            let (raft_term, _) = self.node.progress();
            let answer = frozen.map(|frozen| {
                let Frozen { mut listing, index, raft_index } = frozen;
                let first = listing.next_piece(SMALL_ANSWER_BYTES);
                (first, listing, index, raft_index)
            });
            let is_large = answer.as_ref().is_ok_and(|(_, listing, ..)| !listing.is_finished());
            if is_large && room.is_none() {
                room = self.limits.large_answer();
            }
            if is_large && room.is_none() {
                // Without anything in hand: many may wait.
                drop(answer);
                room = Some(self.limits.large_answer_in_time().await.ok_or(StoreError::Busy)?);
                continue;
            }
            self.count_get(recursive, answer.is_ok());
            let (first, listing, index, raft_index) = answer?;
            let body = match room.filter(|_| is_large) {
                None => Body::Small(first),
                Some(room) => {
                    let answer = LargeAnswer { key: key.clone(), first, rest: Some(listing), _room: room };
                    Body::Large(Box::new(answer))
                }
            };
            return Ok(Found { body, index, raft_index, raft_term });
        }
    }

    fn freeze(&self, key: &Key, recursive: bool) -> Result<Frozen, Refusal> {
        let clock = self.node.read_clock();
        let replica = self.node.state().read();
        let listing = replica.keyspace.listing(key, recursive, clock)?;
        let raft_index = replica.applied.map_or(0, |id| id.index);
        Ok(Frozen { listing, index: replica.keyspace.index(), raft_index })
    }

    fn count_get(&self, recursive: bool, good: bool) {
        self.count_gets(Tally { success: u64::from(good), fail: u64::from(!good) });
        let metrics = &self.pending.metrics;
        let kind = if recursive { &metrics.deep_gets } else { &metrics.gets };
        kind.count(good);
    }
}
