//! The disk: full, failing, and no fuller than it must be.

mod common;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::http::Connection;
use common::store::{Cluster, Node};

const LIMIT: Duration = Duration::from_secs(60);

/// A small file system of its own on a folder; unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, with a word why, on a machine where nothing can be mounted.
    fn mount(folder: &Path, size: &str) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(folder);
        if !nix::unistd::geteuid().is_root() || !mount.status().is_ok_and(|status| status.success()) {
            common::skip("a file system can be mounted by root only");
            return None;
        }
        Some(Self(folder.to_path_buf()))
    }

    fn remount(&self, options: &str) {
        let status = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).status();
        assert!(status.is_ok_and(|status| status.success()), "{options}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a node that is about to end may still have files open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Writes keys one after the other until the node refuses; gives back how many were acknowledged.
fn write_until_it_fails(node: &Node, from: u64) -> u64 {
    let value = "x".repeat(10_000);
    let mut connection = Connection::open(&node.url()).expect("a connection");
    for number in from..from + 100_000 {
        let put = connection.request("PUT", &format!("/v2/keys/d/{number}"), Some(&format!("value={value}")));
        if !put.is_ok_and(|answer| answer.status < 300) {
            return number;
        }
    }
    panic!("the disk never failed");
}

fn wait_for_end(node: &mut Node) -> ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = node.ended() {
            return status;
        }
        assert!(began.elapsed() < LIMIT, "the node goes on with a disk that fails");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Everything acknowledged is there.
fn check_whole(node: &Node, count: u64) {
    let mut connection = Connection::open(&node.url()).expect("a connection");
    for number in 0..count {
        let answer = connection.request("GET", &format!("/v2/keys/d/{number}"), None).expect("an answer");
        assert_eq!(answer.status, 200, "acknowledged and lost: {number} of {count}: {}", answer.text());
    }
}

/// The last line of a node's log that is the end of the program.
fn last_words(cluster: &Cluster) -> String {
    let log = std::fs::read_to_string(cluster.folder().join("n0.log")).expect("the log");
    log.lines()
        .rfind(|line| line.starts_with("muster:"))
        .unwrap_or_else(|| panic!("no last words:\n{log}"))
        .to_string()
}

#[test]
fn a_full_disk_stops_the_node_with_a_clear_message_and_costs_nothing_acknowledged() {
    let mut cluster = Cluster::start(1, &[]);
    cluster.nodes[0].kill();
    let Some(disk) = SmallDisk::mount(&cluster.folder().join("n0"), "40m") else { return };
    cluster.nodes[0].start();
    let count = write_until_it_fails(&cluster.nodes[0], 0);
    assert!(count > 100, "only {count} fit");
    let status = wait_for_end(&mut cluster.nodes[0]);
    assert_eq!(status.code(), Some(1), "{status}");
    let words = last_words(&cluster);
    assert!(
        words.contains("No space left on device") && words.contains("stopped to protect its data"),
        "{words}"
    );
    // Nobody has made room yet: it says the same again, or serves what it has.
    disk.remount("size=160m");
    cluster.nodes[0].start();
    check_whole(&cluster.nodes[0], count);
    assert!(cluster.nodes[0].request("PUT", "/v2/keys/after", Some("value=x")).status < 300);
}

#[test]
fn a_disk_that_returns_errors_stops_the_node_with_a_clear_message_and_costs_nothing_acknowledged() {
    let mut cluster = Cluster::start(1, &[]);
    let value = "x".repeat(1000);
    for number in 0..20 {
        let put =
            cluster.nodes[0].request("PUT", &format!("/v2/keys/d/{number}"), Some(&format!("value={value}")));
        assert!(put.status < 300);
    }
    // Its words go to a file as well, and stay below that.
    cluster.nodes[0].limit_files(256 << 10);
    let count = write_until_it_fails(&cluster.nodes[0], 20);
    let status = wait_for_end(&mut cluster.nodes[0]);
    assert_eq!(status.code(), Some(1), "{status}");
    let words = last_words(&cluster);
    assert!(words.contains("File too large") && words.contains("stopped to protect its data"), "{words}");
    cluster.nodes[0].start();
    check_whole(&cluster.nodes[0], count);
}

/// All bytes that a folder takes on the disk.
fn taken(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    // A file may go while it is looked at.
    let sizes = entries.filter_map(|entry| {
        let meta = entry.metadata().ok()?;
        Some(if meta.is_dir() { taken(&entry.path()) } else { meta.blocks() * 512 })
    });
    sizes.sum()
}

/// Writes over 10,000 keys for as long as the log takes to be renewed many times.
#[test]
fn steady_writes_do_not_grow_the_data_folder_beyond_a_multiple_of_the_data() {
    const KEYS: u64 = 10_000;
    const VALUE: usize = 100;
    /// A segment of the log.
    const SEGMENT: u64 = 16 << 20;
    /// Snapshots over keys and values: two, while one replaces the other, each with the history and what keys take.
    const MULTIPLE: u64 = 6;
    let writes =
        std::env::var("MUSTER_TORTURE_WRITES").map_or(40_000, |text| text.parse().expect("a number"));
    let cluster = Cluster::start(1, &["--snapshot-count", "400", "--history-events", "1000"]);
    let url = cluster.nodes[0].url();
    let (next, most) = (AtomicU64::new(0), AtomicU64::new(0));
    let data = cluster.folder().join("n0");
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut connection = Connection::open(&url).expect("a connection");
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= writes {
                        return;
                    }
                    let form = format!("value={number:0VALUE$}");
                    let target = format!("/v2/keys/steady/{}", number % KEYS);
                    let put = connection.request("PUT", &target, Some(&form));
                    assert!(put.is_ok_and(|answer| answer.status < 300));
                    if number.is_multiple_of(500) {
                        most.fetch_max(taken(&data), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let payload = KEYS * (VALUE as u64 + "/steady/1234".len() as u64);
    let most = most.into_inner();
    println!("{writes} writes: at most {most} bytes on disk for {payload} bytes of keys and values");
    // The entries that are kept lie in the newest segment or the one before, and the next one is made ahead.
    assert!(most < MULTIPLE * payload + 3 * SEGMENT, "{most} bytes on disk for {payload} bytes of data");
}
