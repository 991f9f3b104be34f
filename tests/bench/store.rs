//! Measures three nodes of Muster beside three of etcd on this machine and prints ratios: see contrib/bench.

mod client;
mod fanout;
mod figures;
mod listings;
mod load;
#[path = "../common/ports.rs"]
mod ports;
mod servers;
mod table;
mod wrk;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;

use servers::{Cluster, Kind};
use table::{Row, Target};

/// Measures one cluster: a number for each row of the group.
type Measure = Box<dyn Fn(&mut Cluster) -> Vec<f64>>;

/// A group of figures that one measurement gives.
struct Group {
    /// What `--only` calls it.
    name: &'static str,
    rows: Vec<Row>,
    measure: Measure,
    /// It changes the cluster for good: each run has a new one.
    own_cluster: bool,
    /// etcd answers it in another way.
    etcd: Option<fn(&mut Cluster) -> Vec<f64>>,
}

/// What the command line asks for.
struct Options {
    pairs: usize,
    keys: usize,
    only: Vec<String>,
}

impl Options {
    fn parse() -> Result<Self, String> {
        let mut options = Self { pairs: 5, keys: 1_000_000, only: Vec::new() };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            let number = |text: String| text.parse().map_err(|_| format!("{text} is no number"));
            match word.as_str() {
                "--pairs" => options.pairs = number(value()?)?,
                "--keys" => options.keys = number(value()?)?,
                "--only" => options.only = value()?.split(',').map(str::to_string).collect(),
                // What cargo adds.
                "--bench" => {}
                other => return Err(format!("{other}: unknown; see contrib/bench --help")),
            }
        }
        Ok(options)
    }
}

fn row(name: &'static str, unit: &'static str, target: Target) -> Row {
    Row { name, unit, target }
}

fn group(name: &'static str, rows: Vec<Row>, measure: impl Fn(&mut Cluster) -> Vec<f64> + 'static) -> Group {
    Group { name, rows, measure: Box::new(measure), own_cluster: false, etcd: None }
}

fn groups(keys: usize) -> Vec<Group> {
    use Target::{AtLeast, AtMost, OwnAtMost};
    let none = Target::None;
    vec![
        group(
            "put1",
            vec![
                row("PUT, 1 connection", "1/s", none),
                row("PUT, 1 connection, median", "ms", AtMost(0.5)),
                row("PUT, 1 connection, p99", "ms", none),
            ],
            |cluster| figures::puts(cluster, 1),
        ),
        group(
            "put64",
            vec![
                row("PUT, 64 connections", "1/s", AtLeast(4.0)),
                row("PUT, 64 connections, median", "ms", none),
                row("PUT, 64 connections, p99", "ms", AtMost(0.3)),
            ],
            |cluster| figures::puts(cluster, 64),
        ),
        group(
            "put256",
            vec![
                row("PUT, 256 connections", "1/s", AtLeast(4.0)),
                row("PUT, 256 connections, median", "ms", none),
                row("PUT, 256 connections, p99", "ms", none),
            ],
            |cluster| figures::puts(cluster, 256),
        ),
        group("get", vec![row("GET linearizable, 64 connections", "1/s", AtLeast(5.0))], |cluster| {
            figures::gets(cluster, 64, true)
        }),
        group("local", vec![row("GET local, 64 connections", "1/s", AtLeast(1.8))], |cluster| {
            figures::gets(cluster, 64, false)
        }),
        group("mixed", vec![row("9 local GET to 1 PUT, 64 connections", "1/s", none)], |cluster| {
            figures::mixed(cluster, 64)
        }),
        group("refresh", vec![row("TTL refresh of 10,000 keys", "1/s", none)], |cluster| {
            figures::refreshes(cluster)
        }),
        group("fan1000", vec![row("fan-out to 1,000 watchers", "ms", none)], |cluster| {
            fanout::measure(cluster, 1000)
        }),
        group("fan10000", vec![row("fan-out to 10,000 watchers", "ms", AtMost(0.25))], |cluster| {
            fanout::measure(cluster, 10_000)
        }),
        Group {
            etcd: Some(|cluster| figures::gateway(cluster, 64)),
            ..group("v3", vec![row("PUT, 64 connections (etcd: v3 gateway)", "1/s", none)], |cluster| {
                vec![figures::put_rate(cluster, 64)]
            })
        },
        group("term", vec![row("no write after SIGTERM of the leader", "ms", AtMost(0.25))], |cluster| {
            figures::gap(cluster, Signal::SIGTERM)
        }),
        group("kill", vec![row("no write after SIGKILL of the leader", "ms", AtMost(1.0))], |cluster| {
            figures::gap(cluster, Signal::SIGKILL)
        }),
        Group {
            own_cluster: true,
            ..group(
                "large",
                vec![
                    row("memory with 1,000,000 keys", "MiB", AtMost(0.4)),
                    row("start-up with 1,000,000 keys", "ms", AtMost(0.4)),
                    row("PUT p99 while a snapshot is written : else", "x", OwnAtMost(2.0)),
                ],
                move |cluster| figures::large(cluster, keys),
            )
        },
        Group {
            own_cluster: true,
            ..group(
                "list",
                vec![
                    row("PUT p99 beside 6 readers of 125 MiB : else", "x", OwnAtMost(10.0)),
                    row("the longest PUT beside them", "ms", none),
                    row("changes of leader beside them", "", OwnAtMost(0.0)),
                    row("memory of a node above idle beside them", "MiB", OwnAtMost(200.0)),
                ],
                listings::measure,
            )
        },
    ]
}

fn main() {
    let options = Options::parse().unwrap_or_else(|error| {
        eprintln!("bench: {error}");
        std::process::exit(64);
    });
    raise_file_limit();
    let wanted =
        |group: &Group| options.only.is_empty() || options.only.iter().any(|name| name == group.name);
    let groups: Vec<Group> = groups(options.keys).into_iter().filter(wanted).collect();
    if groups.is_empty() {
        eprintln!("bench: --only names no figure");
        std::process::exit(64);
    }
    let mut results = Vec::new();
    let mut shared = [Kind::Muster, Kind::Etcd].map(Cluster::start);
    shared.iter().for_each(figures::fill);
    for group in groups.iter().filter(|group| !group.own_cluster) {
        let mut runs = [Vec::new(), Vec::new()];
        for pair in 0..options.pairs {
            // The one that begins changes from pair to pair.
            for place in [pair % 2, 1 - pair % 2] {
                let values = measure(group, &mut shared[place]);
                figures::note(&group.rows[0], shared[place].kind, pair + 1, &values);
                runs[place].push(values);
            }
        }
        collect(group, &runs, &mut results);
    }
    drop(shared);
    for group in groups.iter().filter(|group| group.own_cluster) {
        let mut runs = [Vec::new(), Vec::new()];
        for (place, kind) in [Kind::Muster, Kind::Etcd].into_iter().enumerate() {
            let mut cluster = Cluster::start(kind);
            let values = measure(group, &mut cluster);
            figures::note(&group.rows[0], kind, 1, &values);
            runs[place].push(values);
        }
        collect(group, &runs, &mut results);
    }
    table::print(&results);
}

fn measure(group: &Group, cluster: &mut Cluster) -> Vec<f64> {
    match group.etcd {
        Some(other) if cluster.kind == Kind::Etcd => other(cluster),
        _ => (group.measure)(cluster),
    }
}

fn collect(group: &Group, runs: &[Vec<Vec<f64>>; 2], results: &mut Vec<table::Result>) {
    for (place, row) in group.rows.iter().enumerate() {
        let [ours, theirs] = runs.each_ref().map(|runs| runs.iter().map(|values| values[place]).collect());
        results.push(table::Result { row: *row, ours, theirs });
    }
}

/// Ten thousand watchers are ten thousand files on either side; what is started from here inherits the limit.
fn raise_file_limit() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit of open files");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("the limit can be raised");
}
