//! Raft's log: entries and the vote, in the write-ahead log. Both are acknowledged only after they are durable, and no
//! async thread waits for their flush. What comes once or rarely does wait: the look at the log's end when raft starts,
//! and the note of a version that the data folder needs from then on.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use futures_util::{Stream, TryStreamExt, stream};
use openraft::entry::RaftPayload;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{EntryPayload, LogState, RaftLogReader};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, oneshot, watch};

use super::medium::Directory;
use super::room::Room;
use super::wal::{Opened, SIZES, Told, Wal};
use crate::format::{self, LOWEST};
use crate::keyspace::batch;
use crate::raft::data_version;
use crate::raft::data_version::DAMAGE_ADVICE;
use crate::raft::metrics::{Metrics, observe};
use crate::raft::types::{Peer, RaftEntry, RaftLogId, RaftVote, TypeConfig};

/// Bytes of a segment on disk, of a log with the usual sizes.
pub const SEGMENT_BYTES: u64 = SIZES.segment;

/// How many bytes of recent entries are kept decoded, for followers that are about to ask for them.
const CACHE_BYTES: usize = 32 << 20;

/// About how many bytes of entries are read at a time where not all are needed at once; an entry larger than that
/// comes alone.
const READ_BYTES: usize = 4 << 20;

/// After so many bytes of entries it is told that the log has grown.
const LOOK_BYTES: u64 = 4 << 20;

/// Raft's log on disk. Clones share it.
#[derive(Clone)]
pub struct LogStore(Arc<Inner>);

struct Inner {
    wal: Wal,
    purged: Mutex<Option<RaftLogId>>,
    committed: u64,
    vote: Mutex<Option<RaftVote>>,
    cache: Mutex<Cache>,
    /// Told now and then while entries come in.
    grown: Notify,
    /// Bytes that came in since then.
    growth: AtomicU64,
    given_up: watch::Sender<u64>,
    metrics: Arc<Metrics>,
    data_dir: PathBuf,
    /// The version that the data folder is known to say it needs.
    noted: AtomicU16,
}

#[derive(Default)]
struct Cache {
    entries: BTreeMap<u64, RaftEntry>,
    bytes: usize,
}

impl LogStore {
    /// Opens or makes the log in the data folder. It must be there already when the member is `known`.
    ///
    /// # Errors
    /// The folder cannot be used, or what it holds is damaged or incomplete; the error names it.
    pub fn open(data_dir: &Path, known: bool, metrics: Arc<Metrics>) -> io::Result<Self> {
        let medium = Arc::new(Directory::new(data_dir));
        let (wal, opened) = Wal::open(medium, SIZES, known, metrics.clone())?;
        let Opened { purged, vote, committed } = opened;
        let vote: Option<RaftVote> = vote.map(|bytes| decode(&bytes, "vote")).transpose()?;
        let purged: Option<RaftLogId> = purged.map(|bytes| decode(&bytes, "purge point")).transpose()?;
        let (first, _) = wal.range();
        let start = purged.map_or(0, |id| id.index + 1);
        if start < first {
            return Err(lost(data_dir, &format!("entries {start} to {} are missing", first - 1)));
        }
        let vote = Mutex::new(vote);
        let (purged, cache) = (Mutex::new(purged), Mutex::default());
        let data_dir = data_dir.to_path_buf();
        let noted = AtomicU16::new(LOWEST.number());
        let (grown, growth, given_up) = (Notify::new(), AtomicU64::new(0), watch::Sender::new(0));
        let inner =
            Inner { wal, purged, committed, vote, cache, grown, growth, given_up, metrics, data_dir, noted };
        Ok(Self(Arc::new(inner)))
    }

    /// The last entry that is no longer in the log because a snapshot has it.
    pub fn purged(&self) -> Option<RaftLogId> {
        *lock(&self.0.purged)
    }

    /// Nothing was ever written here.
    pub fn is_untouched(&self) -> bool {
        let (first, next) = self.0.wal.range();
        first == next && self.purged().is_none() && lock(&self.0.vote).is_none()
    }

    /// Where to wait for room.
    pub fn room(&self) -> &Arc<Room> {
        self.0.wal.room()
    }

    /// Bytes of a segment on disk.
    pub fn segment_bytes(&self) -> u64 {
        self.0.wal.segment_bytes()
    }

    /// Bytes of the entries up to index `covered`, of those behind it up to `applied`, and of the rest.
    pub fn bytes_between(&self, covered: u64, applied: u64) -> [u64; 3] {
        self.0.wal.bytes_between([covered, applied.max(covered)])
    }

    /// The index up to which entries must go so that those up to and including `upto` take at most `keep` bytes; `None`
    /// when they do.
    pub fn purge_for(&self, upto: u64, keep: u64) -> Option<u64> {
        self.0.wal.purge_for(upto, keep)
    }

    /// Waits until the log's files take more room than they did.
    pub async fn grown(&self) {
        self.0.grown.notified().await;
    }

    /// Entries up to `index` are about to be purged: nobody shall be sent any of them.
    pub fn give_up(&self, index: u64) {
        self.0.given_up.send_if_modified(|known| {
            let more = index + 1 > *known;
            *known = (*known).max(index + 1);
            more
        });
    }

    /// Follows before which index entries are about to be purged; 0 when none are.
    pub fn given_up(&self) -> watch::Receiver<u64> {
        self.0.given_up.subscribe()
    }

    /// Whether raft has run here: then there is a vote, or a leader was followed.
    pub fn has_vote(&self) -> bool {
        lock(&self.0.vote).is_some()
    }

    /// Bytes of the segments on disk.
    pub fn size_on_disk(&self) -> u64 {
        self.room().bytes()
    }

    /// The last entry's id, or that of the last one that was removed behind a snapshot.
    ///
    /// # Errors
    /// The disk fails, or the entry cannot be read.
    pub fn last_id(&self) -> io::Result<Option<RaftLogId>> {
        let (first, next) = self.0.wal.range();
        let last = if next > first { self.entry(next - 1)?.map(|entry| entry.log_id) } else { None };
        Ok(last.max(self.purged()))
    }

    /// The newest membership in the log.
    ///
    /// # Errors
    /// The disk fails, or an entry cannot be read.
    pub fn last_membership(&self) -> io::Result<Option<openraft::Membership<u64, Peer>>> {
        let (first, next) = self.0.wal.range();
        for index in (first..next).rev() {
            if let Some(EntryPayload::Membership(membership)) = self.entry(index)?.map(|entry| entry.payload)
            {
                return Ok(Some(membership));
            }
        }
        Ok(None)
    }

    /// Appends entries behind `last` while raft does not run; durable when this returns. When a snapshot has more than
    /// the log, the log goes on behind the snapshot.
    ///
    /// # Errors
    /// The disk fails.
    pub fn append_durably(&self, last: RaftLogId, entries: &[RaftEntry]) -> io::Result<()> {
        if self.0.wal.range().1 <= last.index {
            let id = encode(&last)?;
            wait(|told| self.0.wal.purge(last.index, id, told))?;
        }
        let encoded = entries.iter().map(|entry| Ok((entry.log_id.index, encode(entry)?)));
        let encoded = encoded.collect::<io::Result<Vec<_>>>()?;
        wait(|told| self.0.wal.append(encoded, told))
    }

    /// Makes sure that this process knows the version of an entry, and that the data folder says so before it is there.
    fn prepare(&self, entry: &RaftEntry) -> io::Result<()> {
        let EntryPayload::Normal(proposal) = &entry.payload else { return Ok(()) };
        let needed = batch::check(&proposal.commands).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("log entry {}: {error}", entry.log_id))
        })?;
        if needed.number() > self.0.noted.load(Ordering::Relaxed) {
            data_version::raise(&self.0.data_dir, needed)?;
            self.0.noted.store(needed.number(), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Notes that so many bytes come in.
    fn grow(&self, bytes: u64) {
        self.0.metrics.log_bytes.inc_by(bytes);
        if self.0.growth.fetch_add(bytes, Ordering::Relaxed) + bytes >= LOOK_BYTES {
            self.0.growth.store(0, Ordering::Relaxed);
            self.0.grown.notify_one();
        }
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        lock(&self.0.cache)
    }

    /// Runs `work`, which writes, and waits until that is durable.
    async fn durable(&self, work: impl FnOnce(&Wal, Told) -> io::Result<()>) -> io::Result<()> {
        let (tell, told) = oneshot::channel();
        // The receiver waits below.
        work(&self.0.wal, Box::new(move |result| drop(tell.send(result))))?;
        told.await.map_err(|_| io::Error::other("the log's disk thread has ended"))?
    }

    /// The entries from index `from` up to but not including `until`: all that there are, or as many as fit into about
    /// `limit` bytes and at least one. None when the first of them is not in the log, for example because it was purged
    /// a moment ago.
    async fn entries(&self, from: u64, until: u64, limit: usize) -> io::Result<Vec<RaftEntry>> {
        if until <= from {
            return Ok(Vec::new());
        }
        if let Some(entries) = self.cache().range(from, Bound::Excluded(until), limit) {
            return Ok(entries);
        }
        let log = self.clone();
        tokio::task::spawn_blocking(move || log.read(from, until, limit)).await.map_err(io::Error::other)?
    }

    /// As [`LogStore::entries`]: reads from the disk, and goes on in the cache with what is not durable yet. Blocks.
    fn read(&self, from: u64, until: u64, limit: usize) -> io::Result<Vec<RaftEntry>> {
        let mut entries: Vec<RaftEntry> = Vec::new();
        let mut next = from;
        let mut left = limit;
        while next < until {
            // What is not durable is in the cache. What leaves the cache between these two looks is durable by then.
            let cached = self.cache().range(next, Bound::Excluded(until), left);
            let found = match cached {
                Some(found) => found,
                None => {
                    let durable = until.min(self.0.wal.durable_until());
                    let found = self.0.wal.read(next, durable, left)?;
                    found.iter().map(|bytes| decode(bytes, "entry")).collect::<io::Result<_>>()?
                }
            };
            let Some(last) = found.last() else { break };
            next = last.log_id.index + 1;
            left = left.saturating_sub(found.iter().map(weight).sum());
            entries.extend(found);
            if left == 0 {
                break;
            }
        }
        Ok(entries)
    }

    /// The bounds of a range: the first index, and the one behind the last.
    fn bounds(&self, range: &impl RangeBounds<u64>) -> (u64, u64) {
        let (first, next) = self.0.wal.range();
        let from = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index + 1,
            Bound::Unbounded => first,
        };
        let until = match range.end_bound() {
            Bound::Included(index) => index + 1,
            Bound::Excluded(index) => *index,
            Bound::Unbounded => next,
        };
        (from, until)
    }

    fn entry(&self, index: u64) -> io::Result<Option<RaftEntry>> {
        if let Some(entry) = self.cache().entries.get(&index) {
            return Ok(Some(entry.clone()));
        }
        let found = self.0.wal.read(index, index + 1, READ_BYTES)?;
        found.first().map(|bytes| decode(bytes, "entry")).transpose()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("log store lock poisoned")
}

/// Does `work`, which writes, and waits on this thread until that is durable.
fn wait(work: impl FnOnce(Told) -> io::Result<()>) -> io::Result<()> {
    let (tell, told) = std::sync::mpsc::channel();
    // The receiver waits below.
    work(Box::new(move |result| drop(tell.send(result))))?;
    told.recv().map_err(|_| io::Error::other("the log's disk thread has ended"))?
}

fn lost(data_dir: &Path, what: &str) -> io::Error {
    let what = format!("damaged log {}/log: {what}; {DAMAGE_ADVICE}", data_dir.display());
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn encode<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    format::encode(value).map_err(io::Error::other)
}

fn decode<T: DeserializeOwned>(bytes: &[u8], what: &str) -> io::Result<T> {
    format::decode(bytes).map_err(|e| {
        io::Error::new(io::ErrorKind::InvalidData, format!("damaged {what} in the raft log: {e}"))
    })
}

impl Cache {
    fn push(&mut self, entry: RaftEntry) {
        self.bytes += weight(&entry);
        if let Some(old) = self.entries.insert(entry.log_id.index, entry) {
            self.bytes -= weight(&old);
        }
    }

    /// Drops the oldest entries that are too many, but none from index `durable_until` on: those are only here.
    fn shrink(&mut self, durable_until: u64) {
        while self.bytes > CACHE_BYTES
            && let Some(first) = self.entries.first_entry()
            && *first.key() < durable_until
        {
            self.bytes -= weight(&first.remove());
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
        let (from, until) = self.bounds(&range);
        // What has been purged may be missing.
        self.entries(from.max(self.0.wal.range().0), until, usize::MAX).await
    }

    /// When the first one was purged, none: openraft sends a heartbeat instead, and then a snapshot.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<RaftEntry>> {
        self.entries(start, end, READ_BYTES).await
    }

    /// Read in parts, so that applying many large entries does not need them all in memory. All of them are to be
    /// applied: one that is missing is an error.
    async fn entries_stream<RB: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = io::Result<RaftEntry>> + Send {
        let (from, until) = self.bounds(&range);
        let parts = stream::try_unfold((self.clone(), from), move |(log, from)| async move {
            if from >= until {
                return Ok(None);
            }
            let entries = log.entries(from, until, READ_BYTES).await?;
            let Some(last) = entries.last() else {
                return Err(io::Error::new(io::ErrorKind::NotFound, format!("log entry {from} is missing")));
            };
            let next = last.log_id.index + 1;
            io::Result::Ok(Some((stream::iter(entries.into_iter().map(Ok)), (log, next))))
        });
        parts.try_flatten()
    }

    async fn read_vote(&mut self) -> io::Result<Option<RaftVote>> {
        Ok(*lock(&self.0.vote))
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        Ok(LogState { last_purged_log_id: self.purged(), last_log_id: self.last_id()? })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &RaftVote) -> io::Result<()> {
        let bytes = encode(vote)?;
        self.durable(|wal, told| wal.write_vote(bytes, told)).await?;
        *lock(&self.0.vote) = Some(*vote);
        Ok(())
    }

    /// Written along with whatever is written next: it only spares a restarted node the wait for a leader before it
    /// applies what it has.
    async fn save_committed(&mut self, committed: Option<RaftLogId>) -> io::Result<()> {
        self.0.wal.note_commit(committed.map_or(0, |id| id.index));
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<RaftLogId>> {
        let (first, next) = self.0.wal.range();
        let index = self.0.committed.min(next.saturating_sub(1));
        if index < first || next == first {
            return Ok(self.purged());
        }
        Ok(self.entry(index)?.map(|entry| entry.log_id))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = RaftEntry> + Send,
        I::IntoIter: Send,
    {
        let began = Instant::now();
        let mut encoded = Vec::new();
        let mut bytes_in = 0;
        let mut cache = self.cache();
        for entry in entries {
            self.prepare(&entry)?;
            let bytes = encode(&entry)?;
            bytes_in += bytes.len() as u64;
            encoded.push((entry.log_id.index, bytes));
            cache.push(entry);
        }
        cache.shrink(self.0.wal.durable_until());
        drop(cache);
        self.grow(bytes_in);
        let metrics = self.0.metrics.clone();
        let told = move |result| {
            observe(&metrics.append, began.elapsed());
            callback.io_completed(result);
        };
        self.0.wal.append(encoded, Box::new(told))
    }

    async fn truncate_after(&mut self, last: Option<RaftLogId>) -> io::Result<()> {
        let from = last.map_or(0, |id| id.index + 1);
        self.cache().retain(|index| index < from);
        self.durable(|wal, told| wal.truncate(from, told)).await
    }

    async fn purge(&mut self, upto: RaftLogId) -> io::Result<()> {
        self.cache().retain(|index| index > upto.index);
        let id = encode(&upto)?;
        self.durable(|wal, told| wal.purge(upto.index, id, told)).await?;
        *lock(&self.0.purged) = Some(upto);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Stamp;
    use crate::raft::types::{CommittedLeader, Proposal, Ticket};

    #[test]
    fn a_member_that_has_run_is_refused_without_its_log_at_every_start() {
        let folder = tempfile::tempdir().unwrap();
        let open = |known| LogStore::open(folder.path(), known, Metrics::new().unwrap());
        for _ in 0..2 {
            let error = open(true).err().unwrap().to_string();
            assert!(error.contains("log") && error.contains("missing"), "{error}");
        }
        open(false).unwrap();
        open(true).unwrap();
    }

    /// A log of large entries: two of them are more than one part.
    async fn large(folder: &Path, count: u64) -> LogStore {
        let log = LogStore::open(folder, false, Metrics::new().unwrap()).unwrap();
        let entry = |index| {
            let ticket = Ticket { node: 1, session: 1, seq: index };
            let commands = vec![0; READ_BYTES / 2 + 1].into();
            let proposal = Proposal { at: Stamp::default(), ticket, commands };
            let log_id = RaftLogId::new(CommittedLeader::new(1), index);
            RaftEntry { log_id, payload: EntryPayload::Normal(proposal) }
        };
        for index in 0..count {
            log.cache().push(entry(index));
            let encoded = vec![(index, encode(&entry(index)).unwrap())];
            log.durable(|wal, told| wal.append(encoded, told)).await.unwrap();
        }
        log
    }

    #[tokio::test]
    async fn all_entries_of_a_range_are_read_however_large_they_are_from_memory_from_disk_and_from_both() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = large(folder.path(), 5).await;
        for kept in [0, 3, 5] {
            log.cache().retain(|index| index >= kept);
            assert_eq!(log.try_get_log_entries(1..5).await.unwrap().len(), 4);
            assert_eq!(log.try_get_log_entries(1..=3).await.unwrap().len(), 3);
            assert_eq!(log.try_get_log_entries(..).await.unwrap().len(), 5);
            assert!(log.try_get_log_entries(3..3).await.unwrap().is_empty());
            assert!(log.limited_get_log_entries(1, 5).await.unwrap().len() < 4);
            let streamed: Vec<RaftEntry> = log.entries_stream(1..5).await.try_collect().await.unwrap();
            let indexes: Vec<u64> = streamed.iter().map(|entry| entry.log_id.index).collect();
            assert_eq!(indexes, [1, 2, 3, 4], "in memory from {kept} on");
        }
    }

    #[tokio::test]
    async fn what_was_purged_is_not_sent_and_never_passed_over_when_it_is_to_be_applied() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = large(folder.path(), 5).await;
        log.purge(RaftLogId::new(CommittedLeader::new(1), 1)).await.unwrap();
        assert!(log.limited_get_log_entries(1, 5).await.unwrap().is_empty());
        assert_eq!(log.limited_get_log_entries(2, 3).await.unwrap().len(), 1);
        assert_eq!(log.try_get_log_entries(0..5).await.unwrap().len(), 3);
        for range in [1..5, 2..6] {
            let streamed: io::Result<Vec<RaftEntry>> =
                log.entries_stream(range.clone()).await.try_collect().await;
            assert_eq!(streamed.unwrap_err().kind(), io::ErrorKind::NotFound, "{range:?}");
        }
    }

    #[tokio::test]
    async fn an_entry_that_needs_a_version_that_is_not_known_is_refused_before_anything_of_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogStore::open(folder.path(), false, Metrics::new().unwrap()).unwrap();
        for (commands, why) in [(&b"\x09\x09later"[..], "needs Muster 9.9 or later"), (b"\x01", "no version")]
        {
            let ticket = Ticket { node: 1, session: 1, seq: 1 };
            let proposal = Proposal { at: Stamp::default(), ticket, commands: commands.into() };
            let log_id = RaftLogId::new(CommittedLeader::new(1), 0);
            let entry = RaftEntry { log_id, payload: EntryPayload::Normal(proposal) };
            let error = log.append([entry], IOFlushed::noop()).await.unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
            assert!(log.is_untouched() && !folder.path().join("version").exists(), "something was written");
        }
    }
}
