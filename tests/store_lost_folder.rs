//! Data folders that are lost, older than they were, or somebody else's: the member is refused and says why, and
//! nothing that was acknowledged is contradicted.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::store::{Cluster, Node};
use common::wait_for;
use nix::sys::signal::Signal;
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(60);

/// Exit status of a node whose data folder is not the one that its cluster knows.
const DISMISSED: Option<i32> = Some(4);

fn muster(url: &str, words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    let command = command.args(["--endpoints", url]).args(words).env_remove("MUSTER_ENDPOINTS");
    let output = command.output().expect("muster runs");
    assert!(output.status.success(), "muster {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The id of a member by its name.
fn id(url: &str, name: &str) -> String {
    let members: Value = serde_json::from_str(&muster(url, &["member", "ls", "-o", "json"])).expect("a list");
    let member = members.as_array().expect("members").iter().find(|member| member["name"] == name);
    member.expect("such a member")["id"].as_str().expect("an id").to_string()
}

#[track_caller]
fn wait_for_voter(url: &str, name: &str) {
    wait_for(&format!("{name} being a voter"), LIMIT, || {
        let list: Option<Value> = serde_json::from_str(&muster(url, &["member", "ls", "-o", "json"])).ok();
        let members = list.and_then(|list| list.as_array().cloned()).unwrap_or_default();
        members.iter().any(|m| m["name"] == name && m["role"] == "voter" && m["running"] == true)
    });
}

fn put(node: &Node, key: &str) {
    let answer = node.request("PUT", &format!("/v2/keys/{key}"), Some("value=x"));
    assert!(answer.status < 300, "{}", answer.text());
}

/// Five keys, acknowledged.
fn write_five(node: &Node) {
    (0..5).for_each(|number| put(node, &format!("five/{number}")));
}

#[track_caller]
fn assert_five(node: &Node) {
    for number in 0..5 {
        let got = node.request("GET", &format!("/v2/keys/five/{number}"), None);
        assert_eq!(got.status, 200, "{}: key {number} was acknowledged: {}", node.name(), got.text());
    }
}

/// Starts a node, which must end by itself and say `words`.
#[track_caller]
fn assert_refused(node: &mut Node, words: &str) {
    let before = node.log().len();
    node.launch();
    assert_eq!(node.wait_for_end(LIMIT).code(), DISMISSED, "{}", node.log());
    let said = node.log()[before..].to_string();
    assert!(said.contains(words), "{words:?} is not said:\n{said}");
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp");
    assert!(status.success(), "cp {} {}", from.display(), to.display());
}

fn aside(node: &Node) -> PathBuf {
    node.data().with_extension("aside")
}

/// Puts a folder in place of a node's.
fn replace(node: &Node, by: &Path) {
    std::fs::remove_dir_all(node.data()).expect("there was data");
    std::fs::rename(by, node.data()).expect("a folder");
}

#[test]
fn a_voter_that_lost_its_folder_is_not_taken_back_and_acknowledged_writes_stay() {
    let mut cluster = Cluster::start(3, &[]);
    let [a, b, c] = [0, 1, 2];
    cluster.nodes[c].signal(Signal::SIGSTOP);
    wait_for("writes to be taken without c", LIMIT, || {
        cluster.nodes[a].request("PUT", "/v2/keys/ready", Some("value=x")).status < 300
    });
    write_five(&cluster.nodes[a]);
    cluster.nodes[b].kill();
    cluster.nodes[b].wipe();
    let old = id(&cluster.nodes[a].url(), "n1");
    assert_refused(&mut cluster.nodes[b], &format!("muster member remove {old}"));
    cluster.nodes[a].kill();
    cluster.nodes[c].signal(Signal::SIGCONT);
    // Alone it says nothing about the keys rather than that they are not there, with or without b.
    assert_ne!(cluster.nodes[c].request("GET", "/v2/keys/five/0", None).status, 404);
    cluster.nodes[b].launch();
    wait_for("b to have asked", LIMIT, || {
        cluster.nodes[b].log().matches("has run before with another data folder").count() > 1
    });
    assert_eq!(cluster.nodes[b].wait_for_end(LIMIT).code(), DISMISSED);
    assert_ne!(cluster.nodes[c].request("GET", "/v2/keys/five/0", None).status, 404);
    cluster.nodes[a].start();
    cluster.nodes[c].wait_until_healthy();
    assert_five(&cluster.nodes[a]);
    assert_five(&cluster.nodes[c]);
    // As members.md says.
    let url = cluster.nodes[a].url();
    muster(&url, &["member", "remove", "n1"]);
    muster(&url, &["member", "add", "n1", &cluster.nodes[b].peer_url()]);
    // The flags are still those with which it was one of the first.
    cluster.nodes[b].start();
    wait_for_voter(&url, "n1");
    assert_ne!(id(&url, "n1"), old);
    assert_five(&cluster.nodes[b]);
}

#[test]
fn two_followers_that_lost_their_folders_are_both_refused_and_one_that_gets_it_back_is_enough() {
    let mut cluster = Cluster::start(3, &[]);
    let leader = cluster.leader();
    let (b, c) = ((leader + 1) % 3, (leader + 2) % 3);
    write_five(&cluster.nodes[leader]);
    for place in [b, c] {
        cluster.nodes[place].kill();
        std::fs::rename(cluster.nodes[place].data(), aside(&cluster.nodes[place])).expect("a folder");
    }
    for place in [b, c] {
        cluster.nodes[place].launch();
    }
    for place in [b, c] {
        assert_eq!(cluster.nodes[place].wait_for_end(LIMIT).code(), DISMISSED);
    }
    replace(&cluster.nodes[b], &aside(&cluster.nodes[b]));
    cluster.nodes[b].start();
    cluster.nodes[leader].wait_until_healthy();
    assert_five(&cluster.nodes[b]);
    let (url, name) = (cluster.nodes[leader].url(), cluster.nodes[c].name().to_string());
    assert_refused(&mut cluster.nodes[c], "has run before with another data folder");
    muster(&url, &["member", "remove", &name]);
    let list = cluster.nodes[c].initial_cluster();
    cluster.nodes[c].take_arguments(&["--initial-cluster", &list]);
    cluster.nodes[c].add_arguments(&["--join", &url]);
    cluster.nodes[c].start();
    wait_for_voter(&url, &name);
    assert_five(&cluster.nodes[c]);
}

#[test]
fn the_one_that_knows_may_answer_later_than_the_others() {
    let mut cluster = Cluster::start(3, &[]);
    let knows = cluster.leader();
    write_five(&cluster.nodes[knows]);
    cluster.nodes[knows].signal(Signal::SIGSTOP);
    for place in [(knows + 1) % 3, (knows + 2) % 3] {
        cluster.nodes[place].kill();
        cluster.nodes[place].wipe();
        cluster.nodes[place].launch();
    }
    // Both have found each other by then: what they wait for is the third.
    wait_for("the others to wait", LIMIT, || {
        let log = cluster.nodes[(knows + 1) % 3].log();
        log.contains("waiting for other first members") && log.contains("does not answer")
    });
    cluster.nodes[knows].signal(Signal::SIGCONT);
    for place in [(knows + 1) % 3, (knows + 2) % 3] {
        assert_eq!(cluster.nodes[place].wait_for_end(LIMIT).code(), DISMISSED);
    }
}

#[test]
fn two_that_come_back_empty_while_the_third_is_away_found_anew_and_the_third_keeps_its_data_and_stops() {
    let mut cluster = Cluster::start(3, &[]);
    let away = cluster.leader();
    let others = [(away + 1) % 3, (away + 2) % 3];
    write_five(&cluster.nodes[away]);
    cluster.nodes.iter_mut().for_each(Node::kill);
    for place in others {
        cluster.nodes[place].wipe();
        cluster.nodes[place].launch();
    }
    for place in others {
        cluster.nodes[place].wait_until_healthy();
    }
    put(&cluster.nodes[others[0]], "new");
    assert_refused(&mut cluster.nodes[away], "another one was founded without it");
    assert_refused(&mut cluster.nodes[away], "another one was founded without it");
    assert_eq!(cluster.nodes[others[1]].request("GET", "/v2/keys/five/0", None).status, 404);
    // What it had is still there, and with an empty folder it is taken.
    let saved = cluster.folder().join("saved");
    let (data, saved) = (cluster.nodes[away].data().display().to_string(), saved.display().to_string());
    muster(&cluster.nodes[others[0]].url(), &["backup", "--data-dir", &data, &saved]);
    assert!(std::fs::metadata(&saved).expect("a backup").len() > 0);
    cluster.nodes[away].wipe();
    cluster.nodes[away].start();
    assert_eq!(cluster.nodes[away].request("GET", "/v2/keys/new", None).status, 200);
}

#[test]
fn a_majority_founds_and_the_one_that_comes_later_is_introduced_once() {
    let mut cluster = Cluster::prepare(3, &[]);
    for place in [0, 1] {
        cluster.nodes[place].launch();
    }
    for place in [0, 1] {
        cluster.nodes[place].wait_until_healthy();
    }
    put(&cluster.nodes[0], "a");
    // It has its name before it has ever run.
    id(&cluster.nodes[0].url(), "n2");
    cluster.nodes[2].start();
    assert_eq!(cluster.nodes[2].request("GET", "/v2/keys/a", None).status, 200);
    // It votes: with one of the first two it is a majority.
    cluster.nodes[0].kill();
    put(&cluster.nodes[2], "b");
    cluster.nodes[0].start();
    cluster.nodes[2].kill();
    cluster.nodes[2].wipe();
    assert_refused(&mut cluster.nodes[2], "has run before with another data folder");
}

#[test]
fn with_all_nobody_is_left_out_and_it_is_said_who_is_waited_for() {
    let mut cluster = Cluster::prepare(3, &["--found-with", "all"]);
    for place in [0, 1] {
        cluster.nodes[place].launch();
    }
    let missing = format!("n2 ({}) is not reached", cluster.nodes[2].peer_url());
    wait_for("the first to say whom it waits for", LIMIT, || cluster.nodes[0].log().contains(&missing));
    assert!(!cluster.nodes[0].log().contains("founding a cluster"));
    cluster.nodes[2].start();
    for place in [0, 1] {
        cluster.nodes[place].wait_until_healthy();
    }
}

#[test]
fn a_member_that_joined_is_refused_without_its_folder_until_it_is_removed_and_added() {
    let mut cluster = Cluster::start(1, &[]);
    let url = cluster.nodes[0].url();
    let joined = cluster.newcomer(&["--join", &url]);
    cluster.nodes[joined].start();
    wait_for_voter(&url, "n1");
    let old = id(&url, "n1");
    put(&cluster.nodes[joined], "a");
    let third = cluster.newcomer(&["--join", &url]);
    cluster.nodes[third].start();
    wait_for_voter(&url, "n2");
    cluster.nodes[joined].kill();
    cluster.nodes[joined].wipe();
    assert_refused(&mut cluster.nodes[joined], "has run before with another data folder");
    muster(&url, &["member", "remove", "n1"]);
    cluster.nodes[joined].start();
    wait_for_voter(&url, "n1");
    assert_ne!(id(&url, "n1"), old);
}

/// A cluster that one founded alone and two have joined, with the five keys, and the places of the two.
fn grown() -> (Cluster, [usize; 2]) {
    let mut cluster = Cluster::start(1, &[]);
    let first = cluster.nodes[0].url();
    let others = [cluster.newcomer(&["--join", &first]), cluster.newcomer(&["--join", &first])];
    for (place, name) in others.iter().zip(["n1", "n2"]) {
        cluster.nodes[*place].start();
        wait_for_voter(&first, name);
    }
    write_five(&cluster.nodes[0]);
    (cluster, others)
}

#[test]
fn one_that_founded_alone_is_refused_without_its_folder_once_others_have_joined() {
    let (mut cluster, others) = grown();
    let first = cluster.nodes[0].url();
    let old = id(&first, "n0");
    cluster.nodes[0].kill();
    cluster.nodes[0].wipe();
    assert_refused(&mut cluster.nodes[0], &format!("muster member remove {old}"));
    assert_refused(&mut cluster.nodes[0], "has run before with another data folder");
    let url = cluster.nodes[others[0]].url();
    muster(&url, &["member", "remove", "n0"]);
    muster(&url, &["member", "add", "n0", &cluster.nodes[0].peer_url()]);
    // Added anew, but it has nobody on its list to ask who it is.
    cluster.nodes[0].launch();
    assert_eq!(cluster.nodes[0].wait_for_end(LIMIT).code(), Some(1));
    assert!(cluster.nodes[0].log().contains("start this node with --join"), "{}", cluster.nodes[0].log());
    let list = cluster.nodes[0].initial_cluster();
    cluster.nodes[0].take_arguments(&["--initial-cluster", &list]);
    cluster.nodes[0].add_arguments(&["--join", &url]);
    cluster.nodes[0].start();
    wait_for_voter(&url, "n0");
    assert_five(&cluster.nodes[0]);
}

#[test]
fn one_that_founds_anew_alone_while_nobody_is_there_does_not_end_the_others() {
    let (mut cluster, others) = grown();
    others.iter().for_each(|place| cluster.nodes[*place].signal(Signal::SIGSTOP));
    cluster.nodes[0].kill();
    cluster.nodes[0].wipe();
    // A node that is only stopped takes connections; alone, nobody is asked.
    cluster.nodes[0].start();
    others.iter().for_each(|place| cluster.nodes[*place].signal(Signal::SIGCONT));
    cluster.nodes[others[0]].wait_until_healthy();
    // One of them alone hears of nobody but the other founding's leader.
    cluster.nodes[others[1]].kill();
    let before = cluster.nodes[others[0]].log().matches("another founding").count();
    wait_for("it to hear of the other founding", LIMIT, || {
        let log = cluster.nodes[others[0]].log();
        log.matches("another founding").count() > before
            || before > 0 && !cluster.nodes[others[0]].is_healthy()
    });
    cluster.nodes[others[1]].start();
    cluster.nodes[others[0]].wait_until_healthy();
    others.iter().for_each(|place| assert_five(&cluster.nodes[*place]));
}

#[test]
fn one_that_is_forced_to_go_on_alone_does_not_end_a_majority_that_runs() {
    let mut cluster = Cluster::start(3, &[]);
    let forced = cluster.leader();
    let others = [(forced + 1) % 3, (forced + 2) % 3];
    write_five(&cluster.nodes[forced]);
    cluster.nodes[forced].kill();
    cluster.nodes[forced].add_arguments(&["--force-new-cluster"]);
    cluster.nodes[forced].start();
    wait_for("whoever leads to hear of it", LIMIT, || {
        others.iter().any(|place| cluster.nodes[*place].log().contains("forced to go on without it"))
    });
    for place in others {
        cluster.nodes[place].wait_until_healthy();
        assert_five(&cluster.nodes[place]);
    }
    put(&cluster.nodes[others[0]], "after");
}

#[test]
fn a_grown_cluster_is_known_to_whoever_lost_its_folder_by_a_list_of_all() {
    let (mut cluster, [b, c]) = grown();
    let first = cluster.nodes[0].url();
    let peer = |node: &Node| format!("{}={}", node.name(), node.peer_url());
    let list = cluster.nodes.iter().map(peer).collect::<Vec<_>>().join(",");
    for place in [b, c] {
        cluster.nodes[place].take_arguments(&["--join", &first]);
        cluster.nodes[place].add_arguments(&["--initial-cluster", &list]);
    }
    let old = id(&first, "n2");
    cluster.nodes[c].kill();
    cluster.nodes[c].wipe();
    assert_refused(&mut cluster.nodes[c], &format!("muster member remove {old}"));
    muster(&first, &["member", "remove", "n2"]);
    muster(&first, &["member", "add", "n2", &cluster.nodes[c].peer_url()]);
    cluster.nodes[c].start();
    wait_for_voter(&first, "n2");
    assert_five(&cluster.nodes[c]);
    // A majority of the list, and the one that knows is there.
    for place in [b, c] {
        cluster.nodes[place].kill();
        cluster.nodes[place].wipe();
        cluster.nodes[place].launch();
    }
    for place in [b, c] {
        assert_eq!(cluster.nodes[place].wait_for_end(LIMIT).code(), DISMISSED);
    }
}

#[test]
fn folders_from_a_backup_are_known_like_any_others() {
    let mut cluster = Cluster::start(3, &[]);
    write_five(&cluster.nodes[0]);
    let backup = cluster.folder().join("backup").display().to_string();
    muster(&cluster.nodes[0].url(), &["backup", &backup]);
    cluster.nodes.iter_mut().for_each(Node::kill);
    for node in &mut cluster.nodes {
        node.wipe();
        let (data, peer, list) = (node.data().display().to_string(), node.peer_url(), node.initial_cluster());
        let words = ["restore", &backup, "--data-dir", &data, "--name", node.name()];
        let more = ["--initial-advertise-peer-urls", &peer, "--initial-cluster", &list];
        muster("http://127.0.0.1:9", &[&words[..], &more].concat());
    }
    cluster.nodes.iter_mut().for_each(Node::launch);
    cluster.nodes.iter_mut().for_each(Node::wait_until_healthy);
    let leader = cluster.leader();
    let others = [(leader + 1) % 3, (leader + 2) % 3];
    assert_five(&cluster.nodes[others[0]]);
    for place in others {
        cluster.nodes[place].kill();
        cluster.nodes[place].wipe();
        cluster.nodes[place].launch();
    }
    for place in others {
        assert_eq!(cluster.nodes[place].wait_for_end(LIMIT).code(), DISMISSED);
    }
    let log = cluster.nodes[others[0]].log();
    assert!(log.contains("has run before with another data folder"), "{log}");
}

#[test]
fn a_copy_that_runs_elsewhere_beside_the_member_ends_and_the_member_stays() {
    let mut cluster = Cluster::start(3, &[]);
    let leader = cluster.leader();
    let member = (leader + 1) % 3;
    write_five(&cluster.nodes[leader]);
    let copied = cluster.newcomer(&[]);
    cluster.nodes[member].signal(Signal::SIGSTOP);
    copy(cluster.nodes[member].data(), cluster.nodes[copied].data());
    cluster.nodes[member].signal(Signal::SIGCONT);
    assert_refused(&mut cluster.nodes[copied], "stop one of the two");
    cluster.nodes[member].kill();
    cluster.nodes[member].start();
    assert_five(&cluster.nodes[member]);
    cluster.nodes[leader].kill();
    wait_for("writes with the member's vote", LIMIT, || {
        cluster.nodes[member].request("PUT", "/v2/keys/after", Some("value=x")).status < 300
    });
}

#[test]
fn a_member_of_an_earlier_founding_ends_even_if_another_was_replaced_before() {
    let mut cluster = Cluster::start(3, &[]);
    let [a, b, c] = [0, 1, 2];
    let url = cluster.nodes[a].url();
    cluster.nodes[b].kill();
    cluster.nodes[b].wipe();
    muster(&url, &["member", "remove", "n1"]);
    muster(&url, &["member", "add", "n1", &cluster.nodes[b].peer_url()]);
    cluster.nodes[b].start();
    wait_for_voter(&url, "n1");
    cluster.nodes.iter_mut().for_each(Node::kill);
    for place in [a, b] {
        cluster.nodes[place].wipe();
        cluster.nodes[place].launch();
    }
    for place in [a, b] {
        cluster.nodes[place].wait_until_healthy();
    }
    assert_refused(&mut cluster.nodes[c], "another one was founded without it");
}

/// A cluster in which the node beside the leader has an older copy of its folder, made by `make` in between.
fn with_older_copy(make: impl Fn(&mut Node)) -> (Cluster, usize) {
    let mut cluster = Cluster::start(3, &[]);
    let leader = cluster.leader();
    let place = (leader + 1) % 3;
    put(&cluster.nodes[leader], "early");
    make(&mut cluster.nodes[place]);
    write_five(&cluster.nodes[leader]);
    wait_for("the keys on the follower", LIMIT, || {
        cluster.nodes[place].request("GET", "/v2/keys/five/4?quorum=false", None).status == 200
    });
    cluster.nodes[place].kill();
    replace(&cluster.nodes[place], &aside(&cluster.nodes[place]));
    (cluster, place)
}

#[test]
fn an_older_copy_of_its_own_folder_is_found_out_by_the_run_that_it_forgot() {
    let (mut cluster, place) = with_older_copy(|node| {
        node.kill();
        copy(node.data(), &aside(node));
        node.start();
    });
    assert_refused(&mut cluster.nodes[place], "its data folder is an older copy");
    let other = (place + 1) % 3;
    wait_for("the others to say it", LIMIT, || {
        cluster
            .nodes
            .iter()
            .any(|node| node.log().contains("older copy") && node.name() != format!("n{place}"))
    });
    assert_five(&cluster.nodes[other]);
    assert_refused(&mut cluster.nodes[place], "its data folder is an older copy");
}

#[test]
fn a_copy_from_the_same_run_is_found_out_by_what_the_leader_remembers() {
    let (mut cluster, place) = with_older_copy(|node| {
        node.signal(Signal::SIGSTOP);
        copy(node.data(), &aside(node));
        node.signal(Signal::SIGCONT);
    });
    assert_refused(&mut cluster.nodes[place], "has lost entries of the log that it had acknowledged");
    let said = |node: &Node| node.log().contains("a member has lost entries that it had acknowledged");
    assert!(cluster.nodes.iter().any(said), "the leader says nothing");
    assert_five(&cluster.nodes[(place + 1) % 3]);
}

/// A node gets a copy of the folder of another one, which leads the cluster or does not.
fn with_anothers_folder(leads: bool) {
    let mut cluster = Cluster::start(3, &[]);
    let leader = cluster.leader();
    let (a, b, c) = (leader, (leader + 1) % 3, (leader + 2) % 3);
    write_five(&cluster.nodes[a]);
    cluster.nodes[b].kill();
    cluster.nodes[c].kill();
    let stolen = aside(&cluster.nodes[b]);
    copy(cluster.nodes[c].data(), &stolen);
    replace(&cluster.nodes[b], &stolen);
    cluster.nodes[c].start();
    if leads {
        let name = cluster.nodes[c].name().to_string();
        wait_for_voter(&cluster.nodes[a].url(), &name);
        muster(&cluster.nodes[a].url(), &["member", "move-leader", &name]);
    }
    assert_refused(&mut cluster.nodes[b], "every machine needs a data folder of its own");
    put(&cluster.nodes[a], "after");
    assert_five(&cluster.nodes[c]);
    for place in [a, c] {
        assert!(cluster.nodes[place].ended().is_none(), "{} has ended", cluster.nodes[place].name());
    }
}

#[test]
fn another_members_folder_is_noticed_and_said() {
    with_anothers_folder(false);
}

#[test]
fn the_leaders_folder_elsewhere_is_noticed_and_the_leader_stays() {
    with_anothers_folder(true);
}
