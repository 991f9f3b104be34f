//! A network of its own for each node, joined by a router, from which the clients call: what passes between two nodes
//! can be dropped, thinned out or slowed down, one way or both, without the nodes' sockets being told.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};

/// Names of the namespaces begin so; then come the process and a number.
const PREFIX: &str = "muster-torture-";

/// The namespaces; they go when dropped.
pub struct Network {
    name: String,
    count: usize,
}

/// How much of what goes from one node to another is dropped, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    pub from: usize,
    pub to: usize,
    pub percent: u32,
}

impl Network {
    /// Why there can be none on this machine.
    pub fn missing() -> Option<String> {
        if !nix::unistd::geteuid().is_root() {
            return Some("network namespaces need root".into());
        }
        ["ip", "nft", "tc", "nsenter"].into_iter().find_map(|name| {
            let found = Command::new(name).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
            found
                .err()
                .map(|_| format!("{name} is not on this machine (Debian: iproute2, nftables, util-linux)"))
        })
    }

    /// Makes the namespaces for `count` nodes and removes those that a killed test left behind.
    pub fn make(count: usize) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        remove_stale();
        let name = format!("{PREFIX}{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let network = Self { name, count };
        let router = network.router();
        ip(&["netns", "add", &router]);
        for node in 0..count {
            let own = network.namespace(node);
            ip(&["netns", "add", &own]);
            let (link, subnet) = (format!("n{node}"), format!("10.78.{node}"));
            ip(&["-n", &router, "link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &own]);
            ip(&["-n", &router, "address", "add", &format!("{subnet}.1/24"), "dev", &link]);
            ip(&["-n", &router, "link", "set", &link, "up"]);
            ip(&["-n", &own, "address", "add", &format!("{subnet}.2/24"), "dev", "eth0"]);
            ip(&["-n", &own, "link", "set", "lo", "up"]);
            ip(&["-n", &own, "link", "set", "eth0", "up"]);
            ip(&["-n", &own, "route", "add", "default", "via", &format!("{subnet}.1")]);
        }
        run(Command::new("nsenter").args([
            &network.entrance(&router),
            "sh",
            "-c",
            "echo 1 >/proc/sys/net/ipv4/ip_forward",
        ]));
        network
    }

    /// Moves this thread, and threads that it starts, to the router.
    pub fn enter(&self) {
        let file = File::open(format!("/run/netns/{}", self.router())).expect("the router's namespace");
        setns(file, CloneFlags::CLONE_NEWNET).expect("a thread of root may change its network");
    }

    /// The address of a node.
    pub fn address(&self, node: usize) -> String {
        format!("10.78.{node}.2")
    }

    /// A command that runs in a node's namespace.
    pub fn command(&self, node: usize, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(self.entrance(&self.namespace(node))).arg(program);
        command
    }

    /// Drops what `losses` says, and lets pass all else.
    pub fn drop_packets(&self, losses: &[Loss]) {
        let mut rules = String::from("table ip torture\ndelete table ip torture\ntable ip torture {\n");
        rules += "chain pass {\ntype filter hook forward priority 0;\n";
        for Loss { from, to, percent } in losses {
            let (from, to) = (self.address(*from), self.address(*to));
            let chance =
                if *percent >= 100 { String::new() } else { format!("numgen random mod 100 < {percent} ") };
            writeln!(rules, "ip saddr {from} ip daddr {to} {chance}drop").expect("a string takes all");
        }
        rules += "}\n}\n";
        let mut nft = Command::new("nsenter")
            .args([&self.entrance(&self.router()), "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("nft can be run");
        nft.stdin.take().expect("a pipe").write_all(rules.as_bytes()).expect("nft reads");
        assert!(nft.wait().expect("nft ends").success(), "nft refused:\n{rules}");
    }

    /// Lets a node receive no more than so many kilobits a second; `None` takes the limit away.
    pub fn limit(&self, node: usize, kilobits: Option<u32>) {
        let (router, link) = (self.router(), format!("n{node}"));
        // There may be none.
        let _ = Command::new("tc")
            .args(["-n", &router, "qdisc", "del", "dev", &link, "root"])
            .stderr(Stdio::null())
            .status();
        if let Some(kilobits) = kilobits {
            let rate = format!("{kilobits}kbit");
            run(Command::new("tc")
                .args(["-n", &router, "qdisc", "add", "dev", &link, "root", "tbf", "rate", &rate])
                .args(["burst", "8kb", "latency", "400ms"]));
        }
    }

    fn router(&self) -> String {
        format!("{}-router", self.name)
    }

    fn namespace(&self, node: usize) -> String {
        format!("{}-n{node}", self.name)
    }

    fn entrance(&self, namespace: &str) -> String {
        format!("--net=/run/netns/{namespace}")
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for node in 0..self.count {
            remove(&self.namespace(node));
        }
        remove(&self.router());
    }
}

fn remove(namespace: &str) {
    // A test that fails may not have made it yet.
    let _ = Command::new("ip").args(["netns", "del", namespace]).stderr(Stdio::null()).status();
}

/// A test that was killed could not clean up: ends its nodes and removes its namespaces.
fn remove_stale() {
    let Ok(entries) = std::fs::read_dir("/run/netns") else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        let Some(owner) = owner.filter(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists()) else {
            continue;
        };
        eprintln!("removing {name}, left behind by process {owner}");
        if let Ok(output) = Command::new("ip").args(["netns", "pids", &name]).output() {
            for pid in
                String::from_utf8_lossy(&output.stdout).lines().filter_map(|line| line.trim().parse().ok())
            {
                // It may have ended meanwhile.
                let _ = nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(pid),
                    nix::sys::signal::Signal::SIGKILL,
                );
            }
        }
        remove(&name);
    }
}

fn ip(words: &[&str]) {
    run(Command::new("ip").args(words));
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().expect("the command can be run");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
