//! How raft is to run, and how openraft is told.

use std::sync::Arc;
use std::time::Duration;

use openraft::{Config, SnapshotPolicy};

use crate::keyspace::Memory;

/// Most entries kept behind a snapshot, so that a follower that is a little late needs no snapshot.
const KEPT_ENTRIES: u64 = 5000;

/// How raft is to run.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Between two heartbeats of the leader.
    pub heartbeat: Duration,
    /// Without a heartbeat for about this long, a follower calls an election.
    pub election: Duration,
    /// Log entries between snapshots.
    pub snapshot_count: u64,
    /// How much of what happened is remembered.
    pub history: Memory,
}

impl Tuning {
    /// Openraft waits for a lease of `election_timeout_max` and then for a random time between the two bounds: halves of
    /// the setting make a follower wait about as long as etcd's does.
    pub(super) fn config(&self) -> Result<Arc<Config>, openraft::ConfigError> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let election = millis(self.election);
        let kept = self.snapshot_count.min(KEPT_ENTRIES);
        let config = Config {
            cluster_name: "muster".into(),
            heartbeat_interval: millis(self.heartbeat),
            election_timeout_min: election * 2 / 5,
            election_timeout_max: election / 2,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_count),
            max_in_snapshot_log_to_keep: kept,
            replication_lag_threshold: kept,
            purge_batch_size: 256,
            max_payload_entries: 256,
            enable_pre_vote: Some(true),
            // The leader's own flush and its followers' go on at the same time.
            broadcast_submitted_on_append: Some(true),
            enable_leader_restore: Some(false),
            ..Config::default()
        };
        Ok(Arc::new(config.validate()?))
    }
}
