//! `exec-watch`: no change is missed, and signals end it and its program.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::tool::{Link, kv, signal, text};
use crate::common::store::Cluster;
use crate::common::wait_for;

const LIMIT: Duration = Duration::from_secs(30);

/// The link and `muster kv` with these words.
fn both(link: &Link, url: &str, words: &[&str]) -> [(Command, i32); 2] {
    let mut through_link = link.command(url);
    through_link.args(words);
    let mut plain = kv(url);
    plain.args(words);
    // The second is how SIGTERM ends it: by itself as etcdctl, or with status 0.
    [(through_link, 128 + 15), (plain, 0)]
}

/// The index of the only member, once its name is known and raises it no more.
fn settled_index(cluster: &Cluster) -> u64 {
    let node = &cluster.nodes[0];
    wait_for("the member's name to be known", LIMIT, || {
        !node.request("GET", "/v2/members", None).text().contains("\"name\":\"\"")
    });
    node.request("PUT", "/v2/keys/start", Some("value=")).index()
}

fn number(child: &mut Child) -> i32 {
    let status = child.wait().expect("it ends");
    status.code().or(status.signal().map(|signal| signal + 128)).expect("it ended")
}

fn is_running(pid: &str) -> bool {
    Path::new("/proc").join(pid).join("status").exists()
}

#[test]
fn a_signal_ends_the_program_with_all_that_it_has_started_and_then_the_watch() {
    let (link, cluster) = (Link::new(), Cluster::start(1, &[]));
    let url = cluster.nodes[0].url();
    let index = settled_index(&cluster).to_string();
    cluster.nodes[0].request("PUT", "/v2/keys/w", Some("value=1"));
    // The shell waits for its own child, so a signal for the shell alone would not end it soon.
    let script = "sleep 1000 & echo $! $$; wait; echo over";
    for sent in [Signal::SIGINT, Signal::SIGTERM] {
        let words = ["exec-watch", "--recursive", "--after-index", &index, "/w", "--", "bash", "-c", script];
        let words_of_kv = ["exec-watch", "--after-index", &index, "/w", "--", "bash", "-c", script];
        let [(mut through_link, by_term), _] = both(&link, &url, &words);
        let [_, (mut plain, by_term_of_kv)] = both(&link, &url, &words_of_kv);
        for (command, by_term) in [(&mut through_link, by_term), (&mut plain, by_term_of_kv)] {
            let mut child = command.spawn().expect("it runs");
            let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
            let pids = lines.next().expect("a line").expect("text");
            // SIGINT does not end what a shell has put into the background.
            let (sleeper, shell) = pids.split_once(' ').expect("two numbers");
            signal(&child, sent);
            assert_eq!(number(&mut child), if sent == Signal::SIGTERM { by_term } else { 0 }, "{sent}");
            assert!(!is_running(shell), "the program was waited for");
            if sent == Signal::SIGTERM {
                wait_for("what the program had started to end", LIMIT, || !is_running(sleeper));
            } else {
                let _ = Command::new("kill").arg(sleeper).status();
            }
        }
    }
}

#[test]
fn a_signal_ends_a_watch_that_waits() {
    let (link, cluster) = (Link::new(), Cluster::start(1, &[]));
    let url = cluster.nodes[0].url();
    for (words, of_exec) in [(&["watch", "/w"][..], false), (&["exec-watch", "true", "/w"], true)] {
        for (sent, status) in [(Signal::SIGINT, 0), (Signal::SIGTERM, 128 + 15)] {
            let mut child = link.command(&url).args(words).spawn().expect("it runs");
            // Ready for signals when its request has arrived.
            wait_for("the watch to begin", LIMIT, || threads_wait(child.id()));
            signal(&child, sent);
            assert_eq!(number(&mut child), status, "{words:?} {sent} {of_exec}");
        }
    }
}

/// Whether the process has a connection: then it has set up its signals, too.
fn threads_wait(pid: u32) -> bool {
    let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let sockets = files.flatten().filter(|file| {
        std::fs::read_link(file.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))
    });
    sockets.count() > 2
}

#[test]
fn every_change_has_its_run_also_those_made_while_the_program_runs() {
    let (link, cluster) = (Link::new(), Cluster::start(1, &[]));
    let node = &cluster.nodes[0];
    let index = settled_index(&cluster);
    let mark = link.folder().join("mark");
    let script = format!(
        "echo $ETCD_WATCH_VALUE $ETCD_WATCH_MODIFIED_INDEX; while ! test -e {}; do sleep 0.01; done",
        mark.display()
    );
    let after = index.to_string();
    let mut child = link
        .command(&node.url())
        .args(["exec-watch", "--recursive", "--after-index", &after, "/w", "--", "sh", "-c", &script])
        .spawn()
        .expect("it runs");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut next = || lines.next().expect("a line").expect("text");
    node.request("PUT", "/v2/keys/w/0", Some("value=0"));
    assert_eq!(next(), format!("0 {}", index + 1));
    // All while the first program runs.
    for n in 1..=200 {
        node.request("PUT", &format!("/v2/keys/w/{n}"), Some(&format!("value={n}")));
    }
    std::fs::write(&mark, "").expect("the mark");
    for n in 1..=200 {
        assert_eq!(next(), format!("{n} {}", index + 1 + n));
    }
    signal(&child, Signal::SIGTERM);
    number(&mut child);
}

#[test]
fn a_watch_of_kv_says_what_was_lost_and_goes_on() {
    let cluster = Cluster::start(1, &["--history-events", "10"]);
    let node = &cluster.nodes[0];
    for n in 0..30 {
        node.request("PUT", "/v2/keys/filler", Some(&format!("value={n}")));
    }
    let mut child =
        kv(&node.url()).args(["watch", "--forever", "--after-index", "2", "/w"]).spawn().expect("it runs");
    let mut complaints = BufReader::new(child.stderr.take().expect("its complaints")).lines();
    let complaint = complaints.next().expect("a line").expect("text");
    assert!(complaint.contains("401:") && complaint.contains("changes between index 2 and"), "{complaint}");
    node.request("PUT", "/v2/keys/w", Some("value=heard"));
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "heard");
    signal(&child, Signal::SIGINT);
    assert_eq!(number(&mut child), 0);
    // Without --forever the caller is told.
    let output = super::tool::run_kv(&node.url(), &["watch", "--after-index", "2", "/w"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).starts_with("Error:  401: "), "{output:?}");
}
