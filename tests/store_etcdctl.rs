//! Debian's etcdctl, speaking v2, against a node of ours and against a real etcd: the same output and exit status.

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::etcd::Etcd;
use common::http;
use common::store::Cluster;
use common::wait_for;

const LIMIT: Duration = Duration::from_secs(20);

fn etcdctl(url: &str, words: &[&str]) -> Command {
    let mut command = Command::new("etcdctl");
    command.env("ETCDCTL_API", "2").env("ETCDCTL_ENDPOINTS", url).args(words).stdin(Stdio::null());
    command
}

/// Both servers, and etcdctl to talk to them.
struct Both {
    cluster: Cluster,
    etcd: Etcd,
}

/// What a command printed and how it ended.
#[derive(Debug, PartialEq, Eq)]
struct Ending {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Both {
    /// `None` when etcd or its client is not installed.
    fn start() -> Option<Self> {
        let etcd = Etcd::start()?;
        let has = etcdctl("", &["--version"]).stdout(Stdio::null()).status().is_ok();
        if !has {
            common::skip("no etcdctl on this machine (Debian: apt install etcd-client)");
            return None;
        }
        let both = Self { cluster: Cluster::start(1, &[]), etcd };
        both.level();
        Some(both)
    }

    fn urls(&self) -> [String; 2] {
        [self.cluster.nodes[0].url(), self.etcd.url()]
    }

    /// Raises the lower index by harmless writes, so that what is printed is the same.
    fn level(&self) {
        let urls = self.urls();
        loop {
            let index = |url: &String| http::request(url, "GET", "/v2/keys/", None).expect("served").index();
            let [ours, theirs] = urls.each_ref().map(index);
            if ours == theirs {
                return;
            }
            let lower = &urls[usize::from(ours > theirs)];
            http::request(lower, "PUT", "/v2/keys/_level", Some("value=")).expect("written");
        }
    }

    /// Runs the same command on both and compares; `code` is how it must end.
    fn run(&self, words: &[&str], code: i32) -> String {
        let [ours, theirs] = self.urls().map(|url| {
            let output = etcdctl(&url, words).output().expect("etcdctl runs");
            let text = |bytes: &[u8]| without_names(&url, String::from_utf8_lossy(bytes).into_owned());
            Ending { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
        });
        assert_eq!(ours, theirs, "etcdctl {words:?}");
        assert_eq!(theirs.code, Some(code), "etcdctl {words:?}: {theirs:?}");
        theirs.stdout
    }

    /// Starts the same command on both; it ends when dropped.
    fn spawn(&self, words: &[&str]) -> [Running; 2] {
        self.urls().map(|url| {
            let mut command = etcdctl(&url, words);
            let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("etcdctl runs");
            Running(child)
        })
    }
}

struct Running(Child);

impl Running {
    /// Its output and exit code, once it has ended.
    fn ending(mut self) -> (Option<i32>, Vec<String>) {
        wait_for("the watch to end", LIMIT, || self.0.try_wait().expect("its state").is_some());
        let lines = BufReader::new(self.0.stdout.take().expect("its output")).lines();
        (self.0.wait().expect("its end").code(), lines.map(|line| line.expect("a line")).collect())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Output with a server's own names, ids, URLs and instants replaced.
fn without_names(url: &str, mut text: String) -> String {
    let members = http::request(url, "GET", "/v2/members", None).expect("served").json();
    for member in members["members"].as_array().expect("members") {
        for list in ["clientURLs", "peerURLs"] {
            for url in member[list].as_array().expect("URLs") {
                text = text.replace(url.as_str().expect("a URL"), list);
            }
        }
        text = text.replace(member["id"].as_str().expect("an id"), "ID");
        text = text.replace(&format!("name={}", member["name"].as_str().expect("a name")), "name=NAME");
    }
    match text.split_once("\"expiration\":\"") {
        Some((before, after)) => {
            let after = after.split_once('"').map_or("", |(_, rest)| rest);
            format!("{before}{after}")
        }
        None => text,
    }
}

#[test]
fn keys_are_written_read_listed_and_removed() {
    let Some(both) = Both::start() else { return };
    let table: [(&[&str], i32); 52] = [
        (&["set", "/a", "1"], 0),
        (&["get", "/a"], 0),
        (&["--output", "extended", "get", "/a"], 0),
        (&["--output", "json", "get", "/a"], 0),
        (&["set", "/a", "2 <&> ä"], 0),
        (&["-o", "json", "set", "/a", "3"], 0),
        (&["set", "/a", "4", "--swap-with-value", "3"], 0),
        (&["set", "/a", "5", "--swap-with-value", "3"], 4),
        (&["set", "/a", "5", "--swap-with-index", "1"], 4),
        (&["set", "/a/b", "5"], 4),
        (&["get", "/none"], 4),
        (&["mk", "/m", "1"], 0),
        (&["mk", "/m", "2"], 4),
        (&["mk", "--ttl", "100", "/t", "1"], 0),
        (&["-o", "extended", "get", "/t"], 0),
        (&["-o", "json", "get", "/t"], 0),
        (&["mk", "--in-order", "/q", "first"], 0),
        (&["-o", "json", "mk", "--in-order", "/q", "second"], 0),
        (&["update", "/m", "3"], 0),
        (&["update", "/m", "4", "--ttl", "200"], 0),
        (&["update", "/none", "4"], 4),
        (&["mkdir", "/d"], 0),
        (&["mkdir", "/d"], 4),
        (&["mkdir", "/dt", "--ttl", "100"], 0),
        (&["setdir", "/sd"], 0),
        (&["setdir", "/sd"], 4),
        (&["updatedir", "/d", "--ttl", "100"], 0),
        (&["updatedir", "/none"], 4),
        (&["set", "/d/x", "1"], 0),
        (&["set", "/d/y/z", "2"], 0),
        (&["set", "/d/_h", "2"], 0),
        (&["get", "/d"], 1),
        (&["ls", "--sort"], 0),
        (&["ls", "--sort", "/d"], 0),
        (&["ls", "--sort", "--recursive"], 0),
        (&["ls", "--sort", "--recursive", "/d"], 0),
        (&["ls", "--sort", "-p", "-r", "/"], 0),
        (&["ls", "--quorum", "/d/x"], 0),
        (&["ls", "/none"], 4),
        (&["-o", "json", "ls", "--sort", "--recursive", "/q"], 0),
        (&["rm", "/m"], 0),
        (&["rm", "/m"], 4),
        (&["rm", "/d"], 4),
        (&["rm", "--dir", "/d"], 4),
        (&["rmdir", "/d"], 4),
        (&["rmdir", "/sd"], 0),
        (&["rm", "--with-value", "no", "/a"], 4),
        (&["rm", "--with-value", "4", "/a"], 0),
        (&["rm", "-r", "/d"], 0),
        (&["rm", "--recursive", "/q"], 0),
        (&["ls", "--sort", "--recursive"], 0),
        (&["get", "--quorum", "/t"], 0),
    ];
    for (words, code) in table {
        both.run(words, code);
    }
}

#[test]
fn the_cluster_is_healthy_and_its_members_are_listed() {
    let Some(both) = Both::start() else { return };
    let members = both.run(&["member", "list"], 0);
    assert_eq!(members, "ID: name=NAME peerURLs=peerURLs clientURLs=clientURLs isLeader=true\n");
    let health = both.run(&["cluster-health"], 0);
    assert_eq!(health, "member ID is healthy: got healthy result from clientURLs\ncluster is healthy\n");
    both.run(&["--no-sync", "set", "/a", "1"], 0);
    both.run(&["--no-sync", "get", "/a"], 0);
    both.run(&["ls", "/a"], 0);
}

#[test]
fn watches_print_what_happens() {
    let Some(both) = Both::start() else { return };
    // A watch that begins in the past needs no waiting for it to be under way.
    both.run(&["set", "/w/a", "1"], 0);
    let index = http::request(&both.etcd.url(), "GET", "/v2/keys/", None).expect("served").index();
    both.run(&["set", "/w/b", "2"], 0);
    both.run(&["rm", "/w/a"], 0);
    let after = index.to_string();
    let before = (index - 1).to_string();
    for words in [
        &["watch", "/w/b", "--after-index", &after][..],
        &["watch", "/w/a", "--after-index", &after],
        &["watch", "/w/a", "--after-index", &before],
        &["watch", "--recursive", "--after-index", &after, "/w"],
        &["-o", "json", "watch", "--recursive", "--after-index", &before, "/w"],
        &["-o", "extended", "watch", "/w/b", "--after-index", &before],
    ] {
        both.run(words, 0);
    }
    watch_live(&both, &["watch", "/live"], "/live");
    watch_live(&both, &["watch", "--recursive", "/tree"], "/tree/deep");
}

/// Starts a watch and writes `key` until it has heard of it: the first event ends it.
fn watch_live(both: &Both, words: &[&str], key: &str) {
    let mut running = both.spawn(words);
    for (running, url) in running.iter_mut().zip(both.urls()) {
        wait_for("the watch to hear of a write", LIMIT, || {
            http::request(&url, "PUT", &format!("/v2/keys{key}"), Some("value=heard")).expect("written");
            running.0.try_wait().expect("its state").is_some()
        });
    }
    let [ours, theirs] = running.map(Running::ending);
    assert_eq!(ours, theirs, "etcdctl {words:?}");
    assert_eq!((theirs.0, theirs.1.last().map(String::as_str)), (Some(0), Some("heard")));
}

#[test]
fn users_roles_and_the_switch() {
    let Some(both) = Both::start() else { return };
    let root: &[&str] = &["-u", "root:r"];
    let user: &[&str] = &["-u", "u:p"];
    let table: [(&[&str], &[&str], i32); 46] = [
        (&[], &["user", "list"], 0),
        (&[], &["role", "list"], 0),
        (&[], &["auth", "enable"], 1),
        (&[], &["auth", "disable"], 1),
        (&[], &["user", "add", "root:r"], 0),
        (&[], &["user", "get", "root"], 0),
        (&[], &["auth", "enable"], 0),
        (&[], &["auth", "enable"], 1),
        (&[], &["user", "list"], 1),
        (root, &["role", "add", "r"], 0),
        (root, &["role", "add", "r"], 1),
        (root, &["role", "get", "r"], 0),
        (root, &["role", "grant", "r", "--path", "/x/*", "--readwrite"], 0),
        (root, &["role", "grant", "r", "--path", "/x/*", "--read"], 1),
        (root, &["role", "grant", "r", "--path", "/y", "--read"], 0),
        (root, &["role", "grant", "r", "--path", "y", "--read"], 1),
        (root, &["role", "revoke", "r", "--path", "/y", "--read"], 0),
        (root, &["role", "revoke", "r", "--path", "/never", "--read"], 1),
        (root, &["role", "get", "r"], 0),
        (root, &["role", "get", "none"], 1),
        (root, &["role", "list"], 0),
        (root, &["user", "add", "u:p"], 0),
        (root, &["user", "add", "u:p"], 0),
        (root, &["user", "grant", "u", "--roles", "r"], 0),
        (root, &["user", "grant", "u", "--roles", "r"], 1),
        (root, &["user", "get", "u"], 0),
        (root, &["user", "get", "none"], 1),
        (root, &["user", "list"], 0),
        (root, &["role", "revoke", "guest", "--path", "/*", "--readwrite"], 0),
        (&[], &["set", "/x/a", "1"], 4),
        (&[], &["get", "/x/a"], 4),
        (user, &["set", "/x/a", "1"], 0),
        (user, &["get", "/x/a"], 0),
        (user, &["ls", "/x/"], 0),
        (user, &["set", "/z", "1"], 4),
        (user, &["user", "list"], 1),
        (&["-u", "u:wrong"], &["get", "/x/a"], 4),
        (user, &["member", "list"], 0),
        (root, &["user", "revoke", "u", "--roles", "r"], 0),
        (user, &["get", "/x/a"], 4),
        (root, &["user", "remove", "u"], 0),
        (root, &["user", "remove", "u"], 1),
        (root, &["role", "remove", "r"], 0),
        (root, &["role", "remove", "r"], 1),
        (root, &["user", "remove", "root"], 1),
        (root, &["auth", "disable"], 0),
    ];
    for (credentials, words, code) in table {
        both.run(&[credentials, words].concat(), code);
    }
}
