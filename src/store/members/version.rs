//! The cluster's version: the leader proposes to raise it once every member has said that it can do more.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::format::highest;
use crate::keyspace::Command;
use crate::store::Store;

/// How often the leader looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Runs until `stop`.
pub async fn run(store: Arc<Store>, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
        #[cfg(debug_assertions)]
        remark(&store).await;
        if !store.node().is_leader() {
            continue;
        }
        let next = store.node().state().read().keyspace.next_version();
        // A newer leader will do what this one cannot.
        let Some(version) = next.filter(|version| *version <= highest()) else { continue };
        tracing::info!(%version, "all members can do more: the cluster's version is raised");
        if let Err(error) = store.propose(Command::RaiseVersion { version }).await {
            tracing::info!(%error, "the cluster's version was not raised, trying again");
        }
    }
}

/// In the next version a member says something that this one has no words for, once the cluster understands it.
#[cfg(debug_assertions)]
async fn remark(store: &Store) {
    let id = store.node().identity().member;
    let said = {
        let replica = store.node().state().read();
        replica.keyspace.members().get(id).is_none_or(|attributes| attributes.remark.is_some())
    };
    if let Some(text) = crate::format::remark("said")
        && !said
        && store.node().state().versions().reached() >= crate::format::NEXT
        && let Err(error) = store.propose(Command::Remark { id, text }).await
    {
        tracing::info!(%error, "the remark was not taken, trying again");
    }
}
