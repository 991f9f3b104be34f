//! Starting a member, together with what looks after its membership for as long as it runs.

use std::io;
use std::sync::Arc;

use super::membership::{found, reconcile, removal};
use super::node::Node;
use super::state::machine::Observer;
use super::storage::Storage;
use super::tuning::Tuning;

impl Node {
    /// Starts the member, which must have been admitted. In a new data folder the founders become the first membership;
    /// all of them start with the same. Without any, the node waits for what the leader sends.
    ///
    /// # Errors
    /// What is on disk cannot be read, the member was not admitted, or openraft refuses the settings.
    pub async fn start(
        storage: Storage,
        tuning: &Tuning,
        observer: Arc<dyn Observer>,
    ) -> io::Result<Arc<Self>> {
        let node = Self::open(storage, tuning, observer).await?;
        let alarm = node.state().alarm();
        node.tasks.spawn(alarm, "the reconciliation of members", reconcile::run(node.clone()));
        node.tasks.spawn(alarm, "the look-out for this node's removal", removal::run(node.clone()));
        node.tasks.spawn(alarm, "the record of the founding", found::run(node.clone()));
        Ok(node)
    }
}
