//! What members say to each other on the peer port, and how it is framed.
//!
//! A connection begins as [`super::hello`] says. Then frames go both ways: a 32-bit length, a 64-bit number that pairs
//! an answer with its request, and the message: its kind and the fields of that kind (see [`crate::format`]), as the
//! version has them that both sides have agreed on. Many requests may be open at a time; answers come in any order. New
//! kinds go to the end, and so do new fields of a kind. Whoever is asked what it does not know says so and goes on.

use std::collections::BTreeMap;
use std::io;

use bytes::{Buf, Bytes, BytesMut};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, VoteRequest,
    VoteResponse,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio_util::codec::LengthDelimitedCodec;

use super::card::Dismissal;
use crate::format::{Unreadable, Version, highest, written_as};
use crate::raft::membership::founding::{Known, Word};
use crate::raft::membership::progress::Progress;
use crate::raft::types::{Peer, RaftVote, Ticket, TypeConfig};

/// No frame is longer; the largest honest one holds one entry with a value of some 10 MiB.
pub const FRAME_LIMIT: usize = 64 << 20;

/// No frame is longer from a caller that is not known to be a member.
pub const GREETING_LIMIT: usize = 64 << 10;

/// Bytes of a snapshot that go in one request.
pub const CHUNK_BYTES: usize = 1 << 20;

/// A request from one member to another.
#[derive(Debug, Serialize, Deserialize)]
pub enum PeerRequest {
    /// Raft's AppendEntries. On one connection they take effect in the order in which they were sent.
    Append {
        /// The leader's reading of the cluster clock, in nanoseconds.
        clock: i64,
        /// What openraft asks for.
        entries: AppendEntriesRequest<TypeConfig>,
    },
    /// Raft's RequestVote.
    Vote(VoteRequest<TypeConfig>),
    /// A vote that binds nobody, to find out whether an election could be won.
    PreVote(VoteRequest<TypeConfig>),
    /// The leader asks the receiver to take over.
    Transfer(TransferLeaderRequest<TypeConfig>),
    /// A piece of a snapshot.
    Chunk {
        /// The number that names the transfer.
        id: u64,
        /// Where in the file, in bytes.
        offset: u64,
        /// The piece.
        data: Bytes,
    },
    /// The snapshot is complete: take it over.
    Install {
        /// The number that names the transfer.
        id: u64,
        /// The vote of the leader that sends it.
        vote: RaftVote,
        /// How long the file is, in bytes.
        length: u64,
    },
    /// To the leader: append this batch of commands.
    Propose {
        /// Names the batch.
        ticket: Ticket,
        /// The encoded commands.
        commands: Bytes,
    },
    /// To the leader: how far must I have applied to read what was acknowledged before now?
    ReadIndex,
    /// From somebody who has no id yet: who am I, and who else is there?
    Introduce {
        /// Where the caller will be reached by members.
        peer_urls: Vec<String>,
    },
    /// Do I still belong to the cluster?
    Belong,
    /// To the leader: where does every member stand?
    Progress,
    /// To the leader: let another lead.
    MoveLeader {
        /// This one, or whoever is best prepared.
        to: Option<u64>,
    },
    /// From a stranger: what are you, and what do you know of me?
    Inquire {
        /// The cluster that the stranger takes for its own.
        cluster: u64,
        /// The member that it takes itself for.
        member: u64,
        /// The number of its data folder.
        folder: u64,
        /// Where it will be reached by members.
        peer_urls: Vec<String>,
    },
    /// From a stranger: introduce me to the cluster.
    Enter {
        /// The member that it is.
        member: u64,
        /// The number of its data folder.
        folder: u64,
        /// Its run.
        run: u64,
        /// Under which it is proposed.
        ticket: Ticket,
    },
}

/// The answer to a [`PeerRequest`].
#[derive(Debug, Serialize, Deserialize)]
pub enum PeerResponse {
    /// To `Append`.
    Append(AppendEntriesResponse<TypeConfig>),
    /// To `Vote` and `PreVote`.
    Vote(VoteResponse<TypeConfig>),
    /// To `Transfer`; the text says why the receiver will not take over.
    Transfer(Result<(), String>),
    /// To `Chunk`.
    Chunk,
    /// To `Install`.
    Installed(SnapshotResponse<TypeConfig>),
    /// To `Propose`: committed and applied.
    Proposed,
    /// To `ReadIndex`: an index of the log.
    ReadIndex(u64),
    /// The receiver is not the leader; perhaps this one is.
    NotLeader(Option<u64>),
    /// It failed, and the outcome may be unknown.
    Failed(String),
    /// To `Introduce`.
    Introduced(Introduction),
    /// To `Belong`: yes, as far as the receiver knows.
    Belongs,
    /// To anything: the receiver has nothing to do with the caller.
    Dismissed(Dismissal),
    /// To `Progress`.
    Progress(Progress),
    /// To `MoveLeader`: who leads now, or why it stays as it is.
    Moved(Result<u64, String>),
    /// To a request that the receiver does not know.
    Unknown {
        /// The request's kind.
        kind: u32,
        /// The highest version that the receiver speaks.
        version: Version,
    },
    /// To `Inquire`.
    Word {
        /// The receiver's cluster.
        cluster: u64,
        /// What it says.
        word: Word,
    },
    /// To `Enter`: the cluster knows the caller with this folder.
    Entered(Pass),
    /// To `Enter`: what the cluster knows of the caller instead.
    NotEntered(Known),
    /// To `Propose`: the receiver leads without a quorum, and has not proposed it.
    NoQuorum,
}

/// What somebody needs to take part in raft.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Pass {
    /// The number of the cluster's founding.
    pub incarnation: u64,
    /// The data folder of every member that was introduced.
    pub folders: BTreeMap<u64, u64>,
}
crate::format::extendable!(Pass);

/// What a member tells somebody who wants to join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introduction {
    /// The cluster's id.
    pub cluster: u64,
    /// Who the caller is by its peer URLs; `None` when no member has them.
    pub member: Option<u64>,
    /// All members with their addresses.
    pub members: BTreeMap<u64, Peer>,
}

/// Frames of a length and bytes.
pub fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().max_frame_length(FRAME_LIMIT).new_codec()
}

/// The same for what comes from somebody who may be no member.
pub fn greeting_codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().max_frame_length(GREETING_LIMIT).new_codec()
}

/// A message with its number, ready for the codec, as `version` has it.
///
/// # Errors
/// The message cannot be encoded or is too large for a frame.
pub fn encode<T: Serialize>(number: u64, message: &T, version: Version) -> io::Result<Bytes> {
    let mut head = Vec::with_capacity(256);
    head.extend_from_slice(&number.to_be_bytes());
    let bytes = written_as(version, || postcard::to_extend(message, head)).map_err(io::Error::other)?;
    if bytes.len() > FRAME_LIMIT {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "message too large"));
    }
    Ok(bytes.into())
}

/// The number of a frame and its message, if this version knows that.
///
/// # Errors
/// The frame is too short for a message.
pub fn decode<T: DeserializeOwned>(mut frame: BytesMut) -> io::Result<(u64, Result<T, Unreadable>)> {
    if frame.len() < 8 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "short frame"));
    }
    let number = frame.get_u64();
    Ok((number, crate::format::decode(&frame)))
}

/// The answer to a request that cannot be read.
pub fn not_understood(error: &Unreadable) -> PeerResponse {
    match error {
        Unreadable::UnknownKind { kind } => PeerResponse::Unknown { kind: *kind, version: highest() },
        Unreadable::UnknownFields { .. } | Unreadable::Malformed(_) => PeerResponse::Failed(format!(
            "the request cannot be read by a member of version {}: {error}",
            highest()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::CURRENT;

    #[test]
    fn messages_survive_the_wire() {
        let ticket = Ticket { node: 1, session: 2, seq: 3 };
        let request = PeerRequest::Propose { ticket, commands: Bytes::from_static(b"abc") };
        let frame = encode(7, &request, CURRENT).unwrap();
        let (number, back) = decode::<PeerRequest>(BytesMut::from(&frame[..])).unwrap();
        assert_eq!(number, 7);
        assert!(
            matches!(back, Ok(PeerRequest::Propose { ticket: t, commands }) if t == ticket && commands == "abc")
        );
    }

    #[test]
    fn a_short_frame_is_an_error_and_an_unknown_message_is_known_as_such() {
        let read = |bytes: &[u8]| decode::<PeerRequest>(BytesMut::from(bytes));
        assert!(read(b"short").is_err());
        let (number, unknown) = read(b"\0\0\0\0\0\0\0\x09\xff\x01and more").unwrap();
        let unknown = unknown.unwrap_err();
        assert_eq!((number, &unknown), (9, &Unreadable::UnknownKind { kind: 255 }));
        let answer = not_understood(&unknown);
        assert!(matches!(answer, PeerResponse::Unknown { kind: 255, version } if version == highest()));
        // Belong has no fields.
        let (_, unknown) = read(b"\0\0\0\0\0\0\0\x09\x09more").unwrap();
        assert!(matches!(not_understood(&unknown.unwrap_err()), PeerResponse::Failed(_)));
    }
}
