//! What a node notes of its own running, for its statistics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use openraft::async_runtime::WatchReceiver;

use super::metrics::Metrics;
use super::types::Raft;

/// Appends sent and received, and since when the leader of now leads.
#[derive(Debug)]
pub struct Notes {
    sent: AtomicU64,
    received: AtomicU64,
    began: Instant,
    /// When the last AppendEntries came, in milliseconds since `began`.
    heard: AtomicU64,
    leading: Mutex<(Timestamp, Instant)>,
    metrics: Arc<Metrics>,
}

impl Notes {
    /// Nothing noted yet.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        let leading = Mutex::new((Timestamp::now(), Instant::now()));
        let zero = || AtomicU64::new(0);
        Self { sent: zero(), received: zero(), began: Instant::now(), heard: zero(), leading, metrics }
    }

    /// What is told to Prometheus.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// An AppendEntries went out.
    pub fn sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// An AppendEntries came in.
    pub fn received(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard.store(now, Ordering::Relaxed);
    }

    /// How long ago the last AppendEntries came in, or the node started.
    pub fn silence(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(self.heard.load(Ordering::Relaxed)))
    }

    /// Appends sent and received since the start.
    pub fn counts(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
    }

    /// When the leader of now was first seen leading, and how long ago that is.
    pub fn leading_since(&self) -> (Timestamp, Duration) {
        let (wall, at) = *self.leading.lock().unwrap_or_else(PoisonError::into_inner);
        (wall, at.elapsed())
    }
}

/// Follows changes of the leader until raft ends.
pub async fn follow_leader(raft: Raft, notes: Arc<Notes>) {
    let mut metrics = raft.server_metrics();
    let mut known = None;
    loop {
        let leader = metrics.borrow_watched().current_leader;
        if leader != known {
            known = leader;
            match leader {
                Some(leader) => {
                    notes.metrics.leader_changes.inc();
                    tracing::info!(leader = format!("{leader:x}"), "leader found");
                }
                None => tracing::info!("leader lost"),
            }
            *notes.leading.lock().unwrap_or_else(PoisonError::into_inner) =
                (Timestamp::now(), Instant::now());
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}
