//! Every flag of etcd 0.4, 2.3 and 3.4, and what becomes of it here (etcd `etcdmain/config.go`, `etcdmain/help.go`).

use Fate::{Answer, Idle, Logging, Only, Sets};
use Kind::{Choice, Number, Switch, Text, Urls};

/// A flag of etcd.
#[derive(Debug)]
pub(super) struct Flag {
    /// Its name without dashes.
    pub name: &'static str,
    /// What its value must look like, and etcd's default.
    pub kind: Kind,
    /// What becomes of it.
    pub fate: Fate,
    /// What it is for, in one line.
    pub about: &'static str,
}

/// What a value must look like; the text is the default that the help shows.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// On or off; does not take the next word.
    Switch(&'static str),
    /// Takes any text.
    Text(&'static str),
    /// A whole number.
    Number(&'static str),
    /// URLs with commas between.
    Urls(&'static str),
    /// One of these.
    Choice(&'static [&'static str], &'static str),
}

/// What becomes of a flag.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    /// It sets this key of `[store]`.
    Sets(&'static str),
    /// It changes nothing that a client of the v2 API could notice: why.
    Idle(&'static str),
    /// These values say what is so anyway, and so does no value; any other is an error: why.
    Only(&'static [&'static str], &'static str),
    /// It is about the log.
    Logging,
    /// It is answered by a text.
    Answer,
}

impl Flag {
    /// Whether it is on or off, without a value of its own.
    pub fn is_switch(&self) -> bool {
        matches!(self.kind, Switch(_))
    }
}

/// The flag of that name.
pub(super) fn find(name: &str) -> Option<&'static Flag> {
    GROUPS.iter().flat_map(|(_, flags)| *flags).find(|flag| flag.name == name)
}

const fn flag(name: &'static str, kind: Kind, fate: Fate, about: &'static str) -> Flag {
    Flag { name, kind, fate, about }
}

const V3: &str = "it is about the v3 API, and only v2 is served";
const TLS: &str = "there is no TLS: put a proxy that ends it in front";
const PROXY: &str = "there is no proxy mode: a read replica does its work, see muster store --join";
const OLD: &str = "etcd itself has not known it since 2.0";
const OWN_FILES: &str = "the store keeps one log and one snapshot, and removes what is old by itself";

/// All flags, in the groups and the order of etcd's help.
pub(super) const GROUPS: &[(&str, &[Flag])] = &[
    ("Member", MEMBER),
    ("Clustering", CLUSTERING),
    ("Security", SECURITY),
    ("Auth", AUTH),
    ("Profiling and monitoring", MONITORING),
    ("Logging", LOGGING),
    ("Proxy", PROXIES),
    ("Experimental", EXPERIMENTAL),
    ("Unsafe", UNSAFE),
    ("Of etcd 0.4 and before", OF_0_4),
];

const MEMBER: &[Flag] = &[
    flag("name", Text("default"), Sets("name"), "This member's name"),
    flag("data-dir", Text("${name}.etcd"), Sets("data_dir"), "Where everything durable lies"),
    flag("wal-dir", Text(""), Only(&[], "the log lies in the data folder"), "A folder for the log alone"),
    flag("snapshot-count", Number("10000"), Sets("snapshot_count"), "Log entries between snapshots"),
    flag("heartbeat-interval", Number("100"), Sets("heartbeat_interval"), "Milliseconds between heartbeats"),
    flag("election-timeout", Number("1000"), Sets("election_timeout"), "Milliseconds until an election"),
    flag(
        "initial-election-tick-advance",
        Switch("true"),
        Idle("a node that starts waits for one election timeout at most"),
        "Whether a starting node calls an election sooner",
    ),
    flag(
        "listen-peer-urls",
        Urls("http://localhost:2380"),
        Sets("listen_peer_urls"),
        "Where to listen for members",
    ),
    flag(
        "listen-client-urls",
        Urls("http://localhost:2379"),
        Sets("listen_client_urls"),
        "Where to listen for clients",
    ),
    flag("max-snapshots", Number("5"), Idle(OWN_FILES), "Snapshots to keep"),
    flag("max-wals", Number("5"), Idle(OWN_FILES), "Log files to keep"),
    flag("quota-backend-bytes", Number("0"), Idle(V3), "Size of the v3 database"),
    flag("backend-batch-interval", Text(""), Idle(V3), "Time between commits of the v3 database"),
    flag("backend-batch-limit", Number("0"), Idle(V3), "Operations between commits of the v3 database"),
    flag("backend-bbolt-freelist-type", Text(""), Idle(V3), "Kind of free list in the v3 database"),
    flag("max-txn-ops", Number("128"), Idle(V3), "Operations in one v3 transaction"),
    flag("max-request-bytes", Number("1572864"), Idle(V3), "Largest v3 request"),
    flag("max-concurrent-streams", Number("4294967295"), Idle(V3), "v3 streams of one client"),
    flag("grpc-keepalive-min-time", Text("5s"), Idle(V3), "Shortest time between v3 pings"),
    flag("grpc-keepalive-interval", Text("2h"), Idle(V3), "Time between v3 pings"),
    flag("grpc-keepalive-timeout", Text("20s"), Idle(V3), "Patience with v3 pings"),
    flag("socket-reuse-port", Switch("false"), Only(&["false"], "a port is listened on once"), "Share ports"),
    flag("socket-reuse-address", Switch("false"), Idle("it is always so"), "Listen again right after an end"),
    flag(
        "config-file",
        Text(""),
        Only(
            &[],
            "etcd's YAML is not read: give flags or ETCD_ variables, or muster store with a TOML --config",
        ),
        "A file with settings",
    ),
];

const CLUSTERING: &[Flag] = &[
    flag(
        "initial-advertise-peer-urls",
        Urls("http://localhost:2380"),
        Sets("initial_advertise_peer_urls"),
        "Where other members reach this one",
    ),
    flag(
        "initial-cluster",
        Text("default=http://localhost:2380"),
        Sets("initial_cluster"),
        "The first members: name=url,name=url",
    ),
    flag(
        "initial-cluster-state",
        Choice(&["new", "existing"], "new"),
        Sets("initial_cluster_state"),
        "'new' to found a cluster, 'existing' for a member that was added to one",
    ),
    flag(
        "initial-cluster-token",
        Text("etcd-cluster"),
        Sets("initial_cluster_token"),
        "Keeps clusters with the same URLs apart",
    ),
    flag(
        "advertise-client-urls",
        Urls("http://localhost:2379"),
        Sets("advertise_client_urls"),
        "Where clients reach this member",
    ),
    flag("discovery", Text(""), Sets("discovery"), "URL by which the first members find each other"),
    flag(
        "discovery-fallback",
        Choice(&["proxy", "exit", "learner"], "proxy"),
        Sets("discovery_fallback"),
        "What to do when the cluster is full: 'exit', or 'proxy', which here means to become a read replica",
    ),
    flag("discovery-proxy", Text(""), Sets("discovery_proxy"), "HTTP proxy on the way to the discovery URL"),
    flag("discovery-srv", Text(""), Sets("discovery_srv"), "Domain whose SRV records name the first members"),
    flag("discovery-srv-name", Text(""), Sets("discovery_srv_name"), "Suffix to the name of the SRV records"),
    flag(
        "strict-reconfig-check",
        Switch("true"),
        Idle("changes of members that would lose the quorum are refused unless they are forced"),
        "Refuse changes of members that would lose the quorum",
    ),
    flag(
        "pre-vote",
        Switch("false"),
        Idle("there is always a round of it before an election"),
        "Ask before an election",
    ),
    flag("auto-compaction-retention", Text("0"), Idle(V3), "How much v3 history to keep"),
    flag(
        "auto-compaction-mode",
        Choice(&["periodic", "revision"], "periodic"),
        Idle(V3),
        "How the above is counted",
    ),
    flag("enable-v2", Switch("true"), Only(&["true"], "the v2 API is what is served"), "Serve the v2 API"),
    flag(
        "v2-deprecation",
        Text("not-yet"),
        Only(&["not-yet"], "the v2 API is what is served"),
        "How far v2 is gone",
    ),
];

const SECURITY: &[Flag] = &[
    flag("cert-file", Text(""), Only(&[], TLS), "Certificate for clients"),
    flag("key-file", Text(""), Only(&[], TLS), "Key of that certificate"),
    flag("ca-file", Text(""), Only(&[], TLS), "Authority of clients' certificates"),
    flag("client-cert-auth", Switch("false"), Only(&["false"], TLS), "Demand certificates of clients"),
    flag("client-crl-file", Text(""), Only(&[], TLS), "Revoked certificates of clients"),
    flag("client-cert-allowed-hostname", Text(""), Only(&[], TLS), "Host name in clients' certificates"),
    flag("trusted-ca-file", Text(""), Only(&[], TLS), "Authority of clients' certificates"),
    flag(
        "auto-tls",
        Switch("false"),
        Only(&["false"], TLS),
        "TLS for clients with a certificate of its own making",
    ),
    flag("peer-cert-file", Text(""), Only(&[], TLS), "Certificate for members"),
    flag("peer-key-file", Text(""), Only(&[], TLS), "Key of that certificate"),
    flag("peer-ca-file", Text(""), Only(&[], TLS), "Authority of members' certificates"),
    flag("peer-client-cert-auth", Switch("false"), Only(&["false"], TLS), "Demand certificates of members"),
    flag("peer-trusted-ca-file", Text(""), Only(&[], TLS), "Authority of members' certificates"),
    flag("peer-cert-allowed-cn", Text(""), Only(&[], TLS), "Common name in members' certificates"),
    flag("peer-cert-allowed-hostname", Text(""), Only(&[], TLS), "Host name in members' certificates"),
    flag(
        "peer-auto-tls",
        Switch("false"),
        Only(&["false"], TLS),
        "TLS for members with certificates of their own making",
    ),
    flag("peer-crl-file", Text(""), Only(&[], TLS), "Revoked certificates of members"),
    flag("cipher-suites", Text(""), Only(&[], TLS), "Ciphers of TLS"),
    flag(
        "cors",
        Text("*"),
        Only(&["*"], "pages of every origin may call"),
        "Origins whose pages may call (cors)",
    ),
    flag(
        "host-whitelist",
        Text("*"),
        Only(&["*"], "every Host header is taken"),
        "Host headers that are taken",
    ),
];

const AUTH: &[Flag] = &[
    flag(
        "auth-token",
        Text("simple"),
        Only(&["simple"], "jwt and its options belong to the v3 API"),
        "Kind of v3 token",
    ),
    flag("bcrypt-cost", Number("10"), Idle(V3), "Cost of hashing v3 passwords"),
    flag("auth-token-ttl", Number("300"), Idle(V3), "Seconds that a v3 token is good for"),
];

const MONITORING: &[Flag] = &[
    flag("enable-pprof", Switch("false"), Only(&["false"], "pprof is Go's"), "Serve profiles"),
    flag("metrics", Text("basic"), Idle("every figure is always there"), "How detailed metrics are"),
    flag(
        "listen-metrics-urls",
        Urls(""),
        Only(&[], "/metrics and /health are served where clients are"),
        "Where to listen for metrics alone",
    ),
];

const LOGGING: &[Flag] = &[
    flag("logger", Text("capnslog"), Idle("there is one form of log lines"), "Form of log lines"),
    flag("log-outputs", Text("default"), Logging, "'stderr' or 'stdout' keep the log out of the journal"),
    flag("log-output", Text("default"), Logging, "The same"),
    flag("log-level", Text("info"), Logging, "debug, info, warn, error, panic or fatal"),
    flag(
        "log-package-levels",
        Text(""),
        Idle("MUSTER_LOG sets levels of modules"),
        "Levels of single packages",
    ),
    flag("debug", Switch("false"), Logging, "Log at level debug"),
];

const PROXIES: &[Flag] = &[
    flag("proxy", Choice(&["off", "readonly", "on"], "off"), Only(&["off"], PROXY), "Proxy mode"),
    flag(
        "proxy-failure-wait",
        Number("5000"),
        Idle("there is no proxy mode"),
        "Patience with a failed endpoint",
    ),
    flag(
        "proxy-refresh-interval",
        Number("30000"),
        Idle("there is no proxy mode"),
        "Time between looks at the members",
    ),
    flag("proxy-dial-timeout", Number("1000"), Idle("there is no proxy mode"), "Patience with connections"),
    flag("proxy-write-timeout", Number("5000"), Idle("there is no proxy mode"), "Patience with writes"),
    flag("proxy-read-timeout", Number("0"), Idle("there is no proxy mode"), "Patience with reads"),
];

const EXPERIMENTAL: &[Flag] = &[
    flag(
        "experimental-initial-corrupt-check",
        Switch("false"),
        Idle("what is read from disk is always checked"),
        "Check data at the start",
    ),
    flag(
        "experimental-corrupt-check-time",
        Text("0s"),
        Idle("each part has a checksum"),
        "Time between checks of data",
    ),
    flag(
        "experimental-enable-v2v3",
        Text(""),
        Only(&[], "there is no v3 store below the v2 API"),
        "v2 over v3",
    ),
    flag(
        "experimental-backend-bbolt-freelist-type",
        Text("array"),
        Idle(V3),
        "Kind of free list in the v3 database",
    ),
    flag("experimental-enable-lease-checkpoint", Switch("false"), Idle(V3), "Remember v3 leases"),
    flag("experimental-compaction-batch-limit", Number("1000"), Idle(V3), "v3 revisions to remove at once"),
    flag(
        "experimental-peer-skip-client-san-verification",
        Switch("false"),
        Idle("there is no TLS"),
        "Trust more peers",
    ),
    flag(
        "experimental-watch-progress-notify-interval",
        Text("10m"),
        Idle(V3),
        "Time between v3 progress messages",
    ),
    flag(
        "experimental-warning-apply-duration",
        Text("100ms"),
        Idle("slow applies are not logged"),
        "What is slow",
    ),
];

const UNSAFE: &[Flag] = &[
    flag(
        "force-new-cluster",
        Switch("false"),
        Sets("force_new_cluster"),
        "Make a cluster of this member alone out of its data",
    ),
    flag(
        "unsafe-no-fsync",
        Switch("false"),
        Only(&["false"], "nothing is acknowledged before it is on disk"),
        "No fsync",
    ),
    flag("version", Switch("false"), Answer, "Print the version"),
];

const OF_0_4: &[Flag] = &[
    flag("addr", Text("127.0.0.1:4001"), Sets("addr"), "Where clients reach this member, as host:port"),
    flag("bind-addr", Text(""), Sets("bind_addr"), "Where to listen for clients"),
    flag(
        "peer-addr",
        Text("127.0.0.1:7001"),
        Sets("peer_addr"),
        "Where members reach this one, as host:port",
    ),
    flag("peer-bind-addr", Text(""), Sets("peer_bind_addr"), "Where to listen for members"),
    flag(
        "peers",
        Text(""),
        Only(&[], "join by the client URL of a member: muster store --join"),
        "Members to join",
    ),
    flag(
        "peers-file",
        Text(""),
        Only(&[], "join by the client URL of a member: muster store --join"),
        "Members to join",
    ),
    flag(
        "config",
        Text(""),
        Only(&[], "etcd 0.4's file is not read: give flags or variables"),
        "A file with settings",
    ),
    flag("cluster-active-size", Number("9"), Idle(OLD), "Members that vote"),
    flag("cluster-remove-delay", Text("1800"), Idle(OLD), "Patience with members that are gone"),
    flag("cluster-sync-interval", Text("5"), Idle(OLD), "Time between looks at the cluster"),
    flag("cpuprofile", Text(""), Idle("profiles are not written"), "A file for a profile"),
    flag("f", Switch("false"), Idle("data is never removed by a flag"), "Throw away data"),
    flag("force", Switch("false"), Idle("data is never removed by a flag"), "Throw away data"),
    flag("graphite-host", Text(""), Idle("see /metrics"), "Where to send figures"),
    flag("http-read-timeout", Text("10"), Idle(OLD), "Patience with requests"),
    flag("http-write-timeout", Text("10"), Idle(OLD), "Patience with answers"),
    flag("max-result-buffer", Number("1024"), Idle(OLD), "Results to keep"),
    flag(
        "max-retry-attempts",
        Number("3"),
        Idle("joining is tried again until it works"),
        "How often to try to join",
    ),
    flag(
        "peer-election-timeout",
        Number("200"),
        Idle("use --election-timeout"),
        "Milliseconds until an election",
    ),
    flag(
        "peer-heartbeat-interval",
        Number("50"),
        Idle("use --heartbeat-interval"),
        "Milliseconds between heartbeats",
    ),
    flag(
        "retry-interval",
        Text("10"),
        Idle("joining is tried again until it works"),
        "Time between tries to join",
    ),
    flag("snapshot", Switch("true"), Idle("there are always snapshots"), "Make snapshots"),
    flag("v", Switch("false"), Idle("use --log-level"), "Log more"),
    flag("vv", Switch("false"), Idle("use --log-level"), "Log still more"),
    flag("vvv", Switch("false"), Idle("use --log-level"), "Log everything"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_comes_once() {
        let mut names: Vec<&str> = GROUPS.iter().flat_map(|(_, flags)| *flags).map(|f| f.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn switches_that_can_be_had_one_way_only_allow_that_way() {
        for flag in GROUPS.iter().flat_map(|(_, flags)| *flags).filter(|flag| flag.is_switch()) {
            if let Only(values, _) = flag.fate {
                assert!(values.len() == 1, "{}: {values:?}", flag.name);
            }
        }
    }
}
