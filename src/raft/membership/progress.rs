//! How far every member has come, as the leader sees it.

use std::collections::BTreeSet;
use std::time::Duration;

use openraft::RaftMetrics;
use openraft::async_runtime::Instant as _;
use serde::{Deserialize, Serialize};

use crate::raft::types::TypeConfig;

/// A member that has not answered the leader for this many election times does not count as running.
const SILENT_ELECTIONS: u32 = 2;

/// How far each member of raft's membership has come, as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The id of the member that leads.
    pub leader: u64,
    /// The last entry of the leader's log.
    pub last: u64,
    /// Every member that gets the log.
    pub members: Vec<MemberProgress>,
}

/// How far one member has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct MemberProgress {
    /// The member.
    pub id: u64,
    /// Whether it votes.
    pub voter: bool,
    /// The last entry of the leader's log that it is known to have.
    pub matched: Option<u64>,
    /// Whether it has answered lately.
    pub running: bool,
}

crate::format::extendable!(MemberProgress);

impl Progress {
    /// What the leader's metrics say; `None` when they are not a leader's.
    pub(in crate::raft) fn of_leader(metrics: &RaftMetrics<TypeConfig>, election: Duration) -> Option<Self> {
        let (heartbeats, progress) = (metrics.heartbeat.as_ref()?, metrics.replication.as_ref()?);
        let last = metrics.last_log_index.unwrap_or_default();
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let progress = |id: u64| {
            let answered = heartbeats.get(&id).and_then(Option::as_ref);
            let lately = answered.is_some_and(|at| at.elapsed() < election * SILENT_ELECTIONS);
            let me = id == metrics.id;
            let matched = progress.get(&id).and_then(|log_id| log_id.map(|log_id| log_id.index));
            let matched = if me { Some(last) } else { matched };
            MemberProgress { id, voter: voters.contains(&id), matched, running: me || lately }
        };
        let members = membership.nodes().map(|(id, _)| progress(*id)).collect();
        Some(Self { leader: metrics.id, last, members })
    }

    /// Those that vote.
    pub fn voters(&self) -> BTreeSet<u64> {
        self.members.iter().filter(|member| member.voter).map(|member| member.id).collect()
    }

    /// Those that have answered lately.
    pub fn running(&self) -> BTreeSet<u64> {
        self.members.iter().filter(|member| member.running).map(|member| member.id).collect()
    }

    /// Those that lack at most `entries` of the leader's log.
    pub fn within(&self, entries: u64) -> BTreeSet<u64> {
        let near = |member: &&MemberProgress| {
            member.matched.is_some_and(|matched| self.last - matched.min(self.last) <= entries)
        };
        self.members.iter().filter(near).map(|member| member.id).collect()
    }

    /// How far one member has come.
    pub fn member(&self, id: u64) -> Option<&MemberProgress> {
        self.members.iter().find(|member| member.id == id)
    }
}
