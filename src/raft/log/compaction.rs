//! Keeps the log's room on disk in proportion to the state: entries are counted by openraft, but a few large values
//! take as much room as thousands of small ones.

use std::time::Duration;

use openraft::async_runtime::WatchReceiver;

use super::store::LogStore;
use crate::raft::state::machine::{Raft, StateMachine};
use crate::raft::state::snapshot::Folder;

/// The log may always take this much, and beyond it as much as the newest snapshot.
const LOG_BYTES: u64 = 64 << 20;

/// Pause between two looks while entries come in.
const PAUSE: Duration = Duration::from_millis(500);

/// Runs until raft ends.
pub async fn run(raft: Raft, log: LogStore, state: StateMachine) {
    let mut applied = state.applied();
    while applied.changed().await.is_ok() {
        tokio::time::sleep(PAUSE).await;
        let allowed = LOG_BYTES.max(newest_bytes(state.folder()));
        let Some(purge) = log.purge_for(allowed) else { continue };
        let covered = raft.metrics().borrow_watched().snapshot.map_or(0, |id| id.index);
        let asked = if purge > covered {
            raft.trigger().snapshot().await
        } else {
            tracing::debug!(upto = purge, "log entries go because of their size");
            raft.trigger().purge_log(purge).await
        };
        if asked.is_err() {
            return;
        }
    }
}

/// The size of the newest snapshot. Without one, or when it cannot be seen, the smaller bound holds.
fn newest_bytes(folder: &Folder) -> u64 {
    let newest = folder.newest().ok().flatten();
    newest.and_then(|path| path.metadata().ok()).map_or(0, |meta| meta.len())
}
