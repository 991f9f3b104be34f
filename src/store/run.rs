//! A store node from its settings to its end: bind, start, publish, serve, drain.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use super::bootstrap::discovery;
use super::bootstrap::discovery::DiscoveryError;
use super::bootstrap::join;
use super::bootstrap::join::JoinError;
use super::http;
use super::limits::{self, Limits, TooFewFiles};
use super::metrics::counters::Metrics;
use super::pending::Pending;
use super::threads::Threads;
use super::{Store, StoreError};
use crate::config::{Bootstrap, StoreSettings};
use crate::format::{Version, highest};
use crate::keyspace::{Command, KeyError, MemberError, Memory};
use crate::raft::{self, Candidate, EnterError, Node, Refusal, Storage, Tuning};

/// How long a stopping leader waits for another to take over.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(3);

/// How often it is said again what a starting node waits for.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// How long open requests have to finish when the node stops.
const DRAIN_LIMIT: Duration = Duration::from_secs(3);

/// Connections that may wait to be accepted: as many as the system allows (listen(2)).
const BACKLOG: u32 = 65_535;

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
    /// The data folder holds what another program left there.
    #[error(
        "{folder} holds the data of an etcd, which is not Muster's: choose another data folder, and copy the keys"
    )]
    Foreign {
        /// The folder.
        folder: String,
    },
    /// The system lets the process open too few files.
    #[error(transparent)]
    Files(#[from] TooFewFiles),
    /// The cluster's members were not found.
    #[error("{0}")]
    Discovery(#[from] DiscoveryError),
    /// This node could not join its cluster.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The member was removed from its cluster.
    #[error(
        "member {member:x} was removed from its cluster for good; to have this machine join again, remove {folder} and \
         start it with --join, or add it anew (muster member add)"
    )]
    Removed {
        /// The member that this node was.
        member: u64,
        /// Where its data lies.
        folder: String,
    },
    /// The cluster has gone on to a version that this one does not know.
    #[error(
        "the cluster is at version {needed}, and this is Muster {}, which does versions up to {can}: start Muster {needed} \
         or later on this folder; nothing is lost",
        env!("CARGO_PKG_VERSION")
    )]
    Outgrown {
        /// The version that is needed.
        needed: Version,
        /// The highest version that this process can do.
        can: Version,
    },
    /// The member has lost its data folder, or its folder is not what the cluster knows.
    #[error("{0}")]
    Lost(EnterError),
    /// The node cannot take part.
    #[error("{0}")]
    Enter(EnterError),
    /// The cluster has nothing more to do with the member.
    #[error("{}", dismissed(*member, folder, *why))]
    Dismissed {
        /// The member.
        member: u64,
        /// Where its data lies.
        folder: String,
        /// The reason that the others gave.
        why: Refusal,
    },
    /// Raft stopped: the disk failed, or what it holds is damaged.
    #[error("the store has stopped to protect its data: {0}")]
    Failed(String),
}

impl RunError {
    /// Whether the data folder is not the one that others know of this member: starting again is of no use, somebody must
    /// see to it.
    pub fn is_of_folder(&self) -> bool {
        let twice = matches!(self, Self::Discovery(DiscoveryError::DuplicateId { .. }));
        twice || matches!(self, Self::Lost(_) | Self::Dismissed { .. })
    }
}

/// Runs a node until `stop`; calls `ready` once it serves: it has found its cluster and its name is known there.
///
/// Raft's tasks run where this runs, best on one thread: they hand much over to each other and do little work. The rest
/// runs on `threads`.
///
/// # Errors
/// See [`RunError`].
pub async fn run(
    settings: StoreSettings,
    threads: &Threads,
    stop: CancellationToken,
    ready: impl FnOnce() + Send,
) -> Result<(), RunError> {
    let limits = Limits::new(limits::raise_open_files(), settings.max_connections)?;
    let client_listeners = bind(&settings.listen_client).await?;
    let peers: Vec<_> = bind(&settings.listen_peer).await?.into_iter().map(Arc::new).collect();
    let (pending, node, run) = tokio::select! {
        started = start(&settings, &peers) => started?,
        // It may be waiting for a cluster to join or for other first members.
        () = stop.cancelled() => return Ok(()),
    };
    let id = node.identity().clone();
    let member = format!("{:x}", id.member);
    tracing::info!(name = settings.name, member, cluster = format!("{:x}", id.cluster), "node started");

    let inner_stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    for listener in peers {
        tasks.spawn(raft::serve(node.clone(), listener, inner_stop.clone()));
    }
    let store = {
        // Its tasks work for the clients.
        let _entered = threads.clients.enter();
        Store::start(node.clone(), pending, settings.name.clone(), limits, threads.clone(), &inner_stop)
            .map_err(|cause| RunError::Failed(cause.to_string()))?
    };
    let client_stop = CancellationToken::new();
    let connections = TaskTracker::new();
    for listener in client_listeners {
        let listener =
            hand_to(listener, &threads.clients).map_err(|cause| RunError::Failed(cause.to_string()))?;
        let serving = http::serve(store.clone(), listener, client_stop.clone(), connections.clone());
        connections.spawn_on(serving, &threads.clients);
    }

    let serve = async {
        publish(&store, &settings, run).await?;
        store.has_published();
        announce(&settings, id.cluster);
        ready();
        std::future::pending().await
    };
    let result = tokio::select! {
        result = serve => result,
        needed = node.state().versions().needed() => Err(RunError::Outgrown { needed, can: highest() }),
        reason = node.failed() => Err(RunError::Failed(reason)),
        noted = node.dismissed() => {
            let folder = settings.data_dir.display().to_string();
            Err(match noted {
                Ok(why) => ended(id.member, folder, why),
                Err(cause) => RunError::Data { folder, cause },
            })
        }
        () = stop.cancelled() => Ok(()),
    };

    wind_down(&node, result.is_ok(), &client_stop, &connections).await;
    end_peers(&inner_stop, &tasks).await;
    node.stop().await;
    result
}

/// Hands leadership over when all is `well`, then ends the connections of clients, which may finish what they are at.
async fn wind_down(node: &Node, well: bool, client_stop: &CancellationToken, connections: &TaskTracker) {
    if well && node.is_leader() && node.members().len() > 1 {
        let handed = node.hand_over(HAND_OVER_LIMIT).await;
        tracing::info!(handed, "leadership handed over");
    }
    client_stop.cancel();
    connections.close();
    if tokio::time::timeout(DRAIN_LIMIT, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "connections still open at the end of the drain");
    }
}

/// Ends what serves members and clients in the background, and waits until the peer port and its connections have ended.
async fn end_peers(stop: &CancellationToken, tasks: &TaskTracker) {
    stop.cancel();
    tasks.close();
    if tokio::time::timeout(DRAIN_LIMIT, tasks.wait()).await.is_err() {
        tracing::warn!(open = tasks.len(), "connections of members still open at the end");
    }
}

/// Says in etcd's words, for which scripts wait, that the node serves.
fn announce(settings: &StoreSettings, cluster: u64) {
    let urls = settings.advertise_client.join(" ");
    tracing::info!("published {{Name:{} ClientURLs:[{urls}]}} to cluster {cluster:x}", settings.name);
    tracing::info!("enabled capabilities for version {}", http::ETCD_CAPABILITIES);
    tracing::info!("ready to serve client requests");
}

async fn start(
    settings: &StoreSettings,
    peers: &[Arc<TcpListener>],
) -> Result<(Arc<Pending>, Arc<Node>, u64), RunError> {
    let unusable =
        |cause: io::Error| RunError::Data { folder: settings.data_dir.display().to_string(), cause };
    let folder = settings.data_dir.clone();
    if folder.join("member").join("wal").exists() {
        return Err(RunError::Foreign { folder: folder.display().to_string() });
    }
    let open = move || raft::refuse_full_disk(&folder).and_then(|()| Storage::open(&folder));
    let opened = tokio::task::spawn_blocking(open).await;
    let mut storage = opened.map_err(io::Error::other).and_then(|opened| opened).map_err(unusable)?;
    if settings.force_new_cluster {
        tracing::warn!(
            "starting a cluster of this node alone; take --force-new-cluster away for the next start"
        );
        storage.force_new_cluster(&settings.advertise_peer).map_err(unusable)?;
    }
    let member = admit(settings, &mut storage, peers).await?;
    let run = storage.run;
    let metrics = Metrics::new(storage.metrics().registry()).map_err(io::Error::other).map_err(unusable)?;
    let pending = Pending::new(member, run, settings.max_watchers, metrics);
    let pending = pending.map(Arc::new).map_err(unusable)?;
    let tuning = Tuning {
        heartbeat: settings.heartbeat,
        election: settings.election,
        snapshot_count: settings.snapshot_count,
        history: Memory { events: settings.history_events, bytes: settings.history_bytes },
    };
    let node = Node::start(storage, &tuning, pending.clone()).await.map_err(unusable)?;
    Ok((pending, node, run))
}

/// Who this node is; returns once it may take part in raft, which may take any time.
async fn admit(
    settings: &StoreSettings,
    storage: &mut Storage,
    peers: &[Arc<TcpListener>],
) -> Result<u64, RunError> {
    let folder = || settings.data_dir.display().to_string();
    let known = storage.admission.as_ref().map(|admission| admission.identity.member);
    if let (Some(why), Some(member)) = (storage.dismissed, known) {
        return Err(ended(member, folder(), why));
    }
    if let Some(member) = known {
        if settings.bootstrap != Bootstrap::Listed {
            tracing::info!("there is data already: discovery is not asked");
        }
        return Ok(member);
    }
    let candidate = candidate(settings, storage).await?;
    let member = candidate.identity.member;
    let admission = raft::enter(storage, peers, candidate).await.map_err(|error| match error {
        EnterError::Lost(_) => RunError::Lost(error),
        EnterError::Removed(member) => RunError::Removed { member, folder: folder() },
        EnterError::Disk(cause) => RunError::Data { folder: folder(), cause },
        error => RunError::Enter(error),
    })?;
    let admitted = admission.identity.member;
    if admitted != member {
        tracing::info!(member = format!("{admitted:x}"), "added to the cluster anew, as another member");
    }
    storage.admit(admission).map_err(|cause| RunError::Data { folder: folder(), cause })?;
    Ok(admitted)
}

/// Who a node is that has not taken part yet, and whom it asks.
async fn candidate(settings: &StoreSettings, storage: &Storage) -> Result<Candidate, RunError> {
    if let Some(identity) = &storage.identity {
        // The folder was made from a backup.
        let members = storage.members();
        let members = members
            .map_err(|cause| RunError::Data { folder: settings.data_dir.display().to_string(), cause })?;
        return Ok(join::candidate(settings, identity.clone(), members, true));
    }
    let settings = &discovery::resolve(settings).await?;
    if settings.found_cluster && settings.join.is_none() {
        return Ok(join::found(settings));
    }
    Ok(join::newcomer(settings).await?)
}

/// The error with which a node ends with which its cluster has nothing more to do.
fn ended(member: u64, folder: String, why: Refusal) -> RunError {
    match why {
        Refusal::Removed | Refusal::LeftBehind => RunError::Removed { member, folder },
        why => RunError::Dismissed { member, folder, why },
    }
}

/// What a node says at its end with which its cluster has nothing more to do, and what is to be done.
fn dismissed(member: u64, folder: &str, why: Refusal) -> String {
    let again = format!(
        "remove it (muster member remove {member:x}), empty {folder} and add it anew (muster member add, or --join)"
    );
    match why {
        Refusal::OtherFounding(_) => format!(
            "member {member:x} belongs to an earlier founding of its cluster: another one was founded without it, and has \
             nothing to do with what it holds. Its data stays in {folder}: save what is needed of it (muster backup \
             --data-dir {folder} FILE), then empty the folder and start it again to be taken into the new cluster"
        ),
        Refusal::OtherMember(wanted) => format!(
            "the data in {folder} is that of member {member:x}, but the cluster looks for member {wanted:x} here: every \
             machine needs a data folder of its own. Give {wanted:x} its own folder back, or {again}"
        ),
        Refusal::Twice => format!(
            "member {member:x} runs elsewhere, at the peer URLs that the cluster knows, with a copy of {folder}: stop one of \
             the two. If this one is to stay, tell the cluster where it is (muster member update {member:x} URL); if it is \
             to be a member of its own, empty {folder} and start it with --join"
        ),
        // The others know of a run with the older folder meanwhile, and would take the newest one for older.
        Refusal::LostEntries => {
            format!(
                "the cluster has nothing more to do with member {member:x}: {why}. To have it back, {again}"
            )
        }
        why => format!(
            "the cluster has nothing more to do with member {member:x}: {why}. Give its newest data back, or {again}"
        ),
    }
}

/// Makes folder, run, name and client URLs known to the cluster; waits for a leader as long as it takes.
async fn publish(store: &Store, settings: &StoreSettings, run: u64) -> Result<(), RunError> {
    let id = store.node().identity().member;
    let folder = store.node().folder();
    let published = Command::Publish {
        id,
        name: settings.name.clone(),
        client_urls: settings.advertise_client.clone(),
        version: highest(),
        #[cfg(debug_assertions)]
        remark: crate::format::remark("published"),
    };
    let commands = [Command::Introduce { id, folder, run }, published];
    let mut said: Option<(String, Instant)> = None;
    for command in commands {
        loop {
            match store.propose(command.clone()).await {
                Ok(_) => break,
                Err(StoreError::Refused(refusal)) => {
                    if refusal.error == KeyError::Member(MemberError::OtherFolder) {
                        return Err(ended(id, settings.data_dir.display().to_string(), Refusal::OtherFolder));
                    }
                    // Whoever was removed hears of it otherwise.
                    break;
                }
                Err(StoreError::TimedOut | StoreError::NoLeader | StoreError::Busy) => {
                    let waiting = store.node().waits_for();
                    let news =
                        said.as_ref().is_none_or(|(what, at)| *what != waiting || at.elapsed() >= SAY_EVERY);
                    if news {
                        tracing::info!("waiting for a leader: {waiting}");
                        said = Some((waiting, Instant::now()));
                    }
                }
                Err(error) => return Err(RunError::Failed(error.to_string())),
            }
        }
    }
    Ok(())
}

/// Has another runtime's threads hear of a listener's connections.
fn hand_to(listener: TcpListener, runtime: &Handle) -> io::Result<TcpListener> {
    let listener = listener.into_std()?;
    let _entered = runtime.enter();
    TcpListener::from_std(listener)
}

async fn bind(urls: &[Url]) -> Result<Vec<TcpListener>, RunError> {
    let mut listeners = Vec::new();
    for url in urls {
        let failed = |cause| RunError::Listen { url: url.clone(), cause };
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = url.port_or_known_default().unwrap_or_default();
        let addresses = tokio::net::lookup_host((host, port)).await.map_err(failed)?;
        // A name such as localhost stands for its IPv4 address first, as in Go.
        let address = addresses.min_by_key(|address| address.is_ipv6());
        let Some(address) = address else { return Err(failed(io::ErrorKind::NotFound.into())) };
        listeners.push(listen(address).map_err(failed)?);
    }
    Ok(listeners)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As usual for servers: what is left of earlier connections does not hinder a new start.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
