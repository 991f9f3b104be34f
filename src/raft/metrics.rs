//! What raft and its disk tell to Prometheus. The names are etcd's where the meaning is etcd's.
//!
//! Recording costs a few atomic additions: every counter is resolved to its labels when it is made.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    exponential_buckets,
};

/// Everything that this layer records, and the registry in which other layers put theirs.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Leaders seen, changes included.
    pub leader_changes: IntCounter,
    /// Flushes of the log: how long each took, in seconds.
    pub flush: Histogram,
    /// From the moment when entries were to be appended until they were durable, in seconds.
    pub append: Histogram,
    /// Appends that one flush made durable.
    pub flush_appends: Histogram,
    /// Bytes of entries given to the log.
    pub log_bytes: IntCounter,
    /// Commands in one batch when it is applied.
    pub batch_commands: Histogram,
    /// How long writing a snapshot took, in seconds.
    pub snapshot_save: Histogram,
    /// How long loading a received snapshot took, in seconds.
    pub snapshot_install: Histogram,
    /// How often writers had to wait because the log had no room.
    pub log_full: IntCounter,
    /// Snapshots that are being taken over.
    pub installing: IntGauge,
    round_trip: HistogramVec,
    send_failures: IntCounterVec,
}

/// One more in a gauge, until this is dropped: so it is right also when what is counted is given up half-way.
#[derive(Debug)]
pub struct Counted<'a>(&'a IntGauge);

impl<'a> Counted<'a> {
    /// Counts one.
    pub fn new(gauge: &'a IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What is recorded of the way to one other member.
#[derive(Clone, Debug)]
pub struct PeerMetrics {
    /// From an AppendEntries to its answer, in seconds.
    pub round_trip: Histogram,
    /// Messages that could not be delivered or were not answered in time.
    pub failures: IntCounter,
}

impl PeerMetrics {
    /// Notes how an AppendEntries that went out at `sent` fared.
    pub fn note(&self, sent: Instant, answered: bool) {
        if answered {
            observe(&self.round_trip, sent.elapsed());
        } else {
            self.failures.inc();
        }
    }
}

impl Metrics {
    /// A registry with this layer's figures in it, all at zero.
    ///
    /// # Errors
    /// Two figures have the same name.
    pub fn new() -> prometheus::Result<Arc<Self>> {
        let registry = Registry::new();
        let r = &registry;
        let (round_trip, send_failures) = by_member(r)?;
        Ok(Arc::new(Self {
            leader_changes: counter(
                r,
                "etcd_server_leader_changes_seen_total",
                "Leaders that were seen to come.",
            )?,
            flush: seconds(
                r,
                "etcd_disk_wal_fsync_duration_seconds",
                "How long flushes of raft's log took.",
                14,
            )?,
            append: seconds(
                r,
                "muster_disk_append_duration_seconds",
                "From an append to raft's log until it was durable.",
                14,
            )?,
            flush_appends: sizes(r, "muster_disk_flush_appends", "Appends that one flush made durable.", 8)?,
            log_bytes: counter(
                r,
                "etcd_disk_wal_write_bytes_total",
                "Bytes of entries written to raft's log.",
            )?,
            batch_commands: sizes(r, "muster_raft_batch_commands", "Commands in one entry of the log.", 10)?,
            snapshot_save: seconds(
                r,
                "etcd_debugging_snap_save_total_duration_seconds",
                "How long writing snapshots took.",
                16,
            )?,
            snapshot_install: seconds(
                r,
                "muster_snapshot_install_duration_seconds",
                "How long loading received snapshots took.",
                16,
            )?,
            log_full: counter(
                r,
                "muster_disk_writes_held_total",
                "Times that writers had to wait until a snapshot made room for the log.",
            )?,
            installing: gauge(
                r,
                "etcd_server_snapshot_apply_in_progress_total",
                "Received snapshots that are being loaded.",
            )?,
            round_trip,
            send_failures,
            registry,
        }))
    }

    /// Where other layers register what they record.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What is recorded of the way to member `id`.
    pub fn peer(&self, id: u64) -> PeerMetrics {
        let to = format!("{id:x}");
        PeerMetrics {
            round_trip: self.round_trip.with_label_values(&[&to]),
            failures: self.send_failures.with_label_values(&[&to]),
        }
    }
}

/// Round trips to each member, and what did not reach it.
fn by_member(r: &Registry) -> prometheus::Result<(HistogramVec, IntCounterVec)> {
    let to = &["To"];
    let round_trip =
        duration("etcd_network_peer_round_trip_time_seconds", "From an AppendEntries to its answer.", 14)?;
    let send_failures = Opts::new(
        "etcd_network_peer_sent_failures_total",
        "Messages to a member that were not delivered or not answered in time.",
    );
    Ok((
        registered(r, HistogramVec::new(round_trip, to)?)?,
        registered(r, IntCounterVec::new(send_failures, to)?)?,
    ))
}

/// Registers a figure and gives it back.
///
/// # Errors
/// Another has its name.
pub fn registered<T: Collector + Clone + 'static>(registry: &Registry, figure: T) -> prometheus::Result<T> {
    registry.register(Box::new(figure.clone()))?;
    Ok(figure)
}

/// A count of what happened.
///
/// # Errors
/// Another figure has its name.
pub fn counter(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntCounter> {
    registered(registry, IntCounter::new(name, help)?)
}

/// A number that goes up and down.
///
/// # Errors
/// Another figure has its name.
pub fn gauge(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    registered(registry, IntGauge::new(name, help)?)
}

/// Durations in `count` buckets from 1 ms on, each twice as long as the one before, as etcd has them.
///
/// # Errors
/// The name is none.
pub fn duration(name: &str, help: &str, count: usize) -> prometheus::Result<HistogramOpts> {
    Ok(HistogramOpts::new(name, help).buckets(exponential_buckets(0.001, 2.0, count)?))
}

fn seconds(registry: &Registry, name: &str, help: &str, count: usize) -> prometheus::Result<Histogram> {
    registered(registry, Histogram::with_opts(duration(name, help, count)?)?)
}

fn sizes(registry: &Registry, name: &str, help: &str, count: usize) -> prometheus::Result<Histogram> {
    let buckets = exponential_buckets(1.0, 2.0, count)?;
    registered(registry, Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))?)
}

/// Notes how long something took.
pub fn observe(histogram: &Histogram, took: Duration) {
    histogram.observe(took.as_secs_f64());
}
