//! The types that openraft is instantiated with, and the log's payload.

use std::fmt;

use bytes::Bytes;
use openraft::impls::leader_id_std;
use openraft::{LogId, StoredMembership, Vote};
use serde::{Deserialize, Serialize};

use crate::clock::Stamp;

openraft::declare_raft_types!(
    /// How Muster instantiates openraft.
    pub TypeConfig:
        D = Proposal,
        R = (),
        NodeId = u64,
        Node = Peer,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
);

/// The id of a committed leader: with one leader a term, its term.
pub type CommittedLeader = <leader_id_std::LeaderId<u64, u64> as openraft::vote::RaftLeaderId>::Committed;
/// An entry's place in the log.
pub type RaftLogId = LogId<CommittedLeader>;
/// What this node voted.
pub type RaftVote = Vote<leader_id_std::LeaderId<u64, u64>>;
/// An entry of the log.
pub type RaftEntry = openraft::alias::EntryOf<TypeConfig>;
/// A membership and the entry that set it.
pub type RaftMembership = StoredMembership<CommittedLeader, u64, Peer>;

/// A member as raft's membership knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Peer {
    /// The name it was added under; empty when it was added without one.
    pub name: String,
    /// Where other members reach it.
    pub peer_urls: Vec<String>,
}

crate::format::extendable!(Peer);

/// Names one batch of commands for ever, so that a batch that is sent again after an unclear failure is applied once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ticket {
    /// The node that took the commands from its clients.
    pub node: u64,
    /// That node's run: higher after each start.
    pub session: u64,
    /// Counts the batches of that run from 1.
    pub seq: u64,
}

/// The payload of a log entry: a batch of commands with the leader's stamp. The commands stay encoded until they are
/// applied, so that log, network and cache share one buffer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// When the leader proposed it.
    pub at: Stamp,
    /// Whose batch it is.
    pub ticket: Ticket,
    /// The encoded commands (see [`crate::keyspace::batch`]).
    pub commands: Bytes,
}

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ticket { node, session, seq } = self.ticket;
        write!(f, "batch {node:x}/{session:x}/{seq} of {} bytes at {}", self.commands.len(), self.at.clock)
    }
}
