//! Reads a log's segments at the start. What cannot be read is named; nothing that may have been acknowledged is
//! passed over.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::record;
use super::record::{End, Found, Kind};
use crate::raft::log::watermark::Watermark;

/// Where an entry lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// The segment.
    pub segment: u64,
    /// Where its record begins.
    pub offset: u64,
    /// The bytes of its payload.
    pub length: u32,
}

/// A segment's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its number; they count up.
    pub number: u64,
    /// The index that the entry behind its last one has.
    pub next_entry: u64,
}

/// What the log's folder holds.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The segments, oldest first.
    pub segments: VecDeque<Segment>,
    /// The index of the first entry.
    pub first: u64,
    /// The entries from `first` on, without gaps.
    pub entries: VecDeque<Location>,
    /// The payload of the last purge.
    pub purged: Option<Vec<u8>>,
    /// The payload of the last vote.
    pub vote: Option<Vec<u8>>,
    /// The highest commit index that was noted.
    pub committed: u64,
    /// The number of the next record.
    pub number: u64,
    /// Where it goes in the last segment, and that segment's size.
    pub end: (u64, u64),
    /// A write that was not finished was cut off here.
    pub torn: Option<PathBuf>,
}

/// An error that names the file and what to do.
fn damaged(path: &Path, what: impl std::fmt::Display) -> io::Error {
    let advice =
        "remove this member from the cluster, empty its data folder and add it again, or restore a backup";
    io::Error::new(io::ErrorKind::InvalidData, format!("damaged log {}: {what}; {advice}", path.display()))
}

/// The log ends before a record that was flushed, although nothing that it holds shows that.
pub fn too_short(folder: &Path, log: &Recovered, watermark: &Watermark) -> io::Error {
    let newest =
        log.segments.back().map_or_else(|| folder.to_path_buf(), |s| folder.join(file_name(s.number)));
    let (last, flushed, file) = (log.number - 1, watermark.record(), watermark.path().display());
    damaged(&newest, format!("it ends with record {last}, but {file} says that record {flushed} was flushed"))
}

/// There is no log, although this member has had one.
pub fn gone(folder: &Path) -> io::Error {
    damaged(folder, "all of it is missing, though this member has run")
}

/// The name of a segment's file.
pub fn file_name(number: u64) -> String {
    format!("{number:016}.log")
}

/// The numbers of the segments in `folder`, ascending. Unfinished ones are removed.
fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.ends_with(".part") {
            std::fs::remove_file(&path)?;
        } else if let Some(number) = name.strip_suffix(".log").and_then(|stem| stem.parse().ok()) {
            numbers.push(number);
        } else {
            return Err(damaged(&path, "it is no segment"));
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Reads all segments in `folder`.
///
/// # Errors
/// One cannot be read, is missing, or is damaged.
pub fn recover(folder: &Path) -> io::Result<Recovered> {
    let mut log = Recovered { number: 1, ..Recovered::default() };
    let mut goes_on = true;
    for number in numbers(folder)? {
        let path = folder.join(file_name(number));
        let expected = log.segments.back().map_or(number, |before| before.number + 1);
        if number != expected {
            return Err(damaged(&folder.join(file_name(expected)), "it is missing"));
        }
        let mut bytes = Vec::new();
        File::open(&path)?.read_to_end(&mut bytes)?;
        if goes_on {
            goes_on = log.take(&path, number, &bytes)?;
        } else {
            log.refuse_if_needed(&path, &bytes)?;
            std::fs::remove_file(&path)?;
        }
    }
    if goes_on && let Some(newest) = log.segments.back() {
        return Err(damaged(&folder.join(file_name(newest.number + 1)), "it is missing"));
    }
    Ok(log)
}

impl Recovered {
    /// Takes in a segment; tells whether the log goes on in the next one.
    fn take(&mut self, path: &Path, number: u64, bytes: &[u8]) -> io::Result<bool> {
        let begin = begin(path, bytes)?;
        let first = if self.segments.is_empty() { begin.first_record } else { self.number };
        if begin.size != bytes.len() as u64 {
            let what = format!("it has {} bytes instead of {}", bytes.len(), begin.size);
            return Err(damaged(path, what));
        }
        let scan = record::scan(bytes, first);
        if let End::Damaged(why) = scan.rest {
            return Err(damaged(
                path,
                format!("record {} at byte {}: {why}", self.number_at(&scan), scan.end),
            ));
        }
        if self.segments.is_empty() {
            self.first = begin.next_entry;
        }
        self.segments.push_back(Segment { number, next_entry: 0 });
        let mut goes_on = false;
        for found in &scan.records {
            self.number = found.head.number + 1;
            self.committed = self.committed.max(found.head.committed);
            goes_on = found.head.kind == Kind::Next;
            self.apply(path, number, bytes, found)?;
        }
        let next_entry = self.next_entry();
        if let Some(segment) = self.segments.back_mut() {
            segment.next_entry = next_entry;
        }
        self.torn = (scan.rest == End::Torn).then(|| path.to_path_buf());
        self.end = (scan.end as u64, begin.size);
        Ok(goes_on)
    }

    /// A segment behind one that does not say that the log goes on: that is so when a crash came between the making of
    /// the new one and the flush of the old one, and then nothing in it was durable. Otherwise the old one has lost its end.
    fn refuse_if_needed(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let begin = begin(path, bytes)?;
        let scan = record::scan(bytes, begin.first_record);
        let proof = scan.records.iter().any(|found| found.head.durable >= self.number);
        match self.segments.back() {
            Some(before) if proof => {
                let before = path.with_file_name(file_name(before.number));
                Err(damaged(&before, format!("it has lost its end from byte {} on", self.end.0)))
            }
            _ => Ok(()),
        }
    }

    fn number_at(&self, scan: &record::Scan) -> u64 {
        scan.records.last().map_or(self.number, |found| found.head.number + 1)
    }

    /// The index that the next entry must have.
    pub fn next_entry(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    fn apply(&mut self, path: &Path, segment: u64, bytes: &[u8], found: &Found) -> io::Result<()> {
        let index = found.head.index;
        let payload = record::payload(bytes, found);
        match found.head.kind {
            Kind::Begin if index != self.next_entry() => {
                let what = format!("it goes on with entry {index}, but entry {} is next", self.next_entry());
                return Err(damaged(path, what));
            }
            Kind::Entry if index != self.next_entry() => {
                let what = format!("entry {index} stands where entry {} is next", self.next_entry());
                return Err(damaged(path, what));
            }
            Kind::Entry => {
                let place = Location { segment, offset: found.offset as u64, length: found.head.length };
                self.entries.push_back(place);
            }
            Kind::Truncate => truncate(&mut self.entries, self.first, index),
            Kind::Purge => {
                self.purged = Some(payload.to_vec());
                self.first = purge(&mut self.entries, self.first, index);
            }
            Kind::Vote => self.vote = Some(payload.to_vec()),
            Kind::Begin => {
                let (purged, vote) = split_begin(payload).ok_or_else(|| damaged(path, "its beginning"))?;
                self.purged = purged.or(self.purged.take());
                self.vote = vote.or(self.vote.take());
            }
            Kind::Next => {}
        }
        Ok(())
    }
}

/// Takes out the entries from index `from` on.
pub fn truncate(entries: &mut VecDeque<Location>, first: u64, from: u64) {
    let keep = from.saturating_sub(first);
    entries.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
}

/// Takes out the entries up to and including `upto`; gives the first index that is left or comes next.
pub fn purge(entries: &mut VecDeque<Location>, first: u64, upto: u64) -> u64 {
    let gone = (upto + 1).saturating_sub(first);
    let gone = usize::try_from(gone).unwrap_or(usize::MAX).min(entries.len());
    entries.drain(..gone);
    if entries.is_empty() { first.max(upto + 1) } else { first + gone as u64 }
}

/// What a segment's first record says.
struct Begin {
    size: u64,
    first_record: u64,
    next_entry: u64,
}

fn begin(path: &Path, bytes: &[u8]) -> io::Result<Begin> {
    let number = bytes.get(16..24).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    let head = number.and_then(|number| record::whole(bytes, number)).filter(|head| head.kind == Kind::Begin);
    let Some(head) = head else { return Err(damaged(path, "its beginning cannot be read")) };
    let size = bytes.get(record::HEAD..record::HEAD + 8).and_then(|bytes| bytes.try_into().ok());
    let Some(size) = size.map(u64::from_le_bytes) else {
        return Err(damaged(path, "its beginning is too short"));
    };
    Ok(Begin { size, first_record: head.number, next_entry: head.index })
}

/// The payload of a first record: the segment's size, and what was last purged and voted.
pub fn join_begin(size: u64, purged: Option<&[u8]>, vote: Option<&[u8]>) -> Vec<u8> {
    let mut out = size.to_le_bytes().to_vec();
    for part in [purged, vote] {
        let part = part.unwrap_or_default();
        // Both are ids of a few bytes.
        out.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(part);
    }
    out
}

type Parts = (Option<Vec<u8>>, Option<Vec<u8>>);

fn split_begin(payload: &[u8]) -> Option<Parts> {
    let mut rest = payload.get(8..)?;
    let mut part = || {
        let (length, after) = rest.split_at_checked(4)?;
        let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
        let (part, after) = after.split_at_checked(length)?;
        rest = after;
        Some((length > 0).then(|| part.to_vec()))
    };
    Some((part()?, part()?))
}
