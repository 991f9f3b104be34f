//! A node for tests of what works on one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::node::Node;
use super::state::machine::Observer;
use super::storage::{Identity, Storage};
use super::tuning::Tuning;
use super::types::Peer;
use crate::keyspace::Memory;

/// A node that is its own cluster.
pub async fn alone(folder: &Path, observer: Arc<dyn Observer>) -> Arc<Node> {
    let identity = Identity { member: 1, cluster: 1 };
    let members = BTreeMap::from([(1, Peer { name: String::new(), peer_urls: Vec::new() })]);
    let tuning = Tuning {
        heartbeat: Duration::from_millis(10),
        election: Duration::from_millis(50),
        snapshot_count: 1000,
        history: Memory::from(10),
    };
    let storage = Storage::open(folder).unwrap();
    Node::start(storage, identity, members, &tuning, observer).await.unwrap()
}
