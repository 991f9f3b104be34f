//! Backups of a running cluster, and restores into it and into a new one.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::http::{self, Answer, Connection};
use common::store::{Cluster, Node};
use common::wait_for;
use common::writer::Writer;
use muster::keyspace::Record;
use muster::keyspace::backup::{self, BackupError};
use muster::store::{FoundError, read_backup};

const LIMIT: Duration = Duration::from_secs(60);

/// `muster` with these arguments, against these nodes.
fn command(nodes: &[Node], arguments: &[&str]) -> Command {
    let endpoints: Vec<String> = nodes.iter().map(Node::url).collect();
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    command.args(arguments).stdin(Stdio::null());
    if !endpoints.is_empty() {
        command.env("MUSTER_ENDPOINTS", endpoints.join(","));
    }
    command
}

fn run(nodes: &[Node], arguments: &[&str]) -> Output {
    command(nodes, arguments).output().expect("muster runs")
}

#[track_caller]
fn run_well(nodes: &[Node], arguments: &[&str]) -> String {
    let output = run(nodes, arguments);
    let (text, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {}: {errors}", output.status);
    text
}

/// Exit status and what was said, of a command that must fail.
#[track_caller]
fn run_badly(nodes: &[Node], arguments: &[&str]) -> (i32, String) {
    let output = run(nodes, arguments);
    assert!(!output.status.success(), "{arguments:?} succeeded");
    (output.status.code().expect("an exit status"), text(&output.stderr))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn path(cluster: &Cluster, name: &str) -> (PathBuf, String) {
    let path = cluster.folder().join(name);
    let text = path.display().to_string();
    (path, text)
}

#[track_caller]
fn put(node: &Node, key: &str, form: &str) {
    let answer = node.request("PUT", &format!("/v2/keys{key}"), Some(form));
    assert!(matches!(answer.status, 200 | 201), "{key}: {}", answer.text());
}

/// Everything below a key as this node has it; what runs out without its time, which passes.
fn tree(node: &Node, key: &str) -> serde_json::Value {
    let target = format!("/v2/keys{key}?recursive=true&sorted=true&quorum=true");
    let mut tree = node.request("GET", &target, None).json();
    without_time(&mut tree);
    tree
}

fn without_time(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(members) => {
            members.retain(|name, _| name != "ttl" && name != "expiration");
            members.values_mut().for_each(without_time);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(without_time),
        _ => {}
    }
}

/// Files of a backup with their values.
fn contents(file: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut input = std::fs::File::open(file).expect("the backup");
    let take = |chunk: &[u8]| {
        backup::records(chunk, |record| {
            if let Record::Node(node) = record
                && !node.is_dir()
            {
                files.insert(text(node.key.as_bytes()), node.value().to_vec());
            }
            Ok::<(), BackupError>(())
        })
        .map_err(FoundError::from)
    };
    read_backup(&mut input, take).expect("a whole backup");
    files
}

#[test]
fn a_restore_brings_everything_back_on_all_nodes_while_clients_write() {
    let cluster = Cluster::start(3, &[]);
    let nodes = &cluster.nodes;
    for n in 0..200 {
        put(&nodes[n % 3], &format!("/d/{}/{n}", n % 7), &format!("value=v{n}"));
    }
    put(&nodes[0], "/d/_hidden/x", "value=h");
    put(&nodes[0], "/d/empty", "dir=true");
    put(&nodes[0], "/d/brief", "value=b&ttl=1000");
    let before = tree(&nodes[0], "");
    let (file, name) = path(&cluster, "backup");
    let told = run_well(nodes, &["backup", "-o", "json", &name]);
    let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    let whole = std::fs::metadata(&file).expect("the file").len();
    assert_eq!((told["keys"].as_u64(), told["bytes"].as_u64()), (Some(202), Some(whole)));

    let writer = Writer::start(nodes.iter().map(Node::url).collect(), "w");
    let gone = nodes[1].request("DELETE", "/v2/keys/d/3?recursive=true", None);
    assert_eq!(gone.status, 200, "{}", gone.text());
    put(&nodes[2], "/d/0/0", "value=changed");
    put(&nodes[2], "/new/x", "value=new");
    put(&nodes[2], "/d/brief", "value=permanent");
    let mut watch = Connection::open(&nodes[1].url()).expect("a connection");
    watch.send("GET", "/v2/keys/nowhere?wait=true", None).expect("a watch");
    let head = watch.read_head().expect("the head of the watch");
    let at_that_time = head.index();

    let told = run_well(nodes, &["restore", "-o", "json", "--yes", &name]);
    let index = serde_json::from_str::<serde_json::Value>(&told).expect("JSON")["index"].as_u64();
    let index = index.expect("an index");
    assert!(index > at_that_time, "{index} is not above {at_that_time}");
    assert_eq!(watch.read_body("GET", head).expect("the end of the watch").body, b"");

    let written = writer.stop();
    assert!(written.count() > 10);
    for node in nodes {
        assert_eq!(tree(node, "/d")["node"], find(&before, "/d"), "{}", node.url());
        assert_eq!(node.request("GET", "/v2/keys/new", None).status, 404);
        let brief = node.request("GET", "/v2/keys/d/brief", None).json();
        assert!((900..=1000).contains(&brief["node"]["ttl"].as_i64().expect("a ttl")), "{brief}");
        for since in [1, at_that_time, index] {
            let target = format!("/v2/keys/d?wait=true&recursive=true&waitIndex={since}");
            let answer = node.request("GET", &target, None);
            assert_eq!((answer.status, answer.json()["errorCode"].as_u64()), (400, Some(401)));
        }
    }
    assert_eq!(tree(&nodes[0], ""), tree(&nodes[2], ""));
    put(&nodes[0], "/d/after", "value=x");
    let target = format!("/v2/keys/d?wait=true&recursive=true&waitIndex={}", index + 1);
    let event = nodes[1].request("GET", &target, None).json();
    assert_eq!(event["node"]["key"], "/d/after");
}

/// A child of the root.
fn find(tree: &serde_json::Value, key: &str) -> serde_json::Value {
    let nodes = tree["node"]["nodes"].as_array().expect("children");
    nodes.iter().find(|node| node["key"] == key).expect(key).clone()
}

#[test]
fn a_backup_never_shows_a_later_write_without_the_earlier_one() {
    let cluster = Cluster::start(3, &[]);
    let nodes = &cluster.nodes;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (writer, node) in nodes.iter().enumerate() {
            let stop = &stop;
            scope.spawn(move || {
                let mut connection = Connection::open(&node.url()).expect("a connection");
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    for half in ["first", "second"] {
                        let target = format!("/v2/keys/{half}/{writer}/{}", n % 500);
                        let form = format!("value={n}");
                        connection.request("PUT", &target, Some(&form)).expect("an answer");
                    }
                }
            });
        }
        let mut seen = 0;
        for turn in 0..12 {
            let (file, name) = path(&cluster, &format!("backup{turn}"));
            let output = run(&nodes[turn % 3..], &["backup", &name]);
            if !output.status.success() {
                stop.store(true, Ordering::Relaxed);
                panic!("{}", text(&output.stderr));
            }
            let files = contents(&file);
            for (key, value) in files.iter().filter(|(key, _)| key.starts_with("/second")) {
                let number = |value: &[u8]| text(value).parse::<u64>().expect("a number");
                let first = files.get(&key.replace("/second", "/first"));
                let whole = first.is_some_and(|first| number(first) >= number(value));
                if !whole {
                    stop.store(true, Ordering::Relaxed);
                }
                assert!(whole, "{key} is {} without what was written before", text(value));
                seen += 1;
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert!(seen > 100, "only {seen} pairs were seen");
    });
}

/// One request with a body of any bytes.
fn ask(node: &Node, method: &str, target: &str, body: &[u8]) -> Answer {
    let mut connection = Connection::open(&node.url()).expect("a connection");
    let head = format!("{method} {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len());
    connection.send_raw(&[head.as_bytes(), body].concat()).expect("the request is sent");
    let head = connection.read_head().expect("an answer");
    connection.read_body(method, head).expect("its body")
}

/// The last log entry that a node has applied.
fn raft_index(node: &Node) -> u64 {
    let answer = node.request("GET", "/v2/keys/?quorum=false", None);
    answer.header("x-raft-index").and_then(|index| index.parse().ok()).expect("an index of the log")
}

/// Ends when dropped, or when it has ended.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_restore_goes_on_when_the_leader_and_the_node_it_talks_to_are_killed() {
    let mut cluster = Cluster::start(3, &["--snapshot-count", "20"]);
    let big = "x".repeat(200_000);
    for n in 0..60 {
        put(&cluster.nodes[0], &format!("/d/{n}"), &format!("value={n}{big}"));
    }
    let (_, name) = path(&cluster, "backup");
    run_well(&cluster.nodes, &["backup", &name]);
    let before = tree(&cluster.nodes[0], "/d")["node"].clone();
    for round in 0..2 {
        put(&cluster.nodes[1], "/d/5", "value=changed");
        put(&cluster.nodes[1], "/other", "value=new");
        let leader = cluster.leader();
        // The first time the leader itself is talked to, then another node, which outlives it.
        cluster.nodes.swap(0, (leader + round) % 3);
        let victim = cluster.leader();
        let begin = raft_index(&cluster.nodes[victim]);
        let restore = command(&cluster.nodes, &["restore", "--yes", &name])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("muster runs");
        let mut restore = Running(restore);
        wait_for("a part of the backup to arrive", LIMIT, || raft_index(&cluster.nodes[victim]) >= begin + 4);
        cluster.nodes[victim].kill();
        let mut status = None;
        wait_for("the restore's end", LIMIT, || {
            status = restore.0.try_wait().expect("its state");
            status.is_some()
        });
        assert!(status.is_some_and(|status| status.success()), "{status:?}");
        cluster.nodes[victim].start();
        for node in &cluster.nodes {
            assert_eq!(tree(node, "/d")["node"], before, "round {round}: {}", node.url());
            assert_eq!(node.request("GET", "/v2/keys/other", None).status, 404);
        }
    }
}

#[test]
fn a_restore_that_is_not_finished_changes_nothing_even_when_all_nodes_are_killed() {
    let mut cluster = Cluster::start(3, &["--snapshot-count", "5"]);
    put(&cluster.nodes[0], "/a", "value=old");
    let (file, name) = path(&cluster, "backup");
    run_well(&cluster.nodes, &["backup", &name]);
    put(&cluster.nodes[0], "/a", "value=new");
    let (mut chunks, mut input) = (Vec::new(), std::fs::File::open(&file).expect("the backup"));
    let summary = read_backup::<FoundError>(&mut input, |chunk| {
        chunks.push(chunk.to_vec());
        Ok(())
    });
    let chain = summary.expect("a whole backup").chain.map(|byte| format!("{byte:02x}")).concat();
    let page = |node: &Node, method: &str, rest: &str, body: &[u8]| {
        ask(node, method, &format!("/muster/v1/restore/ab{rest}"), body)
    };
    assert_eq!(page(&cluster.nodes[0], "POST", "", b"").status, 200);
    assert_eq!(page(&cluster.nodes[1], "PUT", "/0", &chunks[0]).status, 200);
    // More entries than one snapshot takes, so that what is staged goes through one.
    for n in 0..12 {
        put(&cluster.nodes[2], &format!("/n/{n}"), "value=x");
    }
    cluster.nodes.iter_mut().for_each(Node::kill);
    cluster.nodes.iter_mut().for_each(Node::launch);
    cluster.nodes.iter_mut().for_each(Node::wait_until_healthy);
    for node in &cluster.nodes {
        assert_eq!(node.request("GET", "/v2/keys/a", None).json()["node"]["value"], "new");
    }
    let wrong = format!("/commit?chunks=1&chain={}", "0".repeat(64));
    let missing = format!("/commit?chunks=2&chain={chain}");
    for (method, rest, body, status) in [
        ("POST", "?version=0.1", &b""[..], 200),
        ("POST", "?version=9.9", b"", 409),
        ("POST", "?version=x", b"", 400),
        ("PUT", "/2", b"", 409),
        ("PUT", "/x", b"", 400),
        ("POST", "/commit?chunks=1", b"", 400),
        ("GET", "", b"", 405),
        ("GET", "/commit", b"", 405),
        ("GET", "/1/2", b"", 404),
    ] {
        let answer = page(&cluster.nodes[2], method, rest, body);
        assert_eq!(answer.status, status, "{method} {rest}: {}", answer.text());
    }
    let good = page(&cluster.nodes[2], "POST", &format!("/commit?chunks=1&chain={chain}"), b"");
    assert_eq!(good.status, 200, "{}", good.text());
    let index = good.json()["index"].clone();
    assert_eq!(cluster.nodes[0].request("GET", "/v2/keys/a", None).json()["node"]["value"], "old");
    put(&cluster.nodes[0], "/later", "value=x");
    let again = page(&cluster.nodes[1], "POST", &format!("/commit?chunks=1&chain={chain}"), b"");
    assert_eq!(again.json()["index"], index, "a repeated commit is the same one");
    assert_eq!(cluster.nodes[0].request("GET", "/v2/keys/later", None).status, 200);

    for commit in [wrong, missing] {
        let ask = |method: &str, rest: &str, body: &[u8]| {
            ask(&cluster.nodes[0], method, &format!("/muster/v1/restore/cd{rest}"), body)
        };
        assert_eq!(ask("POST", "", b"").status, 200);
        assert_eq!(ask("PUT", "/0", &chunks[0]).status, 200);
        let answer = ask("POST", &commit, b"");
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert_eq!(ask("POST", &commit, b"").status, 409, "it was dropped");
    }
    assert_eq!(cluster.nodes[0].request("GET", "/v2/keys/later", None).status, 200);
}

#[test]
fn a_new_cluster_starts_with_the_keys_of_a_backup() {
    let old = Cluster::start(1, &[]);
    for n in 0..50 {
        put(&old.nodes[0], &format!("/d/{n}"), &format!("value=v{n}"));
    }
    put(&old.nodes[0], "/brief", "value=x&ttl=500");
    let (_, name) = path(&old, "backup");
    run_well(&old.nodes, &["backup", &name]);
    let before = tree(&old.nodes[0], "");
    let index = old.nodes[0].request("GET", "/v2/keys/", None).index();
    let old_id = old.nodes[0].request("GET", "/v2/keys/", None);
    let old_id = old_id.header("x-etcd-cluster-id").expect("a cluster id").to_string();
    let keep = tempfile::tempdir().expect("a folder");
    let copy = keep.path().join("backup").display().to_string();
    std::fs::copy(&name, &copy).expect("a copy of the backup");
    drop(old);
    let flags =
        ["--name", "--data-dir", "--initial-advertise-peer-urls", "--initial-cluster"].map(str::to_string);
    let mut new = Cluster::start_prepared(3, &["--snapshot-count", "10"], |arguments| {
        let pairs = arguments.chunks(2).filter(|pair| flags.contains(&pair[0])).flatten();
        let pairs: Vec<&str> = pairs.map(String::as_str).collect();
        let arguments = [&["restore", &copy][..], &pairs].concat();
        run_well(&[], &arguments);
        let (status, why) = run_badly(&[], &arguments);
        assert!(status == 64 && why.contains("not empty"), "{status}: {why}");
    });
    for node in &new.nodes {
        assert_eq!(tree(node, ""), before);
        let answer = node.request("GET", "/v2/keys/brief", None);
        assert!(answer.index() > index);
        assert_ne!(answer.header("x-etcd-cluster-id"), Some(old_id.as_str()));
        let brief = answer.json();
        assert!((400..=500).contains(&brief["node"]["ttl"].as_i64().expect("a ttl")), "{brief}");
        let answer = node.request("GET", "/v2/keys/d?wait=true&waitIndex=2", None);
        assert_eq!(answer.json()["errorCode"], 401);
    }
    let members = new.nodes[0].request("GET", "/v2/members", None).json();
    assert_eq!(members["members"].as_array().map(Vec::len), Some(3));
    for n in 0..30 {
        put(&new.nodes[n % 3], "/d/new", "value=x");
    }
    new.nodes[0].kill();
    new.nodes[0].start();
    assert_eq!(tree(&new.nodes[0], ""), tree(&new.nodes[1], ""));
    let expirations: Vec<_> = new
        .nodes
        .iter()
        .map(|node| node.request("GET", "/v2/keys/brief", None).json()["node"]["expiration"].clone())
        .collect();
    assert!(expirations.iter().all(|e| *e == expirations[0] && e.is_string()), "{expirations:?}");
}

#[test]
fn whatever_is_no_whole_backup_is_refused_and_changes_nothing() {
    let cluster = Cluster::start(1, &[]);
    let nodes = &cluster.nodes;
    put(&nodes[0], "/a", "value=1");
    let (file, name) = path(&cluster, "backup");
    run_well(nodes, &["backup", &name]);
    put(&nodes[0], "/a", "value=2");
    let index = nodes[0].request("GET", "/v2/keys/a", None).index();
    let whole = std::fs::read(&file).expect("the backup");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 4;
    let (newer, older, ahead) = (
        [&b"muster backup 3 0.1\n"[..], &whole[20..]].concat(),
        [&b"muster backup 1\n"[..], &whole[20..]].concat(),
        [&b"muster backup 2 9.9\n"[..], &whole[20..]].concat(),
    );
    let longer = [&whole[..], b"x"].concat();
    let (bad, bad_name) = path(&cluster, "bad");
    let fresh = cluster.folder().join("fresh").display().to_string();
    for (bytes, why) in [
        (&flipped[..], "damaged"),
        (&whole[..whole.len() - 1], "cut off"),
        (&whole[..20], "cut off"),
        (b"", "cut off"),
        (&newer, "a later version of Muster"),
        (&older, "an earlier version"),
        (&ahead, "needs Muster 9.9 or later"),
        (&longer, "damaged"),
        (b"{\"action\":\"get\"}", "not a backup"),
    ] {
        std::fs::write(&bad, bytes).expect("a bad backup");
        for arguments in [
            &["restore", "--yes", &bad_name][..],
            &["restore", &bad_name, "--data-dir", &fresh],
            &["backup", "--verify", &bad_name],
        ] {
            let (status, said) = run_badly(nodes, arguments);
            assert!(status == 1 && said.contains(why), "{arguments:?}: {status}: {said}");
        }
        assert!(!Path::new(&fresh).exists(), "{why}: a data folder was made");
    }
    for (arguments, why) in [
        (&["restore", &name][..], "--yes"),
        (&["restore", "--yes", "-"], "file"),
        (&["restore", &name, "--name", "x"], "--data-dir"),
        (&["restore", &name, "--data-dir", &fresh, "--name", "x", "--initial-cluster", "y=http://h:1"], "x"),
        (&["backup", &name], "--force"),
        (&["backup"], "FILE"),
    ] {
        let (status, said) = run_badly(nodes, arguments);
        assert!(status == 64 && said.contains(why), "{arguments:?}: {status}: {said}");
    }
    let answer = nodes[0].request("GET", "/v2/keys/a", None);
    assert_eq!((answer.json()["node"]["value"].as_str(), answer.index()), (Some("2"), index));
    assert_eq!(std::fs::read(&file).expect("the backup"), whole);
    let (status, said) = run_badly(&[], &["--endpoints", "127.0.0.1:1", "backup", "--force", &name]);
    assert!(status == 1 && said.contains("127.0.0.1:1"), "{status}: {said}");
    assert!(!cluster.folder().join("backup.part").exists());
    assert_eq!(std::fs::read(&file).expect("the backup"), whole);
}

#[test]
fn a_backup_comes_from_any_node_that_answers() {
    let mut cluster = Cluster::start(3, &[]);
    put(&cluster.nodes[0], "/a", "value=1");
    cluster.nodes[0].kill();
    let output = run(&cluster.nodes, &["backup", "-"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(output.stdout.starts_with(b"muster backup 2 0.1\n"));
    assert!(text(&output.stderr).contains("Keys: 1"), "{}", text(&output.stderr));
    cluster.nodes[1].kill();
    let (status, said) = run_badly(&cluster.nodes, &["--timeout", "3s", "backup", "-"]);
    assert!(status == 1 && said.contains("no endpoint"), "{status}: {said}");
}

#[test]
fn the_data_folder_of_a_dead_node_gives_a_backup_and_a_running_one_does_not() {
    let mut cluster = Cluster::start(1, &["--snapshot-count", "10"]);
    for n in 0..35 {
        put(&cluster.nodes[0], &format!("/d/{n}"), &format!("value=v{n}"));
    }
    let (file, name) = path(&cluster, "backup");
    let folder = cluster.folder().join("n0").display().to_string();
    let (status, said) = run_badly(&[], &["backup", "--data-dir", &folder, &name]);
    assert!(status == 1 && said.contains("another process"), "{status}: {said}");
    let (status, said) = run_badly(&[], &["backup", "--data-dir", "/nowhere", &name]);
    assert!(status == 1 && said.contains("/nowhere"), "{status}: {said}");
    assert!(!file.exists());
    cluster.nodes[0].kill();
    run_well(&[], &["backup", "--data-dir", &folder, &name]);
    let files = contents(&file);
    assert_eq!(files.len(), 35);
    assert_eq!(files.get("/d/34").map(Vec::as_slice), Some(&b"v34"[..]));
    cluster.nodes[0].start();
    assert_eq!(cluster.nodes[0].request("GET", "/v2/keys/d/34", None).json()["node"]["value"], "v34");
}

#[test]
fn only_root_may_take_a_backup_or_restore_one_and_users_come_back_with_the_keys() {
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    put(node, "/a", "value=1");
    let (file, name) = path(&cluster, "backup");
    run_well(&cluster.nodes, &["backup", &name]);
    let user = br#"{"user":"root","password":"pw"}"#;
    assert_eq!(ask(node, "PUT", "/v2/auth/users/root", user).status, 201);
    assert_eq!(ask(node, "PUT", "/v2/auth/enable", b"").status, 200);
    for (method, page) in
        [("GET", "backup"), ("POST", "restore/1"), ("PUT", "restore/1/0"), ("DELETE", "restore/1")]
    {
        assert_eq!(ask(node, method, &format!("/muster/v1/{page}"), b"").status, 401, "{method} {page}");
    }
    let before = std::fs::read(&file).expect("the backup");
    for arguments in [&["backup", "--force", &name][..], &["restore", "--yes", &name]] {
        let (status, said) = run_badly(&cluster.nodes, arguments);
        assert!(status == 1 && said.contains("Insufficient credentials"), "{status}: {said}");
    }
    assert_eq!(std::fs::read(&file).expect("the backup"), before);
    put(node, "/a", "value=2");
}

#[test]
fn root_takes_and_restores_backups_by_flag_variables_and_configuration() {
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    put(node, "/a", "value=1");
    let ((before, open), (file, closed)) = (path(&cluster, "open"), path(&cluster, "closed"));
    run_well(&cluster.nodes, &["backup", &open]);
    let user = |name: &str, password: &str| {
        let body = format!("{{\"user\":\"{name}\",\"password\":\"{password}\"}}");
        ask(node, "PUT", &format!("/v2/auth/users/{name}"), body.as_bytes())
    };
    assert_eq!((user("root", "p:w").status, user("u", "pw").status), (201, 201));
    assert_eq!(ask(node, "PUT", "/v2/auth/enable", b"").status, 200);

    run_well(&cluster.nodes, &["backup", "-u", "root:p:w", &closed]);
    for who in ["root:wrong", "u:pw", "nobody:pw"] {
        let (status, said) = run_badly(&cluster.nodes, &["backup", "--force", "-u", who, &closed]);
        assert!(status == 1 && said.contains("Insufficient credentials"), "{who}: {status}: {said}");
        let (status, said) = run_badly(&cluster.nodes, &["restore", "--yes", "-u", who, &closed]);
        assert!(status == 1 && said.contains("Insufficient credentials"), "{who}: {status}: {said}");
        assert!(!said.contains(":pw") && !said.contains("wrong"), "{said}");
    }
    let whole = contents(&file);
    assert_eq!(whole.get("/a").map(Vec::as_slice), Some(&b"1"[..]));

    let config = cluster.folder().join("muster.toml");
    std::fs::write(&config, "[client]\nusername = \"root\"\npassword = \"p:w\"\n").expect("written");
    let config = config.display().to_string();
    type Variables<'a> = &'a [(&'a str, &'a str)];
    let ways: [(&[&str], Variables<'_>); 4] = [
        (&["--config", &config], &[]),
        (&[], &[("MUSTER_USERNAME", "root"), ("MUSTER_PASSWORD", "p:w")]),
        (&[], &[("MUSTER_USERNAME", "root:p:w")]),
        (&[], &[("MUSTER_CLIENT_USERNAME", "root"), ("MUSTER_CLIENT_PASSWORD", "p:w")]),
    ];
    for (flags, variables) in ways {
        put(node, "/a", "value=2");
        for arguments in
            [&["backup", "--force", &format!("{closed}.more")][..], &["restore", "--yes", &closed]]
        {
            let mut command = command(&cluster.nodes, &[flags, arguments].concat());
            let output = command.envs(variables.iter().copied()).output().expect("muster runs");
            assert!(output.status.success(), "{arguments:?} {variables:?}: {}", text(&output.stderr));
        }
        assert_eq!(tree(node, "/a")["node"]["value"], "1");
    }

    // The users are the backup's again, and with them the password that brought them back.
    let words = ["kv", "-u", "root:p:w", "user", "remove", "u"];
    run_well(&cluster.nodes, &words);
    run_well(&cluster.nodes, &["restore", "--yes", "-u", "root:p:w", &closed]);
    let listed = run_well(&cluster.nodes, &["kv", "-u", "root:p:w", "user", "list"]);
    assert_eq!(listed.lines().collect::<Vec<_>>(), ["root", "u"]);

    // One from before they mattered has none.
    run_well(&cluster.nodes, &["restore", "--yes", "-u", "root:p:w", &open]);
    assert_eq!(ask(node, "GET", "/v2/auth/enable", b"").text(), "{\"enabled\":false}\n");
    run_well(&cluster.nodes, &["backup", "--force", &open]);
    assert_eq!(contents(&before), whole);
}

#[test]
fn a_large_backup_needs_little_memory_and_comes_back_whole() {
    const VALUES: u64 = 100;
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    let mut connection = Connection::open(&node.url()).expect("a connection");
    let big = "x".repeat(1 << 20);
    for n in 0..VALUES {
        let form = format!("value={n}{big}");
        connection.request("PUT", &format!("/v2/keys/d/{n}"), Some(&form)).expect("an answer");
    }
    let (file, name) = path(&cluster, "backup");
    let before = node.resident_bytes();
    let mut most = before;
    let backup = command(&cluster.nodes, &["backup", &name]).stdout(Stdio::null()).spawn();
    let mut backup = Running(backup.expect("muster runs"));
    wait_for("the backup", LIMIT, || {
        most = most.max(node.resident_bytes());
        backup.0.try_wait().expect("its state").is_some()
    });
    assert!(most - before < 40 << 20, "the copy took {} MiB", (most - before) >> 20);
    assert!(std::fs::metadata(&file).expect("the backup").len() > VALUES << 20);
    let gone = http::request(&node.url(), "DELETE", "/v2/keys/d?recursive=true", None).expect("an answer");
    assert_eq!(gone.status, 200);
    let told = run_well(&cluster.nodes, &["restore", "--yes", &name]);
    assert!(told.contains(&format!("Restored: {VALUES} keys")), "{told}");
    let last = node.request("GET", &format!("/v2/keys/d/{}", VALUES - 1), None);
    assert_eq!(last.json()["node"]["value"].as_str().map(str::len), Some(big.len() + 2));
}
