//! What a node tells of the cluster's members, and how leadership moves.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

use openraft::async_runtime::WatchReceiver;

use super::progress::Progress;
use crate::raft::node::{Node, NodeError};
use crate::raft::peer::card::Refusal;
use crate::raft::peer::network::Lane;
use crate::raft::peer::wire::{Introduction, PeerRequest, PeerResponse};
use crate::raft::storage::DISMISSED;
use crate::raft::types::Peer;

/// How long a change of the leader may take.
const MOVE_LIMIT: Duration = Duration::from_secs(5);

impl Node {
    /// Where every member stands, as the leader sees it.
    ///
    /// # Errors
    /// No leader answered before `deadline`.
    pub async fn member_progress(&self, deadline: Instant) -> Result<Progress, NodeError> {
        loop {
            let known = self.leader();
            match self.ask_leader(|| PeerRequest::Progress, deadline).await {
                Ok(PeerResponse::Progress(progress)) => return Ok(progress),
                Ok(other) => tracing::debug!(answer = ?other, "no word of the members' progress"),
                Err(NodeError::Unreached(error)) => tracing::debug!(%error, "leader not reached"),
                Err(error) => return Err(error),
            }
            self.pause(known, deadline).await?;
        }
    }

    /// Where every member stands, if this node leads.
    pub fn progress_here(&self) -> Option<Progress> {
        Progress::of_leader(&self.raft().metrics().borrow_watched(), self.election)
    }

    pub(in crate::raft) fn tell_progress(&self) -> PeerResponse {
        self.progress_here().map_or_else(|| PeerResponse::NotLeader(self.leader()), PeerResponse::Progress)
    }

    /// Has another member lead: `to`, or whoever is best prepared. Tells who leads then.
    ///
    /// # Errors
    /// `Unwilling`: it cannot take over, and why. `TimedOut`: nobody led, or nobody took over.
    pub async fn move_leader(&self, to: Option<u64>) -> Result<u64, NodeError> {
        self.leader_other_than(None, MOVE_LIMIT).await;
        let Some(leader) = self.leader() else { return Err(NodeError::TimedOut) };
        if to == Some(leader) {
            return Ok(leader);
        }
        let answer = if leader == self.identity().member {
            self.move_leader_here(to).await
        } else {
            let Some(peer) = self.members().remove(&leader) else { return Err(NodeError::TimedOut) };
            let channel = self.peers.channel(leader, &peer, Lane::Control);
            let answer = channel.call(&PeerRequest::MoveLeader { to }, MOVE_LIMIT * 2).await;
            answer.unwrap_or_else(|error| PeerResponse::Failed(error.to_string()))
        };
        match answer {
            PeerResponse::Moved(Ok(leader)) => Ok(leader),
            PeerResponse::Moved(Err(why)) => Err(NodeError::Unwilling(why)),
            other => {
                tracing::debug!(answer = ?other, "leadership not moved");
                Err(NodeError::TimedOut)
            }
        }
    }

    /// As the leader: lets another lead.
    pub(in crate::raft) async fn move_leader_here(&self, to: Option<u64>) -> PeerResponse {
        let Some(progress) = self.progress_here() else { return PeerResponse::NotLeader(self.leader()) };
        let mut heirs: BTreeSet<u64> = progress.voters().intersection(&progress.running()).copied().collect();
        heirs.remove(&progress.leader);
        if let Some(to) = to {
            if !progress.voters().contains(&to) {
                return PeerResponse::Moved(Err(format!("member {to:x} does not vote, so it cannot lead")));
            }
            heirs.retain(|id| *id == to);
            if heirs.is_empty() {
                return PeerResponse::Moved(Err(format!("member {to:x} does not answer, so it cannot lead")));
            }
        }
        if heirs.is_empty() {
            return PeerResponse::Moved(Err("there is no other voter that answers".into()));
        }
        let moved = self.hand_over_to(&heirs, MOVE_LIMIT).await;
        PeerResponse::Moved(match (self.leader().filter(|_| moved), to) {
            (Some(leader), Some(to)) if leader != to => {
                Err(format!("member {to:x} did not take over, and member {leader:x} leads now"))
            }
            (Some(leader), _) => Ok(leader),
            (None, _) => Err("nobody took over in time".into()),
        })
    }

    /// Whether member `id` was removed and is no part of raft's membership any more, not even of one that is being
    /// changed: then it has nothing to say.
    pub fn has_dropped(&self, id: u64) -> bool {
        let replica = self.state().read();
        replica.keyspace.roster().is_removed(id) && !replica.has_member(id)
    }

    /// Waits until member `id` is dropped as far as this node can know, for `limit` at most. `true` when it is.
    pub async fn wait_dropped(&self, id: u64, limit: Duration) -> bool {
        let mut applied = self.state().applied();
        let mut dismissal = self.peers.gate().dismissal();
        let dropped = async { while !self.has_dropped(id) && applied.changed().await.is_ok() {} };
        let told = async {
            // Whoever is removed itself never hears of the end of it but from others.
            let removed = |why: &Option<Refusal>| *why == Some(Refusal::Removed);
            if id != self.identity().member || dismissal.wait_for(removed).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let either = async {
            tokio::select! {
                () = dropped => {}
                () = told => {}
            }
        };
        tokio::time::timeout(limit, either).await.is_ok()
    }

    /// What somebody is told who will be reached at `peer_urls` and does not know who it is.
    pub(in crate::raft) fn introduction(&self, peer_urls: &[String]) -> Introduction {
        let replica = self.state().read();
        let roster = replica.keyspace.roster().members();
        let mine = roster.iter().find(|(_, seat)| seat.peer_urls.iter().any(|url| peer_urls.contains(url)));
        let member = mine.map(|(id, _)| *id);
        let peer = |id: &u64, peer_urls: &[String]| Peer {
            name: replica.name_of(*id),
            peer_urls: peer_urls.to_vec(),
        };
        let members: BTreeMap<u64, Peer> =
            roster.iter().map(|(id, seat)| (*id, peer(id, &seat.peer_urls))).collect();
        Introduction { cluster: self.identity().cluster, member, members }
    }

    /// Resolves when the cluster has nothing more to do with this node, with the reason; that is on disk then, unless
    /// it is one that passes.
    ///
    /// # Errors
    /// The disk fails.
    pub async fn dismissed(&self) -> io::Result<Refusal> {
        let mut dismissal = self.peers.gate().dismissal();
        let refusal = match dismissal.wait_for(Option::is_some).await.map(|why| *why) {
            Ok(Some(refusal)) => refusal,
            Ok(None) | Err(_) => std::future::pending().await,
        };
        if matches!(refusal, Refusal::OtherMember(_) | Refusal::LeftBehind | Refusal::Twice) {
            return Ok(refusal);
        }
        let identity_store = self.identity_store.clone();
        tokio::task::spawn_blocking(move || identity_store.write(DISMISSED, &Some(refusal)))
            .await
            .map_err(io::Error::other)??;
        Ok(refusal)
    }
}
