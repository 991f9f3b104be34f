//! A real etcd with the v2 API, as Debian's `etcd-server` brings it: what the client is measured against.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::ports::free_ports;

/// How long a start may take.
const START_LIMIT: Duration = Duration::from_secs(30);

/// One etcd on ports of its own with its data in a folder of its own; ends when dropped.
pub struct Etcd {
    child: Child,
    client_port: u16,
    peer_port: u16,
    data: TempDir,
}

impl Etcd {
    /// Whether there is one on this machine; says so when not, and fails where nothing may be left out.
    pub fn is_installed() -> bool {
        let found =
            Command::new("etcd").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if found.is_err() {
            super::skip("no etcd on this machine (Debian: apt install etcd-server etcd-client)");
        }
        found.is_ok()
    }

    /// Starts one and waits until it serves. `None` when etcd is not installed: the test says so and passes.
    pub fn start() -> Option<Self> {
        if !Self::is_installed() {
            return None;
        }
        let [client_port, peer_port] = free_ports(2)[..] else { unreachable!() };
        let data = TempDir::new().expect("a folder for etcd's data");
        let child = spawn(client_port, peer_port, &data);
        let mut etcd = Self { child, client_port, peer_port, data };
        etcd.wait_until_healthy();
        Some(etcd)
    }

    /// Its client URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.client_port)
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        self.child.kill().expect("etcd can be killed");
        self.child.wait().expect("etcd ended");
    }

    /// Starts it again with the same data on the same ports.
    pub fn restart(&mut self) {
        self.child = spawn(self.client_port, self.peer_port, &self.data);
        self.wait_until_healthy();
    }

    /// Starts it again on the same ports with no data, as after a reinstallation.
    pub fn restart_empty(&mut self) {
        self.data = TempDir::new().expect("a folder for etcd's data");
        self.restart();
    }

    fn wait_until_healthy(&mut self) {
        let until = Instant::now() + START_LIMIT;
        while !self.is_healthy() {
            let ended = self.child.try_wait().expect("etcd's state");
            assert!(ended.is_none(), "etcd ended at its start: {ended:?}");
            assert!(Instant::now() < until, "etcd does not serve after {START_LIMIT:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_healthy(&self) -> bool {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.client_port))?;
            stream.set_read_timeout(Some(Duration::from_secs(2)))?;
            stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| answer.contains("\"true\""))
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // It may have been killed by the test already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(client_port: u16, peer_port: u16, data: &TempDir) -> Child {
    let (client, peer) = (format!("http://127.0.0.1:{client_port}"), format!("http://127.0.0.1:{peer_port}"));
    Command::new("etcd")
        .arg("--enable-v2")
        .arg("--data-dir")
        .arg(data.path())
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("default={peer}")])
        .env("ETCD_UNSUPPORTED_ARCH", std::env::consts::ARCH.replace("aarch64", "arm64"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("etcd can be started")
}
