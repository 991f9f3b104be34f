//! How a record lies in a segment of the log, and what a segment's bytes say of themselves. No files in here.
//!
//! A record is a head, a payload, padding to eight bytes, and a tail that repeats the head's number: whoever finds a
//! tail knows that the record was written to its end, so that a record that cannot be read is either damaged or was
//! never finished, and never mistaken for the other.

/// Bytes of a head.
pub const HEAD: usize = 56;

/// Bytes of a tail.
pub const TAIL: usize = 16;

const MAGIC: u32 = 0x4c57_534d;
const TAIL_MAGIC: u32 = 0x544c_534d;

/// Records begin at multiples of this.
pub const ALIGN: usize = 8;

/// What a disk writes in one piece. An unfinished write leaves whole sectors of zeros.
const SECTOR: usize = 512;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first record of a segment: what went before it.
    Begin,
    /// A log entry at `index`.
    Entry,
    /// Entries from `index` on are no longer part of the log.
    Truncate,
    /// Entries up to and including `index` are no longer needed.
    Purge,
    /// The vote.
    Vote,
    /// The log goes on in the next segment, which is there.
    Next,
}

impl Kind {
    fn code(self) -> u32 {
        match self {
            Self::Begin => 1,
            Self::Entry => 2,
            Self::Truncate => 3,
            Self::Purge => 4,
            Self::Vote => 5,
            Self::Next => 6,
        }
    }

    fn from_code(code: u32) -> Option<Self> {
        [Self::Begin, Self::Entry, Self::Truncate, Self::Purge, Self::Vote, Self::Next]
            .into_iter()
            .find(|kind| kind.code() == code)
    }
}

/// A record's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What it says.
    pub kind: Kind,
    /// The log index it is about.
    pub index: u64,
    /// Counts all records of the log from 1.
    pub number: u64,
    /// Records up to this number were durable when this one was written.
    pub durable: u64,
    /// The commit index known when it was written.
    pub committed: u64,
    /// Bytes of the payload.
    pub length: u32,
    crc: u32,
}

impl Head {
    /// The bytes from the record's beginning to the next one's.
    pub fn span(&self) -> usize {
        span(self.length as usize)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEAD)?;
        let (body, check) = bytes.split_at(HEAD - 4);
        if u32_at(bytes, 0) != MAGIC || crc32fast::hash(body) != u32_at(check, 0) {
            return None;
        }
        Some(Self {
            kind: Kind::from_code(u32_at(bytes, 4))?,
            index: u64_at(bytes, 8),
            number: u64_at(bytes, 16),
            durable: u64_at(bytes, 24),
            committed: u64_at(bytes, 32),
            length: u32_at(bytes, 40),
            crc: u32_at(bytes, 44),
        })
    }
}

/// The bytes that a record with a payload of `length` bytes takes.
pub fn span(length: usize) -> usize {
    HEAD + length.next_multiple_of(ALIGN) + TAIL
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// What a new record is about.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// What it says.
    pub kind: Kind,
    /// The log index it is about.
    pub index: u64,
    /// Its number.
    pub number: u64,
    /// The last durable record's number.
    pub durable: u64,
    /// The commit index.
    pub committed: u64,
}

/// Adds a record to `out`.
pub fn write(out: &mut Vec<u8>, about: About, payload: &[u8]) {
    let start = out.len();
    // A payload is an entry or smaller, and entries are bounded far below 4 GiB by what a request may hold.
    let length = u32::try_from(payload.len()).expect("entries are bounded");
    out.extend_from_slice(&MAGIC.to_le_bytes());
    out.extend_from_slice(&about.kind.code().to_le_bytes());
    for number in [about.index, about.number, about.durable, about.committed] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    let check = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&check.to_le_bytes());
    out.extend_from_slice(payload);
    out.resize(start + HEAD + payload.len().next_multiple_of(ALIGN), 0);
    write_tail(out, about.number);
}

fn write_tail(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&TAIL_MAGIC.to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(&number.to_le_bytes()).to_le_bytes());
    out.extend_from_slice(&number.to_le_bytes());
}

/// A whole record and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its head.
    pub head: Head,
    /// Where it begins in the segment.
    pub offset: usize,
}

/// What comes behind the last whole record of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Nothing: the rest was never written.
    Clean,
    /// A write that was not finished, and so not acknowledged.
    Torn,
    /// Something that was written whole and cannot be read any more.
    Damaged(&'static str),
}

/// What a segment holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// The whole records in order.
    pub records: Vec<Found>,
    /// Where they end.
    pub end: usize,
    /// What comes there.
    pub rest: End,
}

/// Reads the records of a segment, whose first one must have the number `first`.
pub fn scan(segment: &[u8], first: u64) -> Scan {
    let mut records: Vec<Found> = Vec::new();
    let mut end = 0;
    let mut number = first;
    while let Some(head) = whole(&segment[end..], number) {
        records.push(Found { head, offset: end });
        end += head.span();
        number += 1;
    }
    let rest = &segment[end..];
    let rest = if rest.iter().all(|byte| *byte == 0) { End::Clean } else { judge(rest, number, end) };
    Scan { records, end, rest }
}

/// The payload of a record that `scan` found.
pub fn payload<'a>(segment: &'a [u8], found: &Found) -> &'a [u8] {
    let start = found.offset + HEAD;
    &segment[start..start + found.head.length as usize]
}

/// The record with this number at the beginning of `bytes`, if it is whole.
pub fn whole(bytes: &[u8], number: u64) -> Option<Head> {
    let head = Head::parse(bytes)?;
    let payload = bytes.get(HEAD..HEAD + head.length as usize)?;
    (head.number == number && bytes.len() >= head.span() && crc32fast::hash(payload) == head.crc)
        .then_some(head)
}

/// Tells why there is no whole record `number` at the beginning of `rest`, which begins at byte `at` of the segment.
fn judge(rest: &[u8], number: u64, at: usize) -> End {
    let later = || (ALIGN..rest.len()).step_by(ALIGN);
    let proof = |at: usize| {
        Head::parse(&rest[at..]).is_some_and(|head| head.number > number && head.durable >= number)
    };
    if later().any(proof) {
        return End::Damaged("a later record proves that it was durable");
    }
    let tail = {
        let mut tail = Vec::new();
        write_tail(&mut tail, number);
        tail
    };
    let extent = match Head::parse(rest) {
        Some(head) if head.number != number => {
            return End::Damaged("another record than the next one stands here");
        }
        Some(head) => Some(head.span()).filter(|span| *span <= rest.len()),
        None => later().find(|at| rest[*at..].starts_with(&tail)).map(|at| at + TAIL),
    };
    match extent {
        Some(extent) if rest[extent - TAIL..extent] == tail && !has_empty_sector(&rest[..extent], at) => {
            End::Damaged("it was written whole and its checksum is wrong")
        }
        Some(_) | None => End::Torn,
    }
}

/// Whether all that lies of a sector in these bytes, which begin at byte `at` of the segment, is zeros, as where a write
/// did not get to.
fn has_empty_sector(bytes: &[u8], at: usize) -> bool {
    let (first, rest) = bytes.split_at((SECTOR - at % SECTOR).min(bytes.len()));
    std::iter::once(first).chain(rest.chunks(SECTOR)).any(|part| part.iter().all(|byte| *byte == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(payloads: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for (place, payload) in payloads.iter().enumerate() {
            let number = place as u64 + 1;
            let about = About { kind: Kind::Entry, index: number, number, durable: number - 1, committed: 0 };
            write(&mut out, about, payload);
        }
        out.resize(out.len() + 4096, 0);
        out
    }

    #[test]
    fn what_is_written_is_found() {
        let bytes = segment(&[b"one", b"", b"three"]);
        let scan = scan(&bytes, 1);
        assert_eq!(scan.rest, End::Clean);
        let payloads: Vec<_> = scan.records.iter().map(|found| payload(&bytes, found)).collect();
        assert_eq!(payloads, [&b"one"[..], b"", b"three"]);
        assert_eq!(scan.records[2].head.durable, 2);
    }

    #[test]
    fn a_write_that_was_cut_off_anywhere_is_torn_and_costs_only_itself() {
        let long = [7; 1000];
        let bytes = segment(&[b"one", &long]);
        let first = span(3);
        for length in first + 1..first + span(1000) - TAIL {
            let mut cut = bytes[..length].to_vec();
            cut.resize(bytes.len(), 0);
            let scan = scan(&cut, 1);
            assert_eq!((scan.records.len(), &scan.rest), (1, &End::Torn), "cut at {length}");
        }
    }

    #[test]
    fn every_flipped_bit_of_what_was_written_is_noticed_or_harmless() {
        let bytes = segment(&[b"one", b"two, which is longer than one", b"three"]);
        let intact = scan(&bytes, 1);
        for at in 0..intact.end {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                let scan = scan(&flipped, 1);
                let harmless = scan.records == intact.records
                    && scan.records.iter().all(|found| payload(&flipped, found) == payload(&bytes, found));
                assert!(
                    harmless || matches!(scan.rest, End::Damaged(_)),
                    "byte {at}, bit {bit}: {} records, {:?}",
                    scan.records.len(),
                    scan.rest
                );
            }
        }
    }

    #[test]
    fn a_sector_that_was_never_written_is_no_damage() {
        let long = [7; 4000];
        let mut bytes = segment(&[b"one", &long]);
        let hole = span(3) + 1024;
        bytes[hole..hole + 1024].fill(0);
        assert_eq!(scan(&bytes, 1).rest, End::Torn);
    }

    #[test]
    fn nor_is_the_end_of_a_sector_in_which_a_record_begins() {
        let (first, long) = ([1; 408], [7; 1000]);
        let mut bytes = segment(&[&first, &long]);
        assert_eq!(span(first.len()), SECTOR - 32);
        bytes[SECTOR - 32..SECTOR].fill(0);
        assert_eq!(scan(&bytes, 1).rest, End::Torn);
        bytes[SECTOR - 1] = 1;
        assert!(matches!(scan(&bytes, 1).rest, End::Damaged(_)));
    }
}
