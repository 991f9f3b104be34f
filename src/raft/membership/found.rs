//! Has the founding written down in the log, first of all that is written there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::keyspace::{Command, batch};
use crate::raft::node::Node;
use crate::raft::types::Ticket;

/// How often it is looked whether this node leads, until the founding is in the log.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long one proposal may take.
const PROPOSAL_LIMIT: Duration = Duration::from_secs(5);

/// Runs until the founding that this node belongs to stands in its state. Whoever founded it and leads proposes that;
/// all of them propose the same under the same ticket, so that it is done once.
pub async fn run(node: Arc<Node>) {
    let mut applied = node.state().applied();
    while !node.is_founded() {
        let deadline = Instant::now() + PROPOSAL_LIMIT;
        let ready = node.admission.founds && node.is_leader() && node.read_barrier(deadline).await.is_ok();
        if ready && !node.is_founded() {
            let incarnation = node.admission.incarnation;
            let command = Command::Found { incarnation, folders: node.admission.folders.clone() };
            let commands = match batch::encode(&[command], node.state().versions().reached()) {
                Ok(commands) => commands.into(),
                Err(error) => {
                    tracing::error!(%error, "the founding cannot be written down");
                    return;
                }
            };
            let ticket = Ticket { node: incarnation, session: 1, seq: 1 };
            if let Err(error) = node.propose(ticket, commands, deadline).await {
                tracing::info!(%error, "the founding is not written down yet, trying again");
            }
        }
        if matches!(tokio::time::timeout(LOOK_EVERY, applied.changed()).await, Ok(Err(_))) {
            return;
        }
    }
}
