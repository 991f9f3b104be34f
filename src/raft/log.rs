//! Raft's log, vote and purge point in sled. An entry is acknowledged only after `flush`; one flush serves all
//! entries that wait for it, on a thread of its own so that no async thread ever waits for the disk.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use futures_util::{Stream, TryStreamExt, stream};
use openraft::entry::RaftPayload;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{EntryPayload, LogState, RaftLogReader};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::types::{RaftEntry, RaftLogId, RaftVote, TypeConfig};

/// How many bytes of recent entries are kept decoded, for followers that are about to ask for them.
const CACHE_BYTES: usize = 32 << 20;

/// About how many bytes of entries are read at a time where not all are needed at once; an entry larger than that
/// comes alone.
const READ_BYTES: usize = 4 << 20;

const VOTE: &str = "vote";
const PURGED: &str = "purged";
const COMMITTED: &str = "committed";

/// Raft's log on disk. Clones share it.
#[derive(Clone)]
pub struct LogStore(Arc<Inner>);

struct Inner {
    db: sled::Db,
    log: sled::Tree,
    meta: sled::Tree,
    vote: Mutex<Option<RaftVote>>,
    cache: Mutex<Cache>,
    disk: mpsc::Sender<Job>,
}

/// Work for the disk thread.
enum Job {
    /// Flush, then tell.
    Flush(IOFlushed<TypeConfig>),
    /// Remove entries up to and including this index.
    Remove(u64),
}

#[derive(Default)]
struct Cache {
    entries: BTreeMap<u64, RaftEntry>,
    bytes: usize,
}

impl LogStore {
    /// Opens or makes the log in `folder`.
    ///
    /// # Errors
    /// The folder cannot be used, another process holds it, or what it holds cannot be read.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let db = sled::Config::new()
            .path(folder)
            .flush_every_ms(None)
            .cache_capacity(64 << 20)
            .mode(sled::Mode::HighThroughput)
            .open()
            .map_err(|error| in_use(error.into()))?;
        let log = db.open_tree("log")?;
        let meta = db.open_tree("meta")?;
        let vote = read(&meta, VOTE)?;
        if let Some(purged) = read::<RaftLogId>(&meta, PURGED)? {
            remove(&log, purged.index)?;
        }
        let (disk, jobs) = mpsc::channel();
        let worker = (db.clone(), log.clone());
        std::thread::Builder::new()
            .name("log-flush".into())
            .spawn(move || run_jobs(&worker.0, &worker.1, &jobs))?;
        let inner = Inner { db, log, meta, vote: Mutex::new(vote), cache: Mutex::default(), disk };
        Ok(Self(Arc::new(inner)))
    }

    /// A small durable value beside the log, such as who this node is.
    ///
    /// # Errors
    /// The disk fails, or the value cannot be read as `T`.
    pub fn read_meta<T: DeserializeOwned>(&self, key: &str) -> io::Result<Option<T>> {
        read(&self.0.meta, key)
    }

    /// Writes a small value beside the log; durable when this returns.
    ///
    /// # Errors
    /// The disk fails.
    pub fn write_meta<T: Serialize>(&self, key: &str, value: &T) -> io::Result<()> {
        self.0.meta.insert(key, encode(value)?)?;
        self.0.db.flush()?;
        Ok(())
    }

    /// Bytes on disk.
    ///
    /// # Errors
    /// The disk fails.
    pub fn size_on_disk(&self) -> io::Result<u64> {
        Ok(self.0.db.size_on_disk()?)
    }

    /// The entries from index `from` on: all of them, or those that fit into `limit` bytes and at least one.
    fn entries(&self, from: u64, end: Bound<u64>, limit: usize) -> io::Result<Vec<RaftEntry>> {
        if matches!(end, Bound::Excluded(end) if end <= from)
            || matches!(end, Bound::Included(end) if end < from)
        {
            return Ok(Vec::new());
        }
        if let Some(entries) = self.cache().range(from, end, limit) {
            return Ok(entries);
        }
        let bounds = (Bound::Included(from.to_be_bytes()), end.map(u64::to_be_bytes));
        let mut entries = Vec::new();
        let mut bytes = 0;
        for item in self.0.log.range(bounds) {
            let (index, value) = item?;
            bytes += value.len();
            if !entries.is_empty() && bytes > limit {
                break;
            }
            entries.push(decode_entry(&index, &value)?);
        }
        Ok(entries)
    }

    async fn flushed(&self) -> io::Result<()> {
        let db = self.0.db.clone();
        tokio::task::spawn_blocking(move || db.flush()).await.map_err(io::Error::other)??;
        Ok(())
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.0.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, job: Job) -> io::Result<()> {
        self.0.disk.send(job).map_err(|_| io::Error::other("the log's disk thread has ended"))
    }
}

/// Says in plain words that another process holds the folder; sled itself prints the system's error as a structure.
fn in_use(error: io::Error) -> io::Error {
    if error.to_string().contains("could not acquire lock") {
        return io::Error::new(io::ErrorKind::WouldBlock, "another process is using it");
    }
    error
}

/// The disk thread: takes everything that waits, flushes once, tells everyone.
fn run_jobs(db: &sled::Db, log: &sled::Tree, jobs: &mpsc::Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let mut waiting = Vec::new();
        for job in std::iter::once(first).chain(jobs.try_iter()) {
            match job {
                Job::Flush(told) => waiting.push(told),
                Job::Remove(upto) => {
                    if let Err(error) = remove(log, upto) {
                        tracing::error!(%error, upto, "cannot remove old log entries");
                    }
                }
            }
        }
        if waiting.is_empty() {
            continue;
        }
        let result = db.flush();
        for told in waiting {
            told.io_completed(match &result {
                Ok(_) => Ok(()),
                Err(error) => Err(io::Error::other(error.clone())),
            });
        }
    }
}

/// Removes entries up to and including `upto`, in steps small enough not to hold up a flush for long.
fn remove(log: &sled::Tree, upto: u64) -> Result<(), sled::Error> {
    for key in log.range(..=upto.to_be_bytes()).keys() {
        log.remove(key?)?;
    }
    Ok(())
}

fn encode<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    postcard::to_allocvec(value).map_err(io::Error::other)
}

fn read<T: DeserializeOwned>(tree: &sled::Tree, key: &str) -> io::Result<Option<T>> {
    let Some(bytes) = tree.get(key)? else { return Ok(None) };
    decode(&bytes, key).map(Some)
}

fn decode<T: DeserializeOwned>(bytes: &[u8], what: &str) -> io::Result<T> {
    postcard::from_bytes(bytes).map_err(|e| {
        io::Error::new(io::ErrorKind::InvalidData, format!("damaged {what} in the raft log: {e}"))
    })
}

fn decode_entry(index: &[u8], bytes: &[u8]) -> io::Result<RaftEntry> {
    let index = index.try_into().map(u64::from_be_bytes).unwrap_or_default();
    decode(bytes, &format!("entry {index}"))
}

impl Cache {
    fn push(&mut self, entry: RaftEntry) {
        self.bytes += weight(&entry);
        if let Some(old) = self.entries.insert(entry.log_id.index, entry) {
            self.bytes -= weight(&old);
        }
        while self.bytes > CACHE_BYTES
            && let Some((_, old)) = self.entries.pop_first()
        {
            self.bytes -= weight(&old);
        }
    }

    /// Keeps the entries that `keep` accepts by index.
    fn retain(&mut self, keep: impl Fn(u64) -> bool) {
        self.entries.retain(|index, _| keep(*index));
        self.bytes = self.entries.values().map(weight).sum();
    }

    /// The entries from `start` on as far as they fit into `limit` bytes, if the cache has the first of them.
    fn range(&self, start: u64, end: Bound<u64>, limit: usize) -> Option<Vec<RaftEntry>> {
        self.entries.contains_key(&start).then(|| {
            let mut bytes = 0;
            let fits = |entry: &&RaftEntry| {
                bytes += weight(entry);
                bytes == weight(entry) || bytes <= limit
            };
            self.entries
                .range((Bound::Included(start), end))
                .map(|(_, e)| e)
                .take_while(fits)
                .cloned()
                .collect()
        })
    }
}

/// The first index of a range.
fn first(range: &impl RangeBounds<u64>) -> u64 {
    match range.start_bound() {
        Bound::Included(index) => *index,
        Bound::Excluded(index) => index + 1,
        Bound::Unbounded => 0,
    }
}

fn weight(entry: &RaftEntry) -> usize {
    let payload = match &entry.payload {
        EntryPayload::Normal(proposal) => proposal.commands.len(),
        _ => entry.payload.get_membership().map_or(0, |_| 256),
    };
    payload + 128
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<RaftEntry>> {
        self.entries(first(&range), range.end_bound().cloned(), usize::MAX)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<RaftEntry>> {
        self.entries(start, Bound::Excluded(end), READ_BYTES)
    }

    /// Read in parts, so that applying many large entries does not need them all in memory.
    async fn entries_stream<RB: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = io::Result<RaftEntry>> + Send {
        let end = range.end_bound().cloned();
        let parts = stream::try_unfold((self.clone(), first(&range)), move |(log, from)| async move {
            let entries = log.entries(from, end, READ_BYTES)?;
            let next = entries.last().map(|last| last.log_id.index + 1);
            io::Result::Ok(next.map(|next| (stream::iter(entries.into_iter().map(Ok)), (log, next))))
        });
        parts.try_flatten()
    }

    async fn read_vote(&mut self) -> io::Result<Option<RaftVote>> {
        Ok(*self.0.vote.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let purged: Option<RaftLogId> = read(&self.0.meta, PURGED)?;
        let last = match self.0.log.last()? {
            Some((index, value)) => Some(decode_entry(&index, &value)?.log_id),
            None => None,
        };
        Ok(LogState { last_purged_log_id: purged, last_log_id: last.max(purged) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &RaftVote) -> io::Result<()> {
        self.0.meta.insert(VOTE, encode(vote)?)?;
        self.flushed().await?;
        *self.0.vote.lock().unwrap_or_else(PoisonError::into_inner) = Some(*vote);
        Ok(())
    }

    /// Kept without a flush: it only spares a restarted node the wait for a leader before it applies what it has.
    async fn save_committed(&mut self, committed: Option<RaftLogId>) -> io::Result<()> {
        self.0.meta.insert(COMMITTED, encode(&committed)?)?;
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<RaftLogId>> {
        Ok(read(&self.0.meta, COMMITTED)?.flatten())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = RaftEntry> + Send,
        I::IntoIter: Send,
    {
        let mut batch = sled::Batch::default();
        let mut cache = self.cache();
        for entry in entries {
            batch.insert(&entry.log_id.index.to_be_bytes(), encode(&entry)?);
            cache.push(entry);
        }
        drop(cache);
        self.0.log.apply_batch(batch)?;
        self.send(Job::Flush(callback))
    }

    async fn truncate_after(&mut self, last: Option<RaftLogId>) -> io::Result<()> {
        let from = last.map_or(0, |id| id.index + 1);
        self.cache().retain(|index| index < from);
        let mut batch = sled::Batch::default();
        for key in self.0.log.range(from.to_be_bytes()..).keys() {
            batch.remove(key?);
        }
        self.0.log.apply_batch(batch)?;
        self.flushed().await
    }

    async fn purge(&mut self, upto: RaftLogId) -> io::Result<()> {
        // The marker goes first: a crash in between leaves entries that nobody asks for, never a gap.
        self.0.meta.insert(PURGED, encode(&upto)?)?;
        self.cache().retain(|index| index > upto.index);
        self.send(Job::Remove(upto.index))
    }
}

#[cfg(test)]
mod tests {
    use openraft::EntryPayload;

    use super::super::types::{CommittedLeader, Proposal, Ticket};
    use super::*;
    use crate::clock::Stamp;

    /// A log of large entries: each is a part of its own.
    fn large(folder: &Path, count: u64) -> LogStore {
        let log = LogStore::open(folder).unwrap();
        let mut batch = sled::Batch::default();
        for index in 0..count {
            let ticket = Ticket { node: 1, session: 1, seq: index };
            let commands = vec![0; READ_BYTES / 2 + 1].into();
            let proposal = Proposal { at: Stamp::default(), ticket, commands };
            let log_id = RaftLogId::new(CommittedLeader::new(1), index);
            let entry = RaftEntry { log_id, payload: EntryPayload::Normal(proposal) };
            batch.insert(&index.to_be_bytes(), encode(&entry).unwrap());
            log.cache().push(entry);
        }
        log.0.log.apply_batch(batch).unwrap();
        log
    }

    #[tokio::test]
    async fn all_entries_of_a_range_are_read_however_large_they_are_from_disk_and_from_memory() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = large(folder.path(), 5);
        for _ in 0..2 {
            assert_eq!(log.try_get_log_entries(1..5).await.unwrap().len(), 4);
            assert_eq!(log.try_get_log_entries(1..=3).await.unwrap().len(), 3);
            assert_eq!(log.try_get_log_entries(..).await.unwrap().len(), 5);
            assert!(log.try_get_log_entries(3..3).await.unwrap().is_empty());
            assert_eq!(log.limited_get_log_entries(1, 5).await.unwrap().len(), 1);
            let streamed: Vec<RaftEntry> = log.entries_stream(1..5).await.try_collect().await.unwrap();
            let indexes: Vec<u64> = streamed.iter().map(|entry| entry.log_id.index).collect();
            assert_eq!(indexes, [1, 2, 3, 4]);
            log.cache().retain(|_| false);
        }
    }
}
