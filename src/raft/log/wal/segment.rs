//! The files of the log's segments. Their room is filled with zeros before it is used, so that a flush finds nothing of
//! the file system's own to write, and what is written at the end goes past the system's cache, which would only have
//! to be flushed at once.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::Files;
use crate::raft::log::medium::{Handle, Medium};

/// The folder that segments lie in.
pub const FOLDER: &str = "log";

/// The name of a segment's file in its folder.
pub fn base_name(number: u64) -> String {
    format!("{number:016}.log")
}

/// The name of a segment's file.
pub fn file_name(number: u64) -> String {
    format!("{FOLDER}/{}", base_name(number))
}

/// Writes past the system's cache begin at multiples of this, in the file and in memory.
const BLOCK_BYTES: usize = 4096;

/// Zeros that are written at a time.
const ZEROS_BYTES: usize = 1 << 20;

/// How large segments are.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Bytes of a segment; one that takes a larger record is as large as that needs.
    pub segment: u64,
    /// Segments from this size on are made before they are needed.
    pub ahead: u64,
}

/// An open segment that is written at its end.
pub struct Segment {
    /// Its number.
    pub number: u64,
    cached: Handle,
    /// The same file past the system's cache, where the file system allows that.
    direct: Option<Direct>,
}

struct Direct {
    file: Handle,
    /// The block that the end lies in, as far as it is written.
    block: Vec<u8>,
    /// Where that block begins.
    at: u64,
}

impl Segment {
    /// The segment `number` of `size` bytes, to be written at `end`.
    ///
    /// # Errors
    /// It is not there, or the disk fails.
    pub fn open(medium: &dyn Medium, files: &Files, number: u64, size: u64, end: u64) -> io::Result<Self> {
        let cached = file(files, number)?;
        let direct = if size.is_multiple_of(BLOCK_BYTES as u64) {
            Direct::open(medium, &file_name(number), &cached, end)?
        } else {
            None
        };
        Ok(Self { number, cached, direct })
    }

    /// Writes `bytes` at `offset`, behind what is there.
    ///
    /// # Errors
    /// The disk fails.
    pub fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Some(direct) = &mut self.direct {
            match direct.write(bytes, offset) {
                // Another place than the end, or blocks of another size than ours.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => self.direct = None,
                written => return written,
            }
        }
        self.cached.write_all_at(bytes, offset)
    }

    /// Makes durable what was written.
    ///
    /// # Errors
    /// The disk fails.
    pub fn flush(&self) -> io::Result<()> {
        self.direct.as_ref().map_or(&self.cached, |direct| &direct.file).sync_data()
    }
}

impl Direct {
    /// `None` where the file system has no such way.
    fn open(medium: &dyn Medium, name: &str, cached: &Handle, end: u64) -> io::Result<Option<Self>> {
        let Some(file) = medium.open_direct(name)? else { return Ok(None) };
        let within = end % BLOCK_BYTES as u64;
        let at = end - within;
        let mut block = vec![0; usize::try_from(within).map_err(io::Error::other)?];
        cached.read_exact_at(&mut block, at)?;
        Ok(Some(Self { file, block, at }))
    }

    /// `InvalidInput` when `offset` is not the end.
    fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if offset != self.at + self.block.len() as u64 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let length = self.block.len() + bytes.len();
        // What lies behind the end is zeros.
        let mut space = vec![0; length.next_multiple_of(BLOCK_BYTES) + BLOCK_BYTES];
        let skip = space.as_ptr().align_offset(BLOCK_BYTES);
        let aligned = &mut space[skip..][..length.next_multiple_of(BLOCK_BYTES)];
        aligned[..self.block.len()].copy_from_slice(&self.block);
        aligned[self.block.len()..length].copy_from_slice(bytes);
        self.file.write_all_at(aligned, self.at)?;
        let whole = length - length % BLOCK_BYTES;
        self.block = aligned[whole..length].to_vec();
        self.at += whole as u64;
        Ok(())
    }
}

/// The next segment's file, which a thread makes before it is needed.
pub struct Spare {
    medium: Arc<dyn Medium>,
    sizes: Sizes,
    making: Option<JoinHandle<io::Result<String>>>,
}

impl Spare {
    /// For a log on `medium`.
    pub fn new(medium: Arc<dyn Medium>, sizes: Sizes) -> Self {
        Self { medium, sizes, making: None }
    }

    /// Has the file made if it is large and there is none yet.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn prepare(&mut self) -> io::Result<()> {
        if self.making.is_none() && self.sizes.segment >= self.sizes.ahead {
            let (medium, size) = (self.medium.clone(), self.sizes.segment);
            let work = move || make(&*medium, size);
            self.making = Some(std::thread::Builder::new().name("log-spare".into()).spawn(work)?);
        }
        Ok(())
    }

    /// The name of a file of `size` bytes, waited for or made now.
    fn take(&mut self, size: u64) -> io::Result<String> {
        match self.making.take_if(|_| size == self.sizes.segment).map(JoinHandle::join) {
            Some(Ok(Ok(name))) => Ok(name),
            // What stood in its way may be gone by now.
            Some(Ok(Err(_)) | Err(_)) | None => make(&*self.medium, size),
        }
    }
}

/// Makes a file of zeros; gives its name.
fn make(medium: &dyn Medium, size: u64) -> io::Result<String> {
    let name = format!("{FOLDER}/{:016x}.part", crate::raft::unique()?);
    let made = fill(medium, &name, size);
    if made.is_err() {
        // The room is needed, for example by snapshots. It is as good not to have been there.
        let _ = medium.remove(&name);
    }
    made.map(|()| name)
}

fn fill(medium: &dyn Medium, name: &str, size: u64) -> io::Result<()> {
    let file = medium.create(name)?;
    let zeros = vec![0; ZEROS_BYTES];
    let mut offset = 0;
    while offset < size {
        let length = usize::try_from(size - offset).unwrap_or(ZEROS_BYTES).min(ZEROS_BYTES);
        file.write_all_at(&zeros[..length], offset)?;
        // In parts, so that flushes of what clients wait for come in between.
        file.sync_data()?;
        offset += length as u64;
    }
    file.sync_all()
}

/// Makes segment `number` of `size` bytes that begins with `bytes`, durably.
///
/// # Errors
/// The disk fails.
pub fn create(spare: &mut Spare, files: &Files, number: u64, size: u64, bytes: &[u8]) -> io::Result<()> {
    let part = spare.take(size)?;
    let file = spare.medium.open(&part)?;
    file.write_all_at(bytes, 0)?;
    file.sync_all()?;
    spare.medium.rename(&part, &file_name(number))?;
    spare.medium.sync_folder(FOLDER)?;
    files.lock().expect("open segments lock poisoned").insert(number, file);
    Ok(())
}

/// Opens a segment that exists.
///
/// # Errors
/// It cannot be opened.
pub fn open(medium: &dyn Medium, number: u64, files: &Files) -> io::Result<()> {
    let file = medium.open(&file_name(number))?;
    files.lock().expect("open segments lock poisoned").insert(number, file);
    Ok(())
}

/// The open file of a segment.
///
/// # Errors
/// There is none: it has been removed meanwhile.
pub fn file(files: &Files, number: u64) -> io::Result<Handle> {
    let files = files.lock().expect("open segments lock poisoned");
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::raft::log::medium::Directory;

    const SIZE: u64 = 64 << 10;

    fn spare(folder: &Path) -> Spare {
        let medium = Directory::new(folder);
        medium.make_folder(FOLDER).unwrap();
        Spare::new(Arc::new(medium), Sizes { segment: SIZE, ahead: SIZE })
    }

    fn begun(folder: &Path) -> Files {
        let files = Files::default();
        create(&mut spare(folder), &files, 1, SIZE, b"begin---").unwrap();
        assert_eq!(std::fs::metadata(folder.join(file_name(1))).unwrap().len(), SIZE);
        files
    }

    #[test]
    fn pieces_of_any_length_stand_one_behind_the_other_and_zeros_behind_them() {
        let folder = tempfile::tempdir().unwrap();
        let files = begun(folder.path());
        let medium = Directory::new(folder.path());
        let mut expected = b"begin---".to_vec();
        for (number, length) in [1, 511, 4096, 3, 4084, 4096 * 3 + 7, 9000, 1].into_iter().enumerate() {
            // As after a start: what stands in the last block is read back first.
            let mut segment = Segment::open(&medium, &files, 1, SIZE, expected.len() as u64).unwrap();
            for part in [vec![number as u8 + 1; length], vec![b'x'; length / 2 + 1]] {
                segment.write(&part, expected.len() as u64).unwrap();
                segment.flush().unwrap();
                expected.extend(part);
                let mut found = vec![0; SIZE as usize];
                file(&files, 1).unwrap().read_exact_at(&mut found, 0).unwrap();
                assert_eq!(found[..expected.len()], expected);
                assert!(found[expected.len()..].iter().all(|byte| *byte == 0));
            }
        }
    }

    #[test]
    fn the_way_past_the_cache_takes_nothing_but_what_follows() {
        let folder = tempfile::tempdir().unwrap();
        let files = begun(folder.path());
        let medium = Directory::new(folder.path());
        let path = folder.path().join(file_name(1));
        let Some(mut direct) = Direct::open(&medium, &file_name(1), &file(&files, 1).unwrap(), 8).unwrap()
        else {
            // This file system has no such way.
            return;
        };
        direct.write(b"next", 8).unwrap();
        assert_eq!(direct.write(b"gap", 13).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(direct.write(b"back", 8).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        direct.write(b"last", 12).unwrap();
        assert!(std::fs::read(&path).unwrap().starts_with(b"begin---nextlast\0"));
    }

    #[test]
    fn the_next_segment_is_made_ahead_once_and_then_used() {
        let folder = tempfile::tempdir().unwrap();
        let mut spare = spare(folder.path());
        spare.prepare().unwrap();
        spare.prepare().unwrap();
        let path = folder.path().join(spare.take(SIZE).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), vec![0; SIZE as usize]);
        assert_eq!(std::fs::read_dir(folder.path().join(FOLDER)).unwrap().count(), 1);
        std::fs::remove_file(&path).unwrap();
        // One of another size is not waited for.
        spare.prepare().unwrap();
        let other = spare.take(SIZE + 4096).unwrap();
        assert_eq!(std::fs::metadata(folder.path().join(other)).unwrap().len(), SIZE + 4096);
        assert!(spare.making.is_some());
    }
}
