//! Linearizable reads: all that wait at the same time share one round of asking the leader and its quorum.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::raft::Node;

/// Reads that may wait for a round.
pub const QUEUE_READS: usize = 65_536;

/// Rounds under way at a time: while one waits for the quorum, another is answered or gathers.
const OPEN_ROUNDS: usize = 2;

/// How often others get the chance to join before a round starts.
const LAST_CALLS: usize = 4;

/// How long a read may wait for a leader with a quorum.
pub const READ_TIMEOUT: Duration = Duration::from_secs(7);

/// Who waits to be told that the local state is recent enough; dropped when that could not be found out.
pub type Waiter = oneshot::Sender<()>;

/// Runs until the queue is closed. A read joins the round that starts after it came, never one under way.
pub async fn run(node: Arc<Node>, mut queue: mpsc::Receiver<Waiter>) {
    let rounds = Arc::new(Semaphore::new(OPEN_ROUNDS));
    while let Some(first) = queue.recv().await {
        // Never closed.
        let Ok(round) = rounds.clone().acquire_owned().await else { return };
        let mut waiters = vec![first];
        // Those that are about to ask get the chance to.
        for _ in 0..LAST_CALLS {
            let before = waiters.len();
            tokio::task::yield_now().await;
            while let Ok(waiter) = queue.try_recv() {
                waiters.push(waiter);
            }
            if waiters.len() == before {
                break;
            }
        }
        let node = node.clone();
        tokio::spawn(async move {
            let barrier = node.read_barrier(Instant::now() + READ_TIMEOUT).await;
            drop(round);
            match barrier {
                Ok(()) => {
                    for waiter in waiters {
                        // The client may have gone.
                        let _ = waiter.send(());
                    }
                }
                Err(error) => tracing::debug!(%error, reads = waiters.len(), "reads given up"),
            }
        });
    }
}
