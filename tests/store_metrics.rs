//! The pages for whoever looks after a node: figures for Prometheus, variables, the log's level.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::http::{self, Connection};
use common::store::{Cluster, Node};
use common::wait_for;

const LIMIT: Duration = Duration::from_secs(20);

fn page(node: &Node) -> String {
    let answer = node.request("GET", "/metrics", None);
    assert_eq!(answer.status, 200);
    answer.text()
}

/// The value of a figure, with labels as they are printed.
fn value(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn figures_are_served_to_any_method_in_prometheus_text() {
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    for method in ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "FOO"] {
        let answer = node.request(method, "/metrics", None);
        assert_eq!(answer.status, 200, "{method}");
        let kind = answer.header("content-type");
        assert_eq!(kind, Some("text/plain; version=0.0.4; charset=utf-8"), "{method}");
    }
    assert_eq!(node.request("GET", "/metrics/", None).status, 404);
    for line in page(node).lines().filter(|line| !line.starts_with('#')) {
        let (name, number) = line.rsplit_once(' ').expect("a name and a number");
        assert!(number.parse::<f64>().is_ok() && !name.is_empty(), "{line}");
    }
}

#[test]
fn what_happens_shows() {
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    let before = page(node);
    node.request("PUT", "/v2/keys/d/a", Some("value=1"));
    node.request("PUT", "/v2/keys/d/b?ttl=1000", Some("value=1"));
    node.request("PUT", "/v2/keys/d/c?ttl=1", Some("value=1"));
    node.request("PUT", "/v2/keys/d/a?prevValue=no", Some("value=1"));
    node.request("DELETE", "/v2/keys/none", None);
    node.request("GET", "/v2/keys/d?recursive=true", None);
    node.request("GET", "/v2/keys/none", None);
    let mut watch = Connection::open(&node.url()).expect("a connection");
    watch.send("GET", "/v2/keys/d/c?wait=true", None).expect("sent");
    assert_eq!(watch.read_head().expect("headers").status, 200);
    assert_eq!(value(&page(node), "etcd_debugging_store_watchers"), Some(1.0));
    watch.chunk().expect("the key runs out");
    // Watchers are told before those who wait for a result.
    wait_for("the expiry has its result", LIMIT, || {
        value(&page(node), "etcd_server_proposals_pending") == Some(0.0)
    });
    let after = page(node);
    let grown =
        |name: &str| value(&after, name).unwrap_or_default() - value(&before, name).unwrap_or_default();
    for (name, by) in [
        ("etcd_debugging_store_writes_total{action=\"set\"}", 3.0),
        ("etcd_debugging_store_writes_failed_total{action=\"compareAndSwap\"}", 1.0),
        ("etcd_debugging_store_writes_failed_total{action=\"delete\"}", 1.0),
        ("etcd_debugging_store_reads_total{action=\"getRecursive\"}", 1.0),
        ("etcd_debugging_store_reads_failed_total{action=\"get\"}", 1.0),
        ("etcd_debugging_store_expires_total", 1.0),
        ("etcd_debugging_store_watch_requests_total", 1.0),
        ("muster_watch_events_total", 1.0),
        ("muster_http_requests_total{method=\"PUT\",route=\"keys\",status=\"2xx\"}", 3.0),
        ("muster_http_requests_total{method=\"PUT\",route=\"keys\",status=\"4xx\"}", 1.0),
        ("muster_http_requests_total{method=\"GET\",route=\"watch\",status=\"2xx\"}", 1.0),
        ("muster_keyspace_files", 2.0),
        ("muster_keyspace_directories", 1.0),
        ("muster_keyspace_ttl_keys", 1.0),
        ("muster_keyspace_index", 4.0),
    ] {
        assert_eq!(grown(name), by, "{name}");
    }
    for name in [
        "etcd_disk_wal_fsync_duration_seconds_count",
        "etcd_disk_wal_write_bytes_total",
        "etcd_server_proposals_applied_total",
        "etcd_server_proposals_committed_total",
        "muster_raft_batch_commands_count",
    ] {
        assert!(grown(name) > 0.0, "{name}");
    }
    for (name, number) in [
        ("etcd_server_has_leader", 1.0),
        ("etcd_server_is_leader", 1.0),
        ("etcd_server_leader_changes_seen_total", 1.0),
        ("etcd_server_proposals_pending", 0.0),
        ("muster_history_oldest_index", 1.0),
    ] {
        assert_eq!(value(&after, name), Some(number), "{name}");
    }
    for name in ["process_open_fds", "process_resident_memory_bytes", "process_start_time_seconds"] {
        assert!(value(&after, name).is_some_and(|number| number > 0.0), "{name}");
    }
}

#[test]
fn a_cluster_shows_its_leader_and_the_way_to_its_members() {
    let mut cluster = Cluster::start(3, &[]);
    let leader = cluster.leader();
    let id =
        |node: &Node| node.request("GET", "/v2/stats/self", None).json()["id"].as_str().map(str::to_string);
    let other = (leader + 1) % 3;
    let other_id = id(&cluster.nodes[other]).expect("an id");
    wait_for("appends to be answered", LIMIT, || {
        let text = page(&cluster.nodes[leader]);
        let name = format!("etcd_network_peer_round_trip_time_seconds_count{{To=\"{other_id}\"}}");
        let matched = format!("muster_raft_matched_index{{To=\"{other_id}\"}}");
        value(&text, &name) > Some(0.0) && value(&text, &matched) > Some(0.0)
    });
    assert_eq!(value(&page(&cluster.nodes[other]), "etcd_server_is_leader"), Some(0.0));
    assert_eq!(value(&page(&cluster.nodes[other]), "etcd_server_has_leader"), Some(1.0));
    cluster.nodes[other].kill();
    wait_for("failures to be counted", LIMIT, || {
        let name = format!("etcd_network_peer_sent_failures_total{{To=\"{other_id}\"}}");
        value(&page(&cluster.nodes[leader]), &name) > Some(0.0)
    });
}

#[test]
fn every_figure_is_in_the_manual_and_the_manual_is_true() {
    let cluster = Cluster::start(3, &[]);
    let leader = &cluster.nodes[cluster.leader()];
    leader.request("PUT", "/v2/keys/a", Some("value=1"));
    leader.request("GET", "/v2/keys/a?wait=true&waitIndex=1", None);
    let manual = include_str!("../contrib/doc/metrics.md");
    let listed: BTreeSet<(&str, &str)> = manual
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|row| {
            let mut cells = row.split('|').map(str::trim);
            Some((cells.next()?.trim_end_matches('`'), cells.next()?))
        })
        .collect();
    let mut text = String::new();
    wait_for("every figure to be there", LIMIT, || {
        text = page(leader);
        text.contains("etcd_network_peer_sent_failures_total{")
    });
    let shown: BTreeSet<(&str, &str)> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    assert_eq!(shown, listed);
}

#[test]
fn variables_are_json() {
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    let answer = node.request("GET", "/debug/vars", None);
    assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
    let vars = answer.json();
    assert!(vars["cmdline"][0].as_str().is_some_and(|word| word.ends_with("muster")), "{vars}");
    assert!(vars["file_descriptor_limit"].as_u64() > Some(0) && vars["memstats"]["Sys"].as_u64() > Some(0));
    assert_eq!(vars["raft.status"]["raftState"], "StateLeader");
}

#[test]
fn the_level_of_the_log_is_changed_while_it_runs() {
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    let log = || std::fs::read_to_string(cluster.folder().join("n0.log")).expect("a log");
    let set = |level: &str| {
        let mut connection = Connection::open(&node.url()).expect("a connection");
        let body = format!("{{\"Level\":\"{level}\"}}");
        let head =
            format!("PUT /config/local/log HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len());
        connection.send_raw(format!("{head}{body}").as_bytes()).expect("sent");
        let head = connection.read_head().expect("an answer");
        connection.read_body("PUT", head).expect("its body")
    };
    // A client that breaks off is worth a line at debug only.
    let break_off = || {
        let mut connection = Connection::open(&node.url()).expect("a connection");
        connection.send_raw(b"nonsense\r\n\r\n").expect("sent");
        // The answer, whatever it is, comes before the line.
        let _ = connection.read_head();
    };
    break_off();
    assert_eq!(set("DEBUG").status, 204);
    wait_for("a line at debug", LIMIT, || {
        break_off();
        log().contains("DEBUG muster::")
    });
    assert_eq!(set("error").status, 204);
    let refused = set("NOPE");
    assert_eq!(
        (refused.status, refused.text()),
        (400, "{\"message\":\"Invalid log level NOPE\"}".to_string())
    );
    let lines = log().lines().count();
    break_off();
    assert!(http::request(&node.url(), "GET", "/version", None).is_ok());
    assert_eq!(log().lines().count(), lines);
}
