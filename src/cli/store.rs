//! `muster store`.

use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Context, Failure, logging};
use crate::config::{Millis, StoreFragment, StoreSettings};
use crate::store::{self, RunError, Threads};
use crate::systemd::notify;

/// Threads that tell watchers: they are busy in bursts only, and beyond a few the network is what takes time.
const MOST_WATCHER_THREADS: usize = 4;

/// Threads that send large answers: more would only send more of them at a time.
const MOST_ANSWER_THREADS: usize = 2;

/// How far they give way to all others (setpriority(2)): on a busy machine they get about a tenth of a processor each.
const ANSWERS_NICE: i32 = 10;

/// Exit status of a node that was removed from its cluster: starting it again is of no use.
const REMOVED: u8 = 3;

/// Exit status of a node whose data folder is not the one that its cluster knows: somebody must see to it.
const DISMISSED: u8 = 4;

/// Run a node of the replicated store, which speaks the etcd v2 HTTP API.
///
/// Without any flag it is a cluster of its own with its data in ./default.muster. For a cluster of three, start each
/// node with its own --name, its URLs, and the same --initial-cluster. What is not given as a flag comes from
/// MUSTER_STORE_* or ETCD_* variables and from [store] in the configuration.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Exit status: 0 stopped as asked; 1 failed; 3 removed from its cluster; 4 its data folder \
                  is not the one that the cluster knows, or of an earlier cluster; 64 wrong use."
)]
pub struct Args {
    /// This member's name [default: default]
    #[arg(long)]
    name: Option<String>,

    /// Where everything durable lies [default: ./NAME.muster]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Where to listen for clients [default: http://localhost:2379]
    #[arg(long, value_name = "URLS", value_delimiter = ',')]
    listen_client_urls: Option<Vec<String>>,

    /// Where clients reach this member [default: http://localhost:2379]
    #[arg(long, value_name = "URLS", value_delimiter = ',')]
    advertise_client_urls: Option<Vec<String>>,

    /// Where to listen for other members [default: http://localhost:2380]
    #[arg(long, value_name = "URLS", value_delimiter = ',')]
    listen_peer_urls: Option<Vec<String>>,

    /// Where other members reach this member [default: http://localhost:2380]
    #[arg(long, value_name = "URLS", value_delimiter = ',')]
    initial_advertise_peer_urls: Option<Vec<String>>,

    /// The first members, the same on each: a=http://10.0.0.1:2380,b=http://10.0.0.2:2380,...
    #[arg(long, value_name = "NAME=URL,...")]
    initial_cluster: Option<String>,

    /// "new" to found a cluster with the first members, "existing" to start only with the data that is there [default:
    /// new]
    #[arg(long, value_name = "STATE")]
    initial_cluster_state: Option<String>,

    /// With how many of the first members a cluster is founded: "majority" goes without those that do not come within some
    /// seconds, "all" waits for every one [default: majority]
    #[arg(long, value_name = "WHOM")]
    found_with: Option<String>,

    /// Keeps clusters with the same URLs apart [default: etcd-cluster]
    #[arg(long, value_name = "TOKEN")]
    initial_cluster_token: Option<String>,

    /// Log entries between snapshots [default: 10000]
    #[arg(long, value_name = "N")]
    snapshot_count: Option<u64>,

    /// Time between two heartbeats of the leader, in milliseconds [default: 100]
    #[arg(long, value_name = "MS")]
    heartbeat_interval: Option<Millis>,

    /// Time without a heartbeat until an election, in milliseconds, at least 5 times as long [default:
    /// 1000]
    #[arg(long, value_name = "MS")]
    election_timeout: Option<Millis>,

    /// Changes that are remembered for watches in the past [default: 100000]
    #[arg(long, value_name = "N")]
    history_events: Option<u64>,

    /// Find the first members in this directory of a v2 store, as GET /new?size=3 of any store hands out
    #[arg(long, value_name = "URL")]
    discovery: Option<String>,

    /// When the discovered cluster is full already: "learner" to become a read replica, "exit" to end [default: learner]
    #[arg(long, value_name = "WHAT")]
    discovery_fallback: Option<String>,

    /// HTTP proxy on the way to the discovery URL
    #[arg(long, value_name = "URL")]
    discovery_proxy: Option<String>,

    /// Find the first members by the _etcd-server._tcp records of this domain
    #[arg(long, value_name = "DOMAIN")]
    discovery_srv: Option<String>,

    /// Ask for _etcd-server-NAME._tcp instead
    #[arg(long, value_name = "NAME")]
    discovery_srv_name: Option<String>,

    /// Name server to ask for SRV records [default: those of /etc/resolv.conf]
    #[arg(long, value_name = "ADDRESS:PORT")]
    discovery_srv_resolver: Option<String>,

    /// Listen on etcd's old ports as well: 4001 for clients, 7001 for members
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    legacy_ports: Option<bool>,

    /// Join the cluster with these client URLs: the node adds itself if it is no member yet, and waits for the cluster
    /// when it cannot be reached. Passed over when there is data already. Where access is restricted, as the user of
    /// --username or of http://USER:PASSWORD@HOST:PORT
    #[arg(long, value_name = "URLS", value_delimiter = ',', conflicts_with = "initial_cluster")]
    join: Option<Vec<String>>,

    /// With --join: get every change and serve clients, but never vote
    #[arg(long)]
    read_replica: bool,

    /// Disaster recovery: start a cluster of this node alone from its data, without the members it had. Only when a
    /// majority of them is lost for good
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    #[arg(value_name = "BOOL")]
    force_new_cluster: Option<bool>,

    /// Bytes of memory that those changes may take; the oldest are forgotten [default: 268435456]
    #[arg(long, value_name = "BYTES")]
    history_bytes: Option<u64>,

    /// Client connections at a time; more are told 503 [default: 20000]
    #[arg(long, value_name = "N")]
    max_connections: Option<u64>,

    /// Watches that wait at a time; more are refused [default: 100000]
    #[arg(long, value_name = "N")]
    max_watchers: Option<u64>,
}

impl Args {
    /// The configuration's fragment with the flags laid over it.
    fn over(self, base: StoreFragment) -> StoreFragment {
        StoreFragment {
            name: self.name.or(base.name),
            data_dir: self.data_dir.or(base.data_dir),
            listen_client_urls: self.listen_client_urls.or(base.listen_client_urls),
            advertise_client_urls: self.advertise_client_urls.or(base.advertise_client_urls),
            listen_peer_urls: self.listen_peer_urls.or(base.listen_peer_urls),
            initial_advertise_peer_urls: self
                .initial_advertise_peer_urls
                .or(base.initial_advertise_peer_urls),
            initial_cluster: self.initial_cluster.or(base.initial_cluster),
            initial_cluster_state: self.initial_cluster_state.or(base.initial_cluster_state),
            found_with: self.found_with.or(base.found_with),
            initial_cluster_token: self.initial_cluster_token.or(base.initial_cluster_token),
            snapshot_count: self.snapshot_count.or(base.snapshot_count),
            heartbeat_interval: self.heartbeat_interval.or(base.heartbeat_interval),
            election_timeout: self.election_timeout.or(base.election_timeout),
            history_events: self.history_events.or(base.history_events),
            history_bytes: self.history_bytes.or(base.history_bytes),
            max_connections: self.max_connections.or(base.max_connections),
            max_watchers: self.max_watchers.or(base.max_watchers),
            join: self.join.or(base.join),
            read_replica: self.read_replica.then_some(true).or(base.read_replica),
            force_new_cluster: self.force_new_cluster.or(base.force_new_cluster),
            discovery: self.discovery.or(base.discovery),
            discovery_fallback: self.discovery_fallback.or(base.discovery_fallback),
            discovery_proxy: self.discovery_proxy.or(base.discovery_proxy),
            discovery_srv: self.discovery_srv.or(base.discovery_srv),
            discovery_srv_name: self.discovery_srv_name.or(base.discovery_srv_name),
            discovery_srv_resolver: self.discovery_srv_resolver.or(base.discovery_srv_resolver),
            legacy_ports: self.legacy_ports.or(base.legacy_ports),
            ..base
        }
    }
}

pub(super) fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let mut settings = StoreSettings::try_from(args.over(context.section()?))?;
    // Only where the operator has named the cluster: what a registry leads to is not told a password.
    if settings.join.is_some() && settings.join_as.is_none() {
        settings.join_as = context.client_settings()?.credentials;
    }
    logging::init()?;
    serve(settings)
}

/// Runs a node until it is asked to end; logging must have been started.
pub(super) fn serve(settings: StoreSettings) -> Result<(), Failure> {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    // Raft keeps one processor busy.
    let clients = threads("clients", processors.saturating_sub(1).max(1)).map_err(Failure::new)?;
    let watchers = threads("watchers", processors.min(MOST_WATCHER_THREADS)).map_err(Failure::new)?;
    let answers = low_threads("answers", processors.min(MOST_ANSWER_THREADS)).map_err(Failure::new)?;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Failure::new)?;
    let result = runtime.block_on(async {
        let stop = CancellationToken::new();
        stop_on_signals(&stop).map_err(Failure::new)?;
        let stopping = stop.clone();
        tokio::spawn(async move {
            stopping.cancelled().await;
            notify::stopping();
        });
        let threads = Threads {
            clients: clients.handle().clone(),
            watchers: watchers.handle().clone(),
            answers: answers.handle().clone(),
        };
        store::run(settings, &threads, stop, notify::ready).await.map_err(|error| match error {
            RunError::Removed { .. } => Failure::with_code(REMOVED, error),
            error if error.is_of_folder() => Failure::with_code(DISMISSED, error),
            error => Failure::new(error),
        })
    });
    clients.shutdown_timeout(Duration::from_secs(1));
    watchers.shutdown_timeout(Duration::from_secs(1));
    answers.shutdown_timeout(Duration::from_secs(1));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// A runtime of `count` threads.
fn threads(name: &str, count: usize) -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(count).thread_name(name).enable_all().build()
}

/// A runtime of `count` threads that give way to all others of the process and of the machine.
fn low_threads(name: &str, count: usize) -> std::io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(count)
        .thread_name(name)
        .on_thread_start(|| store::give_way(ANSWERS_NICE))
        .enable_all()
        .build()
}

fn stop_on_signals(stop: &CancellationToken) -> std::io::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind)?;
        let stop = stop.clone();
        tokio::spawn(async move {
            signals.recv().await;
            tracing::info!("asked to stop");
            stop.cancel();
        });
    }
    // Its default is to end the process at once. Handled, a file that may not grow is an error that the log reports.
    drop(signal(SignalKind::from_raw(nix::sys::signal::Signal::SIGXFSZ as i32))?);
    Ok(())
}
