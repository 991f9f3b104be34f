//! Three nodes: any of them serves, one may fail, and what was acknowledged stays.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::http::Connection;
use common::store::Cluster;
use common::wait_for;

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn any_node_takes_writes_and_any_other_shows_them_at_once() {
    let cluster = Cluster::start(3, &[]);
    for round in 0..30 {
        let (writer, reader) = (&cluster.nodes[round % 3], &cluster.nodes[(round + 1) % 3]);
        let put = writer.request("PUT", "/v2/keys/a", Some(&format!("value={round}")));
        assert!(put.status < 300, "{}", put.text());
        let got = reader.request("GET", "/v2/keys/a", None);
        assert_eq!(got.json()["node"]["value"], round.to_string(), "a stale read");
        assert!(got.index() >= put.index());
    }
    let ids: Vec<_> = cluster.nodes.iter().map(|n| n.request("GET", "/v2/members", None).text()).collect();
    assert!(ids.iter().all(|text| text == &ids[0] && text.matches("clientURLs").count() == 3), "{ids:?}");
}

/// Writes numbered keys through whichever node answers, until told to stop; gives back what was acknowledged and the
/// longest time between two acknowledgements.
fn write_through(urls: &[String], stop: &AtomicBool) -> (Vec<u64>, Duration) {
    let (mut acknowledged, mut gap, mut last) = (Vec::new(), Duration::ZERO, Instant::now());
    let mut connections: Vec<Option<Connection>> = urls.iter().map(|_| None).collect();
    let mut at = 0;
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let connection = match connections[at].take() {
            Some(connection) => Ok(connection),
            None => Connection::open(&urls[at]),
        };
        let put = connection.and_then(|mut connection| {
            let answer = connection.request("PUT", &format!("/v2/keys/n/{number}"), Some("value=x"))?;
            Ok((connection, answer))
        });
        match put {
            Ok((connection, answer)) if answer.status < 300 => {
                connections[at] = Some(connection);
                gap = gap.max(last.elapsed());
                last = Instant::now();
                acknowledged.push(number);
            }
            _ => at = (at + 1) % urls.len(),
        }
        number += 1;
    }
    (acknowledged, gap)
}

fn lost(cluster: &Cluster, node: usize, acknowledged: &[u64]) -> Vec<u64> {
    let listing = cluster.nodes[node].request("GET", "/v2/keys/n", None).json();
    let nodes = listing["node"]["nodes"].as_array().expect("a listing").clone();
    let have: std::collections::HashSet<String> =
        nodes.iter().filter_map(|n| n["key"].as_str().map(str::to_string)).collect();
    acknowledged.iter().copied().filter(|n| !have.contains(&format!("/n/{n}"))).collect()
}

/// Runs a closure when dropped.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn a_leader_that_is_asked_to_stop_hands_over_and_one_that_is_killed_is_replaced() {
    let mut cluster = Cluster::start(3, &[]);
    let urls: Vec<String> = cluster.nodes.iter().map(|node| node.url()).collect();
    for kill in [false, true] {
        let stop = AtomicBool::new(false);
        let (acknowledged, gap) = std::thread::scope(|scope| {
            let writer = scope.spawn(|| write_through(&urls, &stop));
            // The writer must end even when the rest fails, or the scope would wait for ever.
            let end = OnDrop(|| stop.store(true, Ordering::Relaxed));
            for _ in 0..2 {
                let leader = cluster.leader();
                let node = &mut cluster.nodes[leader];
                if kill {
                    node.kill();
                } else {
                    node.terminate();
                }
                wait_for("another leader", LIMIT, || cluster.leader() != leader);
                cluster.nodes[leader].start();
            }
            drop(end);
            writer.join().expect("the writer")
        });
        println!("kill {kill}: {} writes, longest gap {gap:?}", acknowledged.len());
        assert!(acknowledged.len() > 10);
        for node in 0..3 {
            assert_eq!(lost(&cluster, node, &acknowledged), [] as [u64; 0], "kill {kill}, node {node}");
        }
    }
}

#[test]
fn a_node_that_was_away_for_long_catches_up_by_snapshot() {
    let mut cluster = Cluster::start(3, &["--snapshot-count", "100"]);
    let away = (cluster.leader() + 1) % 3;
    cluster.nodes[away].kill();
    let working = (away + 1) % 3;
    let mut connection = Connection::open(&cluster.nodes[working].url()).expect("a connection");
    for number in 0..600 {
        let answer = connection.request("PUT", &format!("/v2/keys/n/{}", number % 100), Some("value=x"));
        assert!(answer.is_ok_and(|a| a.status < 300));
    }
    cluster.nodes[away].start();
    let target = cluster.nodes[working].request("GET", "/v2/keys/n", None);
    wait_for("the node to catch up", LIMIT, || {
        let local = cluster.nodes[away].request("GET", "/v2/keys/n?quorum=false", None);
        local.index() == target.index() && local.body == target.body
    });
    // What happened before the snapshot can still be watched on it.
    let past = cluster.nodes[away].request("GET", "/v2/keys/n/7?wait=true&waitIndex=500", None);
    assert!(past.json()["node"]["modifiedIndex"].as_u64() >= Some(500));
}

#[test]
fn without_a_quorum_nothing_is_acknowledged_and_only_explicitly_local_reads_are_answered() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.nodes[0].request("PUT", "/v2/keys/a", Some("value=1"));
    let survivor = (cluster.leader() + 1) % 3;
    // It may have been acknowledged by the other two.
    wait_for("the key on the survivor", LIMIT, || {
        cluster.nodes[survivor].request("GET", "/v2/keys/a?quorum=false", None).status == 200
    });
    for node in (0..3).filter(|node| *node != survivor) {
        cluster.nodes[node].kill();
    }
    let node = &cluster.nodes[survivor];
    let local = node.request("GET", "/v2/keys/a?quorum=false", None);
    assert_eq!((local.status, &local.json()["node"]["value"]), (200, &"1".into()));
    let put = node.request("PUT", "/v2/keys/a", Some("value=2"));
    assert_eq!((put.status, &put.json()["errorCode"]), (500, &300.into()), "{}", put.text());
    assert_eq!(node.request("GET", "/v2/keys/a", None).status, 500);
    assert_eq!(node.request("GET", "/health", None).status, 503);
}

#[test]
fn a_cluster_that_was_stopped_whole_comes_back_with_everything() {
    let mut cluster = Cluster::start(3, &[]);
    let put = cluster.nodes[1].request("PUT", "/v2/keys/a", Some("value=1"));
    for node in &mut cluster.nodes {
        node.kill();
    }
    cluster.nodes.iter_mut().for_each(|node| node.launch());
    cluster.nodes.iter_mut().for_each(|node| node.wait_until_healthy());
    for node in &cluster.nodes {
        let got = node.request("GET", "/v2/keys/a", None);
        assert_eq!(got.json()["node"]["modifiedIndex"], put.index());
    }
}

#[test]
fn a_follower_turns_to_the_new_leader_when_the_old_one_hangs() {
    use nix::sys::signal::Signal;
    let cluster = Cluster::start(3, &[]);
    let leader = cluster.leader();
    let follower = &cluster.nodes[(leader + 1) % 3];
    cluster.nodes[leader].signal(Signal::SIGSTOP);
    // Sent while the follower still forwards to the old leader, whose connection stays open and silent.
    let put = follower.request("PUT", "/v2/keys/a", Some("value=1"));
    cluster.nodes[leader].signal(Signal::SIGCONT);
    assert_eq!(put.status, 201, "{}", put.text());
    wait_for("the old leader to follow", LIMIT, || cluster.nodes[leader].is_healthy());
    let got = cluster.nodes[leader].request("GET", "/v2/keys/a", None);
    assert_eq!(got.json()["node"]["modifiedIndex"], put.index(), "written once, and seen by the old leader");
}
