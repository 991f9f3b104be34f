//! The form of a backup: one file from which a keyspace can be built again, with checksums by which any damage is
//! noticed.
//!
//! A [`FirstLine`] with the version that its records need; then frames (see [`crate::keyspace::backup::frame`]): the first holds the [`Info`], the others
//! hold records one after another (see [`crate::format`]), and an empty one ends them. Behind it the number of records
//! (64 bits, little endian) and the SHA-256 of everything before that sum.

use bytes::{Buf, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::check::{Check, Counts, Misplaced};
use super::frame::{HEAD_BYTES, Head};
use super::step::Digest;
use crate::format::{self, FirstLine, Unusable, Version, record, written_as};
use crate::keyspace::Record;

/// What it is called in the first line.
const WHAT: &str = "backup";

/// The number of the form.
const FORM: u16 = 2;

/// Frames are closed when they have reached this many bytes.
const FRAME_BYTES: usize = 1 << 20;

/// No frame is longer. A record is a value of 10 MiB at most with its key.
pub const FRAME_LIMIT: usize = 16 << 20;

/// The number of records and the checksum.
const TRAILER_BYTES: usize = 8 + 32;

/// Where a backup is from. New fields go to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// The cluster's id.
    pub cluster: u64,
    /// The id of the member that wrote it.
    pub member: u64,
    /// When, by that member's wall clock, in nanoseconds since 1970.
    pub wall: i64,
    /// Which Muster wrote it.
    pub version: String,
}

/// What a whole and undamaged backup holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Where it is from.
    pub info: Info,
    /// The version that its records need to be read.
    pub needs: Version,
    /// The store's index.
    pub index: u64,
    /// How much is in it.
    pub counts: Counts,
    /// The size of the backup, in bytes.
    pub bytes: u64,
    /// The SHA-256 of the whole file, as `sha256sum` prints it.
    pub sha256: Digest,
    /// How many chunks of records it has.
    pub chunks: u64,
    /// What [`link`] makes of all of them.
    pub chain: Digest,
}

/// Why bytes are no backup that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// Something else.
    #[error("it is not a backup of Muster")]
    Foreign,
    /// Another version wrote it.
    #[error(transparent)]
    OtherVersion(Unusable),
    /// Its end is missing.
    #[error("it is cut off after {bytes} bytes: copy it again, or use another backup")]
    Truncated {
        /// How many there are.
        bytes: u64,
    },
    /// Bytes have changed since it was written.
    #[error("it is damaged ({what}): copy it again, or use another backup")]
    Damaged {
        /// What does not fit.
        what: String,
    },
}

impl From<Misplaced> for BackupError {
    fn from(misplaced: Misplaced) -> Self {
        Self::damaged(misplaced)
    }
}

impl From<Unusable> for BackupError {
    fn from(unusable: Unusable) -> Self {
        match unusable {
            Unusable::Foreign { .. } => Self::Foreign,
            other => Self::OtherVersion(other),
        }
    }
}

impl BackupError {
    fn damaged(what: impl ToString) -> Self {
        Self::Damaged { what: what.to_string() }
    }
}

/// Adds a chunk of records to the checksum of those before it.
pub fn link(before: &Digest, chunk: &[u8]) -> Digest {
    Sha256::new().chain_update(before).chain_update(chunk).finalize().into()
}

/// Reads the records of a chunk, in order.
///
/// # Errors
/// What `each` says, or `Damaged` when the bytes are no records.
pub fn records<E: From<BackupError>>(
    chunk: &[u8],
    mut each: impl FnMut(Record) -> Result<(), E>,
) -> Result<(), E> {
    let mut rest = chunk;
    while !rest.is_empty() {
        let unreadable =
            |why: &dyn std::fmt::Display| BackupError::damaged(format!("a record cannot be read: {why}"));
        let (record, after) = record::split(rest).ok_or_else(|| unreadable(&"it is cut off"))?;
        each(format::decode(record).map_err(|error| unreadable(&error))?)?;
        rest = after;
    }
    Ok(())
}

/// Turns records into a backup, piece by piece.
#[derive(Debug)]
pub struct Writer {
    hash: Sha256,
    records: u64,
    open: Vec<u8>,
    version: Version,
}

impl Writer {
    /// Begins a backup whose records are written as `version` has them. The piece is its beginning.
    ///
    /// # Errors
    /// `info` is too long.
    pub fn begin(info: &Info, version: Version) -> Result<(Self, Bytes), BackupError> {
        let mut writer = Self { hash: Sha256::new(), records: 0, open: Vec::new(), version };
        let mut piece = FirstLine { what: WHAT, form: FORM, version }.to_bytes();
        let info = written_as(version, || format::encode(info)).map_err(BackupError::damaged)?;
        append_frame(&mut piece, &info)?;
        writer.hash.update(&piece);
        Ok((writer, piece.into()))
    }

    /// Takes the next record; returns a piece when one is full.
    ///
    /// # Errors
    /// The record is larger than any the store takes.
    pub fn push(&mut self, record: &Record) -> Result<Option<Bytes>, BackupError> {
        let open = std::mem::take(&mut self.open);
        let pushed = written_as(self.version, || record::push(open, record));
        self.open = pushed.map_err(BackupError::damaged)?;
        self.records += 1;
        if self.open.len() < FRAME_BYTES {
            return Ok(None);
        }
        let mut piece = Vec::with_capacity(HEAD_BYTES + self.open.len());
        append_frame(&mut piece, &self.open)?;
        self.open.clear();
        self.hash.update(&piece);
        Ok(Some(piece.into()))
    }

    /// The last piece.
    ///
    /// # Errors
    /// As [`Writer::push`].
    pub fn end(mut self) -> Result<Bytes, BackupError> {
        let mut piece = Vec::new();
        if !self.open.is_empty() {
            append_frame(&mut piece, &self.open)?;
        }
        append_frame(&mut piece, &[])?;
        piece.extend_from_slice(&self.records.to_le_bytes());
        self.hash.update(&piece);
        piece.extend_from_slice(&self.hash.finalize());
        Ok(piece.into())
    }
}

fn append_frame(piece: &mut Vec<u8>, bytes: &[u8]) -> Result<(), BackupError> {
    let head = Head::of(bytes).filter(|_| bytes.len() <= FRAME_LIMIT);
    let head = head.ok_or_else(|| BackupError::damaged("a record is too large"))?;
    piece.extend_from_slice(&head);
    piece.extend_from_slice(bytes);
    Ok(())
}

/// Takes a backup in pieces of any size and gives out its chunks of records, each checked. Only [`Reader::finish`]
/// says that the whole is in order.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: BytesMut,
    at: Part,
    hash: Sha256,
    bytes: u64,
    needs: Option<Version>,
    info: Option<Info>,
    check: Check,
    records: u64,
    chunks: u64,
    chain: Digest,
    sha256: Digest,
}

/// What comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    FirstLine,
    Info,
    Chunk,
    Trailer,
    Nothing,
}

impl Reader {
    /// Takes the next bytes. Ask [`Reader::chunk`] until there is none before giving more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.buffer.extend_from_slice(bytes);
    }

    /// How much has come so far.
    pub fn progress(&self) -> (u64, Counts) {
        (self.bytes, self.check.counts())
    }

    /// The next chunk of records; `None` when more bytes are needed, or none are left.
    ///
    /// # Errors
    /// This is no backup, or a damaged one.
    pub fn chunk(&mut self) -> Result<Option<Bytes>, BackupError> {
        loop {
            match self.at {
                Part::FirstLine => {
                    if !self.first_line()? {
                        return Ok(None);
                    }
                }
                Part::Info => {
                    let Some(frame) = self.frame()? else { return Ok(None) };
                    self.info = Some(format::decode(&frame).map_err(BackupError::damaged)?);
                    self.at = Part::Chunk;
                }
                Part::Chunk => match self.frame()? {
                    None => return Ok(None),
                    Some(frame) if frame.is_empty() => self.at = Part::Trailer,
                    Some(frame) => return self.take_chunk(frame).map(Some),
                },
                Part::Trailer => {
                    if self.buffer.len() < TRAILER_BYTES {
                        return Ok(None);
                    }
                    self.trailer()?;
                }
                Part::Nothing if self.buffer.is_empty() => return Ok(None),
                Part::Nothing => return Err(BackupError::damaged("something follows its end")),
            }
        }
    }

    /// What the backup holds, now that all of it has been taken.
    ///
    /// # Errors
    /// Its end is missing.
    pub fn finish(self) -> Result<Summary, BackupError> {
        let truncated = BackupError::Truncated { bytes: self.bytes };
        if self.at != Part::Nothing {
            return Err(truncated);
        }
        let (Some(info), Some(needs), Some(index)) = (self.info, self.needs, self.check.index()) else {
            return Err(BackupError::damaged("it holds nothing"));
        };
        let Self { check, bytes, sha256, chunks, chain, .. } = self;
        Ok(Summary { info, needs, index, counts: check.counts(), bytes, sha256, chunks, chain })
    }

    /// Whether the first line was there and is right.
    fn first_line(&mut self) -> Result<bool, BackupError> {
        let Some((line, length)) = FirstLine::parse(WHAT, FORM, &self.buffer)? else { return Ok(false) };
        self.needs = Some(line.version);
        self.eat(length);
        self.at = Part::Info;
        Ok(true)
    }

    /// The next frame, if it is there as a whole.
    fn frame(&mut self) -> Result<Option<Bytes>, BackupError> {
        let Some(head) = self.buffer.first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        let head = Head::parse(*head);
        if head.length > FRAME_LIMIT {
            return Err(BackupError::damaged("a frame is too long"));
        }
        let Some(frame) = self.buffer.get(HEAD_BYTES..HEAD_BYTES + head.length) else { return Ok(None) };
        if !head.fits(frame) {
            return Err(BackupError::damaged("a checksum does not match"));
        }
        self.eat(HEAD_BYTES);
        Ok(Some(self.eat(head.length)))
    }

    fn take_chunk(&mut self, frame: Bytes) -> Result<Bytes, BackupError> {
        records(&frame, |record| {
            self.records += 1;
            self.check.accept(&record).map_err(BackupError::from)
        })?;
        self.chunks += 1;
        self.chain = link(&self.chain, &frame);
        Ok(frame)
    }

    fn trailer(&mut self) -> Result<(), BackupError> {
        let count = self.eat(8).get_u64_le();
        let sum: Digest = self.hash.clone().finalize().into();
        if *self.eat(32) != sum || count != self.records {
            return Err(BackupError::damaged("the checksum of the whole does not match"));
        }
        self.sha256 = self.hash.clone().finalize().into();
        self.at = Part::Nothing;
        Ok(())
    }

    /// Takes bytes out of the buffer and into the checksum.
    fn eat(&mut self, length: usize) -> Bytes {
        let eaten = self.buffer.split_to(length).freeze();
        self.hash.update(&eaten);
        eaten
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{NANOS, Stamp};
    use crate::format::CURRENT;
    use crate::keyspace::{Command, Content, Key, Keyspace, Ttl};

    fn small() -> Vec<u8> {
        let mut keyspace = Keyspace::new(10);
        for (path, ttl) in [("/a/b", None), ("/a/c", Some(Ttl { nanos: 9 * NANOS })), ("/d", None)] {
            let content = Content { value: path.into(), ttl, refresh: false };
            let key = Key::parse(path.as_bytes()).unwrap();
            let at = Stamp { clock: NANOS, wall: 1_700_000_000 * NANOS };
            keyspace.apply(&Command::Set { key, dir: false, content }, at, &mut Vec::new()).unwrap();
        }
        write(&keyspace)
    }

    fn write(keyspace: &Keyspace) -> Vec<u8> {
        let info = Info { cluster: 1, member: 2, wall: 3, version: "4".into() };
        let (mut writer, piece) = Writer::begin(&info, CURRENT).unwrap();
        let mut bytes = piece.to_vec();
        let frozen = keyspace.freeze();
        for record in frozen.backup(2 * NANOS) {
            bytes.extend(writer.push(&record).unwrap().unwrap_or_default());
        }
        bytes.extend(writer.end().unwrap());
        bytes
    }

    fn read(bytes: &[u8], step: usize) -> Result<Summary, BackupError> {
        let mut reader = Reader::default();
        for piece in bytes.chunks(step) {
            reader.push(piece);
            while reader.chunk()?.is_some() {}
        }
        reader.finish()
    }

    #[test]
    fn what_was_written_is_counted_whatever_the_size_of_the_pieces() {
        let bytes = small();
        let whole = read(&bytes, bytes.len()).unwrap();
        assert_eq!(whole.index, 3);
        assert_eq!(whole.counts, Counts { keys: 3, directories: 1, expiring: 1 });
        assert_eq!(whole.bytes, bytes.len() as u64);
        assert_eq!(whole.sha256, <Digest>::from(Sha256::digest(&bytes)));
        for step in [1, 7, 64] {
            assert_eq!(read(&bytes, step).unwrap(), whole);
        }
    }

    #[test]
    fn large_values_make_many_chunks() {
        let mut keyspace = Keyspace::new(1);
        for n in 0..30 {
            let content = Content { value: vec![n; 200_000].into(), ..Content::default() };
            let key = Key::parse(format!("/{n}").as_bytes()).unwrap();
            let set = Command::Set { key, dir: false, content };
            keyspace.apply(&set, Stamp::default(), &mut Vec::new()).unwrap();
        }
        let summary = read(&write(&keyspace), 100_000).unwrap();
        assert_eq!(summary.counts.keys, 30);
        assert!((5..8).contains(&summary.chunks), "{} chunks", summary.chunks);
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let whole = small();
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                assert!(read(&bytes, 4096).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn any_missing_tail_and_anything_behind_the_end_is_noticed() {
        let whole = small();
        for length in 0..whole.len() {
            let error = read(&whole[..length], 4096).unwrap_err();
            assert_eq!(error, BackupError::Truncated { bytes: length as u64 });
        }
        let longer = [&whole[..], b"\0"].concat();
        assert!(matches!(read(&longer, 4096), Err(BackupError::Damaged { .. })));
    }

    #[test]
    fn other_files_and_later_versions_are_told_apart() {
        assert_eq!(read(b"muster snapshot 1\n", 4096), Err(BackupError::Foreign));
        assert_eq!(read(b"\x1f\x8b", 4096), Err(BackupError::Foreign));
        let said = |line: &[u8]| read(&[line, b"and more"].concat(), 4096).unwrap_err().to_string();
        assert!(said(b"muster backup 1\n").contains("an earlier version"));
        assert!(said(b"muster backup 3 0.1\n").contains("a later version of Muster"));
        assert!(said(b"muster backup 2 9.9\n").contains("needs Muster 9.9 or later"));
    }
}
