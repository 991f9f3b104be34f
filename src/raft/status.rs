//! How raft stands on a member, for those who look at it.

use std::collections::BTreeMap;
use std::io;

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;

use super::node::Node;
use super::types::RaftLogId;

/// How raft stands on a member.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// The current term.
    pub term: u64,
    /// Whom this member voted for or follows in it; 0 when nobody.
    pub voted_for: u64,
    /// Who leads, as far as this member knows.
    pub leader: Option<u64>,
    /// Whether this member leads.
    pub is_leader: bool,
    /// Whether it has no vote.
    pub is_learner: bool,
    /// The last index of its log.
    pub last_log: u64,
    /// The last index that it knows to be committed.
    pub committed: u64,
    /// The last index applied to its state.
    pub applied: u64,
    /// The last index in its newest snapshot.
    pub snapshot: u64,
    /// On the leader: how far each member's log agrees with its own.
    pub matched: BTreeMap<u64, u64>,
}

impl Node {
    /// How raft stands, for people and for Prometheus.
    pub fn status(&self) -> Status {
        let metrics = self.raft().metrics();
        let metrics = metrics.borrow_watched();
        let index = |id: &Option<RaftLogId>| id.map_or(0, |id| id.index);
        let matched = metrics.replication.iter().flatten();
        Status {
            term: metrics.current_term,
            voted_for: metrics.vote.leader_id.voted_for,
            leader: metrics.current_leader,
            is_leader: metrics.state == ServerState::Leader,
            is_learner: metrics.state == ServerState::Learner,
            last_log: metrics.last_log_index.unwrap_or_default(),
            committed: index(&metrics.local_committed),
            applied: index(&metrics.last_applied),
            snapshot: index(&metrics.snapshot),
            matched: matched.map(|(id, matched)| (*id, index(matched))).collect(),
        }
    }

    /// What this node waits for, in words, when it gets nothing done.
    pub fn waits_for(&self) -> String {
        let told = self.peers.gate().told();
        let refused: Vec<String> =
            told.values().map(|r| format!("member {:x} refuses it: {}", r.by, r.refusal)).collect();
        let leader = match (self.leader(), self.acting_leader()) {
            (_, Some(leader)) => format!("member {leader:x} leads, but has not answered yet"),
            (Some(leader), None) => format!("member {leader:x} led, and is not heard any more"),
            (None, None) => "a majority of the members must be there to elect one".into(),
        };
        std::iter::once(leader).chain(refused).collect::<Vec<_>>().join("; ")
    }

    /// Bytes of the newest snapshot on disk.
    ///
    /// # Errors
    /// The disk fails.
    pub fn snapshot_size(&self) -> io::Result<u64> {
        match self.state().folder().newest()? {
            Some(path) => Ok(std::fs::metadata(path)?.len()),
            None => Ok(0),
        }
    }
}
