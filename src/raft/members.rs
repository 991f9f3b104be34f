//! What a node tells of the cluster's members, and how leadership moves.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

use openraft::async_runtime::WatchReceiver;

use super::network::Lane;
use super::node::{Node, NodeError};
use super::standing::Standing;
use super::storage::REMOVED;
use super::types::Peer;
use super::wire::{Introduction, Request, Response};

/// How long a change of the leader may take.
const MOVE_LIMIT: Duration = Duration::from_secs(5);

impl Node {
    /// Where every member stands, as the leader sees it.
    ///
    /// # Errors
    /// No leader answered before `deadline`.
    pub async fn standing(&self, deadline: Instant) -> Result<Standing, NodeError> {
        loop {
            let known = self.leader();
            match self.ask_leader(|| Request::Standing, deadline).await {
                Ok(Response::Standing(standing)) => return Ok(standing),
                Ok(other) => tracing::debug!(answer = ?other, "no standing"),
                Err(NodeError::Unreached(error)) => tracing::debug!(%error, "leader not reached"),
                Err(error) => return Err(error),
            }
            self.pause(known, deadline).await?;
        }
    }

    /// Where every member stands, if this node leads.
    pub fn standing_here(&self) -> Option<Standing> {
        Standing::of_leader(&self.raft().metrics().borrow_watched(), self.election)
    }

    pub(super) fn tell_standing(&self) -> Response {
        self.standing_here().map_or_else(|| Response::NotLeader(self.leader()), Response::Standing)
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
            let answer = channel.call(&Request::MoveLeader { to }, MOVE_LIMIT * 2).await;
            answer.unwrap_or_else(|error| Response::Failed(error.to_string()))
        };
        match answer {
            Response::Moved(Ok(leader)) => Ok(leader),
            Response::Moved(Err(why)) => Err(NodeError::Unwilling(why)),
            other => {
                tracing::debug!(answer = ?other, "leadership not moved");
                Err(NodeError::TimedOut)
            }
        }
    }

    /// As the leader: lets another lead.
    pub(super) async fn move_leader_here(&self, to: Option<u64>) -> Response {
        let Some(standing) = self.standing_here() else { return Response::NotLeader(self.leader()) };
        let mut heirs: BTreeSet<u64> = standing.voters().intersection(&standing.running()).copied().collect();
        heirs.remove(&standing.leader);
        if let Some(to) = to {
            if !standing.voters().contains(&to) {
                return Response::Moved(Err(format!("member {to:x} does not vote, so it cannot lead")));
            }
            heirs.retain(|id| *id == to);
            if heirs.is_empty() {
                return Response::Moved(Err(format!("member {to:x} does not answer, so it cannot lead")));
            }
        }
        if heirs.is_empty() {
            return Response::Moved(Err("there is no other voter that answers".into()));
        }
        let moved = self.hand_over_to(&heirs, MOVE_LIMIT).await;
        match self.leader().filter(|_| moved) {
            Some(leader) => Response::Moved(Ok(leader)),
            None => Response::Moved(Err("nobody took over in time".into())),
        }
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
        let mut removal = self.notes().removal();
        let dropped = async { while !self.has_dropped(id) && applied.changed().await.is_ok() {} };
        let told = async {
            // Whoever is removed itself never hears of the end of it but from others.
            if id != self.identity().member || removal.wait_for(|removed| *removed).await.is_err() {
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
    pub(super) fn introduction(&self, peer_urls: &[String]) -> Introduction {
        let replica = self.state().read();
        let roster = replica.keyspace.roster().members();
        let mine = roster.iter().find(|(_, seat)| seat.peer_urls.iter().any(|url| peer_urls.contains(url)));
        let member = mine.map(|(id, _)| *id);
        let name = |id: &u64| replica.keyspace.members().get(*id).map(|a| a.name.clone()).unwrap_or_default();
        let peer = |id: &u64, peer_urls: &[String]| Peer { name: name(id), peer_urls: peer_urls.to_vec() };
        let members: BTreeMap<u64, Peer> =
            roster.iter().map(|(id, seat)| (*id, peer(id, &seat.peer_urls))).collect();
        let started = member.is_some_and(|id| replica.keyspace.members().get(id).is_some());
        Introduction { cluster: self.identity().cluster, member, started, members }
    }

    /// Resolves when the cluster has removed this node for good; that is on disk then.
    ///
    /// # Errors
    /// The disk fails.
    pub async fn removed(&self) -> io::Result<()> {
        if self.notes().removal().wait_for(|removed| *removed).await.is_err() {
            std::future::pending::<()>().await;
        }
        let hard_state = self.hard_state.clone();
        tokio::task::spawn_blocking(move || hard_state.write(REMOVED, &true))
            .await
            .map_err(io::Error::other)?
    }
}
