//! What the log must at least hold, noted outside of it.
//!
//! Sled cuts off a log at the first thing that it cannot read, and says nothing: after a crash that is what was being
//! written, after damage it may be anything. So the last entry that was flushed and the last vote are noted in a small
//! file beside the log, after each flush and before anyone is told. The file itself is not flushed each time: it never
//! claims more than the log holds, and after a loss of power it may claim less. It is exact after the end of a process.
//!
//! Two places of 512 bytes take turns, so that one of them is always whole.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::types::{RaftLogId, RaftVote};

/// A place is one sector: a disk writes it whole or not at all.
const PLACE_BYTES: usize = 512;

/// Before the mark: its CRC-32 and its length.
const HEAD_BYTES: usize = 8;

/// What the log holds at least.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Counts the notes; the highest counts.
    count: u64,
    /// The last entry that was flushed.
    pub last: Option<RaftLogId>,
    /// The last vote.
    pub vote: Option<RaftVote>,
}

/// The file.
#[derive(Debug)]
pub struct Watermark {
    path: PathBuf,
    file: File,
    mark: Mark,
}

impl Watermark {
    /// Opens the file; makes it if it is not there and the log is `new` as well.
    ///
    /// # Errors
    /// It cannot be used, it is missing beside a log, or neither of its places can be read; the error names it.
    pub fn open(path: PathBuf, new: bool) -> io::Result<Self> {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        if !new && !path.exists() {
            return Err(named(io::Error::new(
                io::ErrorKind::NotFound,
                "damaged: it is missing, but the log is there",
            )));
        }
        let options = || OpenOptions::new().read(true).write(true).create(new).truncate(false).open(&path);
        let file = options().map_err(named)?;
        if new && file.metadata()?.len() < 2 * PLACE_BYTES as u64 {
            found(&file, &path).map_err(named)?;
        }
        let marks = [0, 1].map(|place| read(&file, place));
        let mark = match marks {
            [Some(a), Some(b)] => {
                if a.count > b.count {
                    a
                } else {
                    b
                }
            }
            [Some(mark), None] | [None, Some(mark)] => {
                tracing::warn!(file = %path.display(), "one of two places is damaged, the other is taken");
                mark
            }
            [None, None] => {
                let why = "damaged: no place has its checksum";
                return Err(named(io::Error::new(io::ErrorKind::InvalidData, why)));
            }
        };
        Ok(Self { path, file, mark })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the log holds at least.
    pub fn mark(&self) -> &Mark {
        &self.mark
    }

    /// Notes the last flushed entry.
    ///
    /// # Errors
    /// The disk fails.
    pub fn note_last(&mut self, last: Option<RaftLogId>) -> io::Result<()> {
        self.mark.last = last;
        self.write()
    }

    /// Notes a flushed vote.
    ///
    /// # Errors
    /// The disk fails.
    pub fn note_vote(&mut self, vote: RaftVote) -> io::Result<()> {
        self.mark.vote = Some(vote);
        self.write()
    }

    /// Claims no entry after `last`, durably: call it before later entries are removed.
    ///
    /// # Errors
    /// The disk fails.
    pub fn lower(&mut self, last: Option<RaftLogId>) -> io::Result<()> {
        if self.mark.last <= last {
            return Ok(());
        }
        // Both places, or damage to one would bring the higher claim back.
        self.note_last(last)?;
        self.note_last(last)?;
        self.file.sync_data()
    }

    fn write(&mut self) -> io::Result<()> {
        self.mark.count += 1;
        let place = encode(&self.mark)?;
        self.file.write_all_at(&place, self.mark.count % 2 * PLACE_BYTES as u64)
    }
}

/// Fills a new file, so that later writes need no new room on the disk.
fn found(file: &File, path: &Path) -> io::Result<()> {
    let mark = Mark::default();
    file.write_all_at(&encode(&mark)?, 0)?;
    file.write_all_at(&encode(&mark)?, PLACE_BYTES as u64)?;
    file.sync_all()?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn encode(mark: &Mark) -> io::Result<[u8; PLACE_BYTES]> {
    let bytes = postcard::to_allocvec(mark).map_err(io::Error::other)?;
    let mut place = [0; PLACE_BYTES];
    let end = HEAD_BYTES + bytes.len();
    let room = place.get_mut(HEAD_BYTES..end).ok_or_else(|| io::Error::other("the mark is too long"))?;
    room.copy_from_slice(&bytes);
    place[4..HEAD_BYTES]
        .copy_from_slice(&u32::try_from(bytes.len()).map_err(io::Error::other)?.to_le_bytes());
    let crc = crc32fast::hash(&place[4..]);
    place[..4].copy_from_slice(&crc.to_le_bytes());
    Ok(place)
}

fn read(file: &File, number: u64) -> Option<Mark> {
    let mut place = [0; PLACE_BYTES];
    file.read_exact_at(&mut place, number * PLACE_BYTES as u64).ok()?;
    let [a, b, c, d, rest @ ..] = place;
    if crc32fast::hash(&place[4..]) != u32::from_le_bytes([a, b, c, d]) {
        return None;
    }
    let length = u32::from_le_bytes(rest[..4].try_into().ok()?) as usize;
    postcard::from_bytes(place.get(HEAD_BYTES..HEAD_BYTES + length)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::types::CommittedLeader;

    fn id(index: u64) -> Option<RaftLogId> {
        Some(RaftLogId::new(CommittedLeader::new(3), index))
    }

    #[test]
    fn what_was_noted_last_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("watermark");
        let mut watermark = Watermark::open(path.clone(), true).unwrap();
        assert_eq!(watermark.mark().last, None);
        for index in 1..5 {
            watermark.note_last(id(index)).unwrap();
            assert_eq!(Watermark::open(path.clone(), false).unwrap().mark().last, id(index));
        }
        watermark.lower(id(9)).unwrap();
        assert_eq!(watermark.mark().last, id(4), "lowering never raises");
        watermark.lower(id(2)).unwrap();
        assert_eq!(Watermark::open(path, false).unwrap().mark().last, id(2));
    }

    #[test]
    fn one_damaged_place_leaves_the_other_and_two_are_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("watermark");
        let mut watermark = Watermark::open(path.clone(), true).unwrap();
        watermark.note_last(id(6)).unwrap();
        watermark.note_last(id(7)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for at in 0..2 * PLACE_BYTES {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            assert!(Watermark::open(path.clone(), false).unwrap().mark().last >= id(6), "byte {at}");
        }
        std::fs::write(&path, vec![0; 2 * PLACE_BYTES]).unwrap();
        let error = Watermark::open(path.clone(), false).unwrap_err().to_string();
        assert!(error.contains("watermark") && error.contains("damaged"), "{error}");
        std::fs::remove_file(&path).unwrap();
        let error = Watermark::open(path, false).unwrap_err().to_string();
        assert!(error.contains("watermark") && error.contains("missing"), "{error}");
    }
}
