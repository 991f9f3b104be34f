//! Frames of a length, a CRC-32 and bytes: what snapshots and backups are made of.

/// Bytes of a frame before its contents.
pub const HEAD_BYTES: usize = 8;

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// How many bytes follow.
    pub length: usize,
    crc: u32,
}

impl Head {
    /// The head of a frame that holds `bytes`; `None` when they are too many for a frame.
    pub fn of(bytes: &[u8]) -> Option<[u8; HEAD_BYTES]> {
        let length = u32::try_from(bytes.len()).ok()?.to_le_bytes();
        let crc = crc32fast::hash(bytes).to_le_bytes();
        let mut head = [0; HEAD_BYTES];
        head[..4].copy_from_slice(&length);
        head[4..].copy_from_slice(&crc);
        Some(head)
    }

    /// Reads a head.
    pub fn parse(head: [u8; HEAD_BYTES]) -> Self {
        let [a, b, c, d, crc @ ..] = head;
        Self { length: u32::from_le_bytes([a, b, c, d]) as usize, crc: u32::from_le_bytes(crc) }
    }

    /// Whether `bytes` are what the head announced.
    pub fn fits(self, bytes: &[u8]) -> bool {
        bytes.len() == self.length && crc32fast::hash(bytes) == self.crc
    }
}
