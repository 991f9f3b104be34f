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

/// The index and value of a node in an answer or event.
fn seen(json: &serde_json::Value) -> (u64, String) {
    let node = &json["node"];
    (node["modifiedIndex"].as_u64().expect("an index"), node["value"].as_str().expect("a value").to_string())
}

impl Talk {
    /// Asks for a change; it is accepted when this returns.
    fn begin_watch(&mut self, query: &str) {
        self.watch.send("GET", &format!("/v2/keys/w?wait=true{query}"), None).expect("a request");
        assert_eq!(self.watch.read_head().expect("headers come at once").status, 200);
    }

    /// The change; the end of the answer is left for [`Talk::end_watch`], so that nothing delays what follows.
    fn hear(&mut self) -> (u64, String) {
        let event = self.watch.chunk().expect("an event").expect("an event");
        seen(&serde_json::from_slice(&event).expect("JSON"))
    }

    fn end_watch(&mut self) {
        assert!(self.watch.chunk().expect("the end").is_none());
    }

    fn get(&mut self, query: &str) -> (u64, String) {
        let answer = self.read.request("GET", &format!("/v2/keys/w{query}"), None).expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        seen(&answer.json())
    }
}

#[test]
fn a_thousand_times_a_get_on_any_node_shows_what_a_watch_on_any_node_told() {
    let cluster = Cluster::start(3, &[]);
    let mut talks: Vec<Talk> = cluster.nodes.iter().map(Talk::to).collect();
    for round in 0..ROUNDS {
        let [writer, watcher, reader] = roles(round);
        talks[watcher].begin_watch("");
        // The answer to the writer is not waited for: the watch alone tells when to read.
        talks[writer].write.send("PUT", "/v2/keys/w", Some(&format!("value={round}"))).expect("a request");
        loop {
            let told = talks[watcher].hear();
            let got = talks[reader].get("");
            // The watching node itself needs no quorum for that: it told what it has.
            let own = talks[watcher].get("?quorum=false");
            talks[watcher].end_watch();
            if told.1 == round.to_string() {
                assert_eq!((&got, &own), (&told, &told), "round {round}");
                break;
            }
            // A watch of "from now on" begins where the node is, which may be some writes behind; what it told must
            // be visible all the same.
            assert!(
                got.0 >= told.0 && own.0 >= told.0,
                "round {round}: told {told:?}, got {got:?}, own {own:?}"
            );
            talks[watcher].begin_watch(&format!("&waitIndex={}", told.0 + 1));
        }
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
