//! Collects commands into batches: whatever has come in while earlier batches were under way goes into the log as
//! one entry. Under load that makes one entry, one flush and one round trip serve many requests.
//!
//! A batch costs each member the same whether it holds one command or hundreds. So a command that comes while a batch is
//! under way waits for others, until there are enough of them or the batch has come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::StoreError;
use super::pending::{Done, Leaderless, Pending, Results};
use crate::keyspace::{Command, batch};
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

/// While batches are under way, the next one goes out once it has so many commands for each of them.
const WORTHWHILE_COMMANDS: usize = 24;

/// After so long a batch under way is no reason to wait: disk or network are slow, and can take more at a time.
const LINGER: Duration = Duration::from_millis(5);

/// How often those that are about to send a command get the chance to, before a batch goes out.
const LAST_CALLS: usize = 8;

/// How long a write may take: etcd's request time-out of 5 s and two of its election time-outs.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(7);

/// How much longer a client waits than its batch is tried, to be told what came of it.
const GRACE: Duration = Duration::from_millis(100);

/// Who waits for the result of one command.
type Waiter = oneshot::Sender<Result<Done, StoreError>>;

/// A command and who waits for it.
struct Submission {
    command: Command,
    waiter: Waiter,
    /// Set by whoever is first: the batch that takes it up, or the client that gives up waiting.
    claimed: Arc<AtomicBool>,
    deadline: Instant,
    room: OwnedSemaphorePermit,
}

/// Where commands wait for their batch.
pub struct Queue {
    requests: mpsc::Sender<Submission>,
    room: Arc<Semaphore>,
    node: Arc<Node>,
}

impl Queue {
    /// Starts making batches; goes on until the queue is dropped and everything in it has been proposed.
    pub fn start(node: Arc<Node>, pending: Arc<Pending>) -> Self {
        let (requests, queue) = mpsc::channel(QUEUE_COMMANDS);
        let batcher = Batcher {
            node: node.clone(),
            pending,
            queue,
            slots: Arc::new(Semaphore::new(OPEN_BATCHES)),
            back: Arc::default(),
            seq: 0,
        };
        tokio::spawn(batcher.run());
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
            let request = Submission { command, waiter, claimed: claimed.clone(), deadline, room };
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

    /// Whether it should go out although `open` others are under way.
    fn is_worthwhile(&self, open: usize) -> bool {
        self.is_full() || self.commands.len() >= open * WORTHWHILE_COMMANDS
    }

    fn add(&mut self, request: Submission) {
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

    /// Takes up what waits in the queue.
    fn take(&mut self, queue: &mut mpsc::Receiver<Submission>) {
        while !self.is_full()
            && let Ok(next) = queue.try_recv()
        {
            self.add(next);
        }
    }
}

/// Makes batches of what comes in.
struct Batcher {
    node: Arc<Node>,
    pending: Arc<Pending>,
    queue: mpsc::Receiver<Submission>,
    slots: Arc<Semaphore>,
    /// Told whenever a batch has come back.
    back: Arc<Notify>,
    seq: u64,
}

impl Batcher {
    async fn run(mut self) {
        while let Some(batch) = self.gather().await {
            // Never closed.
            let Ok(slot) = self.slots.clone().acquire_owned().await else { return };
            self.send(batch, slot);
        }
    }

    fn open(&self) -> usize {
        OPEN_BATCHES - self.slots.available_permits()
    }

    /// The next batch, once it is time for it; `None` when nothing will come any more.
    async fn gather(&mut self) -> Option<Batch> {
        let mut batch = Batch::default();
        batch.add(self.queue.recv().await?);
        let mut patience = std::pin::pin!(tokio::time::sleep(LINGER));
        loop {
            batch.take(&mut self.queue);
            let open = self.open();
            if open < OPEN_BATCHES && batch.is_worthwhile(open) {
                break;
            }
            tokio::select! {
                () = self.back.notified() => {}
                next = self.queue.recv(), if !batch.is_full() => match next {
                    Some(next) => batch.add(next),
                    None => break,
                },
                () = &mut patience, if open < OPEN_BATCHES => break,
            }
        }
        for _ in 0..LAST_CALLS {
            let before = batch.commands.len();
            tokio::task::yield_now().await;
            batch.take(&mut self.queue);
            if batch.commands.len() == before || batch.is_full() {
                break;
            }
        }
        Some(batch)
    }

    fn send(&mut self, batch: Batch, slot: OwnedSemaphorePermit) {
        let Batch { commands, waiters, deadline, room, .. } = batch;
        let Some(deadline) = deadline else { return };
        let encoded = match batch::encode(&commands, self.node.state().versions().reached()) {
            Ok(encoded) => encoded.into(),
            Err(error) => {
                tracing::error!(%error, "a batch of commands cannot be encoded");
                for waiter in waiters {
                    // It may have gone.
                    let _ = waiter.send(Err(StoreError::Unwilling(error.to_string())));
                }
                return;
            }
        };
        drop(commands);
        self.seq += 1;
        let (tell, told) = oneshot::channel();
        let ticket = self.pending.open(self.seq, tell);
        let (node, pending, back) = (self.node.clone(), self.pending.clone(), self.back.clone());
        let answering = {
            let pending = pending.clone();
            async move {
                match tokio::time::timeout_at((deadline + GRACE).into(), told).await {
                    Ok(Ok(results)) => answer(waiters, results),
                    // They read it as an unknown outcome that nobody answers.
                    Ok(Err(_)) => {}
                    // A snapshot may have come in the batch's place: then nobody will tell any more.
                    Err(_) => pending.give_up(ticket, false),
                }
            }
        };
        let proposing = async move {
            if let Err(error) = node.propose(ticket, encoded, deadline).await {
                tracing::debug!(%error, "batch given up");
                pending.give_up(ticket, matches!(error, NodeError::NoLeader));
            }
            drop((slot, room));
            back.notify_one();
        };
        tokio::spawn(async { tokio::join!(proposing, answering) });
    }
}

/// Tells those who wait for the commands of a batch. They may have gone.
fn answer(waiters: Vec<Waiter>, results: Results) {
    match results {
        Ok(results) => waiters.into_iter().zip(results).for_each(|(waiter, result)| {
            let _ = waiter.send(result);
        }),
        Err(Leaderless) => waiters.into_iter().for_each(|waiter| {
            let _ = waiter.send(Err(StoreError::NoLeader));
        }),
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
        | Command::KeepOnlyMember { .. }
        | Command::Found { .. }
        | Command::Introduce { .. }
        | Command::RaiseVersion { .. } => 64,
        #[cfg(debug_assertions)]
        Command::Remark { text, .. } => 64 + text.len(),
    }
}
