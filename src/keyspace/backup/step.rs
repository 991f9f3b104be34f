//! The steps of a restore as the log and snapshots hold them, and why one is not taken.

use serde::{Deserialize, Serialize};

use crate::format::Version;
use crate::keyspace::Blob;

/// No more is staged, or one request could fill the memory of all nodes.
pub(super) const STAGED_LIMIT_BYTES: u64 = 8 << 30;

/// A SHA-256 checksum.
pub type Digest = [u8; 32];

/// One step of a restore. The steps may be repeated: each takes effect once. New kinds go to the end, and so do
/// new fields of a kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Restore {
    /// Begin; drops what another restore has staged.
    Begin {
        /// Names the restore; chosen by whoever asks for it.
        id: u64,
        /// The version that the backup needs to be read.
        version: Version,
    },
    /// Stage records.
    Chunk {
        /// The number that names the restore.
        id: u64,
        /// Counts the chunks from 0.
        number: u64,
        /// Records one after another.
        records: Blob,
    },
    /// Replace the keyspace by what is staged.
    Commit {
        /// The number that names the restore.
        id: u64,
        /// How many chunks there must be.
        chunks: u64,
        /// Their checksum, see [`link`](super::format::link).
        chain: Digest,
    },
    /// Drop what is staged.
    Abort {
        /// The number that names the restore.
        id: u64,
    },
}

impl Restore {
    /// Bytes that the step carries.
    pub fn weight(&self) -> usize {
        match self {
            Self::Chunk { records, .. } => records.len() + 32,
            Self::Begin { .. } | Self::Commit { .. } | Self::Abort { .. } => 64,
        }
    }
}

/// Why a step of a restore was not taken. The keys are as they were.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Nothing is staged under this name: it took too long, or another restore was begun.
    #[error("the restore was given up because it rested too long or another one was begun: start it again")]
    Gone,
    /// A chunk is missing before this one.
    #[error("chunk {expected} of the backup must come next")]
    Order {
        /// The number that is next.
        expected: u64,
    },
    /// What came is no keyspace, or not what was announced. It is dropped.
    #[error("the backup did not arrive as it was sent: {what}")]
    Damaged {
        /// What is wrong.
        what: String,
    },
    /// Not all members can read the backup.
    #[error(
        "the backup needs version {needed} of the cluster, which is at {cluster}: upgrade all members first"
    )]
    TooEarly {
        /// The version that it needs.
        needed: Version,
        /// The cluster's version.
        cluster: Version,
    },
    /// It would need too much memory. What was staged is dropped.
    #[error("the backup is larger than {} GiB", STAGED_LIMIT_BYTES >> 30)]
    TooLarge,
}

/// The last restore that took place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Restored {
    /// The number that names the restore.
    pub id: u64,
    /// The store's index that it took.
    pub index: u64,
}

crate::format::extendable!(Restored);

/// What is staged, but for the keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    pub(super) id: u64,
    pub(super) chunks: u64,
    pub(super) chain: Digest,
    pub(super) bytes: u64,
    /// When the last chunk came, on the cluster clock.
    pub(super) touched: i64,
}
