//! One torture from beginning to end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::Stopwatch;
use super::chance::Chance;
use super::checker;
use super::client::{self, Client, FOLDER, Field};
use super::cluster::Cluster;
use super::history::{Act, History, Record, Told};
use super::lifetimes;
use super::nemesis::Nemesis;
use super::verdict::Verdict;

/// Clients that ask at a time.
const CLIENTS: usize = 6;

/// How often a long torture says how far it is.
const PROGRESS: Duration = Duration::from_secs(30);

/// How long nodes may take to have the same data when all is well again, and lifetimes to end.
const SETTLE: Duration = Duration::from_secs(60);

/// What is to be done.
pub struct Plan {
    pub seed: u64,
    pub nodes: usize,
    pub length: Duration,
    /// Where data, logs and history lie.
    pub folder: PathBuf,
}

/// Does it.
pub fn run(plan: &Plan) -> Verdict {
    std::fs::create_dir_all(&plan.folder).expect("a folder for the torture");
    let file = plan.folder.join("history.jsonl");
    let mut verdict = Verdict { seed: plan.seed, ..Verdict::default() };
    let mut cluster = Cluster::start(plan.nodes, &plan.folder);
    if !cluster.has_faketime() {
        println!("clocks stay right: there is no libfaketime (Debian: libfaketime)");
    }
    let history = History::new(Some(&file));
    let mut nemesis = Nemesis::new(Chance::new(plan.seed, 1));
    let urls = cluster.urls();
    let (field, stop) = (Field::default(), AtomicBool::new(false));
    let lifetimes = std::thread::scope(|scope| {
        let _end = StopOnDrop(&stop);
        let mut clients = Vec::new();
        for number in 0..CLIENTS {
            let client = Client { number, urls: &urls, field: &field, history: &history, stop: &stop };
            let chance = Chance::new(plan.seed, 100 + number as u64);
            clients.push(scope.spawn(move || client.run(chance)));
        }
        let (urls, ended) = (&urls, &stop);
        let mortals = scope.spawn(move || lifetimes::run(urls, Chance::new(plan.seed, 2), ended, SETTLE));
        let struck = catch_unwind(AssertUnwindSafe(|| strike(plan, &mut nemesis, &mut cluster, &history)));
        let struck = struck.unwrap_or_else(|_| Err("the torturer failed: see above".into()));
        stop.store(true, Ordering::Relaxed);
        verdict.check("no node ends without a reason", struck);
        let sane = clients.into_iter().all(|client| client.join().is_ok());
        verdict.check("every answer makes sense", if sane { Ok(()) } else { Err("see above".into()) });
        mortals.join().expect("the lifetimes are watched")
    });
    verdict.faults = nemesis.done;
    verdict.lifetimes(&lifetimes);
    finish(&mut verdict, &mut cluster, &history);
    verdict
}

/// The clients end, whatever happens.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn strike(
    plan: &Plan,
    nemesis: &mut Nemesis,
    cluster: &mut Cluster,
    history: &History,
) -> Result<(), String> {
    let (mut watch, mut told) = (Stopwatch::start(), Instant::now());
    while watch.passed() < plan.length {
        nemesis.strike(cluster, |what| history.remark(what))?;
        if told.elapsed() >= PROGRESS {
            told = Instant::now();
            let faults: usize = nemesis.done.values().sum();
            println!("{:>6} s  {} operations, {faults} faults", watch.passed().as_secs(), history.count());
        }
    }
    cluster.heal()
}

/// All is well again: reads everything everywhere, and checks.
fn finish(verdict: &mut Verdict, cluster: &mut Cluster, history: &History) {
    let healthy = catch_unwind(AssertUnwindSafe(|| cluster.wait_until_healthy()));
    if healthy.is_ok() {
        let agree = read_everywhere(cluster, history).and_then(|()| copies_agree(cluster));
        verdict.check("every node's copy is the same in the end", agree);
    }
    verdict.check("all nodes serve in the end", healthy.map_err(|_| "see above".into()));
    let records = history.take();
    verdict.count(&records);
    let keys = checker::linearizable(&records);
    let what = format!("linearizable: {} keys, each for itself", keys.as_ref().copied().unwrap_or_default());
    verdict.check(what, keys.map(drop));
    verdict.check("indexes rise in real time over all keys and nodes", checker::indexes_in_order(&records));
    let panics = cluster.said("panicked at");
    verdict.check("no node panics", if panics.is_empty() { Ok(()) } else { Err(panics.join("\n")) });
}

/// Reads all keys through every node, as clients that come last.
fn read_everywhere(cluster: &Cluster, history: &History) -> Result<(), String> {
    let mut keys = std::collections::BTreeSet::new();
    let mut found = Vec::new();
    for (node, one) in cluster.nodes.iter().enumerate() {
        let began = history.now();
        let answer = one.ask(&format!("{FOLDER}?recursive=true&quorum=true")).map_err(|e| e.to_string())?;
        let (ended, body) = (history.now(), answer.json());
        let cells: std::collections::BTreeMap<u64, _> = body["node"]["nodes"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|node| {
                Some((node["key"].as_str()?.rsplit('/').next()?.parse().ok()?, client::cell(node)?))
            })
            .collect();
        keys.extend(cells.keys().copied());
        found.push((node, began, ended, answer.index(), cells));
    }
    for (node, began, ended, index, cells) in found {
        // Keys that nobody finds are not there; those that were used are known by their numbers.
        for key in 0..=keys.last().copied().unwrap_or_default() {
            let told = cells.get(&key).map_or(Told::Absent, |cell| Told::Found(*cell));
            let client = CLIENTS + node;
            let (ended, told, index) = (Some(ended), Some(told), Some(index));
            history.add(Record { client, node, key, act: Act::Get, began, ended, told, index });
        }
    }
    Ok(())
}

fn copies_agree(cluster: &Cluster) -> Result<(), String> {
    let mut watch = Stopwatch::start();
    loop {
        let copies: Vec<_> = cluster
            .nodes
            .iter()
            .filter_map(|node| node.ask(&format!("{FOLDER}?recursive=true&quorum=false")).ok())
            .map(|answer| answer.body)
            .collect();
        if copies.len() == cluster.count() && copies.iter().all(|copy| *copy == copies[0]) {
            return Ok(());
        }
        if watch.passed() >= SETTLE {
            return Err(format!("they differ after {SETTLE:?}"));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Where the history of a torture lies.
pub fn history_file(folder: &Path) -> PathBuf {
    folder.join("history.jsonl")
}
