//! From this version to the next one and back, one node at a time under writes.
//!
//! The next version is this binary with `MUSTER_TEST_NEXT_VERSION` set: in a debug build it then speaks version 0.2, in
//! which members remark something, by a new command and in a new field. A second build would take as long as the first,
//! and would differ in nothing else; a release build has none of it, so there is nothing to test in one.
#![cfg(debug_assertions)]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::store::{Cluster, Node};
use common::wait_for;
use common::writer::Writer;

/// How long anything of the cluster's own may take.
const LIMIT: Duration = Duration::from_secs(30);

/// No client waits for longer: an election of a second, and as long again for a machine that is busy.
const GAP: Duration = Duration::from_secs(2);

/// Restarts a node as the next version or as this one, and waits until it serves.
fn become_next(node: &mut Node, next: bool) {
    node.terminate();
    play_next(node, next);
    node.start();
}

fn play_next(node: &mut Node, next: bool) {
    node.environment.retain(|(name, _)| name != "MUSTER_TEST_NEXT_VERSION");
    if next {
        node.environment.push(("MUSTER_TEST_NEXT_VERSION".into(), "1".into()));
    }
}

/// What a node says of versions.
fn version(node: &Node) -> serde_json::Value {
    node.request("GET", "/muster/v1/version", None).json()
}

fn cluster_version(node: &Node) -> String {
    version(node)["cluster"].as_str().expect("a version").to_string()
}

/// What members of the next version have said, as a node knows it.
fn remarks(node: &Node) -> usize {
    version(node)["remarks"].as_array().map_or(0, Vec::len)
}

/// `muster member ls` as people see it.
fn listed(node: &Node) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_muster"))
        .args(["--endpoints", &node.url(), "member", "ls"])
        .output()
        .expect("muster runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Every file below a folder with its bytes.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            let bytes = std::fs::read(&path).expect("a file");
            found.insert(path, bytes);
        }
    }
    found
}

#[track_caller]
fn nothing_is_lost(writer: Writer, cluster: &Cluster) {
    let written = writer.stop();
    assert!(written.count() > 20, "{} writes", written.count());
    for node in &cluster.nodes {
        wait_for("everything on every node", LIMIT, || written.missing_on(&node.url()).is_empty());
    }
    println!("{} writes, the longest gap {:?}", written.count(), written.longest_gap());
    assert!(written.longest_gap() < GAP, "{:?}", written.longest_gap());
}

fn writer(cluster: &Cluster, folder: &str) -> Writer {
    Writer::start(cluster.nodes.iter().map(Node::url).collect(), folder)
}

#[test]
fn three_nodes_go_to_the_next_version_one_by_one_under_writes_and_back_as_long_as_one_has_not() {
    let mut cluster = Cluster::start(3, &["--snapshot-count", "500"]);
    let writing = writer(&cluster, "up-and-back");
    become_next(&mut cluster.nodes[0], true);
    become_next(&mut cluster.nodes[1], true);
    assert!(
        listed(&cluster.nodes[2]).contains("Cluster version: 0.1, held by n2\n"),
        "{}",
        listed(&cluster.nodes[2])
    );
    become_next(&mut cluster.nodes[0], false);
    become_next(&mut cluster.nodes[1], false);
    nothing_is_lost(writing, &cluster);
    for node in &cluster.nodes {
        assert_eq!((cluster_version(node).as_str(), remarks(node)), ("0.1", 0));
    }

    let writing = writer(&cluster, "up");
    for place in 0..3 {
        assert_eq!(cluster_version(&cluster.nodes[place]), "0.1");
        become_next(&mut cluster.nodes[place], true);
    }
    for node in &cluster.nodes {
        wait_for("the next version and what is new in it", LIMIT, || {
            cluster_version(node) == "0.2" && remarks(node) == 3
        });
    }
    assert!(listed(&cluster.nodes[0]).contains("Cluster version: 0.2\n"), "{}", listed(&cluster.nodes[0]));
    // Once more with what is new in it in the log, and in snapshots.
    (0..3).for_each(|place| become_next(&mut cluster.nodes[place], true));
    nothing_is_lost(writing, &cluster);
    for node in &cluster.nodes {
        assert_eq!((cluster_version(node).as_str(), remarks(node)), ("0.2", 3));
    }
    a_folder_of_the_next_version_is_refused_and_left_as_it_is(&mut cluster);
    a_newcomer_that_is_too_old_is_refused_by_name(&mut cluster);
}

fn a_folder_of_the_next_version_is_refused_and_left_as_it_is(cluster: &mut Cluster) {
    let folder = cluster.folder().join("n1");
    let node = &mut cluster.nodes[1];
    node.terminate();
    play_next(node, false);
    let before = contents(&folder);
    node.launch();
    assert_eq!(node.wait_for_end(LIMIT).code(), Some(1));
    assert!(node.log().contains("needs Muster 0.2 or later, and this one does 0.1"), "{}", node.log());
    let after = contents(&folder);
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (path, bytes) in &before {
        assert!(after[path] == *bytes, "{} has changed", path.display());
    }
    play_next(node, true);
    node.start();
}

fn a_newcomer_that_is_too_old_is_refused_by_name(cluster: &mut Cluster) {
    let url = cluster.nodes[0].url();
    let place = cluster.newcomer(&["--join", &url]);
    let node = &mut cluster.nodes[place];
    node.launch();
    assert_eq!(node.wait_for_end(LIMIT).code(), Some(1));
    assert!(
        node.log().contains("too old for the cluster") && node.log().contains("Muster 0.2 or later"),
        "{}",
        node.log()
    );
}

/// It was away when the cluster went on, so its own folder says nothing of that.
#[test]
fn a_node_that_went_back_while_the_others_went_on_is_told_so_and_ends() {
    let mut cluster = Cluster::start(3, &[]);
    become_next(&mut cluster.nodes[2], true);
    cluster.nodes[2].terminate();
    for place in 0..2 {
        become_next(&mut cluster.nodes[place], true);
    }
    wait_for("the next version", LIMIT, || cluster_version(&cluster.nodes[0]) == "0.2");
    let node = &mut cluster.nodes[2];
    play_next(node, false);
    node.launch();
    assert_eq!(node.wait_for_end(LIMIT).code(), Some(1));
    assert!(node.log().contains("start Muster 0.2 or later"), "{}", node.log());
    play_next(node, true);
    node.start();
    wait_for("what is new", LIMIT, || remarks(&cluster.nodes[2]) == 3);
}
