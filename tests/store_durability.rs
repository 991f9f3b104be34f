//! Nothing acknowledged is ever lost: a single node is killed under load again and again.

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::http::Connection;
use common::store::Cluster;

const KILLS: usize = 20;
const WRITERS: usize = 8;

/// How long writers may take to get under way.
const LOAD_LIMIT: Duration = Duration::from_secs(30);

/// How often many kills say how far they are.
const PROGRESS: Duration = Duration::from_secs(30);

/// What one writer did in one round.
#[derive(Default)]
struct Written {
    /// What was acknowledged last, by key.
    last: BTreeMap<String, String>,
    acknowledged: usize,
    /// The node went while a write was under way.
    cut: bool,
}

/// Writes keys of its own, one after the other, until told to stop or the node is gone; counts in `all` what all writers
/// got acknowledged.
fn write(url: &str, writer: usize, round: usize, all: &AtomicUsize, stop: &AtomicBool) -> Written {
    let mut written = Written::default();
    let Ok(mut connection) = Connection::open(url) else { return written };
    for count in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("/load/{writer}/{}", count % 50);
        let value = format!("{round}-{count}");
        match connection.request("PUT", &format!("/v2/keys{key}"), Some(&format!("value={value}"))) {
            Ok(answer) if answer.status < 300 => {
                written.last.insert(key, value);
                written.acknowledged += 1;
                all.fetch_add(1, Ordering::Relaxed);
            }
            // The node is gone; what was sent last may or may not have been written.
            _ => {
                written.cut = true;
                break;
            }
        }
    }
    written
}

/// `round-count` of a value.
fn order(value: &str) -> (u64, u64) {
    let (round, count) = value.split_once('-').expect("a value that a writer wrote");
    (round.parse().expect("a round"), count.parse().expect("a count"))
}

/// What many kills came to.
#[derive(Default)]
struct Toll {
    kills: usize,
    acknowledged: usize,
    /// Writes that were under way when the node was killed.
    cut: usize,
}

/// Kills the only node of `cluster` again and again while it is written to, and says now and then how far it is.
///
/// # Errors
/// An acknowledged write is lost.
fn kill_under_load(cluster: &mut Cluster, kills: usize) -> Result<Toll, String> {
    let mut acknowledged: BTreeMap<String, String> = BTreeMap::new();
    let mut toll = Toll::default();
    let url = cluster.nodes[0].url();
    let (began, mut told) = (Instant::now(), Instant::now());
    for round in 0..kills {
        let (all, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let news: Vec<Written> = std::thread::scope(|scope| {
            let (url, all, stop) = (&url, &all, &stop);
            let writers: Vec<_> =
                (0..WRITERS).map(|w| scope.spawn(move || write(url, w, round, all, stop))).collect();
            std::thread::sleep(Duration::from_millis(150 + 37 * round as u64 % 200));
            // On a machine that is busy with other things they may not have begun.
            let load = Instant::now();
            while all.load(Ordering::Relaxed) < WRITERS && load.elapsed() < LOAD_LIMIT {
                std::thread::sleep(Duration::from_millis(2));
            }
            cluster.nodes[0].kill();
            stop.store(true, Ordering::Relaxed);
            writers.into_iter().map(|w| w.join().expect("a writer")).collect()
        });
        let cut = news.iter().filter(|written| written.cut).count();
        assert!(all.into_inner() >= WRITERS, "hardly anything was written in round {round}");
        assert!(cut > 0, "no write was under way in round {round}");
        toll.kills += 1;
        toll.cut += cut;
        toll.acknowledged += news.iter().map(|written| written.acknowledged).sum::<usize>();
        acknowledged.extend(news.into_iter().flat_map(|written| written.last));
        if cluster.nodes[0].try_start().is_err() {
            return Err(format!("round {round}: the node does not start again"));
        }
        compare(&url, &acknowledged).map_err(|why| format!("round {round}: {why}"))?;
        if told.elapsed() >= PROGRESS {
            told = Instant::now();
            let seconds = began.elapsed().as_secs();
            println!("{seconds:>6} s  {} kills, {} acknowledged writes", toll.kills, toll.acknowledged);
        }
    }
    Ok(toll)
}

/// Whether everything acknowledged is there, or something newer.
fn compare(url: &str, acknowledged: &BTreeMap<String, String>) -> Result<(), String> {
    let mut connection = Connection::open(url).expect("the node is back");
    for (key, value) in acknowledged {
        let answer = connection.request("GET", &format!("/v2/keys{key}"), None).expect("an answer");
        let found = answer.json()["node"]["value"].as_str().map(str::to_string);
        let Some(found) = found else { return Err(format!("{key} is lost: {}", answer.text())) };
        if order(&found) < order(value) {
            return Err(format!("{key} is {found}, acknowledged was {value}"));
        }
    }
    Ok(())
}

#[test]
fn a_node_killed_twenty_times_under_load_loses_no_acknowledged_write() {
    // Snapshots come often, so that many kills fall into one.
    let mut cluster = Cluster::start(1, &["--snapshot-count", "200"]);
    kill_under_load(&mut cluster, KILLS).unwrap_or_else(|why| panic!("{why}"));
}

#[test]
#[ignore = "contrib/torture --kills runs it"]
fn a_node_killed_as_often_as_asked_for_loses_no_acknowledged_write() {
    let kills = std::env::var("MUSTER_TORTURE_KILLS").map_or(1000, |text| text.parse().expect("a number"));
    let quick = ["--heartbeat-interval", "10", "--election-timeout", "50"];
    let mut cluster = Cluster::start(1, &[["--snapshot-count", "200"].as_slice(), &quick].concat());
    let began = Instant::now();
    match kill_under_load(&mut cluster, kills) {
        Ok(toll) => {
            println!("kills                {}", toll.kills);
            println!("acknowledged writes  {}", toll.acknowledged);
            println!("cut by a kill        {}        writes that were under way", toll.cut);
            println!("time                 {} s", began.elapsed().as_secs());
            println!("passed  no acknowledged write is lost\nverdict of {kills} kills: passed");
        }
        Err(why) => {
            println!("FAILED  no acknowledged write is lost\n{why}\nverdict of {kills} kills: FAILED");
            panic!("{why}");
        }
    }
}

#[test]
fn a_store_that_acknowledges_before_it_flushes_is_caught() {
    if !cfg!(debug_assertions) || std::env::var_os("MUSTER_BIN").is_some() {
        eprintln!("skipped: only a debug build of these sources has that fault");
        return;
    }
    let mut cluster = Cluster::start(1, &["--snapshot-count", "100000"]);
    cluster.nodes[0].kill();
    cluster.nodes[0].environment.push(("MUSTER_TEST_ACKNOWLEDGE_EARLY".into(), "1".into()));
    cluster.nodes[0].start();
    let caught = kill_under_load(&mut cluster, 5).err().expect("it lost nothing, or nobody noticed");
    println!("{caught}");
}

#[test]
fn a_lifetime_goes_on_after_a_restart_and_the_time_away_does_not_count() {
    let mut cluster = Cluster::start(1, &[]);
    let node = &mut cluster.nodes[0];
    node.request("PUT", "/v2/keys/brief", Some("value=x&ttl=2"));
    node.kill();
    // The condition is the passing of time itself.
    std::thread::sleep(Duration::from_secs(3));
    node.start();
    assert_eq!(
        node.request("GET", "/v2/keys/brief", None).status,
        200,
        "it ran out while nobody could refresh it"
    );
    let since = Instant::now();
    common::wait_for("the key to run out", Duration::from_secs(5), || {
        node.request("GET", "/v2/keys/brief", None).status == 404
    });
    assert!(since.elapsed() > Duration::from_millis(500), "it ran out too early");
}

#[test]
fn a_damaged_snapshot_stops_the_start_and_is_named() {
    let mut cluster = Cluster::start(1, &["--snapshot-count", "20"]);
    let snapshots = cluster.folder().join("n0/snapshots");
    let newest = || {
        let files = std::fs::read_dir(&snapshots).expect("the folder of snapshots");
        files.filter_map(|f| f.ok().map(|f| f.path())).find(|f| f.extension().is_some_and(|e| e == "snap"))
    };
    let mut count = 0;
    common::wait_for("a snapshot", Duration::from_secs(20), || {
        cluster.nodes[0].request("PUT", &format!("/v2/keys/k{count}"), Some("value=x"));
        count += 1;
        newest().is_some()
    });
    cluster.nodes[0].terminate();
    let path = newest().expect("the snapshot is still there");
    let mut bytes = std::fs::read(&path).expect("the snapshot");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).expect("the damage");
    cluster.nodes[0].launch();
    let log = cluster.folder().join("n0.log");
    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
    common::wait_for("an error that names the file", Duration::from_secs(20), || {
        let log = std::fs::read_to_string(&log).expect("the log");
        log.lines()
            .any(|line| line.starts_with("muster:") && line.contains(&name) && line.contains("damaged"))
    });
}

#[test]
fn a_data_folder_in_use_is_refused_in_plain_words() {
    let cluster = Cluster::start(1, &[]);
    let folder = cluster.folder().join("n0");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_muster"))
        .args([
            "store",
            "--listen-client-urls",
            "http://127.0.0.1:0",
            "--listen-peer-urls",
            "http://127.0.0.1:0",
        ])
        .arg("--data-dir")
        .arg(&folder)
        .output()
        .expect("the second node ran");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("another process is using it") && said.contains("n0"), "{said}");
}
