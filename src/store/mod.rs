//! The store of one node: writes go through the log, reads are as recent as they ask to be, watches never miss.

pub mod backup;
mod change;
mod copy;
mod desk;
mod discovery;
mod error;
mod expire;
mod found;
pub mod http;
mod hub;
mod join;
mod members;
mod passwords;
mod propose;
mod reads;
mod run;

pub use crate::keyspace::Counts;
pub use crate::keyspace::backup::{
    BackupError, Info as BackupInfo, Reader as BackupReader, Summary as BackupSummary,
};
pub use change::{Role, Standing};
pub use copy::{CopyError, copy};
pub use desk::Done;
pub use discovery::DiscoveryError;
pub use error::StoreError;
pub use found::{FoundError, Founded, found, read_backup, salvage};
pub use hub::{Interest, Subscription};
pub use members::{Member, cluster_id, member_id};
pub use passwords::{HashError, Passwords};
pub use run::{RunError, run};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::keyspace::auth::Auth;
use crate::keyspace::{Command, Counters, Key, Refusal, Tally};
use crate::raft::Node;
use desk::Desk;

/// How recent a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// It sees everything that was acknowledged anywhere before it began.
    Linearizable,
    /// It sees what this node has; works without a quorum.
    Local,
}

/// The answer to a read.
#[derive(Clone, Debug)]
pub struct Found {
    /// The JSON.
    pub json: Vec<u8>,
    /// The store's index.
    pub index: u64,
    /// The last log entry applied here.
    pub raft_index: u64,
    /// Raft's term.
    pub raft_term: u64,
}

/// A node's store.
pub struct Store {
    node: Arc<Node>,
    desk: Arc<Desk>,
    commands: mpsc::Sender<propose::Request>,
    reads: mpsc::Sender<reads::Waiter>,
    name: String,
    started: (Timestamp, Instant),
    passwords: Passwords,
    gets: Gets,
    copies: Arc<Semaphore>,
}

/// Reads that this node answered by itself.
struct Gets {
    success: AtomicU64,
    fail: AtomicU64,
}

impl Store {
    /// Takes up the work on `node` until `stop`. `desk` must be the observer that the node was started with.
    fn start(node: Arc<Node>, desk: Arc<Desk>, name: String, stop: &CancellationToken) -> Arc<Self> {
        let (commands, command_queue) = mpsc::channel(propose::QUEUE_COMMANDS);
        let (reads, read_queue) = mpsc::channel(reads::QUEUE_READS);
        tokio::spawn(propose::run(node.clone(), desk.clone(), command_queue));
        tokio::spawn(reads::run(node.clone(), read_queue));
        let started = (Timestamp::now(), Instant::now());
        // A new etcd has looked for its list of members in vain.
        let gets = Gets { success: AtomicU64::new(0), fail: AtomicU64::new(1) };
        let passwords = Passwords::default();
        {
            // Under the lock, so that nothing newer can have been told before.
            let replica = node.state().read();
            desk.auth.send_replace(replica.keyspace.auth().clone());
        }
        let copies = backup::slots();
        let store = Arc::new(Self { node, desk, commands, reads, name, started, passwords, gets, copies });
        tokio::spawn(expire::run(store.clone(), stop.clone()));
        store
    }

    /// The raft member behind the store.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
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
        members::list(&self.node)
    }

    /// Has a command committed and applied, and tells what came of it.
    ///
    /// # Errors
    /// `Refused`: nothing changed. `TimedOut`: it may still take effect. `Stopping`: it was not taken.
    pub async fn propose(&self, command: Command) -> Result<Done, StoreError> {
        let (tell, told) = oneshot::channel();
        self.commands.send((command, tell)).await.map_err(|_| StoreError::Stopping)?;
        match tokio::time::timeout(propose::WRITE_TIMEOUT, told).await {
            Ok(Ok(result)) => Ok(result?),
            Ok(Err(_)) | Err(_) => Err(StoreError::TimedOut),
        }
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
            Ok(Err(_)) | Err(_) => Err(StoreError::TimedOut),
        }
    }

    /// A file, or a directory with its children or, when recursive, everything below.
    ///
    /// # Errors
    /// `Refused` when there is no such key, `TimedOut` when it cannot be read as recently as asked.
    pub async fn get(
        &self,
        key: &Key,
        recursive: bool,
        consistency: Consistency,
    ) -> Result<Found, StoreError> {
        self.wait_for(consistency).await?;
        let clock = self.node.read_clock();
        let (raft_term, _) = self.node.progress();
        let replica = self.node.state().read();
        let json = replica.keyspace.get(key, recursive, clock);
        self.count_gets(Tally { success: u64::from(json.is_ok()), fail: u64::from(json.is_err()) });
        let json = json?;
        let raft_index = replica.applied.map_or(0, |id| id.index);
        Ok(Found { json, index: replica.keyspace.index(), raft_index, raft_term })
    }

    /// Accepts a watch.
    ///
    /// # Errors
    /// `Refused` when the changes asked for are no longer kept.
    pub fn watch(&self, interest: Interest) -> Result<Subscription, StoreError> {
        let state = self.node.state();
        self.desk
            .hub
            .subscribe(
                interest,
                || state.read(),
                |replica| (replica.keyspace.history(), replica.keyspace.index()),
            )
            .map_err(|(error, index)| StoreError::Refused(Refusal { error, index }))
    }

    /// Users and roles as applied here, and when they change. The changes that are told to a watcher come after this.
    pub fn auth(&self) -> watch::Receiver<Arc<Auth>> {
        self.desk.auth.subscribe()
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
        self.desk.hub.watchers()
    }
}
