//! Changes of members, and a cluster that is not whole, with clusters of three. The two programs take turns.

use std::path::Path;
use std::time::Duration;

use super::four::{Ending, Programs, command, ending, normal};
use crate::common::etcd::Etcd;
use crate::common::ports::free_ports;
use crate::common::store::Cluster;
use crate::common::trio::Trio;
use crate::common::wait_for;

/// etcd refuses changes until its members have been in touch for five seconds.
const LIMIT: Duration = Duration::from_secs(60);

fn run(program: &Path, url: &str, words: &[&str]) -> Ending {
    let ending = ending(command(program, url, words).spawn().expect("it runs"), "");
    Ending { stdout: normal(url, ending.stdout), ..ending }
}

/// What is compared: lines and lists in order.
fn shown(ending: &Ending) -> (Vec<String>, i32) {
    let mut lines: Vec<String> = ending
        .stdout
        .lines()
        .map(|line| match line.split_once("CLUSTER=\"") {
            Some((before, list)) => {
                let mut entries: Vec<&str> = list.trim_end_matches('"').split(',').collect();
                entries.sort_unstable();
                format!("{before}CLUSTER={entries:?}")
            }
            None => line.to_string(),
        })
        .collect();
    lines.sort();
    (lines, ending.status)
}

/// Adds a member, changes and removes it; what the program printed on the way.
fn changes(program: &Path, url: &str, peers: [&str; 2]) -> Vec<(Vec<String>, i32)> {
    let mut added = None;
    wait_for("the cluster to take a member", LIMIT, || {
        let ending = ending(
            command(program, url, &["member", "add", "extra", peers[0]]).spawn().expect("it runs"),
            "",
        );
        let done = ending.status == 0;
        added = Some(ending);
        done
    });
    let added = added.expect("it was added");
    let id = added.stdout.split_once("with ID ").and_then(|(_, rest)| rest.split(' ').next()).expect("an id");
    let normal_added = Ending { stdout: normal(url, added.stdout.replace(id, "CHANGED")), ..added.clone() };
    let mut seen = vec![shown(&normal_added)];
    let rows: [&[&str]; 10] = [
        &["member", "list"],
        &["member", "add", "again", peers[0]],
        &["member", "add", "bad", "no-url"],
        &["member", "update", id, peers[1]],
        &["member", "list"],
        &["member", "update", "1234", peers[0]],
        &["member", "remove", "extra"],
        &["member", "remove", "1234"],
        &["member", "remove", id],
        &["member", "remove", id],
    ];
    for words in rows {
        let ending = ending(command(program, url, words).spawn().expect("it runs"), "");
        // Before the others' ids: the node that is asked for those may or may not have heard of the removal.
        let stdout = normal(url, ending.stdout.replace(id, "CHANGED"));
        let mut ending = Ending { stdout, ..ending };
        // Names of members in lists are the server's own.
        for n in 0..3 {
            ending.stdout = ending.stdout.replace(&format!("n{n}="), "NAME=");
        }
        seen.push(shown(&ending));
    }
    seen
}

#[test]
fn members_are_added_updated_and_removed() {
    if !Etcd::is_installed() {
        return;
    }
    let Some(programs) = Programs::find() else { return };
    let (trio, cluster) = (Trio::start(), Cluster::start(3, &[]));
    let ports = free_ports(2);
    let peers = ports.iter().map(|port| format!("http://127.0.0.1:{port}")).collect::<Vec<_>>();
    let mut outcomes = Vec::new();
    for url in [trio.url(0), cluster.nodes[0].url()] {
        for (name, program) in programs.both() {
            outcomes.push((format!("{name} with {url}"), changes(program, &url, [&peers[0], &peers[1]])));
        }
    }
    let (_, expected) = &outcomes[0];
    assert_eq!(
        expected.iter().map(|(_, status)| *status).collect::<Vec<_>>(),
        [0, 0, 1, 1, 0, 0, 1, 1, 1, 0, 1]
    );
    for (name, outcome) in &outcomes[1..] {
        for (n, (ours, theirs)) in outcome.iter().zip(expected).enumerate() {
            let words = |(lines, status): &(Vec<String>, i32)| {
                (
                    lines.join("\n").replace("n0=", "NAME=").replace("n1=", "NAME=").replace("n2=", "NAME="),
                    *status,
                )
            };
            assert_eq!(words(ours), words(theirs), "{name}: step {n}");
        }
    }
}

#[test]
fn a_cluster_without_one_of_its_members_is_degraded() {
    if !Etcd::is_installed() {
        return;
    }
    let Some(programs) = Programs::find() else { return };
    let (mut trio, mut cluster) = (Trio::start(), Cluster::start(3, &[]));
    trio.kill(2);
    cluster.nodes[2].kill();
    for url in [trio.url(0), cluster.nodes[0].url()] {
        let mut endings = Vec::new();
        for (_, program) in programs.both() {
            // A new leader may have to be found first.
            let mut seen = None;
            wait_for("two members to be healthy", LIMIT, || {
                let ending = run(program, &url, &["cluster-health"]);
                let settled = ending.stdout.matches(" is healthy").count() == 2;
                seen = Some(ending);
                settled
            });
            endings.push(seen.expect("the condition held"));
        }
        assert_eq!(endings[0].status, 5);
        assert!(endings[0].stdout.ends_with("cluster is degraded\n"), "{:?}", endings[0]);
        assert_eq!(endings[0].stdout, endings[1].stdout);
        assert_eq!(endings[0].status, endings[1].status);
    }
}
