//! Collects commands into batches: whatever has come in while earlier batches were under way goes into the log as
//! one entry. Under load that makes one entry, one flush and one round trip serve many requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::StoreError;
use super::desk::{Desk, Done, Waiter};
use crate::keyspace::Command;
use crate::raft::{Node, NodeError};

/// Commands that may wait to be put into a batch.
const QUEUE_COMMANDS: usize = 8192;

/// Bytes of commands that may wait or be under way.
const QUEUE_BYTES: usize = 64 << 20;

/// Most commands in one batch.
const BATCH_COMMANDS: usize = 512;

/// A batch is closed when it has reached about this many bytes.
const BATCH_BYTES: usize = 1 << 20;

/// Batches under way at a time.
const OPEN_BATCHES: usize = 4;

/// How long a write may take: etcd's request time-out of 5 s and two of its election time-outs.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(7);

/// How much longer a client waits than its batch is tried, to be told what came of it.
const GRACE: Duration = Duration::from_millis(100);

/// A command and who waits for it.
struct Request {
    command: Command,
    waiter: Waiter,
    /// Set by whoever is first: the batch that takes it up, or the client that gives up waiting.
    claimed: Arc<AtomicBool>,
    deadline: Instant,
    room: OwnedSemaphorePermit,
}

/// Where commands wait for their batch.
pub struct Queue {
    requests: mpsc::Sender<Request>,
    room: Arc<Semaphore>,
    node: Arc<Node>,
}

impl Queue {
    /// Starts making batches; goes on until the queue is dropped and everything in it has been proposed.
    pub fn start(node: Arc<Node>, desk: Arc<Desk>) -> Self {
        let (requests, queue) = mpsc::channel(QUEUE_COMMANDS);
        tokio::spawn(run(node.clone(), desk, queue));
        Self { requests, room: Arc::new(Semaphore::new(QUEUE_BYTES)), node }
    }

    /// Has a command committed and applied.
    ///
    /// # Errors
    /// `Refused`: nothing changed. `TimedOut`: it may still take effect. Otherwise it was not proposed and never will be.
    pub async fn submit(&self, command: Command) -> Result<Done, StoreError> {
        let deadline = Instant::now() + WRITE_TIMEOUT;
        let (waiter, told) = oneshot::channel();
        let claimed = Arc::new(AtomicBool::new(false));
        let request = async {
            let bytes = u32::try_from(weight(&command).min(QUEUE_BYTES)).unwrap_or(u32::MAX);
            let room = self.room.clone().acquire_many_owned(bytes).await.map_err(|_| StoreError::Stopping)?;
            let request = Request { command, waiter, claimed: claimed.clone(), deadline, room };
            self.requests.send(request).await.map_err(|_| StoreError::Stopping)
        };
        match tokio::time::timeout_at(deadline.into(), request).await {
            Ok(queued) => queued?,
            Err(_) => return Err(self.not_taken()),
        }
        match tokio::time::timeout_at((deadline + GRACE).into(), told).await {
            Ok(Ok(result)) => result,
            Err(_) if !claimed.swap(true, Ordering::AcqRel) => Err(self.not_taken()),
            Ok(Err(_)) | Err(_) => Err(StoreError::TimedOut),
        }
    }

    /// Why a command was not taken up in time.
    fn not_taken(&self) -> StoreError {
        if self.node.leader().is_none() { StoreError::NoLeader } else { StoreError::Busy }
    }
}

/// Commands that go into the log together.
#[derive(Default)]
struct Batch {
    commands: Vec<Command>,
    waiters: Vec<Waiter>,
    bytes: usize,
    deadline: Option<Instant>,
    room: Vec<OwnedSemaphorePermit>,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.commands.len() >= BATCH_COMMANDS || self.bytes >= BATCH_BYTES
    }

    fn add(&mut self, request: Request) {
        // Its client may have been told already that nothing will happen.
        if request.claimed.swap(true, Ordering::AcqRel) {
            return;
        }
        self.bytes += weight(&request.command);
        self.commands.push(request.command);
        self.waiters.push(request.waiter);
        self.room.push(request.room);
        self.deadline.get_or_insert(request.deadline);
    }
}

async fn run(node: Arc<Node>, desk: Arc<Desk>, mut queue: mpsc::Receiver<Request>) {
    let slots = Arc::new(Semaphore::new(OPEN_BATCHES));
    let mut seq = 0;
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let Some(first) = queue.recv().await else { break };
        let mut batch = Batch::default();
        batch.add(first);
        while !batch.is_full()
            && let Ok(next) = queue.try_recv()
        {
            batch.add(next);
        }
        let Batch { commands, waiters, deadline, room, .. } = batch;
        let Some(deadline) = deadline else { continue };
        let encoded = match postcard::to_allocvec(&commands) {
            Ok(encoded) => encoded.into(),
            Err(error) => {
                tracing::error!(%error, "a batch of commands cannot be encoded");
                continue;
            }
        };
        drop(commands);
        seq += 1;
        let ticket = desk.open(seq, waiters);
        let (node, desk) = (node.clone(), desk.clone());
        tokio::spawn(async move {
            if let Err(error) = node.propose(ticket, encoded, deadline).await {
                tracing::debug!(%error, "batch given up");
                desk.give_up(ticket, matches!(error, NodeError::NoLeader));
            }
            drop((slot, room));
        });
    }
}

fn weight(command: &Command) -> usize {
    match command {
        Command::Set { key, content, .. }
        | Command::Create { key, content, .. }
        | Command::CreateInOrder { dir_key: key, content, .. }
        | Command::Update { key, content } => key.as_bytes().len() + content.value.len() + 32,
        Command::CompareAndSwap { key, content, compare } => {
            let compared = compare.value.as_ref().map_or(0, |value| value.len());
            key.as_bytes().len() + content.value.len() + compared + 32
        }
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
