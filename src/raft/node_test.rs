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

/// How raft runs in tests.
pub fn tuning() -> Tuning {
    Tuning {
        heartbeat: Duration::from_millis(10),
        election: Duration::from_millis(50),
        snapshot_count: 1000,
        history: Memory::from(10),
    }
}

/// A node that is its own cluster.
pub async fn alone(folder: &Path, observer: Arc<dyn Observer>) -> Arc<Node> {
    among(1, folder, observer, &tuning()).await
}

/// The first of `count` members, all others of which are out of reach.
pub async fn among(count: u64, folder: &Path, observer: Arc<dyn Observer>, tuning: &Tuning) -> Arc<Node> {
    let identity = Identity { member: 1, cluster: 1 };
    let peer = |id| (id, Peer { name: String::new(), peer_urls: Vec::new() });
    let members: BTreeMap<u64, Peer> = (1..=count).map(peer).collect();
    let mut storage = Storage::open(folder).unwrap();
    let folders = BTreeMap::from([(1, storage.folder_id)]);
    let admission = Admission { identity, incarnation: 7, folders, founds: true, founders: members };
    storage.admit(admission).unwrap();
    Node::start(storage, tuning, observer).await.unwrap()
}
