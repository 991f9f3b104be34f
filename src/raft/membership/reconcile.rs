//! Has raft's membership follow the roster, while this node leads: takes one step after the other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver;

use super::plan;
use super::plan::{Seen, Step};
use super::progress::Progress;
use crate::raft::node::Node;
use crate::repeats::Repeats;

/// How often it is looked whether there is something to do; what changes the roster wakes it as well.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How long one step may take before everything is looked at anew.
const STEP_LIMIT: Duration = Duration::from_secs(5);

/// A newcomer votes once it lacks at most this many entries.
const CLOSE_ENTRIES: u64 = 200;

/// What can be wrong with a step.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    Failed,
    Slow,
}

/// Runs until raft ends.
pub async fn run(node: Arc<Node>) {
    let mut applied = node.state().applied();
    let troubles = Repeats::new();
    loop {
        let woken = tokio::time::timeout(LOOK_EVERY, applied.changed()).await;
        if matches!(woken, Ok(Err(_))) || node.raft().metrics().borrow_watched().running_state.is_err() {
            return;
        }
        if !node.is_leader() || next(&node).is_none() {
            // Under load entries are applied all the time: this pause keeps the looking cheap.
            tokio::time::sleep(LOOK_EVERY / 4).await;
            continue;
        }
        // What this node has applied may be older than its term: only a fresh look counts.
        if node.read_barrier(Instant::now() + STEP_LIMIT).await.is_err() || !node.is_leader() {
            continue;
        }
        let Some(step) = next(&node) else { continue };
        tracing::info!(?step, "members of the cluster change");
        match tokio::time::timeout(STEP_LIMIT, take(&node, step)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                if let Some(before) = troubles.say(&Trouble::Failed) {
                    tracing::warn!(%error, before, "a change of members did not come about, trying again");
                }
            }
            Err(_) => {
                if let Some(before) = troubles.say(&Trouble::Slow) {
                    tracing::warn!(before, "a change of members takes long: is there a quorum?");
                }
            }
        }
    }
}

fn next(node: &Node) -> Option<Step> {
    let progress = node.progress_here()?;
    let metrics = node.raft().metrics();
    let (joint, nodes) = {
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let nodes: BTreeMap<_, _> = membership.nodes().map(|(id, peer)| (*id, peer.clone())).collect();
        (membership.get_joint_config().len() > 1, nodes)
    };
    let Progress { leader: me, .. } = progress;
    let (voters, running, caught_up) =
        (progress.voters(), progress.running(), progress.within(CLOSE_ENTRIES));
    let replica = node.state().read();
    plan::next(&Seen { me, roster: replica.keyspace.roster(), voters, joint, nodes, running, caught_up })
}

async fn take(node: &Node, step: Step) -> Result<(), String> {
    let change = match step {
        Step::HandOver => {
            let staying = {
                let replica = node.state().read();
                replica.keyspace.roster().members().keys().copied().collect()
            };
            let handed = node.hand_over_to(&staying, STEP_LIMIT).await;
            return if handed { Ok(()) } else { Err("no other member took over".into()) };
        }
        Step::Settle => ChangeMembers::AddVoterIds(Default::default()),
        Step::Learn(id, peer) => ChangeMembers::AddNodes(BTreeMap::from([(id, peer)])),
        Step::Readdress(id, peer) => ChangeMembers::SetNodes(BTreeMap::from([(id, peer)])),
        Step::Forget(gone) => ChangeMembers::RemoveNodes(gone),
        Step::Vote(voters) => ChangeMembers::ReplaceAllVoters(voters),
    };
    // Voters that leave are not kept as learners; learners are nodes that stay whatever this says.
    let retain = false;
    node.raft().change_membership(change, retain).await.map(drop).map_err(|error| error.to_string())
}
