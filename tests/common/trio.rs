//! Three real etcds that form a cluster.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::ports::free_ports;
use super::{http, wait_for};

const START_LIMIT: Duration = Duration::from_secs(60);

/// A cluster; ends when dropped.
pub struct Trio {
    nodes: Vec<(Child, u16)>,
    _data: TempDir,
}

impl Trio {
    /// Starts one and waits until every member serves.
    pub fn start() -> Self {
        let data = TempDir::new().expect("a folder for etcd's data");
        let ports = free_ports(6);
        let url = |n: usize| format!("http://127.0.0.1:{}", ports[n]);
        let list: Vec<String> = (0..3).map(|n| format!("n{n}={}", url(n + 3))).collect();
        let list = list.join(",");
        let start = |n: usize| {
            let child = Command::new("etcd")
                .args(["--enable-v2", "--name", &format!("n{n}"), "--data-dir"])
                .arg(data.path().join(n.to_string()))
                .args(["--listen-client-urls", &url(n), "--advertise-client-urls", &url(n)])
                .args(["--listen-peer-urls", &url(n + 3), "--initial-advertise-peer-urls", &url(n + 3)])
                .args(["--initial-cluster", &list])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("etcd starts");
            (child, ports[n])
        };
        let trio = Self { nodes: (0..3).map(start).collect(), _data: data };
        for n in 0..3 {
            wait_for("an etcd to serve with its name known", START_LIMIT, || {
                let members = http::request(&trio.url(n), "GET", "/v2/members", None);
                members.is_ok_and(|answer| answer.status == 200 && !answer.text().contains("\"name\":\"\""))
                    && http::request(&trio.url(n), "GET", "/health", None).is_ok_and(|a| a.status == 200)
            });
        }
        trio
    }

    pub fn url(&self, n: usize) -> String {
        format!("http://127.0.0.1:{}", self.nodes[n].1)
    }

    pub fn kill(&mut self, n: usize) {
        self.nodes[n].0.kill().expect("it can be killed");
        self.nodes[n].0.wait().expect("it ended");
    }
}

impl Drop for Trio {
    fn drop(&mut self) {
        for (child, _) in &mut self.nodes {
            // It may have been killed by the test already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
