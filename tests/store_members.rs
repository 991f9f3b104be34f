//! Members come and go while the cluster serves.

mod common;

use std::process::{Command, Output};
use std::time::Duration;

use common::http::{self, Connection};
use common::store::{Cluster, Node};
use common::wait_for;
use common::writer::Writer;
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(30);

/// Exit status of a node that was removed.
const REMOVED: Option<i32> = Some(3);

/// Exit status of a node whose data folder is not the one that its cluster knows.
const DISMISSED: Option<i32> = Some(4);

fn muster(url: &str, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    command
        .args(["--endpoints", url])
        .args(words)
        .env_remove("MUSTER_ENDPOINTS")
        .output()
        .expect("muster runs")
}

/// What a command printed that succeeded.
#[track_caller]
fn done(url: &str, words: &[&str]) -> String {
    let output = muster(url, words);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "muster {words:?}: {} {err}", output.status);
    out
}

/// What a command said that failed with status 1.
#[track_caller]
fn refused(url: &str, words: &[&str]) -> String {
    let output = muster(url, words);
    assert_eq!(output.status.code(), Some(1), "muster {words:?}: {}", text(&output.stdout));
    text(&output.stderr)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The member as `muster member ls` shows it.
fn standing(url: &str, name: &str) -> Option<Value> {
    let output = muster(url, &["member", "ls", "-o", "json"]);
    let members: Value = serde_json::from_slice(&output.stdout).ok()?;
    members.as_array()?.iter().find(|member| member["name"] == name).cloned()
}

#[track_caller]
fn wait_for_role(url: &str, name: &str, role: &str) {
    wait_for(&format!("{name} being a {role}"), LIMIT, || {
        standing(url, name).is_some_and(|member| member["role"] == role && member["running"] == true)
    });
}

fn id(url: &str, name: &str) -> String {
    standing(url, name).expect("such a member")["id"].as_str().expect("an id").to_string()
}

fn put(node: &Node, key: &str, value: &str) -> u64 {
    let answer = node.request("PUT", &format!("/v2/keys/{key}"), Some(&format!("value={value}")));
    assert!(answer.status < 300, "{}", answer.text());
    answer.index()
}

fn value(node: &Node, target: &str) -> Value {
    node.request("GET", &format!("/v2/keys/{target}"), None).json()["node"]["value"].clone()
}

#[test]
fn a_new_node_joins_by_itself_catches_up_by_snapshot_and_becomes_a_voter() {
    let mut cluster = Cluster::start(3, &["--snapshot-count", "20"]);
    let mut connection = Connection::open(&cluster.nodes[0].url()).expect("a connection");
    for number in 0..400 {
        let target = format!("/v2/keys/n/{number}");
        assert_eq!(connection.request("PUT", &target, Some("value=x")).expect("an answer").status, 201);
    }
    let url = cluster.nodes[0].url();
    let before = put(&cluster.nodes[0], "a", "1");
    let fourth = cluster.newcomer(&["--join", &url]);
    cluster.nodes[fourth].start();
    wait_for_role(&url, "n3", "voter");
    let after = cluster.nodes[0].request("GET", "/v2/keys/a", None).index();
    assert_eq!(after, before + 2, "one for the member, one for its name");
    let listing = cluster.nodes[fourth].request("GET", "/v2/keys/n?quorum=false", None).json();
    assert_eq!(listing["node"]["nodes"].as_array().map(Vec::len), Some(400));
    let leader = cluster.leader();
    assert!(cluster.nodes[leader].log().contains("snapshot sent"), "its log is too short for a newcomer");
    let lists: Vec<String> =
        cluster.nodes.iter().map(|node| node.request("GET", "/v2/members", None).text()).collect();
    assert!(
        lists.iter().all(|list| list == &lists[0] && list.matches("clientURLs").count() == 4),
        "{lists:?}"
    );
    assert!(!lists[0].contains("isLearner"));
    // Two of four are no majority, three are.
    cluster.nodes[1].kill();
    put(&cluster.nodes[fourth], "b", "2");
    // What it was told to join is passed over once it has data.
    cluster.nodes[fourth].kill();
    cluster.nodes[1].start();
    cluster.nodes[fourth].start();
    assert_eq!(value(&cluster.nodes[fourth], "b"), "2");
}

#[test]
fn a_node_waits_for_the_cluster_that_it_shall_join() {
    let mut cluster = Cluster::start(1, &[]);
    let url = cluster.nodes[0].url();
    cluster.nodes[0].terminate();
    let second = cluster.newcomer(&["--join", &url]);
    cluster.nodes[second].launch();
    wait_for("its progress", LIMIT, || cluster.nodes[second].log().contains("cannot join the cluster yet"));
    cluster.nodes[0].start();
    cluster.nodes[second].wait_until_healthy();
    wait_for_role(&url, "n1", "voter");
}

#[test]
fn a_node_joins_a_cluster_with_restricted_access_as_a_user_who_may() {
    let mut cluster = Cluster::start(1, &[]);
    let url = cluster.nodes[0].url();
    let password = "s3cret@/%:x";
    let body = format!("{{\"user\":\"root\",\"password\":\"{password}\"}}");
    assert_eq!(cluster.nodes[0].request("PUT", "/v2/auth/users/root", Some(&body)).status, 201);
    assert_eq!(cluster.nodes[0].request("PUT", "/v2/auth/enable", Some("")).status, 200);

    let host = url.trim_start_matches("http://");
    let (good, bad) = (format!("http://root:s3cret%40%2F%25:x@{host}"), format!("http://root:wrong@{host}"));
    let none = cluster.newcomer(&["--join", &url]);
    let wrong = cluster.newcomer(&["--join", &bad]);
    for place in [none, wrong] {
        cluster.nodes[place].launch();
        assert_eq!(cluster.nodes[place].wait_for_end(LIMIT).code(), Some(1));
        let log = cluster.nodes[place].log();
        assert!(log.contains("Insufficient credentials") && log.contains("MUSTER_PASSWORD"), "{log}");
    }
    let members = cluster.nodes[0].request("GET", "/v2/members", None).json();
    assert_eq!(members["members"].as_array().map(Vec::len), Some(1), "{members}");

    let by_url = cluster.newcomer(&["--join", &format!("http://127.0.0.1:1,{good}")]);
    let by_flag = cluster.newcomer(&["--join", &url, "--username", &format!("root:{password}")]);
    let by_variables = cluster.newcomer(&["--join", &url, "--read-replica"]);
    let variables = [("MUSTER_USERNAME", "root"), ("MUSTER_PASSWORD", password)];
    let of_environment = variables.map(|(name, value)| (name.to_string(), value.to_string()));
    cluster.nodes[by_variables].environment.extend(of_environment);
    for (place, role) in [(by_url, "voter"), (by_flag, "voter"), (by_variables, "replica")] {
        cluster.nodes[place].start();
        wait_for_role(&url, cluster.nodes[place].name(), role);
    }
    // Nobody answers at the first URL, which is told without what is a secret.
    let silent = cluster.newcomer(&["--join", &good.replace(host, "127.0.0.1:1")]);
    cluster.nodes[silent].launch();
    wait_for("its progress", LIMIT, || cluster.nodes[silent].log().contains("cannot join the cluster yet"));
    for node in &cluster.nodes {
        let log = node.log();
        assert!(!log.contains("s3cret") && !log.contains("wrong"), "{log}");
    }
}

#[test]
fn an_unknown_node_that_shall_find_its_cluster_gives_up_with_advice() {
    let mut cluster = Cluster::start(1, &[]);
    let first = cluster.nodes[0].peer_url();
    let stranger = cluster.newcomer(&["--initial-cluster-state", "existing"]);
    let list = format!("n0={first},n1={}", cluster.nodes[stranger].peer_url());
    cluster.nodes[stranger].add_arguments(&["--initial-cluster", &list]);
    cluster.nodes[stranger].launch();
    let status = cluster.nodes[stranger].wait_for_end(LIMIT * 2);
    assert_eq!(status.code(), Some(1));
    let log = cluster.nodes[stranger].log();
    assert!(log.contains("asking again") && log.contains("muster member add"), "{log}");
}

#[test]
fn a_read_replica_serves_and_never_votes_until_it_is_promoted() {
    let mut cluster = Cluster::start(1, &[]);
    let url = cluster.nodes[0].url();
    let replica = cluster.newcomer(&["--join", &url, "--read-replica"]);
    cluster.nodes[replica].start();
    wait_for_role(&url, "n1", "replica");
    let list = cluster.nodes[0].request("GET", "/v2/members", None).json();
    let learners: Vec<&Value> = list["members"].as_array().expect("members").iter().collect();
    assert_eq!(learners.iter().filter(|member| member["isLearner"] == true).count(), 1, "{list}");

    let node = &cluster.nodes[replica];
    put(node, "a", "1");
    assert_eq!(value(&cluster.nodes[0], "a"), "1");
    put(&cluster.nodes[0], "a", "2");
    assert_eq!(value(node, "a"), "2", "a linearizable read");
    let mut watch = Connection::open(&node.url()).expect("a connection");
    watch.send("GET", "/v2/keys/a?wait=true", None).expect("a request");
    watch.read_head().expect("headers come at once");
    put(&cluster.nodes[0], "a", "3");
    let line = watch.chunk().expect("an event").expect("an event");
    assert!(text(&line).contains("\"value\":\"3\""));
    assert!(refused(&url, &["member", "move-leader", "n1"]).contains("does not vote"));

    // Nobody needs it to go on.
    cluster.nodes[replica].kill();
    put(&cluster.nodes[0], "b", "1");
    cluster.nodes[replica].start();
    assert_eq!(standing(&url, "n1").expect("it is listed")["role"], "replica");
    done(&url, &["member", "promote", "n1"]);
    wait_for_role(&url, "n1", "voter");
    assert!(refused(&url, &["member", "promote", "n1"]).contains("no read replica"));
    done(&url, &["member", "move-leader", "n1"]);
    assert_eq!(cluster.leader(), replica);
}

#[test]
fn the_leader_is_removed_under_a_writer_and_nothing_is_lost() {
    let mut cluster = Cluster::start(3, &[]);
    let leader = cluster.leader();
    let mut urls: Vec<String> = cluster.nodes.iter().map(Node::url).collect();
    urls.rotate_left(leader);
    let name = cluster.nodes[leader].name().to_string();
    let leader_id = id(&urls[1], &name);
    let writer = Writer::start(urls.clone(), "w");
    let answer = cluster.nodes[leader].request("DELETE", &format!("/v2/members/{leader_id}"), None);
    assert_eq!((answer.status, answer.text()), (204, String::new()));
    assert_eq!(cluster.nodes[leader].wait_for_end(LIMIT).code(), REMOVED);
    wait_for("another leader", LIMIT, || cluster.leader() != leader);
    let written = writer.stop();
    for other in [1, 2].map(|step| (leader + step) % 3) {
        assert_eq!(
            written.missing_on(&cluster.nodes[other].url()),
            Vec::<u64>::new(),
            "of {}",
            written.count()
        );
    }
    assert!(written.longest_gap() < Duration::from_secs(10), "{:?}", written.longest_gap());

    // With its old data it says so again, and the others do not take it back.
    let log = cluster.nodes[leader].log();
    assert!(log.contains("was removed from its cluster for good"), "{log}");
    cluster.nodes[leader].launch();
    assert_eq!(cluster.nodes[leader].wait_for_end(LIMIT).code(), REMOVED);
    let again = refused(&urls[1], &["member", "remove", &leader_id]);
    assert!(again.contains("permanently removed"), "{again}");

    // With none, it may come back as somebody else.
    cluster.nodes[leader].wipe();
    cluster.nodes[leader].add_arguments(&["--join", &urls[1]]);
    let list = cluster.nodes[leader].initial_cluster();
    cluster.nodes[leader].take_arguments(&["--initial-cluster", &list]);
    cluster.nodes[leader].start();
    wait_for_role(&urls[1], &name, "voter");
    assert_ne!(id(&urls[1], &name), leader_id);
}

#[test]
fn a_dead_node_is_replaced_and_its_empty_disk_is_noticed() {
    let mut cluster = Cluster::start(3, &[]);
    let url = cluster.nodes[0].url();
    let old = id(&url, "n2");
    cluster.nodes[2].kill();
    cluster.nodes[2].wipe();
    let list = cluster.nodes[2].initial_cluster();
    cluster.nodes[2].take_arguments(&["--initial-cluster", &list]);
    cluster.nodes[2].add_arguments(&["--join", &url]);
    cluster.nodes[2].launch();
    assert_eq!(cluster.nodes[2].wait_for_end(LIMIT).code(), DISMISSED);
    let log = cluster.nodes[2].log();
    assert!(log.contains("has run before") && log.contains(&format!("muster member remove {old}")), "{log}");
    done(&url, &["member", "remove", "n2"]);
    cluster.nodes[2].start();
    wait_for_role(&url, "n2", "voter");
    assert_ne!(id(&url, "n2"), old);
}

#[test]
fn a_removal_that_loses_the_quorum_is_refused_and_when_forced_waits_for_one() {
    let mut cluster = Cluster::start(3, &[]);
    let leader = cluster.leader();
    let (dead, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let url = cluster.nodes[leader].url();
    let name = cluster.nodes[other].name().to_string();
    cluster.nodes[dead].kill();
    let member = id(&url, &name);
    let answer = || http::request(&url, "DELETE", &format!("/v2/members/{member}"), None).expect("an answer");
    wait_for("the dead one being missed", LIMIT, || {
        standing(&url, cluster.nodes[dead].name()).is_some_and(|member| member["running"] == false)
    });
    let plain = answer();
    assert_eq!((plain.status, plain.text().as_str()), (500, r#"{"message":"Internal Server Error"}"#));
    let why = refused(&url, &["member", "remove", &name]);
    assert!(why.contains("only 1 of 2 voters") && why.contains("--force"), "{why}");
    done(&url, &["member", "remove", &name, "--force"]);
    assert!(standing(&url, &name).is_none());
    put(&cluster.nodes[leader], "a", "1");
    // Now the others can do without it.
    cluster.nodes[dead].start();
    assert_eq!(cluster.nodes[other].wait_for_end(LIMIT).code(), REMOVED);
    put(&cluster.nodes[dead], "a", "2");
    // The last two: either can go, but not both, not even by force.
    let name = cluster.nodes[dead].name().to_string();
    done(&url, &["member", "remove", &name]);
    assert_eq!(cluster.nodes[dead].wait_for_end(LIMIT).code(), REMOVED);
    let last = cluster.nodes[leader].name().to_string();
    assert!(refused(&url, &["member", "remove", &last, "--force"]).contains("no member would be left"));
    // In etcd's words the server says nothing of it.
    let last = id(&url, &last);
    let why = refused(&url, &["kv", "member", "remove", &last]);
    assert!(why.contains("no member would be left") && !why.contains("may or may not"), "{why}");
    put(&cluster.nodes[leader], "a", "3");
    // Nor can another have its name: a list with both would start neither.
    let name = cluster.nodes[leader].name().to_string();
    let why = refused(&url, &["member", "add", &name, "http://127.0.0.1:9"]);
    assert!(why.contains(&format!("member {last} is named {name} already")), "{why}");
}

#[test]
fn one_of_three_goes_on_alone_with_all_that_it_has() {
    let mut cluster = Cluster::start(3, &[]);
    let leader = cluster.leader();
    let index = put(&cluster.nodes[leader], "a", "1");
    let survivor = (leader + 1) % 3;
    wait_for("the key on the survivor", LIMIT, || value(&cluster.nodes[survivor], "a?quorum=false") == "1");
    let cluster_id = |node: &Node| {
        let answer = node.request("GET", "/v2/keys/", None);
        answer.header("x-etcd-cluster-id").expect("an id").to_string()
    };
    let known = cluster_id(&cluster.nodes[survivor]);
    for node in &mut cluster.nodes {
        node.kill();
    }
    cluster.nodes[survivor].add_arguments(&["--force-new-cluster"]);
    cluster.nodes[survivor].start();
    let url = cluster.nodes[survivor].url();
    assert_eq!(value(&cluster.nodes[survivor], "a"), "1");
    assert_eq!(cluster_id(&cluster.nodes[survivor]), known);
    assert!(put(&cluster.nodes[survivor], "b", "2") > index);
    let list = cluster.nodes[survivor].request("GET", "/v2/members", None).json();
    assert_eq!(list["members"].as_array().map(Vec::len), Some(1), "{list}");

    cluster.nodes[survivor].take_arguments(&["--force-new-cluster"]);
    cluster.nodes[survivor].terminate();
    cluster.nodes[survivor].start();
    assert_eq!(value(&cluster.nodes[survivor], "b"), "2");
    // The old leader comes back, believes that it still leads, and learns better.
    cluster.nodes[leader].launch();
    assert_eq!(cluster.nodes[leader].wait_for_end(LIMIT).code(), REMOVED);
    // The cluster grows again.
    let fresh = cluster.newcomer(&["--join", &url]);
    cluster.nodes[fresh].start();
    wait_for_role(&url, "n3", "voter");
    assert_eq!(value(&cluster.nodes[fresh], "a"), "1");

    let empty = cluster.newcomer(&["--force-new-cluster"]);
    cluster.nodes[empty].launch();
    assert_eq!(cluster.nodes[empty].wait_for_end(LIMIT).code(), Some(1));
    assert!(cluster.nodes[empty].log().contains("no data to start a cluster from"));
}

#[test]
fn leadership_moves_to_whom_it_is_told() {
    let cluster = Cluster::start(3, &[]);
    for step in [1, 2] {
        let to = (cluster.leader() + step) % 3;
        let name = cluster.nodes[to].name();
        // Asked of any node.
        let said = done(&cluster.nodes[(to + 1) % 3].url(), &["member", "move-leader", name]);
        assert!(said.contains(name), "{said}");
        assert_eq!(cluster.leader(), to);
    }
    let before = cluster.leader();
    done(&cluster.nodes[before].url(), &["member", "move-leader"]);
    assert_ne!(cluster.leader(), before);
    assert!(refused(&cluster.nodes[0].url(), &["member", "move-leader", "nobody"]).contains("member ls"));
    let stats = |node: &Node| node.request("GET", "/v2/stats/leader", None);
    let leader = cluster.leader();
    wait_for("both followers in the leader's statistics", LIMIT, || {
        let followers = stats(&cluster.nodes[leader]).json()["followers"].clone();
        followers.as_object().is_some_and(|followers| {
            followers.len() == 2
                && followers.values().all(|f| {
                    f["counts"]["success"].as_u64() > Some(0) && f["latency"]["average"].as_f64() > Some(0.0)
                })
        })
    });
    let follower = stats(&cluster.nodes[before]);
    assert_eq!((follower.status, follower.text().as_str()), (403, r#"{"message":"not current leader"}"#));
}

#[test]
fn a_member_is_reached_at_its_new_url() {
    let mut cluster = Cluster::start(3, &[]);
    let leader = cluster.leader();
    let (moved, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let url = cluster.nodes[leader].url();
    cluster.nodes[moved].terminate();
    cluster.nodes[moved].move_peer_port();
    let (name, new) = (cluster.nodes[moved].name().to_string(), cluster.nodes[moved].peer_url());
    let list = cluster.nodes[moved].initial_cluster();
    cluster.nodes[moved].take_arguments(&["--initial-cluster", &list]);
    done(&url, &["member", "update", &name, &new]);
    cluster.nodes[moved].start();
    // Now it takes part: without it, two of three would not be.
    cluster.nodes[other].kill();
    put(&cluster.nodes[moved], "a", "1");
    assert_eq!(value(&cluster.nodes[leader], "a"), "1");
}

#[test]
fn etcdctl_adds_lists_changes_and_removes_members() {
    let mut cluster = Cluster::start(1, &[]);
    let url = cluster.nodes[0].url();
    let etcdctl = |words: &[&str]| {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "2").args(["--endpoints", &url]).args(words).output()
    };
    if etcdctl(&["--version"]).is_err() {
        common::skip("no etcdctl on this machine (Debian: apt install etcd-client)");
        return;
    }
    let ctl = |words: &[&str]| {
        let output = etcdctl(words).expect("etcdctl runs");
        assert!(output.status.success(), "etcdctl {words:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    let second = cluster.newcomer(&[]);
    let peer = cluster.nodes[second].peer_url();
    let printed = ctl(&["member", "add", "n1", &peer]);
    let list =
        printed.lines().find_map(|line| line.strip_prefix("ETCD_INITIAL_CLUSTER=")).expect("a variable");
    let list = list.trim_matches('"');
    assert!(ctl(&["member", "list"]).contains(&format!("[unstarted]: peerURLs={peer}")));
    cluster.nodes[second].add_arguments(&["--initial-cluster", list, "--initial-cluster-state", "existing"]);
    cluster.nodes[second].start();
    wait_for_role(&url, "n1", "voter");
    let client = cluster.nodes[second].url();
    let line = format!("name=n1 peerURLs={peer} clientURLs={client} isLeader=false");
    assert!(ctl(&["member", "list"]).contains(&line));
    let member = id(&url, "n1");
    assert_eq!(
        ctl(&["member", "update", &member, &peer]),
        format!("Updated member with ID {member} in cluster\n")
    );
    assert_eq!(ctl(&["member", "remove", &member]), format!("Removed member {member} from cluster\n"));
    assert_eq!(cluster.nodes[second].wait_for_end(LIMIT).code(), REMOVED);
    let failed = etcdctl(&["member", "remove", &member]).expect("etcdctl runs");
    assert_eq!(failed.status.code(), Some(1));
}
