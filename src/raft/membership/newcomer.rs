//! What a running member tells those who take no part in raft yet, and how it introduces them to the cluster.

use std::time::{Duration, Instant};

use super::founding::{Charter, Known, Word};
use crate::keyspace::{Command, Roster, batch};
use crate::raft::node::{Node, NodeError};
use crate::raft::peer::wire::{Pass, PeerResponse};
use crate::raft::types::Ticket;

/// How long an introduction may take.
const INTRODUCTION_LIMIT: Duration = Duration::from_secs(7);

impl Node {
    /// Whether the founding that this node belongs to stands in its state.
    pub(in crate::raft) fn is_founded(&self) -> bool {
        self.state().read().keyspace.roster().incarnation() == self.admission.incarnation
    }

    /// What this node says to a stranger that takes itself for `member`, has `folder` and will be reached at
    /// `peer_urls`.
    pub(in crate::raft) fn word(&self, member: u64, folder: u64, peer_urls: &[String]) -> Word {
        let replica = self.state().read();
        let roster = replica.keyspace.roster();
        let incarnation = self.admission.incarnation;
        if roster.incarnation() == incarnation {
            let seat = roster
                .members()
                .iter()
                .find(|(_, seat)| seat.peer_urls.iter().any(|url| peer_urls.contains(url)));
            return Word::Founded {
                incarnation,
                you: known(roster, member, folder),
                seat: seat.map(|(id, _)| *id),
            };
        }
        if self.admission.founds {
            // Nobody else can draw up a charter in place of one by which raft runs.
            let charter = Charter { incarnation, by: 0, folders: self.admission.folders.clone() };
            return Word::Bound { charter, begun: true };
        }
        let you = match self.admission.folders.get(&member) {
            None => Known::Unintroduced,
            Some(known) if *known == folder => Known::Same,
            Some(_) => Known::Other,
        };
        Word::Founded { incarnation, you, seat: None }
    }

    /// Introduces a member with its data folder through the log.
    pub(in crate::raft) async fn enter(
        &self,
        member: u64,
        folder: u64,
        run: u64,
        ticket: Ticket,
    ) -> PeerResponse {
        if !self.is_founded() {
            return PeerResponse::Failed("the member that was asked has not caught up".into());
        }
        let deadline = Instant::now() + INTRODUCTION_LIMIT;
        let command = Command::Introduce { id: member, folder, run };
        let commands = match batch::encode(&[command], self.state().versions().reached()) {
            Ok(commands) => commands.into(),
            Err(error) => return PeerResponse::Failed(error.to_string()),
        };
        let written = async {
            self.propose(ticket, commands, deadline).await?;
            self.read_barrier(deadline).await
        };
        if let Err(error) = written.await {
            let error: NodeError = error;
            return PeerResponse::Failed(error.to_string());
        }
        let replica = self.state().read();
        let roster = replica.keyspace.roster();
        match known(roster, member, folder) {
            Known::Same => {
                PeerResponse::Entered(Pass { incarnation: roster.incarnation(), folders: roster.folders() })
            }
            // The ticket was used before, by a try that was given up: the node's next run has another.
            Known::Unintroduced => PeerResponse::Failed("the introduction did not come about".into()),
            known => PeerResponse::NotEntered(known),
        }
    }
}

fn known(roster: &Roster, member: u64, folder: u64) -> Known {
    match roster.get(member) {
        _ if roster.is_removed(member) => Known::Removed,
        None => Known::Stranger,
        Some(seat) if seat.folder == 0 => Known::Unintroduced,
        Some(seat) if seat.folder == folder => Known::Same,
        Some(_) => Known::Other,
    }
}
