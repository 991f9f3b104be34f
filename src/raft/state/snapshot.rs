//! Snapshots on disk: one file each, written beside and renamed when complete, so that there is always a whole one.
//!
//! A file is a [`FirstLine`] with the cluster's version, then frames of `length, CRC-32, bytes`. The first frame is the
//! [`Meta`]; the others hold records of the frozen keyspace one after another (see [`crate::format`]); an empty frame ends
//! the file. A missing end, a wrong checksum or an unknown version is an error that names the file, never an empty or
//! partial state.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::background;
use super::sessions::Sessions;
use crate::format::{self, FirstLine, Unusable, Version, record, written_as};
use crate::keyspace::backup::frame::{HEAD_BYTES, Head};
use crate::keyspace::{Frozen, Keyspace, Memory};
use crate::raft::data_version;
use crate::raft::types::{RaftLogId, RaftMembership};

/// What it is called in the first line.
const WHAT: &str = "snapshot";

/// The number of the form.
const FORM: u16 = 2;

/// No first line is longer, in bytes.
const LINE_LIMIT: u64 = 64;

/// Frames are closed when they have reached this many bytes.
const FRAME_BYTES: usize = 1 << 20;

/// No frame is longer: a longer one is damage. A record is at most a value of some 10 MiB, twice.
const FRAME_LIMIT: usize = 64 << 20;

/// What a snapshot covers. New fields go to the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// The last entry that is in it.
    pub last: Option<RaftLogId>,
    /// The membership at that entry.
    pub membership: RaftMembership,
    /// The batches applied by that entry.
    pub sessions: Sessions,
}

/// Writes a snapshot to `path`, complete and durable when this returns.
///
/// # Errors
/// The disk fails; `path` is then as it was.
pub fn write(path: &Path, meta: &Meta, frozen: &Frozen) -> io::Result<()> {
    write_in_parts(path, meta, frozen, |part| {
        while part()? {}
        Ok(())
    })
}

/// Writes one part of a snapshot; `false` when there is nothing left.
pub type Part<'a> = dyn FnMut() -> io::Result<bool> + Send + 'a;

/// As [`write`]; `pace` does the parts one after the other until nothing is left, wherever it likes to.
///
/// # Errors
/// The disk fails, or `pace` does; `path` is then as it was.
pub fn write_in_parts(
    path: &Path,
    meta: &Meta,
    frozen: &Frozen,
    pace: impl FnOnce(&mut Part) -> io::Result<()>,
) -> io::Result<()> {
    let unfinished = path.with_extension("part");
    let mut out = BufWriter::new(File::create(&unfinished)?);
    out.write_all(&FirstLine { what: WHAT, form: FORM, version: frozen.version() }.to_bytes())?;
    // A member that cannot do more than the cluster's version may get it.
    let head = written_as(frozen.version(), || format::encode(meta).map_err(io::Error::other))?;
    frame(&mut out, &head)?;
    let mut records = frozen.records();
    let mut bytes = Vec::with_capacity(FRAME_BYTES * 2);
    let mut gather = move || -> io::Result<Vec<u8>> {
        while bytes.len() < FRAME_BYTES
            && let Some(next) = records.next()
        {
            bytes = record::push(std::mem::take(&mut bytes), &next).map_err(io::Error::other)?;
        }
        Ok(std::mem::replace(&mut bytes, Vec::with_capacity(FRAME_BYTES * 2)))
    };
    let mut part = || {
        // Here, because it holds for the thread that writes.
        let bytes = written_as(frozen.version(), &mut gather)?;
        if bytes.is_empty() {
            return Ok(false);
        }
        frame(&mut out, &bytes)?;
        // In parts, so that the log's flushes come in between.
        out.get_ref().sync_data()?;
        Ok(true)
    };
    pace(&mut part)?;
    frame(&mut out, &[])?;
    out.into_inner()?.sync_all()?;
    publish(&unfinished, path)
}

/// Gives a complete file its final name, durably.
///
/// # Errors
/// The disk fails.
pub fn publish(part: &Path, path: &Path) -> io::Result<()> {
    std::fs::rename(part, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Reads a snapshot back whole.
///
/// # Errors
/// The file cannot be read or is damaged; the error names it.
pub fn load(path: &Path, history: impl Into<Memory>) -> io::Result<(Meta, Keyspace)> {
    let named = |e| named(path, e);
    let mut input = BufReader::new(File::open(path).map_err(named)?);
    read_all(&mut input, history.into()).map_err(named)
}

/// Reads only what a snapshot covers.
///
/// # Errors
/// The file cannot be read or its head is damaged; the error names it.
pub fn read_meta(path: &Path) -> io::Result<Meta> {
    let named = |e| named(path, e);
    read_head(&mut BufReader::new(File::open(path).map_err(named)?)).map_err(named)
}

/// Compares all checksums, and tells what the snapshot covers.
///
/// # Errors
/// The file cannot be read or is damaged; the error names it.
pub fn check(path: &Path) -> io::Result<Meta> {
    let named = |e| named(path, e);
    let mut input = BufReader::new(File::open(path).map_err(named)?);
    let meta = read_head(&mut input).map_err(named)?;
    while !next_frame(&mut input).map_err(named)?.is_empty() {}
    Ok(meta)
}

fn named(path: &Path, error: io::Error) -> io::Error {
    let file = path.display();
    let text = match error.kind() {
        io::ErrorKind::UnexpectedEof => format!("snapshot {file}: damaged: it ends too soon"),
        _ => format!("snapshot {file}: {error}"),
    };
    io::Error::new(error.kind(), text)
}

fn read_head(input: &mut impl BufRead) -> io::Result<Meta> {
    let mut line = Vec::new();
    input.take(LINE_LIMIT).read_until(b'\n', &mut line)?;
    match FirstLine::parse(WHAT, FORM, &line) {
        Ok(Some(_)) => format::decode(&next_frame(input)?).map_err(damaged),
        Ok(None) => Err(io::ErrorKind::UnexpectedEof.into()),
        Err(foreign @ Unusable::Foreign { .. }) => Err(damaged(foreign)),
        Err(other) => Err(io::Error::new(io::ErrorKind::InvalidData, other)),
    }
}

fn read_all(input: &mut impl BufRead, history: Memory) -> io::Result<(Meta, Keyspace)> {
    let meta = read_head(input)?;
    let mut keyspace = Keyspace::new(history);
    loop {
        let bytes = next_frame(input)?;
        if bytes.is_empty() {
            return Ok((meta, keyspace));
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (record, after) = record::split(rest).ok_or_else(|| damaged("a record is cut off"))?;
            keyspace.restore(format::decode(record).map_err(damaged)?).map_err(damaged)?;
            rest = after;
        }
    }
}

fn frame(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let head = Head::of(bytes).filter(|_| bytes.len() <= FRAME_LIMIT);
    let head = head.ok_or_else(|| io::Error::other("a record is too large for a snapshot"))?;
    out.write_all(&head)?;
    out.write_all(bytes)
}

fn next_frame(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = [0; HEAD_BYTES];
    input.read_exact(&mut head)?;
    let head = Head::parse(head);
    if head.length > FRAME_LIMIT {
        return Err(damaged("a frame is too long"));
    }
    let mut bytes = vec![0; head.length];
    input.read_exact(&mut bytes)?;
    if !head.fits(&bytes) {
        return Err(damaged("a checksum does not match"));
    }
    Ok(bytes)
}

fn damaged(why: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("damaged: {why}"))
}

/// The folder of snapshots: at most one whole one at rest. Clones share what is being sent.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf, Arc<Mutex<Vec<Sent>>>);

/// How much room snapshots take, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// All whole ones.
    pub whole: u64,
    /// All unfinished ones.
    pub unfinished: u64,
    /// The newest whole one.
    pub newest: u64,
}

/// A snapshot that is being sent.
#[derive(Debug)]
struct Sent {
    path: PathBuf,
    number: u64,
    stop: CancellationToken,
}

/// As long as this is kept, a snapshot is being sent and its file stays.
#[derive(Debug)]
pub struct Sending {
    folder: Folder,
    number: u64,
    stop: CancellationToken,
}

impl Sending {
    /// Waits until it is no longer worth its room to go on.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.folder.sent().retain(|sent| sent.number != self.number);
        let folder = self.folder.clone();
        background::aside(move || {
            if let Err(error) = folder.keep_newest() {
                tracing::warn!(%error, "cannot remove an old snapshot");
            }
        });
    }
}

impl Folder {
    /// Opens or makes the folder; removes what an interrupted run left half written.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&path)?;
        let folder = Self(path, Arc::default());
        for file in folder.files("part")? {
            std::fs::remove_file(file)?;
        }
        Ok(folder)
    }

    /// Takes note in the data folder that a snapshot of this version is about to come.
    ///
    /// # Errors
    /// This process does not know the version, or the disk fails.
    pub fn prepare(&self, version: Version) -> io::Result<()> {
        self.0.parent().map_or(Ok(()), |data_dir| data_version::raise(data_dir, version))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where the snapshot that ends at `last` lies. Names sort by index.
    pub fn place(&self, last: Option<RaftLogId>) -> PathBuf {
        let index = last.map_or(0, |id| id.index);
        self.0.join(format!("{index:020}.snap"))
    }

    /// A fresh name for a snapshot that is being received.
    pub fn incoming(&self, id: u64) -> PathBuf {
        self.0.join(format!("incoming-{id:016x}.part"))
    }

    /// The newest snapshot.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn newest(&self) -> io::Result<Option<PathBuf>> {
        Ok(self.files("snap")?.pop())
    }

    fn sent(&self) -> MutexGuard<'_, Vec<Sent>> {
        self.1.lock().expect("list of sent snapshots lock poisoned")
    }

    /// A snapshot is about to be sent.
    pub fn send(&self, path: &Path) -> Sending {
        let mut sent = self.sent();
        let number = sent.last().map_or(0, |last| last.number + 1);
        let stop = CancellationToken::new();
        sent.push(Sent { path: path.to_path_buf(), number, stop: stop.clone() });
        Sending { folder: self.clone(), number, stop }
    }

    /// Has the sending of all but the newest snapshot ended: they take room. Who gets one begins anew, with the newest.
    pub fn stop_sending_older(&self) {
        let Ok(newest) = self.newest() else { return };
        for sent in self.sent().iter().filter(|sent| Some(&sent.path) != newest.as_ref()) {
            tracing::warn!(file = %sent.path.display(), "an old snapshot is not sent to its end: the disk needs its room");
            sent.stop.cancel();
        }
    }

    /// How much room the snapshots take.
    ///
    /// # Errors
    /// The disk fails.
    pub fn sizes(&self) -> io::Result<Sizes> {
        let newest = self.newest()?;
        let mut sizes = Sizes::default();
        for entry in std::fs::read_dir(&self.0)? {
            let entry = entry?;
            // A file may go while it is looked at.
            let (path, length) = (entry.path(), entry.metadata().map_or(0, |meta| meta.len()));
            if newest.as_ref() == Some(&path) {
                sizes.newest = length;
            }
            let whole = path.extension().is_some_and(|extension| extension == "snap");
            *(if whole { &mut sizes.whole } else { &mut sizes.unfinished }) += length;
        }
        Ok(sizes)
    }

    /// Removes every snapshot but the newest and those that are being sent: one that was begun earlier may be finished
    /// after a newer one came from the leader, and the log behind it is gone by then. Whoever is about to send one that
    /// goes finds no file, and begins anew with the newest. Takes a while where they are large.
    ///
    /// # Errors
    /// The disk fails.
    pub fn keep_newest(&self) -> io::Result<()> {
        let mut files = self.files("snap")?;
        files.pop();
        {
            let sent = self.sent();
            files.retain(|file| !sent.iter().any(|sent| sent.path == *file));
        }
        for file in files {
            match std::fs::remove_file(file) {
                // Somebody else who has just finished one was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
        Ok(())
    }

    fn files(&self, extension: &str) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.0)? {
            files.push(entry?.path());
        }
        files.retain(|file| file.extension().is_some_and(|e| e == extension));
        files.sort();
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Stamp;
    use crate::keyspace::{Command, Content, Key};
    use crate::raft::types::Peer;

    fn sample() -> (Meta, Keyspace) {
        let mut keyspace = Keyspace::new(100);
        for n in 0..50 {
            let key = Key::parse(format!("/d/{n}").as_bytes()).unwrap();
            let content = Content { value: vec![n; 100_000].into(), ..Content::default() };
            keyspace
                .apply(&Command::Set { key, dir: false, content }, Stamp::default(), &mut Vec::new())
                .unwrap();
        }
        let meta = Meta { last: None, membership: RaftMembership::default(), sessions: Sessions::default() };
        (meta, keyspace)
    }

    #[test]
    fn what_was_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.snap");
        let (meta, keyspace) = sample();
        write(&path, &meta, &keyspace.freeze()).unwrap();
        let (read, restored) = load(&path, 100).unwrap();
        assert_eq!(read, meta);
        assert_eq!(check(&path).unwrap(), meta);
        assert!(restored.freeze().records().eq(keyspace.freeze().records()));
    }

    #[test]
    fn what_could_not_be_read_again_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.snap");
        let (mut meta, keyspace) = sample();
        write(&path, &meta, &keyspace.freeze()).unwrap();
        let name = "x".repeat(FRAME_LIMIT);
        let nodes = std::collections::BTreeMap::from([(1, Peer { name, peer_urls: Vec::new() })]);
        let membership = openraft::Membership::new(vec![[1].into()], nodes).unwrap();
        meta.membership = RaftMembership::new(None, membership);
        let error = write(&path, &meta, &keyspace.freeze()).unwrap_err().to_string();
        assert!(error.contains("too large"), "{error}");
        assert!(load(&path, 100).is_ok(), "what was there stays");
    }

    #[test]
    fn any_flipped_bit_and_any_missing_tail_is_noticed_and_the_file_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.snap");
        let (meta, keyspace) = sample();
        write(&path, &meta, &keyspace.freeze()).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(whole.len() / 97) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            let error = load(&path, 100).unwrap_err().to_string();
            assert!(error.contains("1.snap"), "{error}");
            assert_eq!(check(&path).unwrap_err().to_string(), error);
            std::fs::write(&path, &whole[..at]).unwrap();
            assert!(load(&path, 100).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn half_written_files_are_cleared_and_only_the_newest_is_kept() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("x.part"), "half").unwrap();
        let folder = Folder::open(root.path().to_path_buf()).unwrap();
        for name in ["00000000000000000009.snap", "00000000000000000010.snap"] {
            std::fs::write(root.path().join(name), "").unwrap();
        }
        let newest = folder.newest().unwrap().unwrap();
        assert!(newest.ends_with("00000000000000000010.snap"));
        folder.keep_newest().unwrap();
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn whoever_has_sent_a_snapshot_does_not_wait_for_its_removal() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path().to_path_buf()).unwrap();
        let old = root.path().join("00000000000000000009.snap");
        for path in [&old, &root.path().join("00000000000000000010.snap")] {
            std::fs::write(path, "").unwrap();
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().max_blocking_threads(1).build().unwrap();
        // The thread that removes has something else to do first.
        let (done, busy) = std::sync::mpsc::channel::<()>();
        let busy = runtime.spawn_blocking(move || busy.recv());
        let sending = folder.send(&old);
        folder.keep_newest().unwrap();
        assert!(old.exists(), "it is being sent");
        runtime.block_on(async { drop(sending) });
        assert!(old.exists() && folder.sent().is_empty());
        done.send(()).unwrap();
        runtime.block_on(busy).unwrap().unwrap();
        let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while old.exists() {
            assert!(std::time::Instant::now() < until, "it was not removed");
            std::thread::yield_now();
        }
    }
}
