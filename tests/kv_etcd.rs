//! `muster kv` and `muster member` as a person runs them, against a real etcd.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use common::etcd::Etcd;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// `muster` with the endpoint of `etcd`, ready for more arguments.
fn muster(etcd: &Etcd) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    command.env("MUSTER_ENDPOINTS", etcd.url()).env_remove("MUSTER_CONFIG");
    command
}

fn run(etcd: &Etcd, arguments: &[&str]) -> Output {
    muster(etcd).args(arguments).stdin(Stdio::null()).output().expect("muster runs")
}

/// What a successful run prints.
fn prints(etcd: &Etcd, arguments: &[&str]) -> String {
    let output = run(etcd, arguments);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {complaints}");
    assert!(complaints.is_empty(), "{arguments:?}: {complaints}");
    String::from_utf8(output.stdout).expect("text")
}

/// Exit status and complaint of a run that fails and prints nothing.
fn fails(etcd: &Etcd, arguments: &[&str]) -> (i32, String) {
    let output = run(etcd, arguments);
    assert!(output.stdout.is_empty(), "{arguments:?} printed {}", String::from_utf8_lossy(&output.stdout));
    (output.status.code().expect("an exit status"), String::from_utf8(output.stderr).expect("text"))
}

/// The command's standard output line by line while it runs.
fn start(mut command: Command) -> (Child, BufReader<ChildStdout>) {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("muster runs");
    let lines = BufReader::new(child.stdout.take().expect("its output"));
    (child, lines)
}

fn line(from: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    from.read_line(&mut line).expect("a line");
    line
}

fn signal(child: &Child, signal: Signal) {
    let id = i32::try_from(child.id()).expect("a process id");
    kill(Pid::from_raw(id), signal).expect("the signal is sent");
}

/// The index at which the store stands.
fn index(etcd: &Etcd) -> String {
    let text = prints(etcd, &["kv", "set", "-o", "extended", "/mark", "x"]);
    let line = text.lines().find_map(|line| line.strip_prefix("Index: ")).expect("an index");
    line.to_string()
}

#[test]
fn verbs_print_values_and_say_no_with_status_4() {
    let Some(etcd) = Etcd::start() else { return };
    assert_eq!(prints(&etcd, &["kv", "set", "/a", "1"]), "1\n");
    assert_eq!(prints(&etcd, &["kv", "get", "/a"]), "1\n");
    assert_eq!(prints(&etcd, &["kv", "update", "/a", "-2", "--ttl", "1m"]), "-2\n");
    assert_eq!(prints(&etcd, &["kv", "set", "--swap-with-value", "-2", "/a", "3"]), "3\n");
    assert_eq!(prints(&etcd, &["kv", "mkdir", "/d"]), "");
    assert_eq!(prints(&etcd, &["kv", "mk", "/d/x", "v"]), "v\n");
    assert_eq!(prints(&etcd, &["kv", "updatedir", "/d", "--ttl", "1000"]), "");
    assert_eq!(prints(&etcd, &["kv", "setdir", "/d/e"]), "");
    assert_eq!(prints(&etcd, &["kv", "ls", "-r", "-p", "--sort"]), "/a\n/d/\n/d/e/\n/d/x\n");
    assert_eq!(prints(&etcd, &["kv", "rmdir", "/d/e"]), "");
    assert_eq!(prints(&etcd, &["kv", "rm", "/a"]), "PrevNode.Value: 3\n");
    assert_eq!(prints(&etcd, &["kv", "rm", "-r", "/d"]), "");

    let (status, complaint) = fails(&etcd, &["kv", "get", "/a"]);
    assert_eq!(status, 4);
    assert!(complaint.starts_with("Error:  100: Key not found (/a) ["), "{complaint}");
    prints(&etcd, &["kv", "mkdir", "/d"]);
    assert_eq!(fails(&etcd, &["kv", "get", "/d"]), (1, "/d: is a directory\n".into()));
    assert_eq!(fails(&etcd, &["kv", "set", "/a"]), (1, "Error:  value required\n".into()));
    assert_eq!(fails(&etcd, &["kv", "set", "/a", "1", "--ttl", "soon"]).0, 64);
    assert_eq!(fails(&etcd, &["kv", "get"]).0, 64);
}

#[test]
fn the_three_forms_of_a_new_key() {
    let Some(etcd) = Etcd::start() else { return };
    let text = prints(&etcd, &["kv", "mk", "-o", "extended", "/a", "1"]);
    let n = text.lines().find_map(|line| line.strip_prefix("Index: ")).expect("an index").to_string();
    assert_eq!(text, format!("Key: /a\nCreated-Index: {n}\nModified-Index: {n}\nTTL: 0\nIndex: {n}\n\n1\n"));
    assert_eq!(
        prints(&etcd, &["kv", "get", "-o", "json", "/a"]),
        format!(
            "{{\"action\":\"get\",\"node\":{{\"key\":\"/a\",\"value\":\"1\",\"nodes\":null,\"createdIndex\":{n},\
             \"modifiedIndex\":{n}}},\"prevNode\":null}}\n"
        )
    );
}

#[test]
fn a_value_may_come_from_standard_input_and_keeps_its_last_newline() {
    let Some(etcd) = Etcd::start() else { return };
    let mut child = muster(&etcd)
        .args(["kv", "set", "/a"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("muster runs");
    child.stdin.take().expect("its input").write_all("two\nlines\n".as_bytes()).expect("it reads");
    assert!(child.wait().expect("it ends").success());
    assert_eq!(prints(&etcd, &["kv", "get", "/a"]), "two\nlines\n\n");
}

#[test]
fn a_dead_endpoint_in_the_list_does_not_matter_and_only_dead_ones_end_with_status_4() {
    let Some(etcd) = Etcd::start() else { return };
    let both = format!("127.0.0.1:1,{}", etcd.url());
    assert_eq!(prints(&etcd, &["--endpoints", &both, "kv", "set", "/a", "1"]), "1\n");
    for verb in [["kv", "get", "/a"], ["kv", "watch", "/a"]] {
        let (status, complaint) = fails(&etcd, &[&["--endpoints", "127.0.0.1:1"], &verb[..]].concat());
        assert_eq!(status, 4);
        assert!(
            complaint.starts_with("Error:  no endpoint of the store answers: http://127.0.0.1:1"),
            "{complaint}"
        );
    }
}

#[test]
fn watch_prints_changes_until_it_is_interrupted() {
    let Some(etcd) = Etcd::start() else { return };
    let start_index = index(&etcd);
    let mut command = muster(&etcd);
    command.args(["kv", "watch", "-r", "-f", "--after-index", &start_index, "/w"]);
    let (mut child, mut lines) = start(command);
    prints(&etcd, &["kv", "set", "/w/a", "1"]);
    prints(&etcd, &["kv", "mkdir", "/w/d"]);
    prints(&etcd, &["kv", "rm", "/w/a"]);
    for expected in ["[set] /w/a\n", "1\n", "[delete] /w/a\n", "PrevNode.Value: 1\n"] {
        assert_eq!(line(&mut lines), expected);
    }
    signal(&child, Signal::SIGINT);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn exec_watch_runs_its_command_for_every_change_made_meanwhile() {
    let Some(etcd) = Etcd::start() else { return };
    let start_index = index(&etcd);
    for n in 1..=5 {
        prints(&etcd, &["kv", "set", "/w", &n.to_string()]);
    }
    let mut command = muster(&etcd);
    command.args(["kv", "exec-watch", "--after-index", &start_index, "/w", "--", "sh", "-c"]).arg(
        "echo \"$ETCD_WATCH_ACTION $ETCD_WATCH_KEY $ETCD_WATCH_VALUE $ETCD_WATCH_MODIFIED_INDEX\"; sleep 0.05; exit 3",
    );
    let (mut child, mut lines) = start(command);
    let first: u64 = start_index.parse().expect("a number");
    for n in 1..=5 {
        assert_eq!(line(&mut lines), format!("set /w {n} {}\n", first + n));
    }
    signal(&child, Signal::SIGTERM);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn exec_watch_hands_signals_to_its_command_and_ends_with_it() {
    let Some(etcd) = Etcd::start() else { return };
    let start_index = index(&etcd);
    prints(&etcd, &["kv", "set", "/w", "1"]);
    let mut command = muster(&etcd);
    command.args(["kv", "exec-watch", "--after-index", &start_index, "/w", "--", "sh", "-c"]);
    command.arg("trap 'echo told; exit 0' TERM; echo ready; while :; do sleep 0.05; done");
    let (mut child, mut lines) = start(command);
    assert_eq!(line(&mut lines), "ready\n");
    signal(&child, Signal::SIGTERM);
    assert_eq!(line(&mut lines), "told\n");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn a_command_that_cannot_start_ends_exec_watch_with_status_1() {
    let Some(etcd) = Etcd::start() else { return };
    let start_index = index(&etcd);
    prints(&etcd, &["kv", "set", "/w", "1"]);
    let arguments = ["kv", "exec-watch", "--after-index", &start_index, "/w", "--", "/no/such/program"];
    let (status, complaint) = fails(&etcd, &arguments);
    assert_eq!(status, 1);
    assert!(complaint.contains("/no/such/program"), "{complaint}");
}

#[test]
fn members_are_listed_with_a_mark_at_the_leader() {
    let Some(etcd) = Etcd::start() else { return };
    let table = prints(&etcd, &["member", "ls"]);
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(rows.len(), 2, "{table}");
    assert!(rows[0].starts_with("ID "), "{table}");
    assert!(
        rows[1].contains("default") && rows[1].contains(&etcd.url()) && rows[1].contains("  leader  "),
        "{table}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&prints(&etcd, &["member", "ls", "-o", "json"])).expect("JSON");
    assert_eq!(json[0]["leader"], true);
    assert_eq!(json[0]["clientURLs"][0], etcd.url());
}
