//! Raft's log, vote and purge point in sled. An entry is acknowledged only after `flush`; one flush serves all
//! entries that wait for it, on a thread of its own so that no async thread ever waits for the disk.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Instant;

use futures_util::{Stream, stream};
use openraft::entry::RaftPayload;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{EntryPayload, LogState, RaftLogReader};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::metrics::{Metrics, observe};
use super::types::{RaftEntry, RaftLogId, RaftVote, TypeConfig};

/// How many bytes of recent entries are kept decoded, for followers that are about to ask for them.
const CACHE_BYTES: usize = 32 << 20;

/// About how many bytes of entries go to a follower or are applied at a time; an entry larger than that goes alone.
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
    metrics: Arc<Metrics>,
}

/// Work for the disk thread.
enum Job {
    /// Flush, then tell. The instant is when the append began.
    Flush(IOFlushed<TypeConfig>, Instant),
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
    pub fn open(folder: &Path, metrics: Arc<Metrics>) -> io::Result<Self> {
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
        let worker = (db.clone(), log.clone(), metrics.clone());
        std::thread::Builder::new()
            .name("log-flush".into())
            .spawn(move || run_jobs(&worker.0, &worker.1, &jobs, &worker.2))?;
        let inner = Inner { db, log, meta, vote: Mutex::new(vote), cache: Mutex::default(), disk, metrics };
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
fn run_jobs(db: &sled::Db, log: &sled::Tree, jobs: &mpsc::Receiver<Job>, metrics: &Metrics) {
    while let Ok(first) = jobs.recv() {
        let mut waiting = Vec::new();
        for job in std::iter::once(first).chain(jobs.try_iter()) {
            match job {
                Job::Flush(told, began) => waiting.push((told, began)),
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
        let began = Instant::now();
        let result = db.flush();
        observe(&metrics.flush, began.elapsed());
        metrics.flush_appends.observe(waiting.len() as f64);
        for (told, began) in waiting {
            observe(&metrics.append, began.elapsed());
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

    /// The entries from `start` on, if the cache has the first of them: about `limit` bytes, and at least one.
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

fn weight(entry: &RaftEntry) -> usize {
    let payload = match &entry.payload {
        EntryPayload::Normal(proposal) => proposal.commands.len(),
        _ => entry.payload.get_membership().map_or(0, |_| 256),
    };
    payload + 128
}

impl LogStore {
    /// The entries from `from` to `end`: about `limit` bytes of them, and at least one if there is one.
    fn read(&self, from: u64, end: Bound<u64>, limit: usize) -> io::Result<Vec<RaftEntry>> {
        let past_end = match end {
            Bound::Included(end) => from > end,
            Bound::Excluded(end) => from >= end,
            Bound::Unbounded => false,
        };
        if past_end {
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
}

fn first_of(range: &impl RangeBounds<u64>) -> u64 {
    match range.start_bound() {
        Bound::Included(index) => *index,
        Bound::Excluded(index) => index + 1,
        Bound::Unbounded => 0,
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    /// All of them: openraft takes what is missing for not there.
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<RaftEntry>> {
        self.read(first_of(&range), range.end_bound().cloned(), usize::MAX)
    }

    /// As many as go to a follower at a time.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<RaftEntry>> {
        self.read(start, Bound::Excluded(end), READ_BYTES)
    }

    /// All of them, a few at a time: what is applied may be more than should be in memory at once.
    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<RaftEntry>> + Send
    where
        RB: RangeBounds<u64> + Clone + Debug + Send,
    {
        let end = range.end_bound().cloned();
        let start = (self.clone(), first_of(&range), VecDeque::new());
        stream::try_unfold(start, move |(log, next, mut read)| async move {
            if read.is_empty() {
                read = log.read(next, end, READ_BYTES)?.into();
            }
            let Some(entry) = read.pop_front() else { return Ok(None) };
            let next = entry.log_id.index + 1;
            Ok(Some((entry, (log, next, read))))
        })
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
        let began = Instant::now();
        let mut batch = sled::Batch::default();
        let mut cache = self.cache();
        for entry in entries {
            let encoded = encode(&entry)?;
            self.0.metrics.log_bytes.inc_by(encoded.len() as u64);
            batch.insert(&entry.log_id.index.to_be_bytes(), encoded);
            cache.push(entry);
        }
        drop(cache);
        self.0.log.apply_batch(batch)?;
        self.send(Job::Flush(callback, began))
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
    use bytes::Bytes;
    use futures_util::TryStreamExt;

    use super::super::types::{CommittedLeader, Proposal, Ticket};
    use super::*;
    use crate::clock::Stamp;

    fn large(index: u64) -> RaftEntry {
        let ticket = Ticket { node: 1, session: 1, seq: index };
        let commands = Bytes::from(vec![0; READ_BYTES * 2 / 3]);
        let payload = EntryPayload::Normal(Proposal { at: Stamp::default(), ticket, commands });
        RaftEntry { log_id: RaftLogId::new(CommittedLeader::new(1), index), payload }
    }

    #[tokio::test]
    async fn a_range_is_read_whole_however_large_it_is_and_in_pieces_for_a_follower() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogStore::open(folder.path(), Metrics::new().unwrap()).unwrap();
        for index in 1..=5_u64 {
            log.0.log.insert(index.to_be_bytes(), encode(&large(index)).unwrap()).unwrap();
        }
        let indexes = |entries: Vec<RaftEntry>| entries.iter().map(|e| e.log_id.index).collect::<Vec<u64>>();
        for cached in [false, true] {
            if cached {
                (1..=5).for_each(|index| log.cache().push(large(index)));
            }
            assert_eq!(indexes(log.try_get_log_entries(2..6).await.unwrap()), [2, 3, 4, 5]);
            assert_eq!(indexes(log.limited_get_log_entries(2, 6).await.unwrap()), [2]);
            let all: Vec<RaftEntry> = log.entries_stream(2..=4).await.try_collect().await.unwrap();
            assert_eq!(indexes(all), [2, 3, 4]);
            assert!(log.try_get_log_entries(3..3).await.unwrap().is_empty());
        }
    }
}
