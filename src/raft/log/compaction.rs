//! Keeps the log's room on disk within the [budget](super::budget): openraft counts entries, but a few large values
//! take as much room as thousands of small ones.

use std::time::Duration;

use openraft::async_runtime::WatchReceiver;

use super::budget::{Budget, Standing, Verdict};
use super::store::LogStore;
use crate::raft::state::machine::{Raft, StateMachine};
use crate::raft::state::snapshot::Sizes;

/// Pause between two looks when nothing calls for one.
const PAUSE: Duration = Duration::from_millis(250);

/// Pause between two looks while the log is nearly full.
const SHORT_PAUSE: Duration = Duration::from_millis(20);

/// Runs until raft ends.
pub async fn run(raft: Raft, log: LogStore, state: StateMachine) {
    let mut seen = None;
    let mut pause = PAUSE;
    loop {
        // Neither a snapshot that is finished nor live data that shrink come with more entries.
        tokio::select! {
            () = log.grown() => {}
            () = tokio::time::sleep(pause) => {}
        }
        let covered = raft.metrics().borrow_watched().snapshot.map_or(0, |id| id.index);
        let sizes = match state.folder().sizes() {
            Ok(sizes) => sizes,
            Err(error) => {
                tracing::warn!(%error, "cannot see how much room the snapshots take");
                continue;
            }
        };
        let now = (covered, *state.applied().borrow(), log.room().bytes(), sizes);
        if seen == Some(now) {
            continue;
        }
        seen = Some(now);
        let standing = standing(&log, &state, covered, sizes);
        let verdict = Budget::default().judge(&standing);
        tracing::trace!(?standing, ?verdict, "room on disk");
        pause = if verdict.hurry { SHORT_PAUSE } else { PAUSE };
        if act(&raft, &log, &state, covered, verdict).await.is_err() {
            return;
        }
    }
}

/// How things stand when the newest snapshot has the entries up to index `covered`.
fn standing(log: &LogStore, state: &StateMachine, covered: u64, sizes: Sizes) -> Standing {
    let (live, applied) = {
        let replica = state.read();
        let (keys, extent) = (replica.keyspace.len() as u64, replica.keyspace.extent());
        (Budget::live(keys, extent.bytes), replica.applied.map_or(0, |id| id.index))
    };
    let Sizes { whole, unfinished, newest } = sizes;
    let [covered, uncovered, unapplied] = log.bytes_between(covered, applied);
    let (log, segment) = (log.room().bytes(), log.segment_bytes());
    Standing { live, whole, unfinished, newest, log, covered, uncovered, unapplied, segment }
}

/// Sees to it that what is due is done.
///
/// # Errors
/// Raft has ended.
async fn act(
    raft: &Raft,
    log: &LogStore,
    state: &StateMachine,
    covered: u64,
    verdict: Verdict,
) -> Result<(), ()> {
    let Verdict { snapshot, hurry, keep, limit, crowded } = verdict;
    log.room().limit(limit);
    state.hurry(hurry);
    if crowded {
        state.folder().stop_sending_older();
    }
    if let Some(upto) = keep.and_then(|keep| log.purge_for(covered, keep)) {
        tracing::debug!(upto, "log entries go because of their size");
        log.give_up(upto);
        raft.trigger().purge_log(upto).await.map_err(|_| ())?;
    }
    if snapshot {
        tracing::debug!("a snapshot is due because of the log's size");
        raft.trigger().snapshot().await.map_err(|_| ())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt;

    use super::*;
    use crate::raft::node_test::alone;
    use crate::raft::offline::folder::Nobody;

    #[tokio::test]
    async fn a_crowded_disk_has_older_snapshots_sent_no_further() {
        let root = tempfile::tempdir().unwrap();
        let node = alone(root.path(), Arc::new(Nobody)).await;
        let folder = node.state().folder();
        let [older, newest] = [1, 2].map(|index| root.path().join(format!("snapshots/{index:020}.snap")));
        for path in [&older, &newest] {
            std::fs::write(path, "").unwrap();
        }
        let (old, new) = (folder.send(&older), folder.send(&newest));
        let verdict = Verdict { limit: u64::MAX, ..Verdict::default() };
        act(node.raft(), &node.log, node.state(), 0, verdict).await.unwrap();
        assert!(old.stopped().now_or_never().is_none());
        act(node.raft(), &node.log, node.state(), 0, Verdict { crowded: true, ..verdict }).await.unwrap();
        assert!(old.stopped().now_or_never().is_some());
        assert!(new.stopped().now_or_never().is_none(), "the newest is sent to its end");
        node.stop().await;
    }
}
