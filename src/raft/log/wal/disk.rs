//! The disk thread of the log: takes everything that waits, writes it, flushes once, tells everyone.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Instant;

use super::segment;
use super::segment::{Segment, Spare, file_name};
use super::{Files, Told};
use crate::raft::log::faults;
use crate::raft::log::medium::Medium;
use crate::raft::log::room::Room;
use crate::raft::log::watermark::Watermark;
use crate::raft::metrics::{Metrics, observe};

/// Bytes that one flush may take together; whatever else waits has the next one.
const FLUSH_BYTES: usize = 8 << 20;

/// Bytes for a place in a segment.
#[derive(Clone)]
pub struct Piece {
    /// The segment; it is made when the place is its beginning.
    pub segment: u64,
    /// Where they go.
    pub offset: u64,
    /// The segment's size.
    pub size: u64,
    /// The bytes to write.
    pub bytes: Vec<u8>,
}

/// Work for the disk thread.
pub struct Job {
    /// What to write.
    pub pieces: Vec<Piece>,
    /// The number of the last record in it.
    pub last_record: u64,
    /// The index behind the last entry in it; 0 without entries.
    pub next_entry: u64,
    /// Segments to remove once it is durable; who waits is told after that.
    pub dropped: Vec<u64>,
    /// Told when the flush is done.
    pub told: Told,
}

/// What the disk thread works with.
pub struct Disk {
    /// Where segments lie.
    pub medium: Arc<dyn Medium>,
    /// Their open files.
    pub files: Files,
    /// The next segment, made ahead.
    pub spare: Spare,
    /// The segment that was written last.
    pub newest: Option<Segment>,
    /// Segments whose entries are all purged, oldest first. They only take up room.
    pub obsolete: VecDeque<u64>,
    /// Where it is noted how much room the segments take.
    pub room: Arc<Room>,
    /// The number of the last durable record.
    pub durable: Arc<AtomicU64>,
    /// The index behind the last durable entry.
    pub durable_until: Arc<AtomicU64>,
    /// Where the number of the last durable record is noted.
    pub watermark: Watermark,
    /// Where flushes are noted.
    pub metrics: Arc<Metrics>,
}

impl Disk {
    /// Starts the thread; it ends when the sender is dropped.
    ///
    /// # Errors
    /// The system has no thread to spare.
    pub fn start(self) -> io::Result<mpsc::Sender<Job>> {
        let (jobs, queue) = mpsc::channel();
        let run = if faults::acknowledges_early() { Self::run_early } else { Self::run };
        std::thread::Builder::new().name("log-flush".into()).spawn(move || run(self, &queue))?;
        Ok(jobs)
    }

    /// As no store may do it: tells first and writes later. Tests see to it that they notice.
    fn run_early(mut self, queue: &mpsc::Receiver<Job>) {
        let mut held: Vec<Job> = Vec::new();
        while let Ok(mut job) = queue.recv() {
            let told = std::mem::replace(&mut job.told, Box::new(drop));
            held.push(job);
            if held.iter().map(weight).sum::<usize>() >= FLUSH_BYTES {
                let held = std::mem::take(&mut held);
                told(self.write(&held).map(|()| self.advance(&held)));
            } else {
                told(Ok(()));
            }
        }
    }

    fn run(mut self, queue: &mpsc::Receiver<Job>) {
        let mut failed: Option<io::Error> = None;
        self.remove_obsolete();
        while let Ok(first) = queue.recv() {
            let mut bytes = weight(&first);
            let mut jobs = vec![first];
            while bytes < FLUSH_BYTES
                && let Ok(job) = queue.try_recv()
            {
                bytes += weight(&job);
                jobs.push(job);
            }
            // After an error nobody knows what the disk holds, so nothing is tried again: the node must stop.
            if failed.is_none() {
                failed = self.write(&jobs).err();
            }
            if failed.is_none() {
                self.advance(&jobs);
            }
            let tell = |job: Job| (job.told)(failed.as_ref().map_or(Ok(()), |error| Err(copy(error))));
            let (purges, others): (Vec<_>, Vec<_>) =
                jobs.into_iter().partition(|job| !job.dropped.is_empty());
            others.into_iter().for_each(tell);
            for job in purges {
                if failed.is_none() {
                    self.obsolete.extend(&job.dropped);
                    self.remove_obsolete();
                }
                tell(job);
            }
        }
    }

    fn advance(&self, jobs: &[Job]) {
        for job in jobs {
            self.durable.fetch_max(job.last_record, Ordering::AcqRel);
            self.durable_until.fetch_max(job.next_entry, Ordering::AcqRel);
        }
    }

    fn write(&mut self, jobs: &[Job]) -> io::Result<()> {
        let pieces = || jobs.iter().flat_map(|job| &job.pieces);
        // A segment that the log goes on in exists before the one before says so.
        for piece in pieces().filter(|piece| piece.offset == 0) {
            segment::create(&mut self.spare, &self.files, piece.segment, piece.size, &piece.bytes)?;
            self.room.add(piece.size);
        }
        for piece in joined(pieces().filter(|piece| piece.offset > 0)) {
            let began = Instant::now();
            let mut newest = match self.newest.take() {
                Some(newest) if newest.number == piece.segment => newest,
                _ => Segment::open(&*self.medium, &self.files, piece.segment, piece.size, piece.offset)?,
            };
            newest.write(&piece.bytes, piece.offset)?;
            newest.flush()?;
            observe(&self.metrics.flush, began.elapsed());
            self.newest = Some(newest);
            if piece.offset > piece.size / 2
                && let Err(error) = self.spare.prepare()
            {
                tracing::debug!(%error, "the next segment is made when it is needed");
            }
        }
        let appends = jobs.iter().filter(|job| job.next_entry > 0).count();
        if appends > 0 {
            self.metrics.flush_appends.observe(appends as f64);
        }
        let last = jobs.iter().map(|job| job.last_record).max();
        last.map_or(Ok(()), |last| self.watermark.note(last))
    }

    /// Removes what is obsolete. What cannot be removed is tried again with the next purge, and at the next start:
    /// [`recover`](super::recover) knows by the purge that it is not part of the log any more.
    fn remove_obsolete(&mut self) {
        while let Some(number) = self.obsolete.front() {
            match self.medium.remove(&file_name(*number)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot remove an old segment of the log");
                    return;
                }
            }
            let file = self.files.lock().expect("open segments lock poisoned").remove(number);
            // Segments that an earlier run has left are not counted.
            if let Some(length) = file.and_then(|file| file.length().ok()) {
                self.room.subtract(length);
            }
            self.obsolete.pop_front();
        }
    }
}

/// The pieces, with those that follow each other in a segment as one: each is a write of its own to the disk.
fn joined<'a>(pieces: impl Iterator<Item = &'a Piece>) -> Vec<Cow<'a, Piece>> {
    let mut all: Vec<Cow<'a, Piece>> = Vec::new();
    for piece in pieces {
        match all.last_mut() {
            Some(last)
                if last.segment == piece.segment && last.offset + last.bytes.len() as u64 == piece.offset =>
            {
                last.to_mut().bytes.extend_from_slice(&piece.bytes);
            }
            _ => all.push(Cow::Borrowed(piece)),
        }
    }
    all
}

fn weight(job: &Job) -> usize {
    job.pieces.iter().map(|piece| piece.bytes.len()).sum()
}

fn copy(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write the log: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_that_follow_each_other_in_a_segment_are_one_write() {
        let piece = |segment, offset, text: &str| Piece { segment, offset, size: 4096, bytes: text.into() };
        let pieces =
            [piece(1, 8, "ab"), piece(1, 10, "cd"), piece(1, 13, "e"), piece(2, 14, "f"), piece(2, 15, "g")];
        let joined: Vec<_> = joined(pieces.iter()).into_iter().map(Cow::into_owned).collect();
        let found: Vec<_> = joined.iter().map(|p| (p.segment, p.offset, p.bytes.as_slice())).collect();
        assert_eq!(found, [(1, 8, &b"abcd"[..]), (1, 13, b"e"), (2, 14, b"fg")]);
    }
}
