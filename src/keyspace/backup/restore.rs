//! Replacing the whole keyspace by the records of a backup. They come in many log entries and are staged beside the
//! keyspace, on every node alike; one last entry puts them in its place if their checksum is the expected one. Until
//! then nothing else is changed.

use serde::{Deserialize, Serialize};

use super::check::{Check, Counts};
use super::format::{BackupError, Digest, link, records};
use crate::clock::NANOS;
use crate::keyspace::{Applied, Blob, Deadline, Frozen, Keyspace, Node, Record};

/// What is staged is dropped when nothing was added to it for so long on the cluster clock.
const ABANDONED_AFTER: i64 = 60 * NANOS;

/// No more is staged, or one request could fill the memory of all nodes.
const STAGED_LIMIT_BYTES: u64 = 8 << 30;

/// One step of a restore. The steps may be repeated: each takes effect once. New kinds go to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Restore {
    /// Begin; drops what another restore has staged.
    Begin {
        /// Names the restore; chosen by whoever asks for it.
        id: u64,
    },
    /// Stage records.
    Chunk {
        /// Which restore.
        id: u64,
        /// Counts the chunks from 0.
        number: u64,
        /// Records one after another.
        records: Blob,
    },
    /// Replace the keyspace by what is staged.
    Commit {
        /// Which restore.
        id: u64,
        /// How many chunks there must be.
        chunks: u64,
        /// Their checksum, see [`link`].
        chain: Digest,
    },
    /// Drop what is staged.
    Abort {
        /// Which restore.
        id: u64,
    },
}

impl Restore {
    /// Bytes that the step carries.
    pub fn weight(&self) -> usize {
        match self {
            Self::Chunk { records, .. } => records.len() + 32,
            Self::Begin { .. } | Self::Commit { .. } | Self::Abort { .. } => 64,
        }
    }
}

/// Why a step of a restore was not taken. The keys are as they were.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Nothing is staged under this name: it took too long, or another restore was begun.
    #[error("the restore was given up because it rested too long or another one was begun: start it again")]
    Gone,
    /// A chunk is missing before this one.
    #[error("chunk {expected} of the backup must come next")]
    Order {
        /// The number that is next.
        expected: u64,
    },
    /// What came is no keyspace, or not what was announced. It is dropped.
    #[error("the backup did not arrive as it was sent: {what}")]
    Damaged {
        /// What is wrong.
        what: String,
    },
    /// It would need too much memory. What was staged is dropped.
    #[error("the backup is larger than {} GiB", STAGED_LIMIT_BYTES >> 30)]
    TooLarge,
}

impl From<BackupError> for RestoreError {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Damaged { what } => Self::Damaged { what },
            other => Self::Damaged { what: other.to_string() },
        }
    }
}

/// The last restore that took place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// Which.
    pub id: u64,
    /// The store's index that it took.
    pub index: u64,
}

/// What is staged, but for the keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    id: u64,
    chunks: u64,
    chain: Digest,
    bytes: u64,
    /// When the last chunk came, on the cluster clock.
    touched: i64,
}

/// A keyspace that is being built beside the one in use.
#[derive(Debug)]
pub struct Staging {
    pub(in crate::keyspace) head: Staged,
    check: Check,
    keyspace: Box<Keyspace>,
}

impl Staging {
    /// Nothing yet. To go on with what a snapshot has, its records follow.
    pub(in crate::keyspace) fn new(head: Staged) -> Self {
        Self { head, check: Check::default(), keyspace: Box::new(Keyspace::new(1)) }
    }

    /// Takes in a record.
    pub(in crate::keyspace) fn take(&mut self, record: Record) -> Result<(), BackupError> {
        self.check.accept(&record)?;
        self.keyspace.restore(record)
    }

    fn chunk(&mut self, chunk: &[u8], now: i64) -> Result<(), RestoreError> {
        self.head.bytes += chunk.len() as u64;
        if self.head.bytes > STAGED_LIMIT_BYTES {
            return Err(RestoreError::TooLarge);
        }
        records(chunk, |record| self.take(record))?;
        self.head.chunks += 1;
        self.head.chain = link(&self.head.chain, chunk);
        self.head.touched = now;
        Ok(())
    }

    /// The keys that are staged; `None` before the first of them.
    pub(in crate::keyspace) fn freeze(&self) -> Option<Frozen> {
        self.check.index().map(|_| self.keyspace.freeze())
    }

    /// When it counts as abandoned, on the cluster clock.
    pub(in crate::keyspace) fn limit(&self) -> i64 {
        self.head.touched.saturating_add(ABANDONED_AFTER)
    }
}

impl Keyspace {
    /// The first keyspace of a new cluster, with the keys of a backup: `fill` is to hand in every chunk. What is left
    /// of lifetimes counts from the first entry that is applied.
    ///
    /// # Errors
    /// The records are no keyspace, or what `fill` says.
    pub fn found<E: From<BackupError>>(
        history: u64,
        fill: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<(), BackupError>) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut staging =
            Staging::new(Staged { id: 0, chunks: 0, chain: Digest::default(), bytes: 0, touched: 0 });
        fill(&mut |chunk| records(chunk, |record| staging.take(record)))?;
        let base = staging.check.clock().ok_or(BackupError::Damaged { what: "it holds nothing".into() })?;
        let mut keyspace = Self::new(history);
        keyspace.replace(*staging.keyspace);
        keyspace.now.clock = base;
        keyspace.base = Some(base);
        Ok(keyspace)
    }

    /// The last restore that took place.
    pub fn restored(&self) -> Option<Restored> {
        self.restored
    }

    /// How many keys and directories are staged by a restore that is under way.
    pub fn staged(&self) -> Option<Counts> {
        self.staging.as_ref().map(|staging| staging.check.counts())
    }

    pub(in crate::keyspace) fn run_restore(&mut self, step: &Restore) -> Result<Applied, RestoreError> {
        match step {
            Restore::Begin { id } => self.begin_restore(*id),
            Restore::Chunk { id, number, records } => self.stage(*id, *number, records)?,
            Restore::Commit { id, chunks, chain } => self.commit_restore(*id, *chunks, chain)?,
            Restore::Abort { id } => {
                self.staging.take_if(|staging| staging.head.id == *id);
            }
        }
        Ok(self.applied(None))
    }

    fn is_restored(&self, id: u64) -> bool {
        self.restored.is_some_and(|restored| restored.id == id)
    }

    fn begin_restore(&mut self, id: u64) {
        let begun = self.staging.as_ref().is_some_and(|staging| staging.head.id == id);
        if !begun && !self.is_restored(id) {
            let touched = self.now.clock;
            let head = Staged { id, chunks: 0, chain: Digest::default(), bytes: 0, touched };
            self.staging = Some(Staging::new(head));
        }
    }

    fn stage(&mut self, id: u64, number: u64, chunk: &[u8]) -> Result<(), RestoreError> {
        if self.is_restored(id) {
            return Ok(());
        }
        let now = self.now.clock;
        let staging = self.staging.as_mut().filter(|staging| staging.head.id == id);
        let staging = staging.ok_or(RestoreError::Gone)?;
        if number < staging.head.chunks {
            return Ok(());
        }
        if number > staging.head.chunks {
            return Err(RestoreError::Order { expected: staging.head.chunks });
        }
        let result = staging.chunk(chunk, now);
        if result.is_err() {
            self.staging = None;
        }
        result
    }

    fn commit_restore(&mut self, id: u64, chunks: u64, chain: &Digest) -> Result<(), RestoreError> {
        if self.is_restored(id) {
            return Ok(());
        }
        let staging = self.staging.take_if(|staging| staging.head.id == id).ok_or(RestoreError::Gone)?;
        let damaged = |what: &str| RestoreError::Damaged { what: what.into() };
        if staging.head.chunks != chunks || staging.head.chain != *chain {
            return Err(damaged("the checksum of the whole does not match"));
        }
        let base = staging.check.clock().ok_or_else(|| damaged("it holds nothing"))?;
        self.replace(*staging.keyspace);
        self.restored = Some(Restored { id, index: self.index });
        self.rebase(base);
        Ok(())
    }

    /// Puts the keys, users and roles of `other` in place of all there are. The index goes on above both, and no watcher may start before
    /// it: nobody can tell what happened in between.
    fn replace(&mut self, other: Self) {
        self.index = self.index.max(other.index) + 1;
        self.tree = other.tree;
        self.deadlines = other.deadlines;
        self.auth = other.auth;
        self.history.clear(self.index);
    }

    /// Lets what is left of all lifetimes since `base` count from now.
    pub(in crate::keyspace) fn rebase(&mut self, base: i64) {
        for key in self.deadlines.take() {
            let Some(node) = self.tree.get(key.as_bytes()) else { continue };
            let Some(left) = node.deadline.as_ref().map(|deadline| deadline.clock.saturating_sub(base))
            else {
                continue;
            };
            let (clock, wall) = (self.now.clock.saturating_add(left), self.now.wall.saturating_add(left));
            let node = Node { deadline: Some(Box::new(Deadline { clock, wall })), ..Node::clone(node) };
            self.deadlines.note(&node);
            self.tree.insert(node.into());
        }
    }

    /// Does what the passing of time calls for besides expiry.
    pub(in crate::keyspace) fn settle(&mut self) {
        if let Some(base) = self.base.take() {
            self.rebase(base);
        }
        let now = self.now.clock;
        self.staging.take_if(|staging| staging.limit() <= now);
    }
}

#[cfg(test)]
#[path = "restore_test.rs"]
mod tests;
