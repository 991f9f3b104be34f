//! Linearizable reads: all that wait at the same time share one round of asking the leader and its quorum.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use crate::raft::Node;

/// Reads that may wait for a round.
pub const QUEUE_READS: usize = 65_536;

/// How long a read may wait for a leader with a quorum.
pub const READ_TIMEOUT: Duration = Duration::from_secs(7);

/// Who waits to be told that the local state is recent enough; dropped when that could not be found out.
pub type Waiter = oneshot::Sender<()>;

/// Runs until the queue is closed. A read joins the round that starts after it came, never one under way.
pub async fn run(node: Arc<Node>, mut queue: mpsc::Receiver<Waiter>) {
    while let Some(first) = queue.recv().await {
        let mut waiters = vec![first];
        while let Ok(waiter) = queue.try_recv() {
            waiters.push(waiter);
        }
        match node.read_barrier(Instant::now() + READ_TIMEOUT).await {
            Ok(()) => {
                for waiter in waiters {
                    // The client may have gone.
                    let _ = waiter.send(());
                }
            }
            Err(error) => tracing::debug!(%error, reads = waiters.len(), "reads given up"),
        }
    }
}
