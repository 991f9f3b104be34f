//! After a watch has returned, a read shows the change, on whichever node either was: no sleep, no repetition.

mod common;

use std::process::{Command, Output, Stdio};

use common::http::Connection;
use common::store::{Cluster, Node};

/// Rounds over HTTP: each combination of writer, watcher and reader comes about 37 times.
const ROUNDS: usize = 1000;

/// Rounds with a process for each step.
const PROCESS_ROUNDS: usize = 54;

/// Which nodes write, watch and read in a round; all 27 combinations come in turn.
fn roles(round: usize) -> [usize; 3] {
    [round % 3, round / 3 % 3, round / 9 % 3]
}

/// Kept connections to one node.
struct Talk {
    write: Connection,
    watch: Connection,
    read: Connection,
}

impl Talk {
    fn to(node: &Node) -> Self {
        let [write, watch, read] = [(); 3].map(|()| Connection::open(&node.url()).expect("a connection"));
        Self { write, watch, read }
    }
}

#[test]
fn a_thousand_times_a_get_on_any_node_shows_what_a_watch_on_any_node_told() {
    let cluster = Cluster::start(3, &[]);
    let mut talks: Vec<Talk> = cluster.nodes.iter().map(Talk::to).collect();
    for round in 0..ROUNDS {
        let [writer, watcher, reader] = roles(round);
        let watch = &mut talks[watcher].watch;
        watch.send("GET", "/v2/keys/w?wait=true", None).expect("a request");
        assert_eq!(watch.read_head().expect("headers come at once").status, 200);
        let form = format!("value={round}");
        // The answer to the writer is not waited for: the watch alone tells when to read.
        talks[writer].write.send("PUT", "/v2/keys/w", Some(&form)).expect("a request");
        let event = talks[watcher].watch.chunk().expect("an event").expect("an event");
        let event: serde_json::Value = serde_json::from_slice(&event).expect("JSON");
        let told = &event["node"]["modifiedIndex"];
        let got = talks[reader].read.request("GET", "/v2/keys/w", None).expect("an answer").json();
        assert_eq!((&got["node"]["modifiedIndex"], &got["node"]["value"]), (told, &round.to_string().into()));
        // The watching node itself needs no quorum for that: it told what it has.
        let own =
            talks[watcher].read.request("GET", "/v2/keys/w?quorum=false", None).expect("an answer").json();
        assert_eq!((&own["node"]["modifiedIndex"], &own["node"]["value"]), (told, &round.to_string().into()));
        assert!(talks[watcher].watch.chunk().expect("the end").is_none());
        let head = talks[writer].write.read_head().expect("an answer");
        assert!(talks[writer].write.read_body("PUT", head).expect("an answer").status < 300);
    }
}

fn muster(node: &Node, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    command.env("MUSTER_ENDPOINTS", node.url()).env_remove("MUSTER_CONFIG").args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_string()
}

#[test]
fn muster_kv_get_shows_what_muster_kv_watch_told() {
    let cluster = Cluster::start(3, &[]);
    for round in 0..PROCESS_ROUNDS {
        let [writer, watcher, reader] = roles(round).map(|node| &cluster.nodes[node]);
        let value = format!("value {round}");
        let before = writer.request("PUT", "/v2/keys/mark", Some("value=x")).index().to_string();
        let watch =
            muster(watcher, &["kv", "watch", "--after-index", &before, "/w"]).spawn().expect("muster runs");
        printed(&muster(writer, &["kv", "set", "/w", &value]).output().expect("muster runs"));
        assert_eq!(printed(&watch.wait_with_output().expect("muster ran")), value);
        let get = muster(reader, &["kv", "get", "/w"]).output().expect("muster runs");
        assert_eq!(printed(&get), value, "round {round}");
    }
}
