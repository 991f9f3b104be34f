//! Keeps in mind who the other members are, and finds out when they have nothing more to do with this node, because it
//! was removed, has not the data folder that it should have, or belongs to an earlier founding: such a node is sent
//! nothing more, so it asks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use openraft::async_runtime::WatchReceiver;

use crate::raft::node::Node;
use crate::raft::peer::card::dismissal;
use crate::raft::peer::network::Lane;
use crate::raft::peer::wire::PeerRequest;

/// Silence of the leader after which the others are asked, at least; and how often.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Elections without a word of a leader after which there is nobody left that could know better than a member that was
/// forced to go on alone.
const LONG_SILENCE: u32 = 20;

/// Runs until raft ends or the node knows that the others have nothing more to do with it.
pub async fn run(node: Arc<Node>) {
    let mut metrics = node.raft().server_metrics();
    let mut alone: Option<Instant> = None;
    loop {
        if matches!(tokio::time::timeout(ASK_EVERY, metrics.changed()).await, Ok(Err(_))) {
            return;
        }
        let members = node.members();
        if !members.is_empty() {
            node.peers.learn(&members);
        }
        // A leader that was removed while it was away leads on when it comes back, in vain.
        let heard = node.statistics().silence() < ASK_EVERY.max(node.election * 2);
        let in_touch = if node.is_leader() { node.acting_leader().is_some() } else { heard };
        let (gate, me) = (node.peers.gate(), node.identity().member);
        // A leader knows best where members are reached: if it meets itself there, it is not where it should be.
        let astray = node.is_leader() && gate.told().contains_key(&me);
        if in_touch && !astray {
            alone = None;
            continue;
        }
        let for_long = alone.get_or_insert_with(Instant::now).elapsed() >= node.election * LONG_SILENCE;
        for (id, peer) in members.iter().filter(|(id, _)| **id != me) {
            let channel = node.peers.channel(*id, peer, Lane::Control);
            // A refusal is noted where it comes in; anything else says nothing.
            if channel.call(&PeerRequest::Belong, ASK_EVERY).await.is_ok() {
                gate.was_taken(*id);
            }
        }
        let ids: Vec<u64> = members.keys().copied().collect();
        if let Some(refusal) = dismissal(me, &ids, &gate.told(), for_long) {
            gate.dismiss(refusal);
            return;
        }
    }
}
