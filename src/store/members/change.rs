//! Changes of the cluster's members. The log decides who belongs to it; raft's membership follows by itself.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::list::added_id;
use crate::client::{Member, MemberStatus, MemberStatuses, Role};
use crate::clock::wall_nanos;
use crate::keyspace::{Command, KeyError, MemberError};
use crate::raft::{MemberProgress, NodeError, has_quorum};
use crate::store::propose::WRITE_TIMEOUT;
use crate::store::{Consistency, Store, StoreError};

/// How often a change is decided anew because others changed the members meanwhile.
const TRIES: usize = 8;

/// How long the leader may take to tell how far the members have come.
const PROGRESS_LIMIT: Duration = Duration::from_secs(3);

impl From<NodeError> for StoreError {
    fn from(error: NodeError) -> Self {
        match error {
            NodeError::TimedOut | NodeError::NoLeader | NodeError::Unreached(_) => Self::TimedOut,
            NodeError::Stopped(_) => Self::Stopping,
            NodeError::Unwilling(why) => Self::Unwilling(why),
        }
    }
}

impl From<MemberError> for StoreError {
    fn from(error: MemberError) -> Self {
        // The index is that of no answer: members have none.
        Self::Refused(crate::keyspace::Refusal { error: KeyError::Member(error), index: 0 })
    }
}

impl Store {
    /// Adds a member that will be reached at `peer_urls`. It gets every change once it is started, and votes once it
    /// has caught up, unless it shall be a read replica.
    ///
    /// # Errors
    /// `Refused`: another member has one of the URLs. `TimedOut`, `Stopping`.
    pub async fn add_member(&self, peer_urls: Vec<String>, replica: bool) -> Result<Member, StoreError> {
        for _ in 0..TRIES {
            let id = added_id(&peer_urls, wall_nanos());
            match self.propose(Command::AddMember { id, peer_urls: peer_urls.clone(), replica }).await {
                // An id that somebody has or had: the next one comes from another time.
                Err(error) if is(&error, &[MemberError::IdExists, MemberError::Removed]) => continue,
                Err(error) => return Err(error),
                Ok(_) => {
                    let (id, name, client_urls) = (format!("{id:x}"), String::new(), Vec::new());
                    return Ok(Member { id, name, peer_urls, client_urls, is_learner: replica });
                }
            }
        }
        Err(MemberError::IdExists.into())
    }

    /// Gives a member other peer URLs.
    ///
    /// # Errors
    /// `Refused`: there is no such member, or another one has one of the URLs. `TimedOut`, `Stopping`.
    pub async fn update_member(&self, id: u64, peer_urls: Vec<String>) -> Result<(), StoreError> {
        self.propose(Command::UpdateMember { id, peer_urls }).await.map(drop)
    }

    /// Lets a read replica vote, once it has caught up.
    ///
    /// # Errors
    /// `Refused`: there is no such member, or it is no replica. `TimedOut`, `Stopping`.
    pub async fn promote_member(&self, id: u64) -> Result<(), StoreError> {
        self.propose(Command::PromoteMember { id }).await.map(drop)
    }

    /// Removes a member for good, and waits until the others do without it. With `force` even if that loses the
    /// quorum; its vote then counts until the others can do without it.
    ///
    /// # Errors
    /// `Refused`: there is no such member any more, or it is the last one. `Unwilling`: the quorum would be lost.
    /// `TimedOut`, `Stopping`.
    pub async fn remove_member(&self, id: u64, force: bool) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            self.wait_for(Consistency::Linearizable).await?;
            let seen = self.node.state().read().keyspace.roster().version();
            let harm = self.harm_without(id).await?;
            if let Some(why) = harm.clone().filter(|_| !force) {
                return Err(StoreError::Unwilling(why));
            }
            match self.propose(Command::RemoveMember { id, seen: Some(seen) }).await {
                Err(error) if is(&error, &[MemberError::Stale]) => continue,
                Err(error) => return Err(error),
                Ok(_) if harm.is_some() => return Ok(()),
                Ok(_) => {
                    let dropped = self.node.wait_dropped(id, WRITE_TIMEOUT).await;
                    return if dropped { Ok(()) } else { Err(StoreError::TimedOut) };
                }
            }
        }
        Err(StoreError::TimedOut)
    }

    /// Why the members that run would no longer be a majority without `id`; `None` when they would.
    async fn harm_without(&self, id: u64) -> Result<Option<String>, StoreError> {
        let progress = self.node.member_progress(Instant::now() + PROGRESS_LIMIT).await?;
        let replica = self.node.state().read();
        let roster = replica.keyspace.roster();
        let (mut voters, running) = (progress.voters(), progress.running());
        // Whoever was removed before and votes still will be gone as well.
        voters.retain(|voter| roster.get(*voter).is_some());
        if !voters.remove(&id) || roster.get(id).is_none() || has_quorum(&voters, &running) {
            return Ok(None);
        }
        let alive: BTreeSet<u64> = voters.intersection(&running).copied().collect();
        if alive.is_empty() {
            let why = "no member would be left that votes and runs: start or promote another one first";
            return Err(StoreError::Unwilling(why.into()));
        }
        let (alive, all, needed) = (alive.len(), voters.len(), voters.len() / 2 + 1);
        let why = format!(
            "without member {id:x} only {alive} of {all} voters would be running, and {needed} are needed: start or \
             remove those that do not run first (--force removes it all the same)"
        );
        Ok(Some(why))
    }

    /// Has another member lead: `to`, or whoever is best prepared. Tells who leads then.
    ///
    /// # Errors
    /// `Refused`: there is no such member. `Unwilling`: it cannot lead. `TimedOut`, `Stopping`.
    pub async fn move_leader(&self, to: Option<u64>) -> Result<Member, StoreError> {
        let known = |id: u64| self.node.state().read().keyspace.roster().get(id).is_some();
        if to.is_some_and(|id| !known(id)) {
            return Err(MemberError::NoSuchMember.into());
        }
        let leader = format!("{:x}", self.node.move_leader(to).await?);
        self.members().into_iter().find(|member| member.id == leader).ok_or(StoreError::TimedOut)
    }

    /// Every member with how far it has come, and the cluster's version. Without a leader that answers in time, roles are those that this node knows.
    pub async fn member_statuses(&self) -> MemberStatuses {
        let deadline = Instant::now() + PROGRESS_LIMIT;
        // Members are counted as of now where a quorum says what that is: whoever joins goes by them.
        let (asked, _) = tokio::join!(self.node.member_progress(deadline), self.node.read_barrier(deadline));
        let asked = asked.ok();
        let leader = asked.as_ref().map(|progress| format!("{:x}", progress.leader));
        let progress_of = |id: &str| {
            let id = u64::from_str_radix(id, 16).ok()?;
            asked.as_ref()?.member(id).cloned()
        };
        let replica_voters = self.node.voters();
        let replica_version = |id: u64| {
            let replica = self.node.state().read();
            replica.keyspace.members().get(id).map(|attributes| attributes.version.to_string())
        };
        let status = |member: Member| {
            let known: Option<MemberProgress> = progress_of(&member.id);
            let id = u64::from_str_radix(&member.id, 16).unwrap_or_default();
            let votes = known.as_ref().map_or_else(|| replica_voters.contains(&id), |known| known.voter);
            let role = match (member.is_learner, votes) {
                (_, true) => Role::Voter,
                (true, false) => Role::Replica,
                (false, false) => Role::Learner,
            };
            let lag = asked
                .as_ref()
                .and_then(|progress| Some(progress.last.saturating_sub(known.as_ref()?.matched?)));
            let running = asked.as_ref().map(|_| known.as_ref().is_some_and(|known| known.running));
            let version = replica_version(id);
            MemberStatus { leader: leader.as_ref() == Some(&member.id), member, role, running, lag, version }
        };
        let members = self.members().into_iter().map(status).collect();
        let version = Some(self.node.state().versions().reached().to_string());
        MemberStatuses { members, version }
    }
}

fn is(error: &StoreError, expected: &[MemberError]) -> bool {
    let StoreError::Refused(refusal) = error else { return false };
    matches!(&refusal.error, KeyError::Member(error) if expected.contains(error))
}
