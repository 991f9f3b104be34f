//! A link named `etcd` takes etcd's own command line.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use common::daemon::Daemon;
use common::etcd::Etcd;
use common::http;
use common::ports::free_ports;
use common::wait_for;
use tempfile::TempDir;

/// A folder with links to Muster under the names of other programs.
fn links() -> (TempDir, PathBuf) {
    let folder = TempDir::new().expect("a folder");
    let link = folder.path().join("etcd");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_muster"), &link).expect("a link");
    (folder, link)
}

fn run(program: &Path, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).env_clear().output().expect("it can be run")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_cluster_started_with_etcds_flags_says_published_and_serves() {
    let (folder, link) = links();
    let ports = free_ports(6);
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let list: Vec<String> = (0..3).map(|i| format!("m{i}={}", url(ports[3 + i]))).collect();
    let start = |i: usize| {
        let mut command = Command::new(&link);
        // As scripts for etcd have it: one dash or two, blanks or equals signs, and flags of etcd 3 alone.
        command
            .current_dir(folder.path())
            .args(["-name", &format!("m{i}"), &format!("--listen-client-urls={}", url(ports[i]))])
            .args(["--advertise-client-urls", &url(ports[i]), "--listen-peer-urls", &url(ports[3 + i])])
            .args(["--initial-advertise-peer-urls", &url(ports[3 + i]), "--initial-cluster-state", "new"])
            .args(["--initial-cluster", &list.join(","), "--initial-cluster-token", "t", "--enable-v2"])
            .args(["--logger=zap", "--log-outputs=stderr", "--force-new-cluster=false", "--pre-vote"])
            .env("ETCD_SNAPSHOT_COUNT", "1000");
        Daemon::start(&mut command, &folder.path().join(format!("said{i}")))
    };
    let mut nodes: Vec<Daemon> = (0..3).map(start).collect();
    for (i, node) in nodes.iter_mut().enumerate() {
        node.wait_until_said(&format!("published {{Name:m{i} ClientURLs:[{}]}} to cluster ", url(ports[i])));
        node.wait_until_said("enabled capabilities for version 3.4");
        node.wait_until_said("ready to serve client requests");
        node.wait_until_answers(&url(ports[i]), "/health");
        let said = node.said();
        assert!(said.contains("--logger is of no consequence"), "{said}");
        assert!(!said.contains('\u{1b}'), "no colours in a file: {said}");
        assert!(folder.path().join(format!("m{i}.etcd")).is_dir());
    }
    let put = http::request(&url(ports[0]), "PUT", "/v2/keys/a", Some("value=x")).expect("an answer");
    let id = put.header("x-etcd-cluster-id").expect("a cluster id").to_string();
    assert!(nodes[0].said().contains(&format!("to cluster {id}")));
    assert!(nodes[0].terminate().success());
}

#[test]
fn lines_are_refused_with_etcds_words_and_status() {
    let (_folder, link) = links();
    for line in [
        &["--nosuch"][..],
        &["--snapshot-count", "x"],
        &["--initial-cluster-state", "old"],
        &["--force-new-cluster=x"],
        // What counts is the last, but each must be good.
        &["--snapshot-count", "x", "--snapshot-count", "5"],
        &["--force-new-cluster=x", "--force-new-cluster"],
        &["--name"],
        &["extra"],
        &["--election-timeout", "200"],
        &["--listen-client-urls", "http://127.0.0.1:1"],
    ] {
        let ours = run(&link, line);
        assert!(!ours.stderr.is_empty() && ours.stdout.is_empty(), "{line:?}");
        if Etcd::is_installed() {
            let theirs = run(Path::new("/usr/bin/env"), &[&["PATH=/usr/bin:/bin", "etcd"], line].concat());
            assert_eq!(ours.status.code(), theirs.status.code(), "{line:?}: {}", text(&ours.stderr));
            if ours.status.code() == Some(2) {
                let first = |output: &Output| text(&output.stderr).lines().next().map(str::to_string);
                assert_eq!(first(&ours), first(&theirs), "{line:?}");
            }
        }
    }
    let tls = run(&link, &["--cert-file", "/x.pem"]);
    assert!(tls.status.code() == Some(1) && text(&tls.stderr).contains("TLS"), "{}", text(&tls.stderr));
}

#[test]
fn of_a_flag_that_is_given_twice_the_last_counts() {
    let (folder, link) = links();
    let ports = free_ports(6);
    let url = |port: usize| format!("http://127.0.0.1:{}", ports[port]);
    let (first, last) = (folder.path().join("first"), folder.path().join("last"));
    // As helpers of test suites have it that put their own flags behind the usual ones.
    let start = |program: &Path, data: &Path, client: usize, peer: usize| {
        let mut command = Command::new(program);
        command
            .current_dir(folder.path())
            .args(["-name", "one", "-name", "two", "--data-dir"])
            .arg(&first)
            .arg("--data-dir")
            .arg(data)
            .args(["-listen-client-urls", "http://127.0.0.1:1,http://127.0.0.1:2"])
            .args([
                "-advertise-client-urls",
                "http://127.0.0.1:1",
                "-initial-cluster",
                "one=http://127.0.0.1:3",
            ])
            .args([
                "-initial-advertise-peer-urls",
                "http://127.0.0.1:3",
                "-listen-peer-urls=http://127.0.0.1:3",
            ])
            .args(["-initial-cluster", &format!("other={},two={}", url(peer), url(peer))])
            .args([&format!("-initial-cluster=two={}", url(peer)), "-initial-cluster-state", "existing"])
            .args(["-listen-client-urls", &url(client), "-advertise-client-urls", &url(client)])
            .args(["-listen-peer-urls", &url(peer), "-initial-advertise-peer-urls", &url(peer)])
            .args(["-initial-cluster-state=new", "-snapshot-count", "7", "-snapshot-count=10000"])
            .args(["-election-timeout", "10", "-election-timeout", "1000", "-heartbeat-interval=1"])
            .args([
                "-heartbeat-interval",
                "100",
                "-initial-cluster-token",
                "a",
                "-initial-cluster-token",
                "b",
            ])
            .args(["-force-new-cluster", "-force-new-cluster=false", "-enable-v2=false", "-enable-v2"])
            .args(["-proxy", "on", "-proxy", "off", "-cert-file", "/no/such/file", "-cert-file="]);
        Daemon::start(&mut command, &data.with_extension("said"))
    };
    let mut list = vec![(link, last.clone(), 0, 1)];
    if Etcd::is_installed() {
        list.push((PathBuf::from("etcd"), folder.path().join("etcds"), 2, 3));
    }
    for (program, data, client, peer) in list {
        let mut node = start(&program, &data, client, peer);
        node.wait_until_answers(&url(client), "/health");
        wait_for("the member's name to be known", Duration::from_secs(30), || {
            let members = http::request(&url(client), "GET", "/v2/members", None).expect("an answer").json();
            let member = &members["members"][0];
            members["members"].as_array().map(Vec::len) == Some(1)
                && (&member["name"], &member["peerURLs"][0]) == (&"two".into(), &url(peer).into())
                && member["clientURLs"][0] == url(client)
        });
        let put = http::request(&url(client), "PUT", "/v2/keys/a", Some("value=x")).expect("an answer");
        assert_eq!(put.status, 201, "{}", program.display());
        assert!(data.is_dir() && !first.exists(), "{}", program.display());
    }
}

#[test]
fn version_and_help_are_printed() {
    let (_folder, link) = links();
    let version = run(&link, &["--version"]);
    assert!(version.status.success() && text(&version.stdout).starts_with("etcd Version: 3.4."));
    assert!(text(&version.stdout).contains("Muster Version: "));
    let help = run(&link, &["--help"]);
    let help_text = text(&help.stdout);
    assert!(
        help.status.success()
            && help_text.contains("--initial-cluster ")
            && help_text.contains("Clustering:")
    );
}

#[test]
fn every_flag_of_the_installed_etcd_is_known() {
    if !Etcd::is_installed() {
        return;
    }
    let (_folder, link) = links();
    let theirs = text(&Command::new("etcd").arg("--help").output().expect("etcd runs").stdout);
    let ours = text(&run(&link, &["--help"]).stdout);
    let flags: Vec<&str> = theirs
        .lines()
        .filter_map(|line| line.trim().strip_prefix("--"))
        .filter_map(|l| l.split(' ').next())
        .collect();
    assert!(flags.len() > 70, "{flags:?}");
    for flag in flags {
        assert!(ours.contains(&format!("--{flag} ")), "--{flag} is not known");
    }
}

#[test]
fn the_data_of_a_real_etcd_is_left_alone() {
    let (folder, link) = links();
    std::fs::create_dir_all(folder.path().join("default.etcd/member/wal")).expect("a folder");
    let ports = free_ports(2);
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let mut command = Command::new(&link);
    command
        .current_dir(folder.path())
        .args(["--listen-client-urls", &url(ports[0]), "--advertise-client-urls", &url(ports[0])])
        .args(["--listen-peer-urls", &url(ports[1]), "--initial-advertise-peer-urls", &url(ports[1])]);
    let output = command.output().expect("it can be run");
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("data of an etcd"), "{said}");
    assert!(!folder.path().join("default.etcd/log").exists());
}
