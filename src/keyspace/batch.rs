//! The commands of one entry of the log in binary form: the version that must be known to read them (16 bits, little
//! endian), then a record for each (see [`crate::format`]).

use super::Command;
use crate::format::{Unreadable, Version, highest, record, written_as};

/// Bytes of the version.
const VERSION_BYTES: usize = 2;

/// About what the fields of a small command take, in bytes.
const SMALL_BYTES: usize = 64;

/// Why commands cannot be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The cluster has not reached the version that a command came with.
    #[error("it needs version {needed} of the cluster, which is at {cluster}: upgrade all members")]
    TooEarly {
        /// The version that a command needs.
        needed: Version,
        /// The cluster's version.
        cluster: Version,
    },
    /// A later version wrote them.
    #[error("it needs Muster {needed} or later, and this one does {can}")]
    TooNew {
        /// The version that they need.
        needed: Version,
        /// What this process can do.
        can: Version,
    },
    /// They are not what any version writes.
    #[error("its commands cannot be read: {0}")]
    Damaged(String),
}

impl From<Unreadable> for BatchError {
    fn from(error: Unreadable) -> Self {
        Self::Damaged(error.to_string())
    }
}

/// Encodes commands for a cluster at this version.
///
/// # Errors
/// `TooEarly`, or `Damaged` when they are too large to be encoded.
pub fn encode(commands: &[Command], cluster: Version) -> Result<Vec<u8>, BatchError> {
    let needed = commands.iter().map(Command::since).max().unwrap_or(cluster);
    if needed > cluster {
        return Err(BatchError::TooEarly { needed, cluster });
    }
    // Who cannot do a version must not even know that it is reached: it stops before.
    let raised = commands.iter().filter_map(|command| match command {
        Command::RaiseVersion { version } => Some(*version),
        _ => None,
    });
    let version = raised.max().unwrap_or(cluster).max(cluster);
    let room = commands.len() * SMALL_BYTES;
    let mut bytes = Vec::with_capacity(VERSION_BYTES + room);
    bytes.extend_from_slice(&version.number().to_le_bytes());
    written_as(cluster, || {
        commands.iter().try_fold(bytes, record::push).map_err(|error| BatchError::Damaged(error.to_string()))
    })
}

/// The version that these commands need to be read.
///
/// # Errors
/// `Damaged`.
pub fn version(bytes: &[u8]) -> Result<Version, BatchError> {
    Ok(split(bytes)?.0)
}

/// Makes sure that this process knows the version of these commands.
///
/// # Errors
/// `TooNew`, `Damaged`.
pub fn check(bytes: &[u8]) -> Result<Version, BatchError> {
    let (needed, can) = (version(bytes)?, highest());
    if needed > can { Err(BatchError::TooNew { needed, can }) } else { Ok(needed) }
}

/// Reads all commands, or none.
///
/// # Errors
/// `TooNew`, `Damaged`.
pub fn decode(bytes: &[u8]) -> Result<Vec<Command>, BatchError> {
    let version = check(bytes)?;
    let mut rest = split(bytes)?.1;
    let count = std::iter::successors(record::split(rest), |(_, after)| record::split(after)).count();
    let mut commands = Vec::with_capacity(count);
    while !rest.is_empty() {
        let (record, after) =
            record::split(rest).ok_or_else(|| BatchError::Damaged("a command is cut off".into()))?;
        let command: Command = crate::format::decode(record)?;
        if command.since() > version {
            let since = command.since();
            return Err(BatchError::Damaged(format!("version {version} has no such command, {since} has")));
        }
        commands.push(command);
        rest = after;
    }
    Ok(commands)
}

fn split(bytes: &[u8]) -> Result<(Version, &[u8]), BatchError> {
    let (version, rest) = bytes
        .split_first_chunk::<VERSION_BYTES>()
        .ok_or_else(|| BatchError::Damaged("it has no version".into()))?;
    Ok((Version::from_number(u16::from_le_bytes(*version)), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::CURRENT;
    use crate::keyspace::{Content, Key};

    const LATER: Version = Version::new(9, 9);

    fn commands() -> Vec<Command> {
        let key = |text: &str| Key::parse(text.as_bytes()).unwrap();
        let content = Content { value: "one".into(), ..Content::default() };
        vec![
            Command::Set { key: key("/a"), dir: false, content },
            Command::Expire,
            Command::Delete { key: key("/b"), dir: true, recursive: false },
        ]
    }

    #[test]
    fn commands_come_back_in_order() {
        for commands in [commands(), Vec::new()] {
            let bytes = encode(&commands, CURRENT).unwrap();
            assert_eq!(version(&bytes), Ok(CURRENT));
            assert_eq!(decode(&bytes), Ok(commands));
        }
    }

    #[test]
    fn a_batch_of_a_later_version_is_refused_with_that_version_whatever_it_holds() {
        let mut bytes = LATER.number().to_le_bytes().to_vec();
        bytes.extend_from_slice(b"\xff\xff\xff");
        let refused = BatchError::TooNew { needed: LATER, can: highest() };
        assert_eq!(decode(&bytes), Err(refused.clone()));
        assert!(refused.to_string().contains("needs Muster 9.9"), "{refused}");
    }

    #[cfg(debug_assertions)]
    #[test]
    fn a_command_of_the_next_version_is_written_and_read_in_that_version_only() {
        use crate::format::NEXT;
        let remark = [Command::Remark { id: 1, text: "x".into() }];
        let early = BatchError::TooEarly { needed: NEXT, cluster: CURRENT };
        assert_eq!(encode(&remark, CURRENT), Err(early));
        let bytes = encode(&remark, NEXT).unwrap();
        assert!(matches!(decode(&bytes), Err(BatchError::TooNew { .. })));
        let smuggled = [&CURRENT.number().to_le_bytes()[..], &bytes[2..]].concat();
        assert!(matches!(decode(&smuggled), Err(BatchError::Damaged(_))));
    }

    #[test]
    fn what_raises_the_version_needs_it() {
        let raise = [Command::RaiseVersion { version: LATER }];
        let bytes = encode(&raise, CURRENT).unwrap();
        assert_eq!(version(&bytes), Ok(LATER));
        assert!(matches!(decode(&bytes), Err(BatchError::TooNew { .. })));
    }

    #[test]
    fn unknown_kinds_and_fields_and_cut_batches_give_no_command_at_all() {
        let whole = encode(&commands(), CURRENT).unwrap();
        for length in 0..whole.len() {
            let decoded = decode(&whole[..length]);
            let known = decoded.as_ref().map_or(0, Vec::len);
            assert!(decoded.is_err() || known < 3, "{length} bytes");
        }
        let unknown_kind = [&whole[..], &[2, 0, 0, 0, 0xff, 0x01]].concat();
        let error = decode(&unknown_kind).unwrap_err().to_string();
        assert!(error.contains("kind 255 is not known"), "{error}");
        // Expire has no fields.
        let unknown_field = [&whole[..2], &[2, 0, 0, 0, 7, 1]].concat();
        let error = decode(&unknown_field).unwrap_err().to_string();
        assert!(error.contains("fields that are not known"), "{error}");
    }
}
