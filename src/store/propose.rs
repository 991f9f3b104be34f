//! Collects commands into batches: whatever has come in while earlier batches were under way goes into the log as
//! one entry. Under load that makes one entry, one flush and one round trip serve many requests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc};

use super::desk::{Desk, Waiter};
use crate::keyspace::Command;
use crate::raft::Node;

/// Commands that may wait to be put into a batch.
pub const QUEUE_COMMANDS: usize = 8192;

/// Most commands in one batch.
const BATCH_COMMANDS: usize = 512;

/// A batch is closed when it has reached about this many bytes.
const BATCH_BYTES: usize = 1 << 20;

/// Batches under way at a time.
const OPEN_BATCHES: usize = 4;

/// How long a write may take: etcd's request time-out of 5 s and two of its election time-outs.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(7);

/// A command and who waits for it.
pub type Request = (Command, Waiter);

/// Runs until the queue is closed and everything in it has been proposed.
pub async fn run(node: Arc<Node>, desk: Arc<Desk>, mut queue: mpsc::Receiver<Request>) {
    let slots = Arc::new(Semaphore::new(OPEN_BATCHES));
    let mut seq = 0;
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let Some(first) = queue.recv().await else { break };
        let mut commands = Vec::new();
        let mut waiters = Vec::new();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some((command, waiter)) = next {
            bytes += weight(&command);
            commands.push(command);
            waiters.push(waiter);
            if commands.len() >= BATCH_COMMANDS || bytes >= BATCH_BYTES {
                break;
            }
            next = queue.try_recv().ok();
        }
        let encoded = match postcard::to_allocvec(&commands) {
            Ok(encoded) => encoded.into(),
            Err(error) => {
                tracing::error!(%error, "a batch of commands cannot be encoded");
                continue;
            }
        };
        seq += 1;
        let ticket = desk.open(seq, waiters);
        let (node, desk) = (node.clone(), desk.clone());
        tokio::spawn(async move {
            if let Err(error) = node.propose(ticket, encoded, Instant::now() + WRITE_TIMEOUT).await {
                tracing::debug!(%error, "batch given up");
                desk.give_up(ticket);
            }
            drop(slot);
        });
    }
}

fn weight(command: &Command) -> usize {
    match command {
        Command::Set { key, content, .. }
        | Command::Create { key, content, .. }
        | Command::CreateInOrder { dir_key: key, content, .. }
        | Command::Update { key, content }
        | Command::CompareAndSwap { key, content, .. } => key.as_bytes().len() + content.value.len() + 32,
        Command::Delete { key, .. } | Command::CompareAndDelete { key, .. } => key.as_bytes().len() + 32,
        Command::Restore(step) => step.weight(),
        Command::Auth(command) => command.weight(),
        Command::Expire
        | Command::Publish { .. }
        | Command::AddMember { .. }
        | Command::UpdateMember { .. }
        | Command::RemoveMember { .. }
        | Command::PromoteMember { .. }
        | Command::KeepOnlyMember { .. } => 64,
    }
}
