//! Three nodes of each server on this machine's disk, with the same settings for both.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::client::Connection;
use crate::ports::free_ports;

/// How long a cluster may take to serve.
const START_LIMIT: Duration = Duration::from_secs(600);

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Muster,
    Etcd,
}

/// A cluster of three; ends, with its data, when dropped.
pub struct Cluster {
    pub kind: Kind,
    nodes: Vec<Node>,
    folder: TempDir,
}

struct Node {
    client_port: u16,
    arguments: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
}

impl Cluster {
    /// Starts three nodes and waits until they serve.
    pub fn start(kind: Kind) -> Self {
        let folder = TempDir::with_prefix("muster-bench-").expect("a folder for the nodes' data");
        let ports = free_ports(6);
        let peer = |i: usize| format!("http://127.0.0.1:{}", ports[3 + i]);
        let members: Vec<String> = (0..3).map(|i| format!("n{i}={}", peer(i))).collect();
        let node = |i: usize| {
            let client = format!("http://127.0.0.1:{}", ports[i]);
            let data = folder.path().join(format!("n{i}"));
            let pairs = [
                ("--name", format!("n{i}")),
                ("--data-dir", data.display().to_string()),
                ("--listen-client-urls", client.clone()),
                ("--advertise-client-urls", client),
                ("--listen-peer-urls", peer(i)),
                ("--initial-advertise-peer-urls", peer(i)),
                ("--initial-cluster", members.join(",")),
                ("--heartbeat-interval", "100".into()),
                ("--election-timeout", "1000".into()),
            ];
            let arguments = pairs.into_iter().flat_map(|(flag, value)| [flag.to_string(), value]).collect();
            let log = folder.path().join(format!("n{i}.log"));
            Node { client_port: ports[i], arguments, log, child: None }
        };
        let nodes = (0..3).map(node).collect();
        let mut cluster = Self { kind, nodes, folder };
        for place in 0..3 {
            cluster.launch(place);
        }
        cluster.wait_until_served();
        cluster
    }

    /// Starts a node without waiting.
    pub fn launch(&mut self, place: usize) {
        let (kind, node) = (self.kind, &mut self.nodes[place]);
        let mut command = match kind {
            Kind::Muster => Command::new(muster()),
            Kind::Etcd => Command::new("etcd"),
        };
        match kind {
            Kind::Muster => command.arg("store"),
            Kind::Etcd => command.arg("--enable-v2"),
        };
        let log = File::options().create(true).append(true).open(&node.log).expect("a log file");
        let out = log.try_clone().expect("a log file");
        let child = command.args(&node.arguments).stdin(Stdio::null()).stdout(out).stderr(log).spawn();
        node.child = Some(child.expect("the server starts"));
    }

    fn wait_until_served(&self) {
        let until = Instant::now() + START_LIMIT;
        while !(0..3).all(|place| self.is_healthy(place)) {
            assert!(
                Instant::now() < until,
                "{:?} does not serve: see {}",
                self.kind,
                self.folder.path().display()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether a node answers for the whole cluster.
    pub fn is_healthy(&self, place: usize) -> bool {
        self.page(place, "/health").is_some_and(|body| body.contains("\"true\""))
    }

    /// The body of a page of a node.
    pub fn page(&self, place: usize, path: &str) -> Option<String> {
        let mut connection = Connection::open(self.port(place)).ok()?;
        let answer = connection.ask(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).ok()?;
        Some(String::from_utf8_lossy(answer.body).into_owned())
    }

    /// Where a node takes clients.
    pub fn port(&self, place: usize) -> u16 {
        self.nodes[place].client_port
    }

    /// The place of the node that leads.
    pub fn leader(&self) -> usize {
        let until = Instant::now() + START_LIMIT;
        loop {
            let running = (0..3).filter(|place| self.nodes[*place].child.is_some());
            for place in running {
                let page = self.page(place, "/v2/stats/self").unwrap_or_default();
                let page: Value = serde_json::from_str(&page).unwrap_or_default();
                if page["state"] == "StateLeader" {
                    return place;
                }
            }
            assert!(Instant::now() < until, "{:?} has no leader", self.kind);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends a node by a signal and waits until it is gone.
    pub fn end(&mut self, place: usize, signal: Signal) {
        let mut child = self.nodes[place].child.take().expect("the node runs");
        let id = i32::try_from(child.id()).expect("a process id");
        kill(Pid::from_raw(id), signal).expect("the node takes signals");
        child.wait().expect("the node ended");
    }

    /// The memory that a node holds, in bytes.
    pub fn resident_bytes(&self, place: usize) -> u64 {
        let child = self.nodes[place].child.as_ref().expect("the node runs");
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has memory");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// Where a node keeps its data.
    pub fn data(&self, place: usize) -> PathBuf {
        self.folder.path().join(format!("n{place}"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if let Some(child) = &mut node.child {
                // It may have ended by itself; then there is nothing to end.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// The release binary, which contrib/bench builds; else the one that was built along with this program.
fn muster() -> std::ffi::OsString {
    std::env::var_os("MUSTER_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_muster").into())
}
