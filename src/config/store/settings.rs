//! `[store]` checked: what one node of the store is started with.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::bootstrap::{self, Bootstrap};
use super::urls::{bad, parse_urls, same_urls, texts};
use super::{StoreFragment, join, legacy};
use crate::config::{ConfigError, Credentials, Millis};

/// Checked settings of the store.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// The member's name.
    pub name: String,
    /// Where everything durable lies.
    pub data_dir: PathBuf,
    /// Where to listen for clients.
    pub listen_client: Vec<Url>,
    /// Where clients reach this member.
    pub advertise_client: Vec<String>,
    /// Where to listen for other members.
    pub listen_peer: Vec<Url>,
    /// Where other members reach this member.
    pub advertise_peer: Vec<String>,
    /// The first members by name, with their peer URLs; this one is among them. This one alone until the others have
    /// been found by `bootstrap`.
    pub initial_cluster: BTreeMap<String, Vec<String>>,
    /// How a node without data finds the first members.
    pub bootstrap: Bootstrap,
    /// Whether the first members found a new cluster.
    pub found_cluster: bool,
    /// Whether they wait for each other until all are there; else a majority of them is enough.
    pub found_with_all: bool,
    /// Keeps clusters with the same URLs apart.
    pub token: String,
    /// Log entries between snapshots.
    pub snapshot_count: u64,
    /// Between two heartbeats of the leader.
    pub heartbeat: Duration,
    /// Without a heartbeat for about this long, a follower calls an election.
    pub election: Duration,
    /// Changes that are remembered for watches in the past.
    pub history_events: u64,
    /// Bytes that they may take.
    pub history_bytes: u64,
    /// Client connections that are served at a time.
    pub max_connections: usize,
    /// Watches that may wait at a time.
    pub max_watchers: u64,
    /// Client URLs of a cluster to join, if there is no data yet.
    pub join: Option<Vec<Url>>,
    /// Whom the cluster is asked by to take this node; nobody in particular when absent.
    pub join_as: Option<Credentials>,
    /// Join as a read replica.
    pub read_replica: bool,
    /// Start a cluster of this node alone from its data.
    pub force_new_cluster: bool,
}

/// Defaults; those that etcd has are etcd's.
const NAME: &str = "default";
const CLIENT_URL: &str = "http://localhost:2379";
const PEER_URL: &str = "http://localhost:2380";
const TOKEN: &str = "etcd-cluster";
const SNAPSHOT_COUNT: u64 = 10_000;
const HEARTBEAT: Duration = Duration::from_millis(100);
const ELECTION: Duration = Duration::from_millis(1000);
const HISTORY_EVENTS: u64 = 100_000;
const HISTORY_BYTES: u64 = 256 << 20;
const MAX_CONNECTIONS: u64 = 20_000;
const MAX_WATCHERS: u64 = 100_000;

/// An election needs a few missed heartbeats, or one late packet would call it.
const HEARTBEATS_PER_ELECTION: u32 = 5;

impl TryFrom<StoreFragment> for StoreSettings {
    type Error = ConfigError;

    fn try_from(f: StoreFragment) -> Result<Self, ConfigError> {
        let f = legacy::translate(f)?;
        let bootstrap = bootstrap::parse(&f)?;
        let name = f.name.unwrap_or_else(|| NAME.into());
        if name.is_empty() || name.contains(['=', ',']) {
            return Err(bad("name", "must not be empty nor contain '=' or ','"));
        }
        let data_dir = f.data_dir.unwrap_or_else(|| PathBuf::from(format!("{name}.muster")));
        let urls = |key, given: Option<Vec<String>>, default: &str| {
            parse_urls(key, given.unwrap_or_else(|| vec![default.into()]))
        };
        let mut listen_client = urls("listen_client_urls", f.listen_client_urls, CLIENT_URL)?;
        let advertise_client = urls("advertise_client_urls", f.advertise_client_urls, CLIENT_URL)?;
        let mut listen_peer = urls("listen_peer_urls", f.listen_peer_urls, PEER_URL)?;
        if f.legacy_ports == Some(true) {
            legacy::add_ports(&mut listen_client, &mut listen_peer);
        }
        let advertise_peer =
            texts(&urls("initial_advertise_peer_urls", f.initial_advertise_peer_urls, PEER_URL)?);
        let found_cluster = founds(f.initial_cluster_state.as_deref())?;
        let initial_cluster = match f.initial_cluster {
            Some(text) => parse_cluster(&text, !found_cluster)?,
            None => BTreeMap::from([(name.clone(), advertise_peer.clone())]),
        };
        check_own_entry(&name, &advertise_peer, &initial_cluster)?;
        let (join, join_as) = f.join.map(join::parse).transpose()?.unzip();
        let read_replica = f.read_replica.unwrap_or_default();
        if read_replica && join.is_none() {
            return Err(bad(
                "read_replica",
                "only a node that joins a cluster can be a read replica: set join",
            ));
        }
        let (heartbeat, election) = timing(f.heartbeat_interval, f.election_timeout)?;
        let positive = |key, given: Option<u64>, default| match given {
            Some(0) => Err(bad(key, "must be at least 1")),
            given => Ok(given.unwrap_or(default)),
        };
        Ok(Self {
            name,
            data_dir,
            listen_client,
            advertise_client: texts(&advertise_client),
            listen_peer,
            advertise_peer,
            initial_cluster,
            bootstrap,
            found_cluster,
            found_with_all: founds_with_all(f.found_with.as_deref())?,
            token: f.initial_cluster_token.unwrap_or_else(|| TOKEN.into()),
            snapshot_count: positive("snapshot_count", f.snapshot_count, SNAPSHOT_COUNT)?,
            heartbeat,
            election,
            history_events: positive("history_events", f.history_events, HISTORY_EVENTS)?,
            history_bytes: positive("history_bytes", f.history_bytes, HISTORY_BYTES)?,
            max_connections: positive("max_connections", f.max_connections, MAX_CONNECTIONS)?
                .try_into()
                .map_err(|_| bad("max_connections", "is more than this machine can count"))?,
            max_watchers: positive("max_watchers", f.max_watchers, MAX_WATCHERS)?,
            join,
            join_as: join_as.flatten(),
            read_replica,
            force_new_cluster: f.force_new_cluster.unwrap_or_default(),
        })
    }
}

/// Whether a node without data founds a cluster.
fn founds(state: Option<&str>) -> Result<bool, ConfigError> {
    match state {
        None | Some("new") => Ok(true),
        Some("existing") => Ok(false),
        Some(other) => {
            Err(bad("initial_cluster_state", format!("\"{other}\" must be \"new\" or \"existing\"")))
        }
    }
}

/// Whether a cluster is founded with all first members or with a majority of them.
fn founds_with_all(with: Option<&str>) -> Result<bool, ConfigError> {
    match with {
        None | Some("majority") => Ok(false),
        Some("all") => Ok(true),
        Some(other) => Err(bad("found_with", format!("\"{other}\" must be \"majority\" or \"all\""))),
    }
}

/// Between heartbeats, and without one until an election.
fn timing(heartbeat: Option<Millis>, election: Option<Millis>) -> Result<(Duration, Duration), ConfigError> {
    let heartbeat = heartbeat.map_or(HEARTBEAT, |m| m.0);
    let election = election.map_or(ELECTION, |m| m.0);
    if heartbeat.is_zero() || election < heartbeat * HEARTBEATS_PER_ELECTION {
        return Err(bad(
            "election_timeout",
            format!(
                "{election:?} must be at least {HEARTBEATS_PER_ELECTION} times the heartbeat_interval of {heartbeat:?}"
            ),
        ));
    }
    Ok((heartbeat, election))
}

/// Every member must be told the same first members, so a node must find itself among them as it describes itself.
fn check_own_entry(
    name: &str,
    advertised: &[String],
    cluster: &BTreeMap<String, Vec<String>>,
) -> Result<(), ConfigError> {
    let Some(listed) = cluster.get(name) else {
        return Err(bad("initial_cluster", format!("does not list this member's name \"{name}\"")));
    };
    if !same_urls(listed, advertised) {
        let (listed, advertised) = (listed.join(","), advertised.join(","));
        return Err(bad(
            "initial_cluster",
            format!("lists {listed} for \"{name}\" but initial_advertise_peer_urls is {advertised}"),
        ));
    }
    Ok(())
}

/// Members of a cluster that exists may lack a name: those that have not started yet.
fn parse_cluster(text: &str, nameless: bool) -> Result<BTreeMap<String, Vec<String>>, ConfigError> {
    let mut cluster: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let Some((name, url)) = part.split_once('=').filter(|(name, _)| nameless || !name.is_empty()) else {
            return Err(bad(
                "initial_cluster",
                format!("\"{part}\" is not of the form name=http://host:port"),
            ));
        };
        let urls = parse_urls("initial_cluster", vec![url.to_string()])?;
        cluster.entry(name.to_string()).or_default().extend(texts(&urls));
    }
    Ok(cluster)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(change: impl FnOnce(&mut StoreFragment)) -> Result<StoreSettings, String> {
        let mut fragment = StoreFragment::default();
        change(&mut fragment);
        StoreSettings::try_from(fragment).map_err(|e| e.to_string())
    }

    #[test]
    fn nothing_said_means_a_single_node_on_etcds_ports() {
        let s = settings(|_| {}).unwrap();
        assert_eq!(s.data_dir, PathBuf::from("default.muster"));
        assert_eq!(s.initial_cluster["default"], ["http://localhost:2380"]);
        assert_eq!(s.advertise_client, ["http://localhost:2379"]);
    }

    #[test]
    fn a_cluster_of_three_is_parsed() {
        let s = settings(|f| {
            f.name = Some("b".into());
            f.initial_advertise_peer_urls = Some(vec!["http://10.0.0.2:2380".into()]);
            f.initial_cluster =
                Some("a=http://10.0.0.1:2380,b=http://10.0.0.2:2380,c=http://10.0.0.3:2380".into());
        })
        .unwrap();
        assert_eq!(s.initial_cluster.len(), 3);
    }

    #[test]
    fn a_cluster_that_exists_may_have_members_without_a_name() {
        let list = "a=http://10.0.0.1:2380,=http://10.0.0.2:2380,c=http://10.0.0.3:2380";
        let three = |state: &str| {
            settings(|f| {
                f.name = Some("c".into());
                f.initial_advertise_peer_urls = Some(vec!["http://10.0.0.3:2380".into()]);
                f.initial_cluster = Some(list.into());
                f.initial_cluster_state = Some(state.into());
            })
        };
        assert_eq!(three("existing").unwrap().initial_cluster.len(), 3);
        assert!(three("new").unwrap_err().contains("name=http://host:port"));
    }

    #[test]
    fn a_replica_needs_a_cluster_to_join() {
        let e = settings(|f| f.read_replica = Some(true)).unwrap_err();
        assert!(e.contains("read_replica") && e.contains("join"), "{e}");
        let s = settings(|f| {
            f.read_replica = Some(true);
            f.join = Some(vec!["http://10.0.0.1:2379".into()]);
        });
        assert!(s.unwrap().read_replica);
    }

    #[test]
    fn contradictions_are_named() {
        let e = settings(|f| f.initial_cluster = Some("a=http://x:1".into())).unwrap_err();
        assert!(e.contains("does not list") && e.contains("default"), "{e}");
        let e = settings(|f| f.initial_cluster = Some("default=http://x:1".into())).unwrap_err();
        assert!(e.contains("initial_advertise_peer_urls"), "{e}");
        let e = settings(|f| f.election_timeout = Some(Millis(Duration::from_millis(200)))).unwrap_err();
        assert!(e.contains("election_timeout"), "{e}");
        let e = settings(|f| f.listen_client_urls = Some(vec!["localhost:2379".into()])).unwrap_err();
        assert!(e.contains("listen_client_urls"), "{e}");
        let e = settings(|f| f.found_with = Some("some".into())).unwrap_err();
        assert!(e.contains("found_with") && e.contains("majority"), "{e}");
        let e = settings(|f| f.initial_cluster_state = Some("old".into())).unwrap_err();
        assert!(e.contains("existing"), "{e}");
    }
}
