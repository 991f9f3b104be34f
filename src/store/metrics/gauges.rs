//! What Prometheus is told of how things stand: looked up when it asks, so that it costs nothing until then.

use prometheus::{Encoder, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

use super::process::Process;
use crate::raft::metrics::{gauge, registered};
use crate::store::Store;

/// The gauges.
#[derive(Debug)]
pub struct Gauges {
    process: Process,
    has_leader: IntGauge,
    is_leader: IntGauge,
    is_learner: IntGauge,
    committed: IntGauge,
    applied: IntGauge,
    term: IntGauge,
    last_log: IntGauge,
    snapshot: IntGauge,
    matched: IntGaugeVec,
    log_size: IntGauge,
    snapshot_size: IntGauge,
    watchers: IntGauge,
    history_events: IntGauge,
    history_bytes: IntGauge,
    history_oldest: IntGauge,
    files: IntGauge,
    directories: IntGauge,
    mortal: IntGauge,
    bytes: IntGauge,
    index: IntGauge,
    connections: IntGauge,
    connections_limit: IntGauge,
    large_answers: IntGauge,
}

impl Gauges {
    /// Registered and at zero; those of the process come along.
    ///
    /// # Errors
    /// Another figure has one of the names.
    pub fn new(r: &Registry) -> prometheus::Result<Self> {
        let info = IntGaugeVec::new(Opts::new("muster_build_info", "1, with the version."), &["version"])?;
        registered(r, info)?.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let matched = Opts::new("muster_raft_matched_index", "On the leader: how far a member's log agrees.");
        Ok(Self {
            process: Process::new(r)?,
            has_leader: gauge(r, "etcd_server_has_leader", "1 if a leader is known.")?,
            is_leader: gauge(r, "etcd_server_is_leader", "1 if this member leads.")?,
            is_learner: gauge(r, "etcd_server_is_learner", "1 if this member has no vote.")?,
            committed: gauge(r, "etcd_server_proposals_committed_total", "The last index known committed.")?,
            applied: gauge(r, "etcd_server_proposals_applied_total", "The last index applied.")?,
            term: gauge(r, "muster_raft_term", "Raft's term.")?,
            last_log: gauge(r, "muster_raft_last_log_index", "The last index of the log.")?,
            snapshot: gauge(r, "muster_raft_snapshot_index", "The last index in the newest snapshot.")?,
            matched: registered(r, IntGaugeVec::new(matched, &["To"])?)?,
            log_size: gauge(r, "muster_disk_log_size_bytes", "Bytes of the log on disk.")?,
            snapshot_size: gauge(r, "muster_disk_snapshot_size_bytes", "Bytes of the newest snapshot.")?,
            watchers: gauge(r, "etcd_debugging_store_watchers", "Watches that wait on this node.")?,
            history_events: gauge(r, "muster_history_events", "Changes that are remembered.")?,
            history_bytes: gauge(r, "muster_history_bytes", "Bytes that they take, about.")?,
            history_oldest: gauge(r, "muster_history_oldest_index", "The oldest index to watch from.")?,
            files: gauge(r, "muster_keyspace_files", "Files.")?,
            directories: gauge(r, "muster_keyspace_directories", "Directories without the root.")?,
            mortal: gauge(r, "muster_keyspace_ttl_keys", "Files and directories with a TTL.")?,
            bytes: gauge(r, "muster_keyspace_bytes", "Bytes of all keys and values.")?,
            index: gauge(r, "muster_keyspace_index", "The store's index.")?,
            connections: gauge(r, "muster_http_connections", "Client connections.")?,
            connections_limit: gauge(r, "muster_http_connections_limit", "How many there may be.")?,
            large_answers: gauge(r, "muster_http_large_answers", "Large answers that are being sent.")?,
        })
    }

    /// Looks at `store` and gives everything that its registry has, in Prometheus's text format. Reads the disk.
    ///
    /// # Errors
    /// The disk fails, or a figure cannot be written.
    pub fn text(&self, store: &Store) -> Result<Vec<u8>, String> {
        self.look_at_raft(store).map_err(|error| error.to_string())?;
        self.look_at_keys(store);
        self.process.look().map_err(|error| error.to_string())?;
        let (open, most) = store.limits().connections();
        set(&self.connections, open as u64);
        set(&self.connections_limit, most as u64);
        set(&self.large_answers, store.limits().large_answers() as u64);
        let mut text = Vec::new();
        let families = store.node().metrics().registry().gather();
        TextEncoder::new().encode(&families, &mut text).map_err(|error| error.to_string())?;
        Ok(text)
    }

    fn look_at_raft(&self, store: &Store) -> std::io::Result<()> {
        let status = store.node().status();
        set(&self.has_leader, u64::from(store.node().acting_leader().is_some()));
        set(&self.is_leader, u64::from(status.is_leader));
        set(&self.is_learner, u64::from(status.is_learner));
        set(&self.committed, status.committed);
        set(&self.applied, status.applied);
        set(&self.term, status.term);
        set(&self.last_log, status.last_log);
        set(&self.snapshot, status.snapshot);
        self.matched.reset();
        for (id, index) in &status.matched {
            set(&self.matched.with_label_values(&[&format!("{id:x}")]), *index);
        }
        set(&self.log_size, store.node().log_size());
        set(&self.snapshot_size, store.node().snapshot_size()?);
        Ok(())
    }

    fn look_at_keys(&self, store: &Store) {
        set(&self.watchers, store.watchers());
        let replica = store.node().state().read();
        let keyspace = &replica.keyspace;
        let (history, extent) = (keyspace.history(), keyspace.extent());
        set(&self.history_events, history.len() as u64);
        set(&self.history_bytes, history.bytes());
        set(&self.history_oldest, history.oldest(keyspace.index()));
        set(&self.files, (keyspace.len() - extent.directories) as u64);
        set(&self.directories, extent.directories as u64);
        set(&self.mortal, keyspace.mortal() as u64);
        set(&self.bytes, extent.bytes);
        set(&self.index, keyspace.index());
    }
}

fn set(gauge: &IntGauge, value: u64) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}
