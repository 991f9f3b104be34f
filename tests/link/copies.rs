//! `backup`: a stopped node's data becomes that of a new cluster.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::tool::{Link, run_kv, text};
use crate::common::ports::free_ports;
use crate::common::store::Cluster;
use crate::common::{http, wait_for};

#[test]
fn a_new_cluster_starts_from_the_copy_of_a_node_that_does_not_run() {
    let (link, mut cluster) = (Link::new(), Cluster::start(3, &["--snapshot-count", "20"]));
    for n in 0..50 {
        cluster.nodes[0].request("PUT", &format!("/v2/keys/d/{n}"), Some(&format!("value={n}")));
    }
    cluster.nodes[0].request("PUT", "/v2/keys/t", Some("value=1&ttl=1000"));
    let listing = |url: &str| link.prints(url, &["--no-sync", "ls", "--sort", "-r"]);
    let keys = listing(&cluster.nodes[0].url());
    let data = cluster.folder().join("n0").display().to_string();
    let copy = link.folder().join("copy").display().to_string();

    let output = link.run("", &["backup", "--data-dir", &data, "--backup-dir", &copy]);
    assert_eq!(output.status.code(), Some(1), "a node is using it: {output:?}");
    assert!(!output.stderr.is_empty());
    cluster.nodes.iter_mut().for_each(|node| node.terminate());
    let output = link.run("", &["backup", "--data-dir", &data, "--backup-dir", &copy]);
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");

    let ports = free_ports(2);
    let (client, peer) = (format!("http://127.0.0.1:{}", ports[0]), format!("http://127.0.0.1:{}", ports[1]));
    let mut node = Command::new(env!("CARGO_BIN_EXE_muster"))
        .args(["store", "--name", "alone", "--force-new-cluster", "--data-dir", &copy])
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("alone={peer}")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the node starts");
    let seen = std::panic::catch_unwind(|| {
        wait_for("the copy to serve", Duration::from_secs(30), || {
            http::request(&client, "GET", "/health", None).is_ok_and(|answer| answer.status == 200)
        });
        let members = link.prints(&client, &["--no-sync", "member", "list"]);
        (listing(&client), members, link.prints(&client, &["set", "/new", "1"]))
    });
    node.kill().expect("it can be killed");
    node.wait().expect("it ended");
    let (kept, members, written) = seen.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    assert_eq!(kept, keys);
    assert_eq!(members.lines().count(), 1, "{members}");
    assert!(
        members.contains(&format!("name=alone peerURLs={peer} clientURLs={client} isLeader=true")),
        "{members}"
    );
    assert_eq!(written, "1\n");
}

#[test]
fn what_cannot_be_copied_is_refused_with_a_reason() {
    let link = Link::new();
    let folder = |name: &str| link.folder().join(name).display().to_string();
    let refused = |words: &[&str]| {
        let output = link.run("", &[&["backup"], words].concat());
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        text(&output.stderr)
    };
    assert!(refused(&[]).contains("--data-dir"));
    let none = refused(&["--data-dir", "/no/such/folder", "--backup-dir", &folder("a")]);
    assert!(none.contains("/no/such/folder"), "{none}");
    std::fs::create_dir_all(link.folder().join("etcd/member/wal")).expect("a folder");
    let foreign = refused(&["--data-dir", &folder("etcd"), "--backup-dir", &folder("a")]);
    assert!(foreign.contains("etcd's own etcdctl"), "{foreign}");
    let apart = refused(&["--data-dir", &folder("etcd"), "--backup-dir", &folder("a"), "--wal-dir", "/x"]);
    assert!(apart.contains("--wal-dir"), "{apart}");
    let output = run_kv(
        "http://127.0.0.1:1",
        &["backup", "--data-dir", &folder("etcd"), "--backup-dir", &folder("a")],
    );
    assert_eq!(output.status.code(), Some(1));
}
