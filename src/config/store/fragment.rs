//! `[store]` as one source has it.

use std::path::PathBuf;

use serde::Deserialize;

use crate::config::{Millis, Section};

/// What one source says of the store. The names are etcd's, with `_` for `-`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreFragment {
    /// The member's name.
    pub name: Option<String>,
    /// Where everything durable lies.
    pub data_dir: Option<PathBuf>,
    /// Where to listen for clients.
    pub listen_client_urls: Option<Vec<String>>,
    /// Where clients reach this member.
    pub advertise_client_urls: Option<Vec<String>>,
    /// Where to listen for other members.
    pub listen_peer_urls: Option<Vec<String>>,
    /// Where other members reach this member.
    pub initial_advertise_peer_urls: Option<Vec<String>>,
    /// The first members: `name=url,name=url`.
    pub initial_cluster: Option<String>,
    /// `new` or `existing`.
    pub initial_cluster_state: Option<String>,
    /// With how many of the first members a cluster is founded: `majority` or `all`.
    pub found_with: Option<String>,
    /// Keeps clusters with the same URLs apart.
    pub initial_cluster_token: Option<String>,
    /// Log entries between snapshots.
    pub snapshot_count: Option<u64>,
    /// Between two heartbeats of the leader.
    pub heartbeat_interval: Option<Millis>,
    /// Without a heartbeat for about this long, a follower calls an election.
    pub election_timeout: Option<Millis>,
    /// Changes that are remembered for watches in the past.
    pub history_events: Option<u64>,
    /// Bytes that they may take.
    pub history_bytes: Option<u64>,
    /// Client connections that are served at a time.
    pub max_connections: Option<u64>,
    /// Watches that may wait at a time.
    pub max_watchers: Option<u64>,
    /// The directory of a v2 store in which the first members find each other.
    pub discovery: Option<String>,
    /// What a node does that finds the cluster full: `learner`, which `proxy` means as well, or `exit`.
    pub discovery_fallback: Option<String>,
    /// An HTTP proxy on the way to the discovery URL.
    pub discovery_proxy: Option<String>,
    /// A domain whose SRV records name the first members.
    pub discovery_srv: Option<String>,
    /// What is added to the name of the SRV records.
    pub discovery_srv_name: Option<String>,
    /// The name server to ask for SRV records.
    pub discovery_srv_resolver: Option<String>,
    /// Listen on etcd's old ports, 4001 and 7001, as well.
    pub legacy_ports: Option<bool>,
    /// Where clients reach this member: etcd 0.4's `host:port`.
    pub addr: Option<String>,
    /// Where to listen for clients, if not everywhere: etcd 0.4's `host` or `host:port`.
    pub bind_addr: Option<String>,
    /// Where other members reach this member: etcd 0.4's `host:port`.
    pub peer_addr: Option<String>,
    /// Where to listen for other members, if not everywhere: etcd 0.4's `host` or `host:port`.
    pub peer_bind_addr: Option<String>,
    /// Client URLs of a cluster to join; a user and a password may stand in front of the host.
    pub join: Option<Vec<String>>,
    /// Join as a read replica.
    pub read_replica: Option<bool>,
    /// Start a cluster of this node alone from its data.
    pub force_new_cluster: Option<bool>,
}

impl Section for StoreFragment {
    const NAME: &'static str = "store";
    const ALIASES: &'static [(&'static str, &'static str)] = &[
        ("ETCD_NAME", "name"),
        ("ETCD_DATA_DIR", "data_dir"),
        ("ETCD_LISTEN_CLIENT_URLS", "listen_client_urls"),
        ("ETCD_ADVERTISE_CLIENT_URLS", "advertise_client_urls"),
        ("ETCD_LISTEN_PEER_URLS", "listen_peer_urls"),
        ("ETCD_INITIAL_ADVERTISE_PEER_URLS", "initial_advertise_peer_urls"),
        ("ETCD_INITIAL_CLUSTER", "initial_cluster"),
        ("ETCD_INITIAL_CLUSTER_STATE", "initial_cluster_state"),
        ("ETCD_INITIAL_CLUSTER_TOKEN", "initial_cluster_token"),
        ("ETCD_SNAPSHOT_COUNT", "snapshot_count"),
        ("ETCD_HEARTBEAT_INTERVAL", "heartbeat_interval"),
        ("ETCD_ELECTION_TIMEOUT", "election_timeout"),
        ("ETCD_DISCOVERY", "discovery"),
        ("ETCD_DISCOVERY_FALLBACK", "discovery_fallback"),
        ("ETCD_DISCOVERY_PROXY", "discovery_proxy"),
        ("ETCD_DISCOVERY_SRV", "discovery_srv"),
        ("ETCD_DISCOVERY_SRV_NAME", "discovery_srv_name"),
        ("ETCD_ADDR", "addr"),
        ("ETCD_BIND_ADDR", "bind_addr"),
        ("ETCD_PEER_ADDR", "peer_addr"),
        ("ETCD_PEER_BIND_ADDR", "peer_bind_addr"),
        ("ETCD_FORCE_NEW_CLUSTER", "force_new_cluster"),
    ];
}
