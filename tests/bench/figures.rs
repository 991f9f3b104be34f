//! What is measured: each figure asks one cluster and gives one number, or several that are measured together.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::client::{Connection, put};
use crate::load::{self, Until, quantile};
use crate::servers::{Cluster, Kind};
use crate::table::Row;
use crate::wrk::{self, Request};

/// Keys that loads write and read.
const KEYS: usize = 10_000;

/// A small value.
const VALUE: &str = "value=0123456789abcdef0123456789abcdef";

fn key(n: usize) -> String {
    format!("/v2/keys/bench/{}", n.wrapping_mul(7919) % KEYS)
}

fn checked(outcome: load::Outcome) -> load::Outcome {
    assert_eq!(outcome.failed, 0, "requests were refused");
    outcome
}

/// Writes every key that the reads ask for.
pub fn fill(cluster: &Cluster) {
    let port = cluster.port(cluster.leader());
    checked(load::run(port, 64, Until::Count(KEYS), |n| put(&format!("/v2/keys/bench/{n}"), VALUE)));
}

/// PUT of small values: throughput, and in a run of its own median and 99th percentile.
pub fn puts(cluster: &Cluster, connections: usize) -> Vec<f64> {
    let rate = put_rate(cluster, connections);
    let port = cluster.port(cluster.leader());
    let until = Until::Time(wrk::LOAD);
    let outcome = checked(load::run(port, connections, until, |n| put(&key(n), VALUE)));
    vec![rate, outcome.quantile(0.5), outcome.quantile(0.99)]
}

/// PUT of small values: throughput.
pub fn put_rate(cluster: &Cluster, connections: usize) -> f64 {
    let requests = (0..KEYS).map(|n| Request::put(key(n), VALUE));
    wrk::rate(cluster.port(cluster.leader()), connections, requests)
}

/// GET, linearizable or of the node's own copy: throughput.
pub fn gets(cluster: &Cluster, connections: usize, quorum: bool) -> Vec<f64> {
    let requests = (0..KEYS).map(|n| Request::get(format!("{}?quorum={quorum}", key(n))));
    vec![wrk::rate(cluster.port(cluster.leader()), connections, requests)]
}

/// Nine reads of the node's own copy to one write: throughput.
pub fn mixed(cluster: &Cluster, connections: usize) -> Vec<f64> {
    let requests = (0..KEYS).map(|n| match n % 10 {
        0 => Request::put(key(n), VALUE),
        _ => Request::get(format!("{}?quorum=false", key(n))),
    });
    vec![wrk::rate(cluster.port(cluster.leader()), connections, requests)]
}

/// Refreshes of keys with a lifetime, one key after the other and again from the first: throughput.
pub fn refreshes(cluster: &Cluster) -> Vec<f64> {
    let port = cluster.port(cluster.leader());
    let path = |n| format!("/v2/keys/beat/{n}");
    checked(load::run(port, 64, Until::Count(KEYS), |n| put(&path(n), "value=up&ttl=600")));
    let requests = (0..KEYS).map(|n| Request::put(path(n), "ttl=600&refresh=true&prevExist=true"));
    vec![wrk::rate(port, 64, requests)]
}

/// Requests in the form of API 3's JSON gateway, for etcd, beside v2's for Muster: throughput.
pub fn gateway(cluster: &Cluster, connections: usize) -> Vec<f64> {
    let body = r#"{"key":"L2JlbmNoL2tleQ==","value":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}"#;
    let requests = std::iter::once(Request::post("/v3/kv/put".into(), body));
    vec![wrk::rate(cluster.port(cluster.leader()), connections, requests)]
}

/// The longest time without a successful write that began before or within a second after the end of the leader, in
/// milliseconds. Four writers work through the two other nodes.
pub fn gap(cluster: &mut Cluster, signal: Signal) -> Vec<f64> {
    let leader = cluster.leader();
    let others: Vec<u16> = (0..3).filter(|place| *place != leader).map(|place| cluster.port(place)).collect();
    let began = Instant::now();
    let ended = began + Duration::from_secs(8);
    let (ending, mut successes) = std::thread::scope(|scope| {
        let writer = |port: u16| {
            scope.spawn(move || {
                let mut seen = Vec::new();
                let mut connection = None;
                while Instant::now() < ended {
                    let open = connection.take().map_or_else(|| Connection::open(port), Ok);
                    let Ok(mut open) = open else { continue };
                    if open.ask(&put("/v2/keys/gap", VALUE)).is_ok_and(|answer| answer.status < 300) {
                        seen.push(began.elapsed());
                        connection = Some(open);
                    }
                }
                seen
            })
        };
        let writers: Vec<_> = others.iter().cycle().take(4).map(|port| writer(*port)).collect();
        std::thread::sleep(Duration::from_secs(1));
        let ending = began.elapsed();
        cluster.end(leader, signal);
        let successes = writers.into_iter().flat_map(|writer| writer.join().expect("a writer ended"));
        (ending, successes.collect::<Vec<Duration>>())
    });
    cluster.launch(leader);
    while !cluster.is_healthy(leader) {
        std::thread::sleep(Duration::from_millis(20));
    }
    successes.sort();
    assert!(successes.first().is_some_and(|first| *first < ending), "no write succeeded before the end");
    // Writes that did not begin again in all that time leave a gap until its end.
    successes.push(ended - began);
    let near = |pair: &&[Duration]| pair[1] > ending && pair[0] < ending + Duration::from_secs(1);
    let gaps = successes.windows(2).filter(near);
    let gaps = gaps.map(|pair| pair[1].saturating_sub(pair[0]).as_secs_f64() * 1e3);
    let longest = gaps.fold(f64::NAN, f64::max);
    vec![longest]
}

/// The rows that measure how a server does with many keys: memory, start-up, writes during a snapshot.
pub fn large(cluster: &mut Cluster, keys: usize) -> Vec<f64> {
    let leader = cluster.leader();
    let port = cluster.port(leader);
    let value = format!("value={}", "x".repeat(100));
    let path = |n: usize| format!("/v2/keys/large/{}/{n}", n / 1000);
    checked(load::run(port, 256, Until::Count(keys), |n| put(&path(n), &value)));
    let during = writes_beside_snapshots(cluster, leader);
    let memory = (0..3).map(|place| cluster.resident_bytes(place)).max().unwrap_or_default();
    #[expect(clippy::cast_precision_loss)]
    let memory = memory as f64 / (1 << 20) as f64;
    let place = (leader + 1) % 3;
    cluster.end(place, Signal::SIGTERM);
    let began = Instant::now();
    cluster.launch(place);
    while !cluster.is_healthy(place) {
        std::thread::sleep(Duration::from_millis(2));
    }
    let start = began.elapsed().as_secs_f64() * 1e3;
    vec![memory, start, during]
}

/// How long writes go on while it is looked for snapshots, how often that is done at most, and how many writes beside a
/// snapshot are enough.
const SNAPSHOT_ROUND: Duration = Duration::from_secs(20);
const SNAPSHOT_ROUNDS: usize = 15;
const ENOUGH_WRITES: usize = 300;

/// The 99th percentile of PUT while the leader writes snapshots, as a multiple of that while it writes none. etcd keeps
/// its snapshots elsewhere, and takes them in the same moment for all nodes: it gets a round of writes, and has no figure.
fn writes_beside_snapshots(cluster: &Cluster, leader: usize) -> f64 {
    let folder = cluster.data(leader).join("snapshots");
    if cluster.kind == Kind::Etcd {
        writes_by_snapshot(cluster, leader, &folder);
        return f64::NAN;
    }
    let (mut during, mut without) = (Vec::new(), Vec::new());
    // A slow machine may take long until the next snapshot is due.
    for _ in 0..SNAPSHOT_ROUNDS {
        let (beside, else_) = writes_by_snapshot(cluster, leader, &folder);
        during.extend(beside);
        without.extend(else_);
        if during.len() >= ENOUGH_WRITES {
            break;
        }
        eprintln!("{} writes beside a snapshot so far, going on", during.len());
    }
    assert!(
        !during.is_empty(),
        "no snapshot was written in {SNAPSHOT_ROUNDS} x {SNAPSHOT_ROUND:?} of writes"
    );
    quantile(during, 0.99) / quantile(without, 0.99)
}

/// Writes for one round: how long each took in milliseconds that was made while the leader wrote a snapshot, and each
/// other one.
fn writes_by_snapshot(cluster: &Cluster, leader: usize, folder: &std::path::Path) -> (Vec<f64>, Vec<f64>) {
    let done = std::sync::atomic::AtomicBool::new(false);
    let began = Instant::now();
    let (outcome, writing) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut writing: Vec<Duration> = Vec::new();
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                if is_writing(folder) {
                    writing.push(began.elapsed());
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            writing
        });
        let until = Until::Time(SNAPSHOT_ROUND);
        let outcome = checked(load::run(cluster.port(leader), 64, until, |n| put(&key(n), VALUE)));
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        (outcome, watcher.join().expect("the watcher ended"))
    });
    let near = |at: &Duration| {
        let place = writing.partition_point(|seen| seen < at);
        writing[place.saturating_sub(1)..]
            .iter()
            .take(2)
            .any(|seen| seen.abs_diff(*at) < Duration::from_millis(5))
    };
    let millis = |took: &Duration| took.as_secs_f64() * 1e3;
    let (during, without): (Vec<_>, Vec<_>) = outcome.answers.iter().partition(|(at, _)| near(at));
    let times = |answers: Vec<(Duration, Duration)>| answers.iter().map(|(_, took)| millis(took)).collect();
    (times(during), times(without))
}

/// Whether a snapshot is being written: unfinished ones have a name of their own.
fn is_writing(folder: &std::path::Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().contains("part"))
}

/// Prints how a figure is going, on standard error.
pub fn note(row: &Row, kind: Kind, pair: usize, values: &[f64]) {
    let shown: Vec<String> = values.iter().map(|value| format!("{value:.2}")).collect();
    eprintln!("{} · {kind:?} · run {pair}: {}", row.name, shown.join(", "));
}
