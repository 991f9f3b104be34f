//! A node for tests of what works on one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::identity::Identity;
use super::membership::admission::Admission;
use super::node::Node;
use super::state::machine::Observer;
use super::storage::Storage;
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
    let mut storage = Storage::open(folder).unwrap();
    let folders = BTreeMap::from([(1, storage.folder_id)]);
    let admission = Admission { identity, incarnation: 7, folders, founds: true, founders: members };
    storage.admit(admission).unwrap();
    Node::start(storage, &tuning, observer).await.unwrap()
}
