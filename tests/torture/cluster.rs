//! The nodes of the torture: processes in namespaces of their own, whose data and words stay in one folder.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Stopwatch;
use super::network::Network;
use crate::common::http::{Answer, Connection};

/// How long nodes may take to come up or to agree.
const LIMIT: Duration = Duration::from_secs(60);

/// How long a node may take to end after SIGTERM.
const END_LIMIT: Duration = Duration::from_secs(15);

/// How long one answer may take when the driver asks.
const PATIENCE: Duration = Duration::from_secs(3);

/// With this a node ends that was removed from its cluster.
const REMOVED: i32 = 3;

/// Where Debian puts libfaketime.
const FAKETIME: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
];

/// All nodes.
pub struct Cluster {
    pub network: Network,
    pub nodes: Vec<Node>,
    folder: PathBuf,
    /// libfaketime, where there is one.
    faketime: Option<&'static str>,
    /// This build's, or the one that `MUSTER_BIN` names.
    binary: OsString,
}

/// One node.
pub struct Node {
    pub url: String,
    child: Option<Child>,
    pub paused: bool,
    /// It may end by itself because its disk was made to fail.
    pub may_fail: bool,
    /// It was or may have been removed from the cluster.
    pub may_leave: bool,
    /// Its data folder is not the one that the cluster knows: it must end.
    pub refused: bool,
    /// Client URLs of the cluster that it is to join, separated by commas, once it does not belong to the first members any more.
    pub join: Option<String>,
}

impl Cluster {
    /// Starts `count` nodes with their data below `folder` and waits until each serves. Moves this thread into their
    /// network.
    pub fn start(count: usize, folder: &Path) -> Self {
        let network = Network::make(count);
        network.enter();
        let url = |i: usize| format!("http://{}:2379", network.address(i));
        let nodes = (0..count)
            .map(|i| Node {
                url: url(i),
                child: None,
                paused: false,
                may_fail: false,
                may_leave: false,
                refused: false,
                join: None,
            })
            .collect();
        let faketime = FAKETIME.into_iter().find(|path| Path::new(path).exists());
        let binary = std::env::var_os("MUSTER_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_muster").into());
        let mut cluster = Self { network, nodes, folder: folder.to_path_buf(), faketime, binary };
        (0..count).for_each(|node| cluster.launch(node));
        cluster.wait_until_healthy();
        cluster
    }

    /// The clients' URLs.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.url.clone()).collect()
    }

    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    /// Whether clocks can be changed.
    pub fn has_faketime(&self) -> bool {
        self.faketime.is_some()
    }

    /// The peer URL of a node.
    pub fn peer(&self, node: usize) -> String {
        format!("http://{}:2380", self.network.address(node))
    }

    pub fn data(&self, node: usize) -> PathBuf {
        self.folder.join(format!("n{node}"))
    }

    /// Starts a node that does not run.
    pub fn launch(&mut self, node: usize) {
        let peers: Vec<String> = (0..self.count()).map(|i| format!("n{i}={}", self.peer(i))).collect();
        let origin = match &self.nodes[node].join {
            Some(url) => ["--join".to_string(), url.clone()],
            None => ["--initial-cluster".to_string(), peers.join(",")],
        };
        let log = OpenOptions::new().create(true).append(true).open(self.log(node)).expect("a log file");
        let mut command = self.network.command(node, "env");
        if let Some(library) = self.faketime {
            let clock = self.folder.join(format!("n{node}.clock"));
            if !clock.exists() {
                std::fs::write(&clock, "+0").expect("a clock file");
            }
            command
                .arg(format!("LD_PRELOAD={library}"))
                .arg(format!("FAKETIME_TIMESTAMP_FILE={}", clock.display()));
            command.args(["FAKETIME_DONT_FAKE_MONOTONIC=1", "FAKETIME_CACHE_DURATION=1"]);
        }
        let child = command
            .arg(&self.binary)
            .args(["store", "--name", &format!("n{node}"), "--listen-client-urls", &self.nodes[node].url])
            .args(["--advertise-client-urls", &self.nodes[node].url, "--listen-peer-urls", &self.peer(node)])
            .args(["--initial-advertise-peer-urls", &self.peer(node), "--snapshot-count", "400"])
            .args(origin)
            .args(["--heartbeat-interval", "60", "--election-timeout", "400"])
            .arg("--data-dir")
            .arg(self.data(node))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the node starts");
        self.nodes[node].child = Some(child);
        self.nodes[node].paused = false;
    }

    /// Ends a node as a crash would.
    pub fn kill(&mut self, node: usize) {
        if let Some(mut child) = self.nodes[node].child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            child.wait().expect("the node ended");
        }
    }

    /// Sends a signal.
    pub fn signal(&mut self, node: usize, signal: Signal) {
        if let Some(child) = &self.nodes[node].child {
            // It may have ended by itself.
            let _ = kill(pid(child), signal);
        }
    }

    /// Stops a node in its tracks, or lets it go on.
    pub fn pause(&mut self, node: usize, paused: bool) {
        self.signal(node, if paused { Signal::SIGSTOP } else { Signal::SIGCONT });
        self.nodes[node].paused = paused;
    }

    /// Asks a node to end and waits for that.
    pub fn terminate(&mut self, node: usize) {
        self.signal(node, Signal::SIGTERM);
        let Some(mut child) = self.nodes[node].child.take() else { return };
        let mut watch = Stopwatch::start();
        while watch.passed() < END_LIMIT {
            if child.try_wait().expect("the node's state").is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = child.kill();
        child.wait().expect("the node ended");
        panic!("n{node} did not end within {END_LIMIT:?} of SIGTERM");
    }

    /// Lets a node's wall clock be so many seconds wrong.
    pub fn shift_clock(&self, node: usize, seconds: i64) {
        let (file, part) = (format!("n{node}.clock"), format!("n{node}.clock.part"));
        std::fs::write(self.folder.join(&part), format!("{seconds:+}")).expect("a clock file");
        std::fs::rename(self.folder.join(part), self.folder.join(file)).expect("a clock file");
    }

    /// From now on the node cannot write behind the first 128 KiB of a file: neither its log nor a snapshot.
    pub fn spoil_disk(&mut self, node: usize) {
        const LIMIT: u64 = 128 << 10;
        self.nodes[node].may_fail = true;
        let Some(child) = &self.nodes[node].child else { return };
        let limit = format!("--fsize={LIMIT}:{LIMIT}");
        // It may have ended by itself.
        let _ = Command::new("prlimit")
            .args(["--pid", &child.id().to_string(), &limit])
            .stderr(Stdio::null())
            .status();
    }

    /// Has another node remove this one from the cluster. That may be refused, or come about later.
    pub fn remove_member(&mut self, node: usize) {
        let name = format!("n{node}");
        for other in (0..self.count()).filter(|other| *other != node) {
            let Ok(list) = self.nodes[other].ask("/v2/members") else { continue };
            let list = list.json();
            let members = list["members"].as_array().into_iter().flatten();
            let found =
                members.filter(|member| member["name"] == name.as_str()).find_map(|m| m["id"].as_str());
            let Some(id) = found else { continue };
            self.nodes[node].may_leave = true;
            let connection = Connection::open_within(&self.nodes[other].url, PATIENCE);
            // What came of it shows when all is well again.
            let _ = connection.and_then(|mut c| c.request("DELETE", &format!("/v2/members/{id}"), None));
            return;
        }
    }

    /// Whether a node was started and not ended since.
    pub fn is_started(&self, node: usize) -> bool {
        self.nodes[node].child.is_some()
    }

    /// The status with which a node has ended by itself.
    pub fn ended(&mut self, node: usize) -> Option<i32> {
        let status = self.nodes[node].child.as_mut()?.try_wait().expect("the node's state")?;
        status.code()
    }

    /// Has the others remove a node that was refused, however long it takes; it joins anew with an empty folder.
    ///
    /// # Errors
    /// They do not do it in time.
    pub fn leave(&mut self, node: usize) -> Result<(), String> {
        let name = format!("n{node}");
        let mut watch = Stopwatch::start();
        loop {
            self.remove_member(node);
            let other = (node + 1) % self.count();
            let list = self.nodes[other].ask("/v2/members?quorum=true").map(|list| list.json());
            let members = list.ok().and_then(|list| list["members"].as_array().cloned());
            if members.is_some_and(|members| !members.iter().any(|member| member["name"] == name.as_str())) {
                break;
            }
            if watch.passed() > LIMIT {
                return Err(format!("n{node} was refused, and the others do not remove it"));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        self.nodes[node].child = None;
        self.nodes[node].refused = false;
        self.join_again(node);
        Ok(())
    }

    /// Starts a node that has ended because it was removed with an empty folder.
    fn join_again(&mut self, node: usize) {
        std::fs::remove_dir_all(self.data(node)).expect("the data of a member that was removed");
        self.nodes[node].may_leave = false;
        // All others: one of them alone may be the next that is down.
        let others =
            (0..self.count()).filter(|other| *other != node).map(|other| self.nodes[other].url.clone());
        self.nodes[node].join = Some(others.collect::<Vec<_>>().join(","));
        self.launch(node);
    }

    /// Starts whatever does not run and lets go on what is paused.
    ///
    /// # Errors
    /// A node has ended by itself without reason.
    pub fn heal(&mut self) -> Result<(), String> {
        self.network.drop_packets(&[]);
        for node in 0..self.count() {
            self.network.limit(node, None);
            if self.nodes[node].paused {
                self.pause(node, false);
            }
            // What becomes of it is seen to elsewhere.
            if self.nodes[node].refused {
                continue;
            }
            if self.nodes[node].may_fail {
                self.kill(node);
            }
            if let Some(child) = &mut self.nodes[node].child
                && let Some(status) = child.try_wait().expect("the node's state")
            {
                if status.code() == Some(REMOVED) && self.nodes[node].may_leave {
                    self.nodes[node].child = None;
                    self.join_again(node);
                    continue;
                }
                return Err(format!("n{node} has ended by itself ({status}):\n{}", self.tail(node, 15)));
            }
            self.nodes[node].may_fail = false;
            if self.nodes[node].child.is_none() {
                self.launch(node);
            }
        }
        Ok(())
    }

    /// The node that leads, as the first node that answers knows it.
    pub fn leader(&self) -> Option<usize> {
        let running = self.nodes.iter().filter(|node| node.child.is_some() && !node.paused);
        let answers = running.filter_map(|node| node.ask("/v2/members/leader").ok());
        let name = answers.filter(|answer| answer.status == 200).find_map(|answer| {
            answer.json()["name"].as_str().filter(|name| !name.is_empty()).map(str::to_string)
        })?;
        name.strip_prefix('n')?.parse().ok()
    }

    /// Waits until every node answers for the whole cluster.
    pub fn wait_until_healthy(&mut self) {
        let mut watch = Stopwatch::start();
        for node in 0..self.count() {
            while !self.nodes[node].ask("/health").is_ok_and(|answer| answer.status == 200) {
                let ended =
                    self.nodes[node].child.as_mut().and_then(|c| c.try_wait().expect("the node's state"));
                if ended.is_some_and(|status| status.code() == Some(REMOVED)) && self.nodes[node].may_leave {
                    self.nodes[node].child = None;
                    self.join_again(node);
                    continue;
                }
                assert!(ended.is_none(), "n{node} ended: {ended:?}\n{}", self.tail(node, 15));
                assert!(watch.passed() < LIMIT, "n{node} does not serve:\n{}", self.tail(node, 15));
                std::thread::sleep(Duration::from_millis(30));
            }
        }
    }

    fn log(&self, node: usize) -> PathBuf {
        self.folder.join(format!("n{node}.log"))
    }

    /// The last lines that a node wrote.
    pub fn tail(&self, node: usize, lines: usize) -> String {
        let log = std::fs::read_to_string(self.log(node)).unwrap_or_default();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Lines of all nodes' logs that contain `text`.
    pub fn said(&self, text: &str) -> Vec<String> {
        let logs = (0..self.count()).map(|node| std::fs::read_to_string(self.log(node)).unwrap_or_default());
        logs.flat_map(|log| log.lines().filter(|l| l.contains(text)).map(str::to_string).collect::<Vec<_>>())
            .collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in 0..self.count() {
            if let Some(mut child) = self.nodes[node].child.take() {
                // SIGKILL ends a paused process, too.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

impl Node {
    /// Asks it for a page on a connection of its own.
    pub fn ask(&self, target: &str) -> std::io::Result<Answer> {
        Connection::open_within(&self.url, PATIENCE)?.request("GET", target, None)
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a process id"))
}
