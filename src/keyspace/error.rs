//! Why the keyspace refuses a command, with etcd's numbers for it.

use super::{Key, MemberError, Mismatch, RestoreError};

/// A refusal. A refused command has changed nothing and taken no index.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is no such key; `missing` is the shortest prefix that does not exist.
    #[error("key not found: {missing:?}")]
    NotFound {
        /// The shortest missing prefix.
        missing: Key,
    },
    /// The node is not what the caller expected.
    #[error("compare failed: {:?}", .0.key())]
    CompareFailed(Box<Mismatch>),
    /// The node is a directory.
    #[error("not a file: {key:?}")]
    NotFile {
        /// The directory.
        key: Key,
    },
    /// A file stands where a directory is needed.
    #[error("not a directory: {file:?}")]
    NotDirectory {
        /// The file in the way.
        file: Key,
    },
    /// The key exists already.
    #[error("key already exists: {key:?}")]
    Exists {
        /// The key.
        key: Key,
    },
    /// The root cannot be written.
    #[error("root is read only")]
    RootReadOnly,
    /// The directory has children, hidden ones included.
    #[error("directory not empty: {key:?}")]
    DirectoryNotEmpty {
        /// The directory.
        key: Key,
    },
    /// The events asked for are no longer kept.
    #[error("events since {asked} have been cleared, the oldest kept is {oldest}")]
    HistoryCleared {
        /// The oldest event that is kept.
        oldest: u64,
        /// The event asked for.
        asked: u64,
    },
    /// A change of members is refused.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// A step of a restore was not taken.
    #[error(transparent)]
    Restore(#[from] RestoreError),
}

impl KeyError {
    /// etcd's error number (etcd `error/error.go`).
    pub fn code(&self) -> u16 {
        match self {
            Self::NotFound { .. } => 100,
            Self::CompareFailed { .. } => 101,
            Self::NotFile { .. } => 102,
            Self::NotDirectory { .. } => 104,
            Self::Exists { .. } => 105,
            Self::RootReadOnly => 107,
            Self::DirectoryNotEmpty { .. } => 108,
            Self::HistoryCleared { .. } => 401,
            // Members have words of their own and no number.
            Self::Member(_) => 300,
            // No request for a key meets this one.
            Self::Restore(_) => 300,
        }
    }

    /// The `cause` member of etcd's answer: mostly a key, as bytes. That of a failed comparison has whole values in it,
    /// and is made here and not before: most of those who compare want nothing but to know that it failed.
    pub fn cause(&self) -> Vec<u8> {
        match self {
            Self::NotFound { missing: key }
            | Self::NotFile { key }
            | Self::NotDirectory { file: key }
            | Self::Exists { key }
            | Self::DirectoryNotEmpty { key } => key.as_bytes().to_vec(),
            Self::CompareFailed(mismatch) => mismatch.words(),
            Self::RootReadOnly => b"/".to_vec(),
            Self::Member(error) => error.to_string().into_bytes(),
            Self::HistoryCleared { oldest, asked } => {
                format!("the requested history has been cleared [{oldest}/{asked}]").into_bytes()
            }
            Self::Restore(error) => error.to_string().into_bytes(),
        }
    }
}

/// A refusal together with the store's index at that moment, which etcd's answer carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why the command is refused.
    pub error: KeyError,
    /// The store's index.
    pub index: u64,
}
