//! Who leads, whether with a quorum, and how a leader hands over.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use openraft::ServerState;
use openraft::async_runtime::{Instant as _, WatchReceiver};

use super::node::Node;

impl Node {
    /// The member that leads, as far as this node knows.
    pub fn leader(&self) -> Option<u64> {
        self.raft().server_metrics().borrow_watched().current_leader
    }

    /// The member that leads and has a quorum behind it, as far as this node knows. A leader that no quorum has
    /// answered for an election's time does not count, nor one that this node has not heard from for twice as long.
    pub fn acting_leader(&self) -> Option<u64> {
        let metrics = self.raft().metrics();
        let metrics = metrics.borrow_watched();
        let alone = metrics.membership_config.membership().voter_ids().count() == 1;
        let deposed = match metrics.state {
            ServerState::Leader => {
                let acked = metrics.last_quorum_acked.as_ref();
                !alone && acked.is_none_or(|acked| acked.elapsed() > self.election)
            }
            // With Pre-Vote a member that is cut off goes on naming the leader it had.
            _ => self.statistics().silence() > self.election * 2,
        };
        metrics.current_leader.filter(|_| !deposed)
    }

    /// Whether this node leads and no quorum has answered it for an election's time. A new leader has that time, too.
    pub(super) fn has_lost_quorum(&self) -> bool {
        let metrics = self.raft().metrics();
        let metrics = metrics.borrow_watched();
        if metrics.state != ServerState::Leader {
            return false;
        }
        let silence = match &metrics.last_quorum_acked {
            Some(acked) => Some(acked.elapsed()),
            None => self.statistics().leads_for(self.identity.member),
        };
        let alone = || metrics.membership_config.membership().voter_ids().count() == 1;
        silence.is_some_and(|silence| silence > self.election) && !alone()
    }

    /// Whether this node leads.
    pub fn is_leader(&self) -> bool {
        self.raft().server_metrics().borrow_watched().state == ServerState::Leader
    }

    /// Waits until the leader that this node knows of is another than `known`, or for `limit`.
    pub async fn leader_other_than(&self, known: Option<u64>, limit: Duration) {
        let mut metrics = self.raft().server_metrics();
        let changed = async {
            while metrics.borrow_watched().current_leader == known {
                if metrics.changed().await.is_err() {
                    return;
                }
            }
        };
        // Both outcomes are fine: the caller looks again.
        let _ = tokio::time::timeout(limit, changed).await;
    }

    /// Leads no more, if this node leads and another voter can take over within `limit`. `true` when another leads.
    pub async fn hand_over(&self, limit: Duration) -> bool {
        self.hand_over_to(&self.members().into_keys().collect(), limit).await
    }

    /// Has one of `heirs` lead instead of this node within `limit`. `true` when another leads.
    pub(super) async fn hand_over_to(&self, heirs: &BTreeSet<u64>, limit: Duration) -> bool {
        let me = self.identity.member;
        let until = Instant::now() + limit;
        while self.leader() == Some(me) {
            let Some(heir) = self.heir(heirs) else { return false };
            if self.raft().trigger().transfer_leader(heir).await.is_err() {
                return false;
            }
            self.leader_other_than(Some(me), limit / 4).await;
            if self.leader() == Some(me) && Instant::now() >= until {
                return false;
            }
        }
        let left = until.saturating_duration_since(Instant::now());
        self.leader_other_than(None, left).await;
        self.leader().is_some_and(|leader| leader != me)
    }

    /// The voter among `heirs`, beside this one, whose log has come furthest.
    fn heir(&self, heirs: &BTreeSet<u64>) -> Option<u64> {
        let metrics = self.raft().metrics();
        let metrics = metrics.borrow_watched();
        let mut voters: BTreeSet<u64> = metrics.membership_config.membership().voter_ids().collect();
        voters.retain(|id| *id != self.identity.member && heirs.contains(id));
        let progress = metrics.replication.as_ref()?;
        let others = progress.iter().filter(|(id, _)| voters.contains(id));
        others.max_by_key(|(_, matched)| matched.map(|id| id.index)).map(|(id, _)| *id)
    }
}
