//! Raft's log, vote and purge point in sled. An entry is acknowledged only after `flush`; one flush serves all
//! entries that wait for it, on a thread of its own so that no async thread ever waits for the disk.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use openraft::entry::RaftPayload;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{EntryPayload, LogState, RaftLogReader};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::seal::{self, Link};
use super::types::{RaftEntry, RaftLogId, RaftVote, TypeConfig};
use super::verify;
use super::watermark::Watermark;

/// How many bytes of recent entries are kept decoded, for followers that are about to ask for them.
const CACHE_BYTES: usize = 32 << 20;

/// About how many bytes of entries one read returns; an entry larger than that comes alone.
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
    /// The last entry appended, from which the next one's seal goes on.
    tail: Mutex<Option<Link>>,
    cache: Mutex<Cache>,
    watermark: Arc<Mutex<Watermark>>,
    disk: mpsc::Sender<Job>,
}

/// Work for the disk thread.
enum Job {
    /// Flush, note the last entry, then tell.
    Flush(IOFlushed<TypeConfig>, Option<RaftLogId>),
    /// Claim nothing after this entry, because later ones are about to be removed.
    Lower(Option<RaftLogId>, oneshot::Sender<io::Result<()>>),
    /// Remove entries up to and including this index.
    Remove(u64),
}

#[derive(Default)]
struct Cache {
    entries: BTreeMap<u64, RaftEntry>,
    bytes: usize,
}

impl LogStore {
    /// Opens or makes the log in `folder`, with its watermark beside that. Everything in it is read once.
    ///
    /// # Errors
    /// The folder cannot be used, another process holds it, or it does not hold all that was acknowledged; the error
    /// names the file.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", folder.display()));
        let watermark = Watermark::open(folder.with_file_name("watermark"), !folder.exists())?;
        let opened = verify::guarded(|| open_sled(folder, &watermark)).map_err(named)?;
        let Opened { db, log, meta, vote, tail } = opened;
        let watermark = Arc::new(Mutex::new(watermark));
        let (disk, jobs) = mpsc::channel();
        let mut worker = Worker { db: db.clone(), log: log.clone(), watermark: watermark.clone() };
        std::thread::Builder::new().name("log-flush".into()).spawn(move || worker.run(&jobs))?;
        let (vote, tail) = (Mutex::new(vote), Mutex::new(tail));
        Ok(Self(Arc::new(Inner { db, log, meta, vote, tail, cache: Mutex::default(), watermark, disk })))
    }

    /// The last entry that is no longer in the log because a snapshot covers it.
    ///
    /// # Errors
    /// The disk fails, or what it holds is damaged.
    pub fn purged(&self) -> io::Result<Option<RaftLogId>> {
        read(&self.0.meta, PURGED)
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

    fn cache(&self) -> MutexGuard<'_, Cache> {
        lock(&self.0.cache)
    }

    fn send(&self, job: Job) -> io::Result<()> {
        self.0.disk.send(job).map_err(|_| io::Error::other("the log's disk thread has ended"))
    }
}

/// What a log is opened to.
struct Opened {
    db: sled::Db,
    log: sled::Tree,
    meta: sled::Tree,
    vote: Option<RaftVote>,
    tail: Option<Link>,
}

fn open_sled(folder: &Path, watermark: &Watermark) -> io::Result<Opened> {
    let db = sled::Config::new()
        .path(folder)
        .flush_every_ms(None)
        .cache_capacity(64 << 20)
        .mode(sled::Mode::HighThroughput)
        .open()
        .map_err(unopened)?;
    let log = db.open_tree("log")?;
    let meta = db.open_tree("meta")?;
    let vote = read(&meta, VOTE)?;
    let purged = read::<RaftLogId>(&meta, PURGED)?;
    if let Some(purged) = purged {
        remove(&log, purged.index)?;
    }
    let tail = verify::log(&log, purged, vote, watermark)?;
    Ok(Opened { db, log, meta, vote, tail })
}

/// Says in plain words what sled could not open; it prints errors of the system as structures.
fn unopened(error: sled::Error) -> io::Error {
    match error {
        sled::Error::Io(error) if error.to_string().contains("could not acquire lock") => {
            io::Error::new(io::ErrorKind::WouldBlock, "another process is using it")
        }
        sled::Error::Io(error) => error,
        other => verify::damaged(&other.to_string()),
    }
}

/// The disk thread.
struct Worker {
    db: sled::Db,
    log: sled::Tree,
    watermark: Arc<Mutex<Watermark>>,
}

impl Worker {
    /// Takes everything that waits, flushes once, tells everyone; until the log is dropped.
    fn run(&mut self, jobs: &mpsc::Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let mut waiting = Vec::new();
            let mut last = None;
            let mut lowered = None;
            for job in std::iter::once(first).chain(jobs.try_iter()) {
                match job {
                    Job::Flush(told, entry) => {
                        waiting.push(told);
                        last = entry.or(last);
                    }
                    Job::Lower(to, told) => {
                        lowered = Some((to, told));
                        // What was appended before must be noted before.
                        break;
                    }
                    Job::Remove(upto) => {
                        if let Err(error) = remove(&self.log, upto) {
                            tracing::error!(%error, upto, "cannot remove old log entries");
                        }
                    }
                }
            }
            if !waiting.is_empty() {
                let result = self.flush(last);
                for told in waiting {
                    told.io_completed(
                        result.as_ref().copied().map_err(|e| io::Error::new(e.kind(), e.to_string())),
                    );
                }
            }
            if let Some((to, told)) = lowered {
                // The log may have been dropped meanwhile.
                let _ = told.send(lock(&self.watermark).lower(to));
            }
        }
    }

    fn flush(&self, last: Option<RaftLogId>) -> io::Result<()> {
        if super::faults::acknowledges_early() {
            return Ok(());
        }
        self.db.flush()?;
        match last {
            Some(_) => lock(&self.watermark).note_last(last),
            None => Ok(()),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    seal::open(verify::index(index)?, bytes).map(|(entry, ..)| entry)
}

fn link(index: &[u8], bytes: &[u8]) -> io::Result<Link> {
    seal::open(verify::index(index)?, bytes).map(|(.., link)| link)
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

    /// The entries from `start` on, if the cache has the first of them.
    fn range(&self, start: u64, end: Bound<u64>) -> Option<Vec<RaftEntry>> {
        self.entries.contains_key(&start).then(|| {
            let mut bytes = 0;
            let fits = |entry: &&RaftEntry| {
                bytes += weight(entry);
                bytes == weight(entry) || bytes <= READ_BYTES
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

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<RaftEntry>> {
        let from = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index + 1,
            Bound::Unbounded => 0,
        };
        let end = range.end_bound().cloned();
        if matches!(end, Bound::Excluded(end) if end <= from) {
            return Ok(Vec::new());
        }
        if let Some(entries) = self.cache().range(from, end) {
            return Ok(entries);
        }
        let bounds = (Bound::Included(from.to_be_bytes()), end.map(u64::to_be_bytes));
        let mut entries = Vec::new();
        let mut bytes = 0;
        for item in self.0.log.range(bounds) {
            let (index, value) = item?;
            bytes += value.len();
            if !entries.is_empty() && bytes > READ_BYTES {
                break;
            }
            entries.push(decode_entry(&index, &value)?);
        }
        Ok(entries)
    }

    async fn read_vote(&mut self) -> io::Result<Option<RaftVote>> {
        Ok(*lock(&self.0.vote))
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
        lock(&self.0.watermark).note_vote(*vote)?;
        *lock(&self.0.vote) = Some(*vote);
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
        let mut last = None;
        let mut cache = self.cache();
        let mut tail = lock(&self.0.tail);
        for entry in entries {
            let (bytes, link) = seal::seal(*tail, &entry)?;
            batch.insert(&entry.log_id.index.to_be_bytes(), bytes);
            *tail = Some(link);
            last = Some(entry.log_id);
            cache.push(entry);
        }
        drop((cache, tail));
        self.0.log.apply_batch(batch)?;
        self.send(Job::Flush(callback, last))
    }

    async fn truncate_after(&mut self, last: Option<RaftLogId>) -> io::Result<()> {
        let from = last.map_or(0, |id| id.index + 1);
        let (tell, told) = oneshot::channel();
        self.send(Job::Lower(last, tell))?;
        told.await.map_err(io::Error::other)??;
        self.cache().retain(|index| index < from);
        *lock(&self.0.tail) = match last.map(|id| id.index.to_be_bytes()) {
            Some(key) => self.0.log.get(key)?.map(|value| link(&key, &value)).transpose()?,
            None => None,
        };
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
