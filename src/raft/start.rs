//! Starting a member, together with what looks after its membership for as long as it runs.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::membership::{reconcile, removal};
use super::node::Node;
use super::state::machine::Observer;
use super::storage::{Identity, Storage};
use super::tuning::Tuning;
use super::types::Peer;

impl Node {
    /// Starts the member. In a new data folder `members` become the first membership; all first members start with
    /// the same. Without any, the node waits to be added.
    ///
    /// # Errors
    /// What is on disk cannot be read, or openraft refuses the settings.
    pub async fn start(
        storage: Storage,
        identity: Identity,
        members: BTreeMap<u64, Peer>,
        tuning: &Tuning,
        observer: Arc<dyn Observer>,
    ) -> io::Result<Arc<Self>> {
        let node = Self::open(storage, identity, members, tuning, observer).await?;
        let alarm = node.state().alarm();
        node.tasks.spawn(alarm, "the reconciliation of members", reconcile::run(node.clone()));
        node.tasks.spawn(alarm, "the look-out for this node's removal", removal::run(node.clone()));
        Ok(node)
    }
}
