//! Takes the AppendEntries of a leader: those of one connection in the order in which they came, and those that bring
//! entries only while the log has room for them. Heartbeats bring none, so a leader keeps its quorum meanwhile.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use tokio::sync::Mutex;

use super::network::APPEND_TIMEOUT;
use super::wire::PeerResponse;
use crate::raft::node::Node;
use crate::raft::types::TypeConfig;

/// How long entries wait for room. Their leader is told before it gives up waiting for an answer.
const ROOM_PATIENCE: Duration = Duration::from_secs(4);

const _: () = assert!(ROOM_PATIENCE.as_millis() < APPEND_TIMEOUT.as_millis());

/// The order of the AppendEntries that come over one connection. Clones share it. The lock is given to those who wait
/// for it one after the other, as they came.
#[derive(Clone, Debug, Default)]
pub struct Order(Arc<Mutex<()>>);

/// Hands an AppendEntries with the leader's reading of the cluster clock to openraft, and answers it. It has its place
/// in the order from the first poll on.
pub async fn take(
    node: &Node,
    order: &Order,
    clock: i64,
    entries: AppendEntriesRequest<TypeConfig>,
) -> PeerResponse {
    let turn = async {
        let turn = order.0.lock().await;
        if !entries.entries.is_empty() {
            node.log.room().wait().await;
        }
        turn
    };
    let Ok(turn) = tokio::time::timeout(ROOM_PATIENCE, turn).await else {
        return PeerResponse::Failed("its log has no room until a snapshot is finished".into());
    };
    let term = entries.vote.leader_id.term;
    let mut answer = pin!(node.raft().append_entries(entries));
    // Openraft takes it at the first poll; the next one may follow then.
    let taken = poll_fn(|context| Poll::Ready(answer.as_mut().poll(context))).await;
    drop(turn);
    let answer = match taken {
        Poll::Ready(answer) => answer,
        Poll::Pending => answer.await,
    };
    if matches!(&answer, Ok(answer) if answer.is_success()) {
        node.statistics().heard();
    }
    if answer.as_ref().is_ok_and(tells_the_time) {
        node.state().follow(term, clock);
    }
    answer.map_or_else(|error| PeerResponse::Failed(error.to_string()), PeerResponse::Append)
}

/// Whether an AppendEntries that was answered so came from the leader to follow. Its clock counts even when its entries
/// do not fit yet: this node may have led, counted on while it was cut off, and get a snapshot next.
fn tells_the_time(answer: &AppendEntriesResponse<TypeConfig>) -> bool {
    !matches!(answer, AppendEntriesResponse::HigherVote(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::types::RaftVote;

    #[test]
    fn a_leader_whose_entries_do_not_fit_yet_tells_the_time_and_a_deposed_one_does_not() {
        assert!(tells_the_time(&AppendEntriesResponse::Success));
        assert!(tells_the_time(&AppendEntriesResponse::Conflict));
        assert!(!tells_the_time(&AppendEntriesResponse::HigherVote(RaftVote::new(2, 1))));
    }
}
