//! The write-ahead log: numbered segments of a fixed size, written at the end only and made durable with `fdatasync`
//! on a thread of their own. One flush serves all appends that wait for it.
//!
//! Entries are bytes in here; what they mean is the business of [`crate::raft::log::store`].

mod disk;
mod record;
mod recover;
mod segment;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};

use crate::raft::metrics::Metrics;
use disk::{Disk, Job, Piece};
use record::{About, Kind};
use recover::{Location, Recovered, Segment};
use segment::{FOLDER, Sizes};

use super::medium::{Handle, Medium};
use super::room::Room;
use super::watermark::Watermark;

/// Told once a write is durable, or why it is not.
pub type Told = Box<dyn FnOnce(io::Result<()>) + Send>;

/// How large segments are in a log that serves.
pub const SIZES: Sizes = Sizes { segment: 16 << 20, ahead: 4 << 20 };

/// The log of one member. Clones share it.
#[derive(Clone)]
pub struct Wal(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    /// Entries before this index are known to be durable.
    durable_until: Arc<AtomicU64>,
    files: Files,
    segment_bytes: u64,
    room: Arc<Room>,
}

/// The open files of the segments, by number.
pub type Files = Arc<Mutex<HashMap<u64, Handle>>>;

struct State {
    log: Recovered,
    jobs: mpsc::Sender<Job>,
    durable: Arc<AtomicU64>,
    committed: u64,
}

/// What the log had to say at the start.
pub struct Opened {
    /// The payload of the last purge.
    pub purged: Option<Vec<u8>>,
    /// The payload of the last vote.
    pub vote: Option<Vec<u8>>,
    /// The highest commit index that was noted.
    pub committed: u64,
}

/// A log as it is found at the start, ready to be gone on with.
struct Start {
    log: Recovered,
    files: Files,
    watermark: Watermark,
}

impl Start {
    /// Reads the log on `medium`, and puts in order what a crash has left: all that is found is durable afterwards, and
    /// nothing else is there that could be taken for a part of the log later. The log may be missing only when the
    /// member is not `known`: one that has run has a log.
    ///
    /// # Errors
    /// The disk fails, or a segment is damaged or missing; the error names it. Then nothing was changed.
    fn new(medium: &dyn Medium, known: bool) -> io::Result<Self> {
        let there = medium.exists(FOLDER)?;
        if known && !there {
            return Err(recover::gone(medium));
        }
        let mut watermark = Watermark::open(medium, !there)?;
        medium.make_folder(FOLDER)?;
        // A name that an earlier start has made may not be durable yet, either.
        medium.sync_folder("")?;
        let listing = recover::list(medium)?;
        let log = recover::recover(medium, &listing.segments)?;
        if log.segments.is_empty() && known {
            return Err(recover::gone(medium));
        }
        if log.number <= watermark.record() {
            return Err(recover::too_short(medium, &log, &watermark));
        }
        if let Some(path) = &log.torn {
            tracing::warn!(file = %path.display(), "a write that was never finished is cut off the log");
        }
        for name in &listing.unfinished {
            medium.remove(name)?;
        }
        for number in &log.unneeded {
            medium.remove(&segment::file_name(*number))?;
        }
        let files = Files::default();
        for segment in &log.segments {
            segment::open(medium, segment.number, &files)?;
            // A process that was killed may have written this and not flushed it; from now on it counts.
            segment::file(&files, segment.number)?.sync_data()?;
        }
        medium.sync_folder(FOLDER)?;
        if let Some(newest) = log.segments.back() {
            segment::clear_rest(&files, newest.number, log.end)?;
        }
        watermark.note(log.number - 1)?;
        Ok(Self { log, files, watermark })
    }
}

impl Wal {
    /// Opens or makes the log on `medium`. It is only made when the member is not `known`.
    ///
    /// # Errors
    /// The disk fails, or a segment is damaged or missing; the error names it.
    pub fn open(
        medium: Arc<dyn Medium>,
        sizes: Sizes,
        known: bool,
        metrics: Arc<Metrics>,
    ) -> io::Result<(Self, Opened)> {
        let Start { mut log, files, watermark } = Start::new(&*medium, known)?;
        let fresh = log.segments.is_empty();
        let opened = Opened { purged: log.purged.clone(), vote: log.vote.clone(), committed: log.committed };
        let room = Arc::new(Room::new(metrics.log_full.clone()));
        for file in files.lock().expect("open segments lock poisoned").values() {
            room.add(file.length()?);
        }
        let durable = Arc::new(AtomicU64::new(log.number - 1));
        let durable_until = Arc::new(AtomicU64::new(log.next_entry()));
        let disk = Disk {
            medium: medium.clone(),
            files: files.clone(),
            spare: segment::Spare::new(medium, sizes),
            newest: None,
            obsolete: std::mem::take(&mut log.obsolete).into(),
            durable: durable.clone(),
            durable_until: durable_until.clone(),
            room: room.clone(),
            watermark,
            metrics,
        };
        let jobs = disk.start()?;
        let committed = log.committed;
        let state = Mutex::new(State { log, jobs, durable, committed });
        let segment_bytes = sizes.segment;
        let wal = Self(Arc::new(Inner { state, durable_until, files, segment_bytes, room }));
        if fresh {
            wal.begin_now()?;
        }
        Ok((wal, opened))
    }

    /// Makes the first segment and waits for it.
    fn begin_now(&self) -> io::Result<()> {
        let (tell, told) = mpsc::channel();
        let mut plan = Plan::new(self.state(), self.0.segment_bytes);
        plan.begin(0);
        // The receiver waits below.
        plan.send(0, Box::new(move |result| drop(tell.send(result))))?;
        told.recv().map_err(|_| ended())?
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("log lock poisoned")
    }

    /// The indexes of the first entry and of the one behind the last.
    pub fn range(&self) -> (u64, u64) {
        let state = self.state();
        (state.log.first, state.log.next_entry())
    }

    /// Entries before this index are durable, and can be read.
    pub fn durable_until(&self) -> u64 {
        self.0.durable_until.load(Ordering::Acquire)
    }

    /// The commit index to be noted with whatever is written next.
    pub fn note_commit(&self, index: u64) {
        let mut state = self.state();
        state.committed = state.committed.max(index);
    }

    /// Adds entries behind the last one, and tells when they are durable.
    ///
    /// # Errors
    /// The disk thread has ended, or the entries do not follow the last one.
    pub fn append(&self, entries: Vec<(u64, Vec<u8>)>, told: Told) -> io::Result<()> {
        let mut plan = Plan::new(self.state(), self.0.segment_bytes);
        let mut next = 0;
        for (index, bytes) in entries {
            if index != plan.state.log.next_entry() {
                let expected = plan.state.log.next_entry();
                return Err(io::Error::other(format!("entry {index} is appended where {expected} is next")));
            }
            plan.entry(index, &bytes);
            next = index + 1;
        }
        plan.send(next, told)
    }

    /// Takes out the entries from `from` on, and tells when that is durable.
    ///
    /// # Errors
    /// The disk thread has ended.
    pub fn truncate(&self, from: u64, told: Told) -> io::Result<()> {
        let mut plan = Plan::new(self.state(), self.0.segment_bytes);
        plan.add(Kind::Truncate, from, &[]);
        let log = &mut plan.state.log;
        recover::truncate(&mut log.entries, log.first, from);
        let durable_until = self.0.durable_until.clone();
        let done: Told = Box::new(move |result| {
            durable_until.fetch_min(from, Ordering::AcqRel);
            told(result);
        });
        plan.send(0, done)
    }

    /// Gives up the entries up to and including `upto`; `id` is handed back at the next start. Files go once that is
    /// durable.
    ///
    /// # Errors
    /// The disk thread has ended.
    pub fn purge(&self, upto: u64, id: Vec<u8>, told: Told) -> io::Result<()> {
        let mut plan = Plan::new(self.state(), self.0.segment_bytes);
        plan.add(Kind::Purge, upto, &id);
        let log = &mut plan.state.log;
        log.first = recover::purge(&mut log.entries, log.first, upto);
        log.purged = Some(id);
        while log.segments.len() > 1
            && log.segments.front().is_some_and(|segment| segment.next_entry <= upto + 1)
        {
            plan.dropped.extend(log.segments.pop_front().map(|segment| segment.number));
        }
        plan.send(0, told)
    }

    /// Writes the vote.
    ///
    /// # Errors
    /// The disk thread has ended.
    pub fn write_vote(&self, vote: Vec<u8>, told: Told) -> io::Result<()> {
        let mut plan = Plan::new(self.state(), self.0.segment_bytes);
        plan.add(Kind::Vote, 0, &vote);
        plan.state.log.vote = Some(vote);
        plan.send(0, told)
    }

    /// Reads durable entries from `from` up to but not including `until`, at most about `limit` bytes but at least one.
    /// None when the first of them is not in the log any more, even if it goes while they are read.
    ///
    /// # Errors
    /// The disk fails, or what it gives is not what was written.
    pub fn read(&self, from: u64, until: u64, limit: usize) -> io::Result<Vec<Vec<u8>>> {
        self.read_at(&self.places(from, until), limit)
    }

    /// The places of entries from `from` on; none when that one is not there.
    fn places(&self, from: u64, until: u64) -> Vec<(u64, Location)> {
        let state = self.state();
        let log = &state.log;
        let skip = from.checked_sub(log.first).and_then(|skip| usize::try_from(skip).ok());
        let Some(skip) = skip else { return Vec::new() };
        (from..until).zip(log.entries.iter().skip(skip).copied()).collect()
    }

    fn read_at(&self, places: &[(u64, Location)], limit: usize) -> io::Result<Vec<Vec<u8>>> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        for (index, place) in places {
            bytes += place.length as usize;
            if !entries.is_empty() && bytes > limit {
                break;
            }
            match self.read_one(*index, *place) {
                Ok(entry) => entries.push(entry),
                // It was purged, and its file may be gone.
                Err(_) if self.range().0 > *index => return Ok(Vec::new()),
                Err(error) => return Err(error),
            }
        }
        Ok(entries)
    }

    fn read_one(&self, index: u64, place: Location) -> io::Result<Vec<u8>> {
        let file = segment::file(&self.0.files, place.segment)?;
        let mut bytes = vec![0; record::span(place.length as usize)];
        file.read_exact_at(&mut bytes, place.offset)?;
        let number = u64::from_le_bytes(bytes[16..24].try_into().map_err(io::Error::other)?);
        let head = record::whole(&bytes, number).filter(|head| head.index == index);
        if head.is_none() {
            let name = segment::file_name(place.segment);
            let what = format!("entry {index} in {name} at byte {} cannot be read any more", place.offset);
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        bytes.drain(..record::HEAD);
        bytes.truncate(place.length as usize);
        Ok(bytes)
    }

    /// Where to wait for room.
    pub fn room(&self) -> &Arc<Room> {
        &self.0.room
    }

    /// Bytes of a segment.
    pub fn segment_bytes(&self) -> u64 {
        self.0.segment_bytes
    }

    /// Bytes of the entries up to each of these indexes, which ascend, less those up to the one before; then of the rest.
    pub fn bytes_between(&self, indexes: [u64; 2]) -> [u64; 3] {
        let state = self.state();
        let log = &state.log;
        let mut bytes = [0; 3];
        for (index, place) in (log.first..).zip(&log.entries) {
            let part = indexes.iter().filter(|upto| index > **upto).count();
            bytes[part] += record::span(place.length as usize) as u64;
        }
        bytes
    }

    /// The index up to which entries must go so that those up to and including `upto` take at most `keep` bytes; `None`
    /// when they do.
    pub fn purge_for(&self, upto: u64, keep: u64) -> Option<u64> {
        let state = self.state();
        let log = &state.log;
        let count = usize::try_from((upto + 1).saturating_sub(log.first)).unwrap_or(usize::MAX);
        let count = count.min(log.entries.len());
        let mut bytes = 0;
        let kept = log.entries.range(..count).rev().take_while(|place| {
            bytes += record::span(place.length as usize) as u64;
            bytes <= keep
        });
        let first_kept = log.first + (count - kept.count()) as u64;
        (first_kept > log.first).then(|| first_kept - 1)
    }
}

fn ended() -> io::Error {
    io::Error::other("the log's disk thread has ended")
}

/// Records on their way to the disk thread, under the log's lock so that they arrive in order.
struct Plan<'a> {
    state: MutexGuard<'a, State>,
    pieces: Vec<Piece>,
    dropped: Vec<u64>,
    segment_bytes: u64,
}

impl<'a> Plan<'a> {
    fn new(state: MutexGuard<'a, State>, segment_bytes: u64) -> Self {
        Self { state, pieces: Vec::new(), dropped: Vec::new(), segment_bytes }
    }

    fn entry(&mut self, index: u64, bytes: &[u8]) {
        self.add(Kind::Entry, index, bytes);
        let log = &mut self.state.log;
        let offset = log.end.0 - record::span(bytes.len()) as u64;
        let segment = log.segments.back_mut().map_or(0, |segment| {
            segment.next_entry = index + 1;
            segment.number
        });
        // The record's writer has checked the length.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        log.entries.push_back(Location { segment, offset, length });
    }

    /// Adds a record, in a new segment when the last one is too full to take it and the word that the log goes on.
    fn add(&mut self, kind: Kind, index: u64, payload: &[u8]) {
        let needed = record::span(payload.len()) as u64;
        let (end, size) = self.state.log.end;
        if end + needed + record::span(0) as u64 > size {
            self.begin(needed);
        }
        self.write(kind, index, payload);
    }

    fn write(&mut self, kind: Kind, index: u64, payload: &[u8]) {
        let State { log, durable, committed, .. } = &mut *self.state;
        let segment = log.segments.back().map_or(0, |segment| segment.number);
        if self.pieces.last().is_none_or(|piece| piece.segment != segment) {
            self.pieces.push(Piece { segment, offset: log.end.0, size: log.end.1, bytes: Vec::new() });
        }
        let about = About {
            kind,
            index,
            number: log.number,
            durable: durable.load(Ordering::Acquire),
            committed: *committed,
        };
        if let Some(piece) = self.pieces.last_mut() {
            record::write(&mut piece.bytes, about, payload);
        }
        log.number += 1;
        log.end.0 += record::span(payload.len()) as u64;
    }

    /// Goes on in a new segment that has room for a record of `needed` bytes.
    fn begin(&mut self, needed: u64) {
        let log = &mut self.state.log;
        let number = log.segments.back().map_or(1, |segment| segment.number + 1);
        let next_entry = log.next_entry();
        if number > 1 {
            self.write(Kind::Next, next_entry, &[]);
        }
        let log = &mut self.state.log;
        let begin = recover::join_begin(0, log.purged.as_deref(), log.vote.as_deref());
        let room = record::span(begin.len()) as u64 + needed + record::span(0) as u64;
        let size = self.segment_bytes.max(room.next_multiple_of(4096));
        log.segments.push_back(Segment { number, next_entry });
        log.end = (0, size);
        let begin = recover::join_begin(size, log.purged.as_deref(), log.vote.as_deref());
        self.write(Kind::Begin, next_entry, &begin);
    }

    /// Hands the records to the disk thread. `next` is the index behind the last entry among them, 0 without entries.
    fn send(self, next: u64, told: Told) -> io::Result<()> {
        let Self { state, pieces, dropped, .. } = self;
        let job = Job { pieces, last_record: state.log.number - 1, next_entry: next, dropped, told };
        state.jobs.send(job).map_err(|_| ended())
    }
}

#[cfg(test)]
mod crash_test;
#[cfg(test)]
mod simulated_test;
#[cfg(test)]
mod tests;
