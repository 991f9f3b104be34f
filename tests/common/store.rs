//! Store nodes as processes of their own, on ports that the kernel chose.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::http::{self, Answer};
use super::ports::free_ports;
use super::wait_for;

/// How long a start may take.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A cluster of store nodes; ends when dropped.
pub struct Cluster {
    pub nodes: Vec<Node>,
    folder: TempDir,
}

/// One node, running or not.
pub struct Node {
    name: String,
    client_port: u16,
    peer_port: u16,
    arguments: Vec<String>,
    data: PathBuf,
    log: PathBuf,
    child: Option<Child>,
    /// Variables for its next start.
    pub environment: Vec<(String, String)>,
}

impl Cluster {
    /// Starts `count` nodes with further arguments and waits until each of them serves.
    pub fn start(count: usize, more: &[&str]) -> Self {
        Self::start_prepared(count, more, |_| {})
    }

    /// As [`Cluster::start`]; before they start, `prepare` is called with each node's arguments.
    pub fn start_prepared(count: usize, more: &[&str], prepare: impl Fn(&[String])) -> Self {
        let mut cluster = Self::prepare(count, more);
        cluster.nodes.iter().for_each(|node| prepare(&node.arguments));
        cluster.nodes.iter_mut().for_each(Node::launch);
        cluster.nodes.iter_mut().for_each(Node::wait_until_healthy);
        cluster
    }

    /// `count` nodes with further arguments that know of each other, and are not started yet.
    pub fn prepare(count: usize, more: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder for the nodes' data");
        let ports = free_ports(count * 2);
        let peer = |i: usize| format!("http://127.0.0.1:{}", ports[count + i]);
        let list: Vec<String> = (0..count).map(|i| format!("n{i}={}", peer(i))).collect();
        let list = list.join(",");
        let first = ["--initial-cluster", list.as_str()];
        let more = [first.as_slice(), more].concat();
        let node = |i: usize| Node::new(i, folder.path(), [ports[i], ports[count + i]], &more);
        let nodes = (0..count).map(node).collect();
        Self { nodes, folder }
    }

    /// One node more, not started yet, and its place.
    pub fn newcomer(&mut self, more: &[&str]) -> usize {
        let place = self.nodes.len();
        let ports = free_ports(2);
        self.nodes.push(Node::new(place, self.folder.path(), [ports[0], ports[1]], more));
        place
    }

    /// The place of the node that leads, as a running node knows it.
    pub fn leader(&self) -> usize {
        let mut found = None;
        wait_for("a leader", START_LIMIT, || {
            let running = self.nodes.iter().filter(|node| node.child.is_some());
            found = running.filter_map(Node::leader_name).next();
            found.is_some()
        });
        let name = found.expect("the condition held");
        self.nodes.iter().position(|node| node.name == name).expect("the leader is one of us")
    }

    /// Where the nodes keep their data and logs.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in &self.nodes {
                let log = std::fs::read_to_string(&node.log).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(20).collect();
                eprintln!("---- {}:", node.name);
                tail.iter().rev().for_each(|line| eprintln!("{line}"));
            }
        }
        for node in &mut self.nodes {
            node.stop_with(nix::sys::signal::Signal::SIGKILL);
        }
    }
}

impl Node {
    fn new(place: usize, folder: &std::path::Path, ports: [u16; 2], more: &[&str]) -> Self {
        let name = format!("n{place}");
        let [client, peer] = ports.map(|port| format!("http://127.0.0.1:{port}"));
        let data = folder.join(&name);
        let mut arguments: Vec<String> = [
            ("--name", name.as_str()),
            ("--data-dir", &data.display().to_string()),
            ("--listen-client-urls", &client),
            ("--advertise-client-urls", &client),
            ("--listen-peer-urls", &peer),
            ("--initial-advertise-peer-urls", &peer),
        ]
        .iter()
        .flat_map(|(flag, value)| [flag.to_string(), value.to_string()])
        .collect();
        arguments.extend(more.iter().map(|word| word.to_string()));
        let log = folder.join(format!("{name}.log"));
        let [client_port, peer_port] = ports;
        Self { name, client_port, peer_port, arguments, data, log, child: None, environment: Vec::new() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its first peer URL.
    pub fn peer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.peer_port)
    }

    /// Listens to other members on another port from its next start on.
    pub fn move_peer_port(&mut self) {
        let (old, new) = (self.peer_url(), free_ports(1)[0]);
        self.peer_port = new;
        let new = self.peer_url();
        self.arguments.iter_mut().filter(|word| **word == old).for_each(|word| word.clone_from(&new));
    }

    /// Adds arguments for its next starts.
    pub fn add_arguments(&mut self, more: &[&str]) {
        self.arguments.extend(more.iter().map(|word| word.to_string()));
    }

    /// Takes arguments away again.
    pub fn take_arguments(&mut self, words: &[&str]) {
        self.arguments.retain(|word| !words.contains(&word.as_str()));
    }

    /// What it is told of the first members.
    pub fn initial_cluster(&self) -> String {
        let flag = self.arguments.iter().position(|word| word == "--initial-cluster");
        let value = flag.and_then(|at| self.arguments.get(at + 1));
        value.cloned().unwrap_or_default()
    }

    /// Where its data lies.
    pub fn data(&self) -> &std::path::Path {
        &self.data
    }

    /// Removes its data, as when a disk is lost.
    pub fn wipe(&mut self) {
        assert!(self.child.is_none(), "a running node needs its data");
        std::fs::remove_dir_all(&self.data).expect("there was data");
    }

    /// Waits until it ends by itself.
    pub fn wait_for_end(&mut self, limit: Duration) -> ExitStatus {
        let child = self.child.as_mut().expect("the node runs");
        let mut status = None;
        wait_for(&format!("the end of {}", self.name), limit, || {
            status = child.try_wait().expect("the node's state");
            status.is_some()
        });
        self.child = None;
        status.expect("the condition held")
    }

    /// What it has logged so far, over all its starts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its client URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.client_port)
    }

    /// Starts it again with the same data and waits until it serves.
    pub fn start(&mut self) {
        self.launch();
        self.wait_until_healthy();
    }

    /// Starts it again with the same data; an error when it ends instead of serving.
    pub fn try_start(&mut self) -> Result<(), String> {
        self.launch();
        let until = Instant::now() + START_LIMIT;
        while !self.is_healthy() {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().expect("the node's state"));
            if let Some(status) = ended {
                self.child = None;
                return Err(format!("{} ended at its start: {status}", self.name));
            }
            assert!(Instant::now() < until, "{} does not serve after {START_LIMIT:?}", self.name);
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Starts it without waiting.
    pub fn launch(&mut self) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log).expect("a log file");
        // This build's, or the one that somebody wants to see tested.
        let binary = std::env::var_os("MUSTER_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_muster").into());
        let child = Command::new(binary)
            .arg("store")
            .args(&self.arguments)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the node starts");
        self.child = Some(child);
    }

    /// Waits until it answers for the whole cluster.
    pub fn wait_until_healthy(&mut self) {
        let until = Instant::now() + START_LIMIT;
        while !self.is_healthy() || !self.is_published() {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().expect("the node's state"));
            assert!(ended.is_none(), "{} ended at its start: {ended:?}", self.name);
            assert!(Instant::now() < until, "{} does not serve after {START_LIMIT:?}", self.name);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn is_healthy(&self) -> bool {
        self.try_request("GET", "/health", None).is_ok_and(|answer| answer.status == 200)
    }

    /// Whether its name and its URL are known, which takes an index of the store.
    fn is_published(&self) -> bool {
        let list = self.try_request("GET", "/v2/members", None);
        list.is_ok_and(|list| list.text().contains(&format!("\"clientURLs\":[\"{}\"]", self.url())))
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        let status = self.stop_with(nix::sys::signal::Signal::SIGKILL).expect("the node ran");
        assert_eq!(status.signal(), Some(9));
    }

    /// Asks it to end, and waits for that.
    pub fn terminate(&mut self) {
        let status = self.stop_with(nix::sys::signal::Signal::SIGTERM).expect("the node ran");
        assert!(status.success(), "{} ended with {status}", self.name);
    }

    /// The memory it holds, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let pid = self.child.as_ref().expect("the node runs").id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has memory");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().expect("the node's state")?;
        self.child = None;
        Some(status)
    }

    /// From now on no file of it can grow beyond so many bytes; writes beyond fail with EFBIG.
    pub fn limit_files(&self, bytes: u64) {
        let pid = self.child.as_ref().expect("the node runs").id().to_string();
        let limit = format!("--fsize={bytes}:{bytes}");
        let status =
            Command::new("prlimit").args(["--pid", &pid, &limit]).status().expect("prlimit (util-linux)");
        assert!(status.success(), "prlimit {limit}");
    }

    /// Sends a signal and leaves it at that.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let child = self.child.as_ref().expect("the node runs");
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
        nix::sys::signal::kill(pid, signal).expect("the node takes signals");
    }

    fn stop_with(&mut self, signal: nix::sys::signal::Signal) -> Option<ExitStatus> {
        // One that has ended already takes no signals.
        if !matches!(self.child.as_mut()?.try_wait(), Ok(Some(_))) {
            self.signal(signal);
        }
        self.child.take()?.wait().ok()
    }

    /// One request on a connection of its own.
    pub fn request(&self, method: &str, target: &str, form: Option<&str>) -> Answer {
        self.try_request(method, target, form)
            .unwrap_or_else(|e| panic!("{} {method} {target}: {e}", self.name))
    }

    pub fn try_request(&self, method: &str, target: &str, form: Option<&str>) -> std::io::Result<Answer> {
        http::request(&self.url(), method, target, form)
    }

    fn leader_name(&self) -> Option<String> {
        let answer = self.try_request("GET", "/v2/members/leader", None).ok().filter(|a| a.status == 200)?;
        // A member has no name until it has published it.
        answer.json()["name"].as_str().filter(|name| !name.is_empty()).map(str::to_string)
    }
}
