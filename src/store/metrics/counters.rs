//! What the store tells to Prometheus about keys, watches and proposals. The names are etcd's where the meaning is.

use std::sync::Arc;

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::gauges::Gauges;
use crate::keyspace::{Action, Change, Command};
use crate::raft::metrics::{counter, gauge, registered};
use crate::store::http::HttpMetrics;

/// What happens in the store. Recording costs a few atomic additions.
#[derive(Debug)]
pub struct Metrics {
    /// What is counted of HTTP.
    pub http: HttpMetrics,
    /// How things stand, when Prometheus asks.
    pub gauges: Gauges,
    /// Checks of this node's health.
    pub health: Outcomes,
    /// Writes that wait for their result.
    pub pending: IntGauge,
    /// Writes without a result: no leader, no quorum, too many.
    pub failed: IntCounter,
    /// Linearizable reads that were not possible.
    pub reads_failed: IntCounter,
    /// Reads of a file or one level.
    pub gets: Outcomes,
    /// Reads with everything below.
    pub deep_gets: Outcomes,
    /// Keys that ran out.
    pub expires: IntCounter,
    /// Watches asked for.
    pub watch_requests: IntCounter,
    /// Watches that were not accepted because there were too many.
    pub watches_refused: IntCounter,
    /// Times that a watcher was told of an event live.
    pub told: IntCounter,
    /// Times that too much waited to be told and the rest was left to the history.
    pub skipped: IntCounter,
    /// Watches closed because their reader took no bytes.
    pub stalled: IntCounter,
    /// Watches closed because what they had not heard was forgotten.
    pub cleared: IntCounter,
    writes: [Outcomes; KINDS.len()],
}

/// How often something went well and how often it was refused.
#[derive(Debug)]
pub struct Outcomes {
    good: IntCounter,
    bad: IntCounter,
}

impl Outcomes {
    /// Counts one.
    pub fn count(&self, good: bool) {
        if good { self.good.inc() } else { self.bad.inc() }
    }
}

/// The kinds of writes, named as etcd names them.
const KINDS: [&str; 6] = ["set", "create", "update", "compareAndSwap", "delete", "compareAndDelete"];

fn kind(command: &Command) -> Option<usize> {
    let name = match command {
        Command::Set { .. } => Action::Set,
        Command::Create { .. } | Command::CreateInOrder { .. } => Action::Create,
        Command::Update { .. } => Action::Update,
        Command::CompareAndSwap { .. } => Action::CompareAndSwap,
        Command::Delete { .. } => Action::Delete,
        Command::CompareAndDelete { .. } => Action::CompareAndDelete,
        // What the cluster does for itself.
        _ => return None,
    };
    KINDS.iter().position(|kind| *kind == name.as_str())
}

impl Metrics {
    /// The figures of the store, registered and at zero.
    ///
    /// # Errors
    /// Another figure has one of the names.
    pub fn new(r: &Registry) -> prometheus::Result<Arc<Self>> {
        let slow = labelled(r, "muster_watch_closed_total", "Watches closed by this node.", "reason")?;
        let reads =
            pair(r, "etcd_debugging_store_reads", "Reads of keys from this node, by kind.", "reads of keys")?;
        let writes =
            pair(r, "etcd_debugging_store_writes", "Writes applied by this node, by kind.", "writes")?;
        let of = |pair: &[IntCounterVec; 2], kind: &str| Outcomes {
            good: pair[0].with_label_values(&[kind]),
            bad: pair[1].with_label_values(&[kind]),
        };
        Ok(Arc::new(Self {
            http: HttpMetrics::new(r)?,
            gauges: Gauges::new(r)?,
            health: Outcomes {
                good: counter(r, "etcd_server_health_success", "Checks that found this node healthy.")?,
                bad: counter(r, "etcd_server_health_failures", "Checks that found it not healthy.")?,
            },
            pending: gauge(r, "etcd_server_proposals_pending", "Writes that wait for their result.")?,
            failed: counter(r, "etcd_server_proposals_failed_total", "Writes that got no result in time.")?,
            reads_failed: counter(
                r,
                "etcd_server_read_indexes_failed_total",
                "Linearizable reads that were not possible in time.",
            )?,
            gets: of(&reads, "get"),
            deep_gets: of(&reads, "getRecursive"),
            expires: counter(r, "etcd_debugging_store_expires_total", "Keys that ran out.")?,
            watch_requests: counter(r, "etcd_debugging_store_watch_requests_total", "Watches asked for.")?,
            watches_refused: counter(
                r,
                "muster_watch_refused_total",
                "Watches not accepted because there were too many.",
            )?,
            told: counter(r, "muster_watch_events_total", "Times that a watcher was told of an event live.")?,
            skipped: counter(
                r,
                "muster_watch_skipped_total",
                "Times that too much waited to be told: watchers went on from the history.",
            )?,
            stalled: slow.with_label_values(&["stalled"]),
            cleared: slow.with_label_values(&["cleared"]),
            writes: KINDS.map(|kind| of(&writes, kind)),
        }))
    }

    /// Counts what was applied.
    pub fn applied<'a>(&self, results: impl Iterator<Item = (&'a Command, bool)>, changes: &[Change]) {
        for (command, good) in results {
            if let Some(kind) = kind(command) {
                self.writes[kind].count(good);
            }
        }
        let expired = changes.iter().filter(|change| change.event.action == Action::Expire).count();
        self.expires.inc_by(expired as u64);
    }
}

fn labelled(registry: &Registry, name: &str, help: &str, label: &str) -> prometheus::Result<IntCounterVec> {
    registered(registry, IntCounterVec::new(Opts::new(name, help), &[label])?)
}

/// What went well and what was refused, by `action`.
fn pair(registry: &Registry, name: &str, help: &str, what: &str) -> prometheus::Result<[IntCounterVec; 2]> {
    let good = labelled(registry, &format!("{name}_total"), help, "action")?;
    let bad =
        labelled(registry, &format!("{name}_failed_total"), &format!("Refused {what}, by kind."), "action")?;
    Ok([good, bad])
}
