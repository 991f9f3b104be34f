//! Reads a log's segments at the start. What cannot be read is named; nothing that may have been acknowledged is
//! passed over. Nothing is changed in here.
//!
//! After a crash there may be segments that are not part of the log, each of them there or not:
//!
//! - **behind its end**: one flush wrote several segments. Each is made before the one in front of it says that the log
//!   goes on there, so without that word nothing in them was acknowledged;
//! - **in front of its beginning**: their entries were purged, and not all of them were removed yet.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use super::record;
use super::record::{End, Found, Kind};
use super::segment::{FOLDER, base_name, file_name};
use crate::format::Unusable;
use crate::raft::data_version::DAMAGE_ADVICE;
use crate::raft::log::medium;
use crate::raft::log::medium::Medium;
use crate::raft::log::watermark::Watermark;

/// The number of the form of segments and their records. It stands first in the first record: what went before had the
/// size there, whose first two bytes are zeros.
const FORM: u16 = 1;

/// Bytes of that number.
const FORM_BYTES: usize = 2;

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
    /// Segments behind the end that were made and never needed.
    pub unneeded: Vec<u64>,
    /// Segments whose entries are all purged.
    pub obsolete: Vec<u64>,
    /// The index of the entry that comes first behind all segments in front of these.
    begin: u64,
    /// The highest index that was purged.
    purged_upto: Option<u64>,
}

/// An error that names the file and what to do.
fn damaged(path: &Path, what: impl std::fmt::Display) -> io::Error {
    let what = format!("damaged log {}: {what}; {DAMAGE_ADVICE}", path.display());
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The log ends before a record that was flushed, although nothing that it holds shows that.
pub fn too_short(medium: &dyn Medium, log: &Recovered, watermark: &Watermark) -> io::Error {
    let newest = log.segments.back().map_or_else(|| FOLDER.to_string(), |s| file_name(s.number));
    let newest = medium.path(&newest);
    let (last, flushed, file) = (log.number - 1, watermark.record(), watermark.path().display());
    damaged(&newest, format!("it ends with record {last}, but {file} says that record {flushed} was flushed"))
}

/// There is no log, although this member has had one.
pub fn gone(medium: &dyn Medium) -> io::Error {
    damaged(&medium.path(FOLDER), "all of it is missing, though this member has run")
}

/// What the folder of segments holds.
#[derive(Debug, Default)]
pub struct Listing {
    /// The numbers of the segments, ascending.
    pub segments: Vec<u64>,
    /// The names of unfinished files.
    pub unfinished: Vec<String>,
}

/// Looks at the folder of segments.
///
/// # Errors
/// The disk fails, or there is something that is no segment.
pub fn list(medium: &dyn Medium) -> io::Result<Listing> {
    let mut listing = Listing::default();
    for file in medium.list(FOLDER)? {
        let name = format!("{FOLDER}/{file}");
        if file.ends_with(".part") {
            listing.unfinished.push(name);
        } else if let Some(number) = file.strip_suffix(".log").and_then(|stem| stem.parse().ok()) {
            listing.segments.push(number);
        } else {
            return Err(damaged(&medium.path(&name), "it is no segment"));
        }
    }
    listing.segments.sort_unstable();
    Ok(listing)
}

/// Why some segments are no whole log.
struct Fault {
    /// No log that begins at this place among the segments, or before it, is whole.
    at: usize,
    error: io::Error,
}

/// Reads the segments with these numbers, which ascend.
///
/// # Errors
/// One cannot be read, is missing, or is damaged.
pub fn recover(medium: &dyn Medium, numbers: &[u64]) -> io::Result<Recovered> {
    let mut first_fault = None;
    let mut start = 0;
    while start < numbers.len() {
        match read(medium, &numbers[start..]) {
            Ok(mut log) if start == 0 || log.needs_nothing_before() => {
                log.obsolete = numbers[..start].to_vec();
                log.drop_obsolete();
                return Ok(log);
            }
            Ok(_) => break,
            Err(Fault { at, error }) => {
                start += at + 1;
                first_fault.get_or_insert(error);
            }
        }
    }
    match first_fault {
        Some(error) => Err(error),
        None => Ok(Recovered { number: 1, ..Recovered::default() }),
    }
}

/// Reads the log that begins with the first of these segments.
fn read(medium: &dyn Medium, numbers: &[u64]) -> Result<Recovered, Fault> {
    let mut log = Recovered { number: 1, ..Recovered::default() };
    let mut end = None;
    for (at, number) in numbers.iter().copied().enumerate() {
        if let Some(missing) = log.segments.back().map(|s| s.number + 1).filter(|next| *next != number) {
            return Err(Fault { at: at - 1, error: missing_segment(medium, missing) });
        }
        let name = file_name(number);
        let taken =
            medium::read(medium, &name).and_then(|bytes| log.take(&medium.path(&name), number, &bytes));
        if !taken.map_err(|error| Fault { at, error })? {
            end = Some(at);
            break;
        }
    }
    let Some(end) = end else {
        let at = numbers.len() - 1;
        return Err(Fault { at, error: missing_segment(medium, numbers[at] + 1) });
    };
    for number in numbers[end + 1..].iter().copied() {
        let name = file_name(number);
        let bytes = medium::read(medium, &name);
        let refused = bytes.and_then(|bytes| log.refuse_if_needed(&medium.path(&name), &bytes));
        refused.map_err(|error| Fault { at: end, error })?;
        log.unneeded.push(number);
    }
    Ok(log)
}

fn missing_segment(medium: &dyn Medium, number: u64) -> io::Error {
    damaged(&medium.path(&file_name(number)), "it is missing")
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
            (self.first, self.begin) = (begin.next_entry, begin.next_entry);
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
    /// the new one and the flush of the old one, and then nothing in it was acknowledged. Otherwise the old one has lost
    /// its end.
    fn refuse_if_needed(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let begin = begin(path, bytes)?;
        let scan = record::scan(bytes, begin.first_record);
        let proof = scan.records.iter().any(|found| found.head.durable >= self.number);
        match self.segments.back() {
            Some(before) if proof => {
                let before = path.with_file_name(base_name(before.number));
                Err(damaged(&before, format!("it has lost its end from byte {} on", self.end.0)))
            }
            _ => Ok(()),
        }
    }

    /// Whether all entries of earlier segments are purged by what these say.
    fn needs_nothing_before(&self) -> bool {
        self.purged_upto.is_some_and(|upto| upto + 1 >= self.begin)
    }

    /// Leaves out the segments at the beginning whose entries are all purged.
    fn drop_obsolete(&mut self) {
        let Some(upto) = self.purged_upto else { return };
        while self.segments.len() > 1
            && self.segments.front().is_some_and(|first| first.next_entry <= upto + 1)
        {
            self.obsolete.extend(self.segments.pop_front().map(|segment| segment.number));
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
                self.purged_upto = self.purged_upto.max(Some(index));
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
    let short = || damaged(path, "its beginning is too short");
    let (form, rest) = bytes[record::HEAD..].split_first_chunk().ok_or_else(short)?;
    check_form(u16::from_le_bytes(*form)).map_err(|error| {
        io::Error::new(io::ErrorKind::InvalidData, format!("log {}: {error}", path.display()))
    })?;
    let size = u64::from_le_bytes(*rest.first_chunk().ok_or_else(short)?);
    Ok(Begin { size, first_record: head.number, next_entry: head.index })
}

/// Makes sure that a segment has the form that is read here.
fn check_form(form: u16) -> Result<(), Unusable> {
    match form.cmp(&FORM) {
        Ordering::Less => Err(Unusable::Older { form, read: FORM }),
        Ordering::Greater => Err(Unusable::Newer { form, read: FORM }),
        Ordering::Equal => Ok(()),
    }
}

/// The payload of a first record: the number of the segment's form, its size, and what was last purged and voted.
pub fn join_begin(size: u64, purged: Option<&[u8]>, vote: Option<&[u8]>) -> Vec<u8> {
    let mut out = FORM.to_le_bytes().to_vec();
    out.extend_from_slice(&size.to_le_bytes());
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
    let mut rest = payload.get(FORM_BYTES + 8..)?;
    let mut part = || {
        let (length, after) = rest.split_at_checked(4)?;
        let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
        let (part, after) = after.split_at_checked(length)?;
        rest = after;
        Some((length > 0).then(|| part.to_vec()))
    };
    Some((part()?, part()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_record_says_its_form_and_others_are_refused_by_name() {
        let payload = join_begin(4096, Some(b"purged"), None);
        assert_eq!(split_begin(&payload), Some((Some(b"purged".to_vec()), None)));
        let about = record::About { kind: Kind::Begin, index: 0, number: 1, durable: 0, committed: 0 };
        let read = |payload: &[u8]| {
            let mut bytes = Vec::new();
            record::write(&mut bytes, about, payload);
            begin(Path::new("x.log"), &bytes).map(|begin| begin.size).map_err(|error| error.to_string())
        };
        assert_eq!(read(&payload), Ok(4096));
        let of_old = [&(16u64 << 20).to_le_bytes()[..], &payload[FORM_BYTES + 8..]].concat();
        let older = read(&of_old).unwrap_err();
        assert!(older.contains("x.log") && older.contains("an earlier version"), "{older}");
        let newer = read(&[&(FORM + 1).to_le_bytes()[..], &payload[FORM_BYTES..]].concat()).unwrap_err();
        assert!(newer.contains("a later version of Muster"), "{newer}");
    }
}
