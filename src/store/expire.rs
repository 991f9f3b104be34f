//! The leader's duty towards keys with a lifetime: lets the cluster clock run, and proposes expiry when something is
//! due. Followers only keep time.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Store;
use crate::keyspace::Command;

/// How often the leader looks; keys run out at most this much late, and the time of a proposal.
const TICK: Duration = Duration::from_millis(50);

/// Runs until `stop`.
pub async fn run(store: Arc<Store>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
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
        if due && let Err(error) = store.propose(Command::Expire).await {
            tracing::debug!(%error, "expiry not proposed");
        }
    }
}
