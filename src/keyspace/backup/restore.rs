//! Replacing the whole keyspace by the records of a backup. They come in many log entries and are staged beside the
//! keyspace, on every node alike; one last entry puts them in its place if their checksum is the expected one. Until
//! then nothing else is changed.

use std::mem;
use std::sync::Arc;

use super::check::{Check, Counts};
use super::format::{BackupError, link, records};
use super::step::{Digest, Restore, RestoreError, Restored, STAGED_LIMIT_BYTES, Staged};
use crate::clock::NANOS;
use crate::format::Version;
use crate::keyspace::{Applied, Deadline, Keyspace, Node, Record};

/// What is staged is dropped when nothing was added to it for so long on the cluster clock.
const ABANDONED_AFTER: i64 = 60 * NANOS;

impl From<BackupError> for RestoreError {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Damaged { what } => Self::Damaged { what },
            other => Self::Damaged { what: other.to_string() },
        }
    }
}

/// A keyspace that is being built beside the one in use.
#[derive(Debug)]
pub struct Staging {
    pub(in crate::keyspace) head: Staged,
    pub(in crate::keyspace) check: Check,
    pub(in crate::keyspace) keyspace: Box<Keyspace>,
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

    /// When it counts as abandoned, on the cluster clock.
    pub(in crate::keyspace) fn limit(&self) -> i64 {
        self.head.touched.saturating_add(ABANDONED_AFTER)
    }
}

impl Keyspace {
    /// The first keyspace of a new cluster, with the keys of a backup: `fill` is to hand in every chunk. What is left
    /// of lifetimes counts from the first entry that is applied. The backup needs `version` to be read, and so does the
    /// cluster.
    ///
    /// # Errors
    /// The records are no keyspace, or what `fill` says.
    pub fn found<E: From<BackupError>>(
        history: u64,
        version: Version,
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
        keyspace.version = version;
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
            Restore::Begin { version, .. } if *version > self.version => {
                return Err(RestoreError::TooEarly { needed: *version, cluster: self.version });
            }
            Restore::Begin { id, .. } => self.begin_restore(*id),
            Restore::Chunk { id, number, records } => self.stage(*id, *number, records)?,
            Restore::Commit { id, chunks, chain } => self.commit_restore(*id, *chunks, chain)?,
            Restore::Abort { id } => {
                let aborted = self.staging.take_if(|staging| staging.head.id == *id);
                self.outdated.staged(aborted);
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
            let earlier = self.staging.replace(Staging::new(head));
            self.outdated.staged(earlier);
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
            self.outdated.staged(self.staging.take());
        }
        result
    }

    fn commit_restore(&mut self, id: u64, chunks: u64, chain: &Digest) -> Result<(), RestoreError> {
        if self.is_restored(id) {
            return Ok(());
        }
        let staging = self.staging.take_if(|staging| staging.head.id == id).ok_or(RestoreError::Gone)?;
        let damaged = |what: &str| RestoreError::Damaged { what: what.into() };
        let whole = staging.head.chunks == chunks && staging.head.chain == *chain;
        let Some(base) = staging.check.clock().filter(|_| whole) else {
            self.outdated.staged(Some(staging));
            return Err(damaged(if whole {
                "it holds nothing"
            } else {
                "the checksum of the whole does not match"
            }));
        };
        self.replace(*staging.keyspace);
        self.restored = Some(Restored { id, index: self.index });
        self.rebase(base);
        Ok(())
    }

    /// Puts the keys, users and roles of `other` in place of all there are. The index goes on above both, and no watcher may start before
    /// it: nobody can tell what happened in between.
    fn replace(&mut self, other: Self) {
        self.index = self.index.max(other.index) + 1;
        let tree = mem::replace(&mut self.tree, other.tree);
        self.overwritten.note_all(&tree);
        let deadlines = mem::replace(&mut self.deadlines, other.deadlines);
        self.auth = other.auth;
        self.outdated.keys(tree, deadlines, self.history.clear(self.index));
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
            let node = Arc::new(node);
            if let Some(old) = self.tree.insert(node.clone()) {
                self.overwritten.note(&old, Some(&node));
            }
        }
    }

    /// Does what the passing of time calls for besides expiry.
    pub(in crate::keyspace) fn settle(&mut self) {
        if let Some(base) = self.base.take() {
            self.rebase(base);
        }
        let now = self.now.clock;
        let abandoned = self.staging.take_if(|staging| staging.limit() <= now);
        self.outdated.staged(abandoned);
    }
}

#[cfg(test)]
#[path = "restore_test.rs"]
mod tests;
