//! The leader's duty towards keys with a lifetime: lets the cluster clock run, and proposes expiry when something is
//! due. Followers only keep time.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Store;
use crate::keyspace::Command;

/// How often the leader looks; keys run out at most this much late, and the time of a proposal.
const TICK: Duration = Duration::from_millis(50);

/// Runs until `stop`. The clock goes on while a proposal waits for its quorum.
pub async fn run(store: Arc<Store>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut proposed: Option<JoinHandle<()>> = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if !store.node().is_leader() {
            continue;
        }
        let now = store.node().drive_clock();
        let due = store.node().state().read().keyspace.next_expiry().is_some_and(|due| due <= now);
        if due && proposed.as_ref().is_none_or(JoinHandle::is_finished) {
            proposed = Some(tokio::spawn(propose(store.clone())));
        }
    }
}

async fn propose(store: Arc<Store>) {
    if let Err(error) = store.propose(Command::Expire).await {
        tracing::debug!(%error, "expiry not proposed");
    }
}
