//! Writes while others read a large directory on every node again and again.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::client::put;
use crate::load::{self, Until};
use crate::servers::{Cluster, Kind};

/// Keys below the directory.
const KEYS: usize = 150_000;

/// Bytes of each value.
const VALUE_BYTES: usize = 800;

/// Readers, in turn at each node.
const READERS: usize = 6;

/// How long the writes are measured without the readers, and with them.
const TIMES: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(20)];

/// How often the nodes' memory is looked at.
const LOOK: Duration = Duration::from_millis(20);

const REQUEST: &[u8] = b"GET /v2/keys/list?recursive=true HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

/// The 99th percentile of PUT beside six readers of some 125 MiB as a multiple of that without them, the longest PUT beside
/// them in milliseconds, changes of leader, and how much memory a node took above idle, in MiB.
#[expect(clippy::cast_precision_loss)]
pub fn measure(cluster: &mut Cluster) -> Vec<f64> {
    let leader = cluster.leader();
    let port = cluster.port(leader);
    let value = format!("value={}", "x".repeat(VALUE_BYTES));
    let filled = load::run(port, 64, Until::Count(KEYS), |n| put(&format!("/v2/keys/list/{n}"), &value));
    assert_eq!(filled.failed, 0, "requests were refused");
    let write = |time| load::run(port, 1, Until::Time(time), |_| put("/v2/keys/beside", "value=x"));
    let without = write(TIMES[0]);
    let before: Vec<f64> = (0..3).map(|place| changes(cluster, place)).collect();
    let idle: Vec<u64> = (0..3).map(|place| cluster.resident_bytes(place)).collect();
    let (stop, read) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (with, above) = std::thread::scope(|scope| {
        for place in 0..READERS {
            let (port, stop, read) = (cluster.port(place % 3), &stop, &read);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    read.fetch_add(usize::from(list(port, stop)), Ordering::Relaxed);
                }
            });
        }
        let watcher = scope.spawn(|| {
            let mut above = 0;
            while !stop.load(Ordering::Relaxed) {
                let now = (0..3).map(|place| cluster.resident_bytes(place).saturating_sub(idle[place]));
                above = now.max().unwrap_or_default().max(above);
                std::thread::sleep(LOOK);
            }
            above
        });
        let with = write(TIMES[1]);
        stop.store(true, Ordering::Relaxed);
        (with, watcher.join().expect("the watcher ended"))
    });
    let came = (0..3).map(|place| changes(cluster, place) - before[place]).fold(0.0, f64::max);
    let read = read.into_inner();
    if cluster.kind == Kind::Muster {
        assert_eq!(with.failed, 0, "writes were refused beside the readers");
        assert!(read >= READERS, "{read} listings were read by {READERS} readers");
    }
    eprintln!(
        "{read} listings read; PUT p99 {:.2} ms without, {:.2} ms with; {} of {} failed",
        without.quantile(0.99),
        with.quantile(0.99),
        with.failed,
        with.answers.len()
    );
    let ratio = with.quantile(0.99) / without.quantile(0.99);
    vec![ratio, with.quantile(1.0), came, above as f64 / (1 << 20) as f64]
}

/// Reads the directory, and throws it away. Whether it came whole.
fn list(port: u16, stop: &AtomicBool) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    if stream.write_all(REQUEST).is_err() {
        return false;
    }
    let (mut piece, mut bytes) = (vec![0; 256 << 10], 0);
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return bytes > KEYS * VALUE_BYTES,
            Ok(count) => bytes += count,
            Err(_) => return false,
        }
        if stop.load(Ordering::Relaxed) {
            return false;
        }
    }
}

/// Changes of leader that a node has seen.
fn changes(cluster: &Cluster, place: usize) -> f64 {
    let page = cluster.page(place, "/metrics").unwrap_or_default();
    let line = page.lines().find_map(|line| line.strip_prefix("etcd_server_leader_changes_seen_total "));
    line.and_then(|value| value.parse().ok()).expect("a node counts the leaders that came")
}
