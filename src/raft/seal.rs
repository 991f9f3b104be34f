//! Log entries as they lie on the disk: each is sealed with its own checksum and that of the entry before it.
//!
//! `predecessor's CRC-32, own CRC-32, entry`; the own one covers the predecessor's. So an entry that is missing, was
//! replaced or came back from an earlier life of the log breaks the chain at its successor, even where sled finds
//! nothing wrong. The first entry after a purge, which has no predecessor on the disk, may hold anything there.

use std::io;

use super::types::RaftEntry;

/// Both checksums.
const HEAD_BYTES: usize = 8;

/// A link of the chain: an entry's index and checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// The entry's place in the log.
    pub index: u64,
    /// Its checksum.
    pub crc: u32,
}

/// Seals `entry` as the successor of `before`; gives the bytes for the disk and the entry's own link.
///
/// # Errors
/// The entry cannot be encoded.
pub fn seal(before: Option<Link>, entry: &RaftEntry) -> io::Result<(Vec<u8>, Link)> {
    let index = entry.log_id.index;
    let previous = before.filter(|link| link.index + 1 == index).map_or(0, |link| link.crc);
    let mut bytes = vec![0; HEAD_BYTES];
    bytes[..4].copy_from_slice(&previous.to_le_bytes());
    let mut bytes = postcard::to_extend(entry, bytes).map_err(io::Error::other)?;
    let crc = checksum(&bytes);
    bytes[4..HEAD_BYTES].copy_from_slice(&crc.to_le_bytes());
    Ok((bytes, Link { index, crc }))
}

/// Opens what [`seal`] made and was stored as entry `index`; gives the link of its predecessor and its own, too.
///
/// # Errors
/// It is damaged; the error names the entry.
pub fn open(index: u64, bytes: &[u8]) -> io::Result<(RaftEntry, Link, Link)> {
    let damaged = |why: &str| {
        io::Error::new(io::ErrorKind::InvalidData, format!("damaged entry {index} in the raft log: {why}"))
    };
    let Some((&[a, b, c, d, crc @ ..], body)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
        return Err(damaged("it is too short"));
    };
    let crc = u32::from_le_bytes(crc);
    if checksum(bytes) != crc {
        return Err(damaged("its checksum does not match"));
    }
    let entry: RaftEntry = postcard::from_bytes(body).map_err(|e| damaged(&e.to_string()))?;
    if entry.log_id.index != index {
        return Err(damaged(&format!("it is entry {}", entry.log_id.index)));
    }
    let previous = Link { index: index.wrapping_sub(1), crc: u32::from_le_bytes([a, b, c, d]) };
    Ok((entry, previous, Link { index, crc }))
}

/// Over the predecessor's checksum and the entry.
fn checksum(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..4]);
    hasher.update(&bytes[HEAD_BYTES..]);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::types::CommittedLeader;
    use openraft::EntryPayload;

    fn entry(index: u64) -> RaftEntry {
        let log_id = super::super::types::RaftLogId::new(CommittedLeader::new(3), index);
        RaftEntry { log_id, payload: EntryPayload::Blank }
    }

    #[test]
    fn entries_form_a_chain() {
        let (first, link) = seal(None, &entry(7)).unwrap();
        let (second, _) = seal(Some(link), &entry(8)).unwrap();
        assert_eq!(open(7, &first).unwrap().2, link);
        assert_eq!(open(8, &second).unwrap().1, link);
        let (apart, _) = seal(Some(link), &entry(10)).unwrap();
        assert_eq!(open(10, &apart).unwrap().1.crc, 0, "no neighbour, no link");
    }

    #[test]
    fn any_flipped_bit_any_missing_tail_and_a_wrong_place_are_noticed() {
        let (whole, _) = seal(None, &entry(7)).unwrap();
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                let error = open(7, &bytes).unwrap_err().to_string();
                assert!(error.contains("entry 7"), "{error}");
            }
            assert!(open(7, &whole[..at]).is_err());
        }
        assert!(open(8, &whole).is_err());
    }
}
