//! Reads of keys: what there is is frozen under the lock, for a moment, and rendered outside of it.

use super::large_answer::{Body, LargeAnswer, Rest};
use super::limits::SMALL_ANSWER_BYTES;
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

/// What a read finds.
struct Frozen {
    listing: Listing,
    index: u64,
    raft_index: u64,
    /// What had been overwritten by then.
    overwritten: u64,
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
            let answer = frozen.map(|mut frozen| (frozen.listing.next_piece(SMALL_ANSWER_BYTES), frozen));
            let is_large = answer.as_ref().is_ok_and(|(_, frozen)| !frozen.listing.is_finished());
            if is_large && room.is_none() {
                room = self.limits.large_answer();
            }
            if is_large && room.is_none() {
                // Without anything in hand: many may wait.
                discard(answer.map(|(_, frozen)| frozen.listing));
                room = Some(self.limits.large_answer_in_time().await.ok_or(StoreError::Busy)?);
                continue;
            }
            self.count_get(recursive, answer.is_ok());
            let (first, Frozen { listing, index, raft_index, overwritten }) = answer?;
            let body = match room.filter(|_| is_large) {
                None => Body::Small(first),
                Some(room) => {
                    self.node.state().read().keyspace.keep(index);
                    let rest = Rest::Listing(listing);
                    Body::Large(Box::new(LargeAnswer::new(key, first, rest, overwritten, room)))
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
        let (index, overwritten) = (replica.keyspace.index(), replica.keyspace.overwritten());
        Ok(Frozen { listing, index, raft_index, overwritten })
    }

    fn count_get(&self, recursive: bool, good: bool) {
        self.count_gets(Tally { success: u64::from(good), fail: u64::from(!good) });
        let metrics = &self.pending.metrics;
        let kind = if recursive { &metrics.deep_gets } else { &metrics.gets };
        kind.count(good);
    }
}
