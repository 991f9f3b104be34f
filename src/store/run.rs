//! A store node from its settings to its end: bind, start, publish, serve, drain.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use super::desk::Desk;
use super::http;
use super::{Store, StoreError, cluster_id, member_id};
use crate::config::StoreSettings;
use crate::keyspace::Command;
use crate::raft::{self, Identity, Node, Peer, Storage, Tuning};

/// How long a stopping leader waits for another to take over.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(3);

/// How long open requests have to finish when the node stops.
const DRAIN_LIMIT: Duration = Duration::from_secs(3);

/// Why a node could not run or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An address cannot be listened on.
    #[error("cannot listen on {url}: {cause}")]
    Listen {
        /// The URL as configured.
        url: Url,
        /// What the system said.
        cause: io::Error,
    },
    /// The data folder cannot be used.
    #[error("cannot use the data folder {folder}: {cause}")]
    Data {
        /// The folder.
        folder: String,
        /// What is wrong with it.
        cause: io::Error,
    },
    /// Raft stopped: the disk failed, or what it holds is damaged.
    #[error("the store has stopped to protect its data: {0}")]
    Failed(String),
}

/// Runs a node until `stop`; calls `ready` once it serves: it has found its cluster and its name is known there.
///
/// # Errors
/// See [`RunError`].
pub async fn run(
    settings: StoreSettings,
    stop: CancellationToken,
    ready: impl FnOnce() + Send,
) -> Result<(), RunError> {
    let clients = bind(&settings.listen_client).await?;
    let peers = bind(&settings.listen_peer).await?;
    let desk_and_node = start(&settings).await;
    let (desk, node) = desk_and_node.map_err(|cause| {
        let folder = settings.data_dir.display().to_string();
        RunError::Data { folder, cause }
    })?;
    let id = node.identity().clone();
    let member = format!("{:x}", id.member);
    tracing::info!(name = settings.name, member, cluster = format!("{:x}", id.cluster), "node started");

    let inner_stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    for listener in peers {
        tasks.spawn(raft::serve(node.clone(), listener, inner_stop.clone()));
    }
    let store = Store::start(node.clone(), desk, settings.name.clone(), &inner_stop);
    let client_stop = CancellationToken::new();
    let connections = TaskTracker::new();
    for listener in clients {
        connections.spawn(http::serve(store.clone(), listener, client_stop.clone(), connections.clone()));
    }

    let serve = async {
        publish(&store, &settings).await?;
        tracing::info!(name = settings.name, member, "published, ready to serve client requests");
        ready();
        std::future::pending().await
    };
    let result = tokio::select! {
        result = serve => result,
        reason = node.failed() => Err(RunError::Failed(reason)),
        () = stop.cancelled() => Ok(()),
    };

    if result.is_ok() && node.is_leader() && node.members().len() > 1 {
        let handed = node.hand_over(HAND_OVER_LIMIT).await;
        tracing::info!(handed, "leadership handed over");
    }
    client_stop.cancel();
    connections.close();
    if tokio::time::timeout(DRAIN_LIMIT, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "connections still open at the end of the drain");
    }
    inner_stop.cancel();
    node.stop().await;
    result
}

async fn start(settings: &StoreSettings) -> io::Result<(Arc<Desk>, Arc<Node>)> {
    let folder = settings.data_dir.clone();
    let opened = tokio::task::spawn_blocking(move || Storage::open(&folder)).await;
    let storage = opened.map_err(io::Error::other)??;
    let mut members = BTreeMap::new();
    for (name, peer_urls) in &settings.initial_cluster {
        let peer = Peer { name: name.clone(), peer_urls: peer_urls.clone() };
        members.insert(member_id(peer_urls, &settings.token), peer);
    }
    let fresh = Identity {
        member: member_id(&settings.initial_cluster[&settings.name], &settings.token),
        cluster: cluster_id(members.keys()),
    };
    let identity = storage.identity.clone().unwrap_or(fresh);
    if !settings.found_cluster {
        members.clear();
    }
    let desk = Arc::new(Desk::new(identity.member, storage.run));
    let tuning = Tuning {
        heartbeat: settings.heartbeat,
        election: settings.election,
        snapshot_count: settings.snapshot_count,
        history: settings.history_events,
    };
    let node = Node::start(storage, identity, members, &tuning, desk.clone()).await?;
    Ok((desk, node))
}

/// Makes name and client URLs known to the cluster; waits for a leader as long as it takes.
async fn publish(store: &Store, settings: &StoreSettings) -> Result<(), RunError> {
    loop {
        let command = Command::Publish {
            id: store.node().identity().member,
            name: settings.name.clone(),
            client_urls: settings.advertise_client.clone(),
        };
        match store.propose(command).await {
            Ok(_) => return Ok(()),
            Err(StoreError::TimedOut) => tracing::info!("waiting for a leader"),
            Err(error) => return Err(RunError::Failed(error.to_string())),
        }
    }
}

async fn bind(urls: &[Url]) -> Result<Vec<TcpListener>, RunError> {
    let mut listeners = Vec::new();
    for url in urls {
        let failed = |cause| RunError::Listen { url: url.clone(), cause };
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = url.port_or_known_default().unwrap_or_default();
        let mut addresses: Vec<_> = tokio::net::lookup_host((host, port)).await.map_err(failed)?.collect();
        // A name such as localhost stands for its IPv4 address first, as in Go.
        addresses.sort_by_key(|address| address.is_ipv6());
        addresses.truncate(1);
        listeners.push(TcpListener::bind(addresses.as_slice()).await.map_err(failed)?);
    }
    Ok(listeners)
}
