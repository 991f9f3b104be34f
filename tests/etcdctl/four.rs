//! Four pairs of a client and a server, and what a command does in each.

use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::common::etcd::Etcd;
use crate::common::store::Cluster;
use crate::common::{http, wait_for};

/// The two programs.
pub struct Programs {
    link: PathBuf,
    _folder: TempDir,
}

impl Programs {
    /// `None` when etcdctl is not installed: the test says so and passes.
    pub fn find() -> Option<Self> {
        let has =
            Command::new("etcdctl").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if has.is_err() {
            crate::common::skip("no etcdctl on this machine (Debian: apt install etcd-client)");
            return None;
        }
        let folder = TempDir::new().expect("a folder for the link");
        let link = folder.path().join("etcdctl");
        symlink(env!("CARGO_BIN_EXE_muster"), &link).expect("a link");
        Some(Self { link, _folder: folder })
    }

    pub fn both(&self) -> [(&'static str, &Path); 2] {
        [("etcdctl", Path::new("etcdctl")), ("the link", &self.link)]
    }
}

/// A client's command line for a server.
pub fn command(program: &Path, url: &str, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    for name in ["ETCDCTL_ENDPOINT", "ETCDCTL_PEERS", "ETCDCTL_USERNAME", "ETCDCTL_CA_FILE"] {
        command.env_remove(name);
    }
    command.env("ETCDCTL_API", "2").env("ETCDCTL_ENDPOINTS", url).args(words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a command printed and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The exit status, or the signal with 128 added.
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

/// The exit status, or the signal with 128 added.
pub fn number(status: ExitStatus) -> i32 {
    status.code().or(status.signal().map(|signal| signal + 128)).expect("it ended")
}

/// Gives a started command its input and waits for its end.
pub fn ending(mut child: Child, input: &str) -> Ending {
    let mut stdin = child.stdin.take().expect("its input");
    // A command that reads nothing may be gone by now.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    Ending { status: number(output.status), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// Two servers of each kind.
pub struct Four {
    programs: Programs,
    etcds: [Etcd; 2],
    ours: [Cluster; 2],
}

/// A client and its server.
pub struct Pair<'a> {
    pub name: String,
    pub program: &'a Path,
    pub url: String,
}

impl Four {
    /// `None` when etcd or its client is not installed.
    pub fn start() -> Option<Self> {
        let programs = Programs::find()?;
        let etcds = [Etcd::start()?, Etcd::start()?];
        let four = Self { programs, etcds, ours: [Cluster::start(1, &[]), Cluster::start(1, &[])] };
        four.pairs().iter().for_each(|pair| wait_until_named(&pair.url));
        four.level();
        Some(four)
    }

    pub fn pairs(&self) -> Vec<Pair<'_>> {
        let urls = |n: usize| [("etcd", self.etcds[n].url()), ("Muster", self.ours[n].nodes[0].url())];
        let of = |(n, (client, program))| {
            urls(n).map(|(server, url)| Pair { name: format!("{client} with {server}"), program, url })
        };
        self.programs.both().into_iter().enumerate().flat_map(of).collect()
    }

    /// Raises the lower indexes by harmless writes, so that what is printed is the same. Returns the index.
    pub fn level(&self) -> u64 {
        let pairs = self.pairs();
        loop {
            let index = |pair: &Pair| {
                http::request(&pair.url, "GET", "/v2/keys/?quorum=true", None).expect("served").index()
            };
            let indexes: Vec<u64> = pairs.iter().map(index).collect();
            let highest = indexes.iter().copied().max().expect("four");
            let lower = indexes.iter().zip(&pairs).filter(|(index, _)| **index < highest);
            let mut level = true;
            for (index, pair) in lower {
                level = false;
                for _ in *index..highest {
                    http::request(&pair.url, "PUT", "/v2/keys/_level", Some("value=")).expect("written");
                }
            }
            if level {
                return highest;
            }
        }
    }

    /// Runs a command in all pairs at once.
    fn endings(&self, words: &[&str], input: &str) -> Vec<(String, Ending)> {
        let pairs = self.pairs();
        // A machine with much to do may take longer than etcdctl waits by itself.
        let words = &[&["--timeout", "60s", "--total-timeout", "60s"], words].concat()[..];
        std::thread::scope(|scope| {
            let run = |pair: &Pair| {
                let child = command(pair.program, &pair.url, words).spawn().expect("it runs");
                let ending = ending(child, input);
                let stdout = normal(&pair.url, ending.stdout);
                let stdout = if words.contains(&"ls") { unordered(words, stdout) } else { stdout };
                (pair.name.clone(), Ending { stdout, ..ending })
            };
            let running: Vec<_> = pairs.iter().map(|pair| scope.spawn(move || run(pair))).collect();
            running.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        })
    }

    /// Runs a command in all pairs and compares; `status` is how it must end. Returns what it prints.
    #[track_caller]
    pub fn run(&self, words: &[&str], input: &str, status: i32) -> String {
        let endings = self.endings(words, input);
        let (_, expected) = &endings[0];
        assert_eq!(expected.status, status, "etcdctl {words:?}: {expected:?}");
        for (name, ending) in &endings[1..] {
            assert_eq!(
                (&ending.stdout, ending.status),
                (&expected.stdout, expected.status),
                "{name}: {words:?}: {ending:?} instead of {expected:?}"
            );
            if expected.stderr.starts_with("Error:  ") {
                assert_eq!(ending.stderr, expected.stderr, "{name}: {words:?}");
            }
        }
        expected.stdout.clone()
    }

    /// One request to each server.
    pub fn request(&self, method: &str, target: &str, form: Option<&str>) {
        for pair in self.pairs() {
            http::request(&pair.url, method, target, form).expect("served");
        }
    }
}

/// A member makes its name known shortly after it begins to serve, which raises the index.
fn wait_until_named(url: &str) {
    wait_for("the member's name to be known", Duration::from_secs(30), || {
        let members = http::request(url, "GET", "/v2/members", None).expect("served");
        !members.text().contains("\"name\":\"\"")
    });
}

/// Without `--sort` the order of a listing is etcd's secret.
fn unordered(words: &[&str], stdout: String) -> String {
    if words.contains(&"--sort") || stdout.starts_with('{') {
        return stdout;
    }
    let mut lines: Vec<&str> = stdout.lines().collect();
    lines.sort_unstable();
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Output with a server's own names, ids, URLs and times replaced.
pub fn normal(url: &str, mut text: String) -> String {
    let members = http::request(url, "GET", "/v2/members", None).expect("served").json();
    for member in members["members"].as_array().expect("members") {
        for list in ["clientURLs", "peerURLs"] {
            for url in member[list].as_array().expect("URLs") {
                text = text.replace(url.as_str().expect("a URL"), list);
            }
        }
        text = text.replace(member["id"].as_str().expect("an id"), "ID");
        let name = member["name"].as_str().expect("a name");
        if !name.is_empty() {
            text = text.replace(&format!("name={name} "), "name=NAME ");
        }
    }
    let text = without_digits(&text, "TTL: ", "\n");
    let text = without_digits(&text, "\"ttl\":", "}");
    without_digits(&text, "\"expiration\":\"", "\"")
}

/// Replaces what stands between `before` and the next `after`, unless it is 0: how long a key has left, and until when.
fn without_digits(text: &str, before: &str, after: &str) -> String {
    let mut parts = text.split(before);
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let end = part.find(after).expect("it ends");
        let kept = if &part[..end] == "0" { "0" } else { "SOME" };
        out.push_str(&format!("{before}{kept}{}", &part[end..]));
    }
    out
}
