//! The disk thread of the log: takes everything that waits, writes it, flushes once, tells everyone.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, mpsc};
use std::time::Instant;

use nix::fcntl::posix_fallocate;

use super::super::faults;
use super::super::metrics::{Metrics, observe};
use super::super::watermark::Watermark;
use super::recover::file_name;
use super::{Files, Told};

/// Bytes that one flush may take together; whatever else waits has the next one.
const FLUSH_BYTES: usize = 8 << 20;

/// Bytes for a place in a segment.
pub struct Piece {
    /// The segment; it is made when the place is its beginning.
    pub segment: u64,
    /// Where they go.
    pub offset: u64,
    /// The segment's size.
    pub size: u64,
    /// They.
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
    /// Who waits.
    pub told: Told,
}

/// What the disk thread works with.
pub struct Disk {
    /// Where segments lie.
    pub folder: PathBuf,
    /// Their open files.
    pub files: Files,
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
                    self.remove(&job.dropped);
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
            create(&self.folder, piece, &self.files)?;
        }
        let mut touched: Option<(u64, Arc<File>)> = None;
        for piece in pieces().filter(|piece| piece.offset > 0) {
            let file = match touched.take() {
                Some((segment, file)) if segment == piece.segment => file,
                before => {
                    before.map_or(Ok(()), |(_, file)| self.flush(&file))?;
                    file(&self.files, piece.segment)?
                }
            };
            file.write_all_at(&piece.bytes, piece.offset)?;
            touched = Some((piece.segment, file));
        }
        touched.map_or(Ok(()), |(_, file)| self.flush(&file))?;
        let appends = jobs.iter().filter(|job| job.next_entry > 0).count();
        if appends > 0 {
            self.metrics.flush_appends.observe(appends as f64);
        }
        let last = jobs.iter().map(|job| job.last_record).max();
        last.map_or(Ok(()), |last| self.watermark.note(last))
    }

    fn flush(&self, file: &File) -> io::Result<()> {
        let began = Instant::now();
        file.sync_data()?;
        observe(&self.metrics.flush, began.elapsed());
        Ok(())
    }

    fn remove(&self, dropped: &[u64]) {
        for number in dropped {
            let path = self.folder.join(file_name(*number));
            self.files.lock().unwrap_or_else(PoisonError::into_inner).remove(number);
            // It only takes up room; the next start finds it purged.
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(%error, file = %path.display(), "cannot remove an old segment of the log");
            }
        }
    }
}

fn weight(job: &Job) -> usize {
    job.pieces.iter().map(|piece| piece.bytes.len()).sum()
}

fn copy(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write the log: {error}"))
}

/// Makes a segment: all of its room is taken at once, so that later flushes need not grow the file.
fn create(folder: &Path, piece: &Piece, files: &Files) -> io::Result<()> {
    let path = folder.join(file_name(piece.segment));
    let part = path.with_extension("part");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&part)?;
    let size = i64::try_from(piece.size).map_err(io::Error::other)?;
    posix_fallocate(&file, 0, size)?;
    file.write_all_at(&piece.bytes, 0)?;
    file.sync_all()?;
    std::fs::rename(&part, &path)?;
    File::open(folder)?.sync_all()?;
    files.lock().unwrap_or_else(PoisonError::into_inner).insert(piece.segment, Arc::new(file));
    Ok(())
}

/// Opens a segment that exists.
///
/// # Errors
/// It cannot be opened.
pub fn open(folder: &Path, number: u64, files: &Files) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(folder.join(file_name(number)))?;
    files.lock().unwrap_or_else(PoisonError::into_inner).insert(number, Arc::new(file));
    Ok(())
}

/// The open file of a segment.
///
/// # Errors
/// There is none: it has been removed meanwhile.
pub fn file(files: &Files, number: u64) -> io::Result<Arc<File>> {
    let files = files.lock().unwrap_or_else(PoisonError::into_inner);
    let gone =
        || io::Error::new(io::ErrorKind::NotFound, format!("{} of the log is gone", file_name(number)));
    files.get(&number).cloned().ok_or_else(gone)
}

/// Writes zeros behind the last record, so that remains of an unfinished write cannot be taken for anything later.
///
/// # Errors
/// The disk fails.
pub fn clear_rest(files: &Files, number: u64, (end, size): (u64, u64)) -> io::Result<()> {
    let file = file(files, number)?;
    let zeros = vec![0; usize::try_from(size - end).map_err(io::Error::other)?];
    let mut rest = vec![0; zeros.len()];
    file.read_exact_at(&mut rest, end)?;
    if rest != zeros {
        file.write_all_at(&zeros, end)?;
        file.sync_all()?;
    }
    Ok(())
}
