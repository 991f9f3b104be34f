//! The store of one node: writes go through the log, reads are as recent as they ask to be, watches never miss.

mod backup;
mod bootstrap;
mod error;
mod expire;
pub mod http;
mod large_answer;
mod limits;
pub mod log_level;
mod members;
mod metrics;
mod pace;
mod passwords;
mod pending;
mod propose;
mod reading;
mod reads;
mod run;
mod threads;
mod watch;

pub use crate::client::{Member, MemberStatuses};
pub use crate::keyspace::Counts;
pub use crate::keyspace::backup::{
    BackupError, Info as BackupInfo, Reader as BackupReader, Summary as BackupSummary,
};
pub use crate::raft::give_way;
pub use backup::copy::{CopyError, copy};
pub use bootstrap::discovery::DiscoveryError;
pub use bootstrap::found::{FoundError, Founded, found, read_backup, salvage};
pub use error::StoreError;
pub use large_answer::{Body, LargeAnswer};
pub use limits::{Limits, Room};
pub use members::list::{cluster_id, member_id};
pub use passwords::{HashError, Passwords};
pub use pending::Done;
pub use reading::Found;
pub use run::{RunError, run};
pub use threads::Threads;
pub use watch::hub::{Interest, Subscription};
pub use watch::mailbox::{End, Line, Told};

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLockReadGuard};
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc, oneshot, watch as watched};
use tokio_util::sync::CancellationToken;

use crate::clock::wall_time;
use crate::keyspace::auth::Auth;
use crate::keyspace::batch::BatchError;
use crate::keyspace::{Command, Counters, History, Refusal, Tally};
use crate::raft::metrics::Counted;
use crate::raft::{Node, Replica};
use metrics::counters::Metrics;
use pending::Pending;

/// How recent a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// It sees everything that was acknowledged anywhere before it began.
    Linearizable,
    /// It sees what this node has; works without a quorum.
    Local,
}

/// A node's store.
pub struct Store {
    node: Arc<Node>,
    pending: Arc<Pending>,
    commands: propose::Queue,
    reads: mpsc::Sender<reads::Waiter>,
    name: String,
    started: (Timestamp, Instant),
    limits: Limits,
    passwords: Passwords,
    gets: Gets,
    copies: Arc<Semaphore>,
    threads: Threads,
    /// The cluster knows this member's name since this start.
    published: AtomicBool,
}

/// Reads that this node answered by itself.
struct Gets {
    success: AtomicU64,
    fail: AtomicU64,
}

impl Store {
    /// Takes up the work on `node` until `stop`. `pending` must be the observer that the node was started with.
    ///
    /// # Errors
    /// The system gives no randomness.
    fn start(
        node: Arc<Node>,
        pending: Arc<Pending>,
        name: String,
        limits: Limits,
        threads: Threads,
        stop: &CancellationToken,
    ) -> io::Result<Arc<Self>> {
        let commands = propose::Queue::start(node.clone(), pending.clone());
        let (reads, read_queue) = mpsc::channel(reads::QUEUE_READS);
        tokio::spawn(reads::run(node.clone(), read_queue));
        let started = (wall_time(), Instant::now());
        // A new etcd has looked for its list of members in vain.
        let gets = Gets { success: AtomicU64::new(0), fail: AtomicU64::new(1) };
        let passwords = Passwords::new()?;
        {
            // Under the lock, so that nothing newer can have been told before.
            let replica = node.state().read();
            pending.auth.send_replace(replica.keyspace.auth().clone());
        }
        let copies = backup::live::slots();
        let store = Arc::new(Self {
            node,
            pending,
            commands,
            reads,
            name,
            started,
            limits,
            passwords,
            gets,
            copies,
            threads,
            published: AtomicBool::new(false),
        });
        tokio::spawn(expire::run(store.clone(), stop.clone()));
        tokio::spawn(members::version::run(store.clone(), stop.clone()));
        Ok(store)
    }

    /// The cluster knows this member's name and where it serves.
    fn has_published(&self) {
        self.published.store(true, Ordering::Release);
    }

    /// Whether the cluster knows this member's name and where it serves; before that it is not ready.
    pub fn is_published(&self) -> bool {
        self.published.load(Ordering::Acquire)
    }

    /// The raft member behind the store.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Where its tasks run.
    pub fn threads(&self) -> &Threads {
        &self.threads
    }

    /// The member's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When the store started, by wall clock and by monotonic clock.
    pub fn started(&self) -> (Timestamp, Instant) {
        self.started
    }

    /// Every member of the cluster.
    pub fn members(&self) -> Vec<Member> {
        members::list::list(&self.node)
    }

    /// Has a command committed and applied, and tells what came of it.
    ///
    /// # Errors
    /// `Refused`: nothing changed. `TimedOut`: it may still take effect. Otherwise it was not proposed.
    pub async fn propose(&self, command: Command) -> Result<Done, StoreError> {
        let reached = self.node.state().versions().reached();
        if command.since() > reached {
            let needed = command.since();
            return Err(StoreError::Unwilling(BatchError::TooEarly { needed, cluster: reached }.to_string()));
        }
        let metrics = &self.pending.metrics;
        // Also when nobody waits any more for what comes of it.
        let waiting = Counted::new(&metrics.pending);
        let result = self.commands.submit(command).await;
        drop(waiting);
        if !matches!(result, Ok(_) | Err(StoreError::Refused(_))) {
            metrics.failed.inc();
        }
        result
    }

    /// Waits until this node can be read as recently as asked.
    ///
    /// # Errors
    /// `TimedOut` when there is no leader with a quorum.
    pub async fn wait_for(&self, consistency: Consistency) -> Result<(), StoreError> {
        if consistency == Consistency::Local {
            return Ok(());
        }
        let (tell, told) = oneshot::channel();
        self.reads.send(tell).await.map_err(|_| StoreError::Stopping)?;
        match tokio::time::timeout(reads::READ_TIMEOUT, told).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => {
                self.pending.metrics.reads_failed.inc();
                Err(StoreError::TimedOut)
            }
        }
    }

    /// Accepts a watch.
    ///
    /// # Errors
    /// `Refused` when the changes asked for are no longer kept, `TooManyWatches`.
    pub fn watch(&self, interest: Interest) -> Result<Subscription, StoreError> {
        self.pending.metrics.watch_requests.inc();
        let (state, hub) = (self.node.state(), &self.pending.hub);
        hub.subscribe(interest, || state.read(), past).map_err(|refused| self.not_watched(refused))
    }

    /// Gives a watch that is behind more of what happened before it came.
    ///
    /// # Errors
    /// What it has not heard is no longer kept.
    pub fn advance(&self, subscription: &mut Subscription) -> Result<(), Refusal> {
        let (state, hub) = (self.node.state(), &self.pending.hub);
        hub.advance(subscription, || state.read(), past)
    }

    fn not_watched(&self, refused: watch::hub::Refused) -> StoreError {
        match refused {
            watch::hub::Refused::Cleared(refusal) => StoreError::Refused(refusal),
            watch::hub::Refused::Full(count) => {
                self.pending.metrics.watches_refused.inc();
                StoreError::TooManyWatches(count)
            }
        }
    }

    /// Users and roles as applied here, and when they change. The changes that are told to a watcher come after this.
    pub fn auth(&self) -> watched::Receiver<Arc<Auth>> {
        self.pending.auth.subscribe()
    }

    /// Hashes and checks passwords.
    pub fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    /// Counts reads that were not made by [`Store::get`], as etcd counts what it looks up in its store for itself.
    pub fn count_gets(&self, gets: Tally) {
        self.gets.success.fetch_add(gets.success, Ordering::Relaxed);
        self.gets.fail.fetch_add(gets.fail, Ordering::Relaxed);
    }

    /// How many operations were applied and answered here.
    pub fn counters(&self) -> Counters {
        let mut counters = *self.node.state().read().keyspace.counters();
        counters.gets.success += self.gets.success.load(Ordering::Relaxed);
        counters.gets.fail += self.gets.fail.load(Ordering::Relaxed);
        counters
    }

    /// How many watchers wait on this node.
    pub fn watchers(&self) -> u64 {
        self.pending.hub.watchers()
    }

    /// How things stand and what has happened, in Prometheus's text format. Reads the disk.
    ///
    /// # Errors
    /// The disk fails; in words.
    fn metrics_text(&self) -> Result<Vec<u8>, String> {
        self.pending.metrics.gauges.text(self)
    }

    /// What is told to Prometheus.
    fn metrics(&self) -> &Metrics {
        &self.pending.metrics
    }

    /// What clients share.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}

/// What watches see of the replica: its history and its index.
fn past<'a>(replica: &'a RwLockReadGuard<'_, Replica>) -> (&'a History, u64) {
    (replica.keyspace.history(), replica.keyspace.index())
}
