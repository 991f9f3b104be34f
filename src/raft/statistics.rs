//! What a node notes of its own running: for its statistics, and to know whether it still belongs to its cluster.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use openraft::async_runtime::WatchReceiver;

use super::latency::{Latency, Rates};
use super::metrics::Metrics;
use super::state::machine::Raft;
use crate::clock::wall_time;

/// Appends sent and received, how followers answer, and since when the leader of now leads.
#[derive(Debug)]
pub struct Statistics {
    sent: AtomicU64,
    received: AtomicU64,
    sending: Mutex<Rates>,
    receiving: Mutex<Rates>,
    followers: Mutex<BTreeMap<u64, Latency>>,
    heard: Mutex<Instant>,
    leading: Mutex<Leading>,
    metrics: Arc<Metrics>,
}

/// Who leads, as far as it was noted, and since when that is so.
#[derive(Debug)]
struct Leading {
    leader: Option<u64>,
    wall: Timestamp,
    at: Instant,
}

impl Leading {
    /// From now on.
    fn by(leader: Option<u64>) -> Self {
        Self { leader, wall: wall_time(), at: Instant::now() }
    }
}

impl Statistics {
    /// Nothing noted yet.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            sending: Mutex::default(),
            receiving: Mutex::default(),
            followers: Mutex::default(),
            heard: Mutex::new(Instant::now()),
            leading: Mutex::new(Leading::by(None)),
            metrics,
        }
    }

    /// What is told to Prometheus.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// An AppendEntries of `bytes` went out.
    pub fn sent(&self, bytes: usize) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        lock(&self.sending).note(Instant::now(), bytes);
    }

    /// An AppendEntries of `bytes` came in.
    pub fn received(&self, bytes: usize) {
        self.received.fetch_add(1, Ordering::Relaxed);
        lock(&self.receiving).note(Instant::now(), bytes);
    }

    /// Follower `id` has taken an AppendEntries after `time`, or failed to (`None`).
    pub fn answered(&self, id: u64, time: Option<Duration>) {
        lock(&self.followers).entry(id).or_default().note(time);
    }

    /// How the followers answered, as long as this node leads.
    pub fn followers(&self) -> BTreeMap<u64, Latency> {
        lock(&self.followers).clone()
    }

    /// A leader spoke to this node.
    pub fn heard(&self) {
        *lock(&self.heard) = Instant::now();
    }

    /// How long no leader has spoken to this node.
    pub fn silence(&self) -> Duration {
        lock(&self.heard).elapsed()
    }

    /// Appends sent and received since the start.
    pub fn counts(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
    }

    /// Appends and bytes a second of late, sent and received; `None` when there were none.
    pub fn rates(&self) -> [Option<(f64, f64)>; 2] {
        let now = Instant::now();
        [lock(&self.sending).per_second(now), lock(&self.receiving).per_second(now)]
    }

    /// When the leader of now was first seen leading, and how long ago that is.
    pub fn leading_since(&self) -> (Timestamp, Duration) {
        let leading = lock(&self.leading);
        (leading.wall, leading.at.elapsed())
    }

    /// How long member `id` leads; `None` when it was not seen to lead yet.
    pub fn leads_for(&self, id: u64) -> Option<Duration> {
        let leading = lock(&self.leading);
        (leading.leader == Some(id)).then(|| leading.at.elapsed())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("statistics lock poisoned")
}

/// Follows changes of the leader until raft ends.
pub async fn follow_leader(raft: Raft, statistics: Arc<Statistics>) {
    let mut metrics = raft.server_metrics();
    let mut known = None;
    loop {
        let leader = metrics.borrow_watched().current_leader;
        if leader != known {
            known = leader;
            match leader {
                Some(leader) => {
                    statistics.metrics.leader_changes.inc();
                    tracing::info!(leader = format!("{leader:x}"), "leader found");
                }
                None => tracing::info!("leader lost"),
            }
            lock(&statistics.followers).clear();
            *lock(&statistics.leading) = Leading::by(leader);
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}
