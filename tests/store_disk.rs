//! The disk: full, failing, and no fuller than it must be.

mod common;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::http::Connection;
use common::store::{Cluster, Node};
use common::wait_for;

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
    // Nobody has made room yet: it says so at once, and never that it serves.
    let ready = |cluster: &Cluster| cluster.nodes[0].log().matches("ready to serve client requests").count();
    let before = ready(&cluster);
    for _ in 0..2 {
        cluster.nodes[0].launch();
        assert_eq!(wait_for_end(&mut cluster.nodes[0]).code(), Some(1));
        let words = last_words(&cluster);
        assert!(words.contains("No space left on device") && words.contains("make room"), "{words}");
    }
    assert_eq!(ready(&cluster), before, "it said that it serves, on a full disk");
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

/// What the room on disk is made for in these tests, instead of 512 MiB.
const BASE: u64 = 256 << 20;

/// Starts nodes whose room on disk has the smaller base.
fn start_small(count: usize) -> Cluster {
    let mut cluster = Cluster::start(count, &[]);
    for node in &mut cluster.nodes {
        node.terminate();
        node.environment.push(("MUSTER_TEST_DISK_BASE".into(), BASE.to_string()));
    }
    cluster.nodes.iter_mut().for_each(Node::launch);
    cluster.nodes.iter_mut().for_each(Node::wait_until_healthy);
    cluster
}

/// A figure of a node's.
fn figure(node: &Node, name: &str) -> u64 {
    let metrics = node.request("GET", "/metrics", None).text();
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}")).parse().expect("a number")
}

/// Writes to the leader until the log of `full` has no room, and goes on until a write is not acknowledged in time:
/// meanwhile everybody reads what was acknowledged. Then a snapshot makes room, and writes are taken again.
fn writes_wait_and_reads_do_not(mut cluster: Cluster, leader: usize, full: usize) {
    let hold = cluster.folder().join("hold");
    std::fs::write(&hold, "").expect("a file");
    let node = &mut cluster.nodes[full];
    node.terminate();
    node.environment.push(("MUSTER_TEST_DISK_BASE".into(), "0".into()));
    node.environment.push(("MUSTER_TEST_HOLD_SNAPSHOTS".into(), hold.display().to_string()));
    node.start();
    wait_for("a leader", LIMIT, || cluster.leader() == leader);
    let url = cluster.nodes[leader].url();
    let form = format!("value={}", "x".repeat(1_000_000));
    let put = |key: &str| {
        let mut connection = Connection::open_within(&url, LIMIT).expect("a connection");
        connection.request("PUT", &format!("/v2/keys/large/{key}"), Some(&form)).expect("an answer").status
    };
    let longest = std::thread::scope(|scope| {
        let writing = scope.spawn(|| while put("one") < 300 {});
        wait_for("a full log", LIMIT, || figure(&cluster.nodes[full], "muster_disk_writes_held_total") > 0);
        let mut longest = Duration::ZERO;
        while !writing.is_finished() {
            for node in &cluster.nodes {
                let began = Instant::now();
                let answer = node.request("GET", "/v2/keys/large?recursive=false", None);
                assert_eq!(answer.status, 200, "{}: {}", node.name(), answer.text());
                longest = longest.max(began.elapsed());
            }
        }
        longest
    });
    println!("the longest read while writes waited: {longest:?}");
    assert!(longest < Duration::from_secs(2), "a read waited for {longest:?}");
    assert_eq!(cluster.leader(), leader, "another leads");
    std::fs::remove_file(&hold).expect("the file");
    wait_for("writes go on", LIMIT, || put("two") < 300);
    let copy = "/v2/keys/large/two?quorum=false";
    for node in &cluster.nodes {
        wait_for("it is everywhere", LIMIT, || node.request("GET", copy, None).status == 200);
    }
}

#[test]
fn while_the_log_of_a_follower_has_no_room_writes_wait_and_heartbeats_and_reads_do_not() {
    let cluster = Cluster::start(2, &[]);
    let leader = cluster.leader();
    writes_wait_and_reads_do_not(cluster, leader, 1 - leader);
}

#[test]
fn while_the_log_of_a_node_has_no_room_writes_wait_and_reads_do_not() {
    writes_wait_and_reads_do_not(Cluster::start(1, &[]), 0, 0);
}

#[test]
fn a_leader_that_has_lost_its_quorum_writes_nothing_more_and_says_that_nothing_has_happened() {
    let mut cluster = Cluster::start(3, &[]);
    let leader = cluster.leader();
    let others: Vec<usize> = (0..3).filter(|other| *other != leader).collect();
    for other in &others {
        cluster.nodes[*other].kill();
    }
    let node = &cluster.nodes[leader];
    wait_for("the leader to know", LIMIT, || figure(node, "etcd_server_has_leader") == 0);
    let bytes = || figure(node, "etcd_disk_wal_write_bytes_total");
    let (before, form) = (bytes(), format!("value={}", "x".repeat(1_000_000)));
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (url, form) = (node.url(), &form);
            scope.spawn(move || {
                let mut connection = Connection::open_within(&url, LIMIT).expect("a connection");
                let put = connection.request("PUT", &format!("/v2/keys/lost/{number}"), Some(form));
                let answer = put.expect("an answer");
                assert_eq!(answer.json()["cause"], "etcdserver: no leader", "{}", answer.text());
            });
        }
    });
    assert!(bytes() - before < 100_000, "{} bytes came into the log", bytes() - before);
    for other in &others {
        cluster.nodes[*other].launch();
    }
    for other in &others {
        cluster.nodes[*other].wait_until_healthy();
    }
    for number in 0..8 {
        let target = format!("/v2/keys/lost/{number}");
        assert_eq!(cluster.nodes[leader].request("GET", &target, None).status, 404, "{number}");
    }
}

/// The most that was on the disk while something was done.
fn measured(folders: &[PathBuf], work: impl FnOnce()) -> u64 {
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !done.load(Ordering::Acquire) {
                most = folders.iter().map(|folder| taken(folder)).fold(most, u64::max);
                std::thread::sleep(Duration::from_millis(2));
            }
            most
        });
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Ordering::Release);
        let most = watch.join().expect("the measurement");
        worked.map_or_else(|panic| std::panic::resume_unwind(panic), |()| most)
    })
}

/// Four clients write values of so many bytes to the keys that `key` names, until they have written so much.
fn write_steadily(url: &str, bytes: u64, size: usize, key: impl Fn(u64) -> String + Sync) {
    let next = AtomicU64::new(0);
    let form = format!("value={}", "x".repeat(size));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut connection = Connection::open_within(url, LIMIT).expect("a connection");
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number * size as u64 >= bytes {
                        return;
                    }
                    let put = connection.request("PUT", &format!("/v2/keys{}", key(number)), Some(&form));
                    assert!(put.is_ok_and(|answer| answer.status < 300), "write {number}");
                }
            });
        }
    });
}

/// Bytes that a test writes of large values: more than its disk may take.
fn load() -> u64 {
    std::env::var("MUSTER_TORTURE_BYTES").map_or(BASE + BASE / 4, |text| text.parse().expect("a number"))
}

#[test]
fn large_values_that_are_written_again_and_again_take_at_most_three_times_the_data_and_the_base() {
    const SIZE: usize = 1_000_000;
    let cluster = start_small(1);
    let folders = [cluster.folder().join("n0")];
    let url = cluster.nodes[0].url();
    let most = measured(&folders, || write_steadily(&url, load(), SIZE, |n| format!("/large/{}", n % 4)));
    let bound = 3 * 4 * SIZE as u64 + BASE;
    println!("{} bytes written over 4 keys of {SIZE} bytes: at most {most} bytes on disk of {bound}", load());
    assert!(most <= bound, "{most} bytes on disk, {bound} are allowed");
    // Then keys that come and go again.
    let most = measured(&folders, || {
        for round in 0..2 {
            write_steadily(&url, 40_000_000, 100_000, |n| format!("/many/{round}/{n}"));
            let gone =
                cluster.nodes[0].request("DELETE", &format!("/v2/keys/many/{round}?recursive=true"), None);
            assert!(gone.status < 300, "{}", gone.text());
        }
    });
    println!("40 MB written and deleted, twice: at most {most} bytes on disk of {}", bound + 3 * 40_000_000);
    assert!(most <= bound + 3 * 40_000_000, "{most} bytes on disk");
}

#[test]
fn a_follower_that_sleeps_does_not_make_the_leader_keep_the_log_and_catches_up_by_a_snapshot() {
    const SIZE: usize = 1_000_000;
    let cluster = start_small(3);
    let leader = cluster.leader();
    let sleeper = (leader + 1) % 3;
    let folders: Vec<PathBuf> = (0..3).map(|n| cluster.folder().join(format!("n{n}"))).collect();
    let url = cluster.nodes[leader].url();
    cluster.nodes[sleeper].signal(nix::sys::signal::Signal::SIGSTOP);
    let most = measured(&folders, || {
        write_steadily(&url, load(), SIZE, |n| format!("/large/{}", n % 4));
        cluster.nodes[sleeper].signal(nix::sys::signal::Signal::SIGCONT);
        let put = cluster.nodes[leader].request("PUT", "/v2/keys/after", Some("value=x"));
        assert!(put.status < 300);
        wait_for("the follower has it", LIMIT, || {
            let got = cluster.nodes[sleeper].try_request("GET", "/v2/keys/after?quorum=false", None);
            got.is_ok_and(|answer| answer.status == 200)
        });
    });
    let bound = 3 * 4 * SIZE as u64 + BASE;
    println!("{} bytes written while a follower slept: at most {most} bytes on a disk of {bound}", load());
    assert!(most <= bound, "{most} bytes on disk, {bound} are allowed");
    let sent = cluster.nodes.iter().any(|node| node.log().contains("snapshot sent"));
    assert!(sent, "it was not caught up by a snapshot");
}
