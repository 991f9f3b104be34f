//! How many records of the log were flushed, noted outside of it.
//!
//! The end of a log tells nothing of what may have stood behind it: a write that was not finished and a piece that the
//! disk lost look alike. So the number of the last flushed record is written to a small file beside the log, after
//! each flush and before anyone is told. The file itself is not flushed: it never claims more than the log
//! holds, and after a loss of power it may claim less. After the end of a process, even by SIGKILL, it is exact.
//!
//! Two places of a sector each take turns, so that one of them is always whole.

use std::io;
use std::path::{Path, PathBuf};

use super::medium::{Handle, Medium};

/// Its name.
const NAME: &str = "watermark";

/// A place is one sector: a disk writes it whole or not at all.
const PLACE_BYTES: usize = 512;

/// The number of its form. At the beginning of a place: CRC-32 of what follows, then this, then the record's number.
const VERSION: u32 = 1;

/// The file.
pub struct Watermark {
    path: PathBuf,
    file: Handle,
    record: u64,
    /// The place that is written next.
    next: u64,
}

impl Watermark {
    /// Opens the file; makes it if it is not there and the log is `new` as well.
    ///
    /// # Errors
    /// It cannot be used, it is missing beside a log, or neither of its places can be read; the error names it.
    pub fn open(medium: &dyn Medium, new: bool) -> io::Result<Self> {
        let path = medium.path(NAME);
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        let there = medium.exists(NAME)?;
        if !new && !there {
            let why = "damaged: it is missing, but the log is there";
            return Err(named(io::Error::new(io::ErrorKind::NotFound, why)));
        }
        let file = if there { medium.open(NAME)? } else { medium.create(NAME)? };
        let mut places = [0, 1].map(|place| read(&file, place));
        if new && places.iter().flatten().all(|record| *record == 0) {
            // What stands here may not be flushed: an earlier start may have been broken off.
            found(medium, &file)?;
            places = [Some(0), Some(0)];
        }
        let (record, next) = match places {
            [Some(a), Some(b)] => (a.max(b), u64::from(a > b)),
            [Some(a), None] => (a, 1),
            [None, Some(b)] => (b, 0),
            [None, None] => {
                let mut first = [0; PLACE_BYTES];
                let form = file.read_exact_at(&mut first, 0).ok().and_then(|()| form(&first));
                let why = match form.filter(|form| *form != VERSION) {
                    Some(form) => format!(
                        "another version wrote it: its form is {form}, and this one reads form {VERSION}"
                    ),
                    None => "damaged: no place has its checksum".into(),
                };
                return Err(named(io::Error::new(io::ErrorKind::InvalidData, why)));
            }
        };
        Ok(Self { path, file, record, next })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of the last record that is known to have been flushed; 0 before the first.
    pub fn record(&self) -> u64 {
        self.record
    }

    /// Notes that records up to `record` are flushed.
    ///
    /// # Errors
    /// The disk fails.
    pub fn note(&mut self, record: u64) -> io::Result<()> {
        self.file.write_all_at(&place(record), self.next * PLACE_BYTES as u64)?;
        (self.record, self.next) = (record, 1 - self.next);
        Ok(())
    }
}

/// Fills a new file, so that later writes need no new room on the disk.
fn found(medium: &dyn Medium, file: &Handle) -> io::Result<()> {
    file.write_all_at(&[place(0), place(0)].concat(), 0)?;
    file.sync_all()?;
    medium.sync_folder("")
}

/// The form that a whole place says it has.
fn form(place: &[u8; PLACE_BYTES]) -> Option<u32> {
    let crc = u32::from_le_bytes(place[..4].try_into().ok()?);
    let form = u32::from_le_bytes(place[4..8].try_into().ok()?);
    (crc == crc32fast::hash(&place[4..])).then_some(form)
}

fn place(record: u64) -> [u8; PLACE_BYTES] {
    let mut place = [0; PLACE_BYTES];
    place[4..8].copy_from_slice(&VERSION.to_le_bytes());
    place[8..16].copy_from_slice(&record.to_le_bytes());
    let crc = crc32fast::hash(&place[4..]);
    place[..4].copy_from_slice(&crc.to_le_bytes());
    place
}

fn read(file: &Handle, number: u64) -> Option<u64> {
    let mut bytes = [0; PLACE_BYTES];
    file.read_exact_at(&mut bytes, number * PLACE_BYTES as u64).ok()?;
    let record = u64::from_le_bytes(bytes[8..16].try_into().ok()?);
    (bytes == place(record)).then_some(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::log::medium::Directory;

    #[test]
    fn what_was_noted_last_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let medium = Directory::new(folder.path());
        assert_eq!(Watermark::open(&medium, true).unwrap().record(), 0);
        for record in [1, 2, 5, 9] {
            Watermark::open(&medium, false).unwrap().note(record).unwrap();
            assert_eq!(Watermark::open(&medium, false).unwrap().record(), record);
        }
    }

    #[test]
    fn one_damaged_place_leaves_the_other_and_two_are_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let medium = Directory::new(folder.path());
        let mut watermark = Watermark::open(&medium, true).unwrap();
        watermark.note(6).unwrap();
        watermark.note(7).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for at in (0..2 * PLACE_BYTES).step_by(7) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            assert!(Watermark::open(&medium, false).unwrap().record() >= 6, "byte {at}");
        }
        let mut later = place(7);
        later[4] += 1;
        let crc = crc32fast::hash(&later[4..]);
        later[..4].copy_from_slice(&crc.to_le_bytes());
        std::fs::write(&path, [later, later].concat()).unwrap();
        let error = Watermark::open(&medium, false).err().unwrap().to_string();
        assert!(error.contains("its form is 2"), "{error}");
        std::fs::write(&path, vec![0; 2 * PLACE_BYTES]).unwrap();
        let error = Watermark::open(&medium, false).err().unwrap().to_string();
        assert!(error.contains("watermark") && error.contains("damaged"), "{error}");
        std::fs::remove_file(&path).unwrap();
        let error = Watermark::open(&medium, false).err().unwrap().to_string();
        assert!(error.contains("watermark") && error.contains("missing"), "{error}");
    }
}
