//! Keeps in mind who the other members are, and finds out when this node is no longer one of them: a removed node is
//! sent nothing more, so it asks.

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;

use crate::raft::node::Node;
use crate::raft::peer::network::Lane;
use crate::raft::peer::wire::{PeerRequest, PeerResponse};

/// Silence of the leader after which the others are asked, at least; and how often.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Runs until raft ends or the node knows that it was removed.
pub async fn run(node: Arc<Node>) {
    let mut metrics = node.raft().server_metrics();
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
        if in_touch {
            continue;
        }
        let me = node.identity().member;
        for (id, peer) in members.iter().filter(|(id, _)| **id != me) {
            let channel = node.peers.channel(*id, peer, Lane::Control);
            if let Ok(PeerResponse::Removed) = channel.call(&PeerRequest::Belong, ASK_EVERY).await {
                node.statistics().removed();
                return;
            }
        }
    }
}
