//! Damage on the disk: bits that flip and files that end too soon, in every file of the data folder, after SIGKILL and
//! after a clean end. A node either refuses to start and names what is damaged, or starts and has everything that was
//! acknowledged.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::http::Connection;
use common::ports::free_ports;
use tempfile::TempDir;

/// Places damaged per file and ending, unless `MUSTER_TORTURE_PLACES` says otherwise.
const PLACES: usize = 3;

/// How long a node may take until it serves or ends.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Keys that are written, some of them several times.
const KEYS: usize = 400;

type Written = BTreeMap<String, String>;

/// A single node on a data folder; killed when dropped.
struct Node {
    url: String,
    child: Child,
    log: PathBuf,
}

impl Node {
    fn launch(data: &Path, log: &Path) -> Self {
        let ports = free_ports(2);
        let [client, peer] = [ports[0], ports[1]].map(|port| format!("http://127.0.0.1:{port}"));
        // The peer URL makes the member's id, so it stays the same; nobody calls there.
        let own = "http://127.0.0.1:1";
        let child = Command::new(env!("CARGO_BIN_EXE_muster"))
            .args([
                "store",
                "--name",
                "n",
                "--listen-client-urls",
                &client,
                "--advertise-client-urls",
                &client,
            ])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", own])
            .args(["--initial-cluster", &format!("n={own}"), "--snapshot-count", "250"])
            .args(["--heartbeat-interval", "10", "--election-timeout", "50"])
            .arg("--data-dir")
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(log).expect("a log file"))
            .spawn()
            .expect("the node starts");
        Self { url: client, child, log: log.to_path_buf() }
    }

    /// `true` when it serves, `false` when it has ended.
    fn serves(&mut self) -> bool {
        let until = Instant::now() + START_LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().expect("the node's state") {
                assert!(!status.success(), "it ended as if all were well");
                return false;
            }
            let answer = common::http::request(&self.url, "GET", "/health", None);
            if answer.is_ok_and(|answer| answer.status == 200) {
                return true;
            }
            assert!(Instant::now() < until, "neither serves nor ends:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Acknowledged writes that it does not have.
    fn missing(&self, written: &Written) -> Vec<String> {
        let answer =
            common::http::request(&self.url, "GET", "/v2/keys/d?recursive=true", None).expect("an answer");
        let answer = answer.json();
        let nodes = answer["node"]["nodes"].as_array().cloned().unwrap_or_default();
        let found: BTreeMap<&str, &str> =
            nodes.iter().filter_map(|node| Some((node["key"].as_str()?, node["value"].as_str()?))).collect();
        written
            .iter()
            .filter(|(k, v)| found.get(k.as_str()) != Some(&v.as_str()))
            .map(|(k, _)| k.clone())
            .collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A data folder with several snapshots and a log of several segments, and what was acknowledged.
fn fill(data: &Path, clean: bool) -> Written {
    let mut node = Node::launch(data, &data.with_extension("fill.log"));
    assert!(node.serves(), "{}", node.said());
    let mut written = Written::new();
    let mut connection = Connection::open(&node.url).expect("a connection");
    for round in 0..3 {
        for key in 0..KEYS {
            if round > 0 && key % 3 != round {
                continue;
            }
            let (key, long) = (format!("/d/{key}"), if key % 40 == 7 { 90_000 } else { 600 });
            let value = format!("{round}-{}", "x".repeat(long));
            let put = connection.request("PUT", &format!("/v2/keys{key}"), Some(&format!("value={value}")));
            assert!(put.is_ok_and(|answer| answer.status < 300));
            written.insert(key, value);
        }
    }
    let signal = if clean { nix::sys::signal::Signal::SIGTERM } else { nix::sys::signal::Signal::SIGKILL };
    let pid = nix::unistd::Pid::from_raw(i32::try_from(node.child.id()).expect("a process id"));
    nix::sys::signal::kill(pid, signal).expect("the node takes signals");
    node.child.wait().expect("it ended");
    written
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, target).expect("a copy");
        }
    }
}

/// How long a file is without the zeros at its end; segments of the log are made longer than they are.
fn used(file: &Path) -> usize {
    let bytes = fs::read(file).expect("the file");
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    /// A bit flips in this byte.
    Flip(usize),
    /// The file ends here.
    Cut(usize),
    /// 4 KiB from here on are zero.
    Zero(usize),
    /// The file is gone.
    Gone,
}

impl Damage {
    fn inflict(self, path: &Path) {
        let mut bytes = fs::read(path).expect("the file");
        match self {
            Self::Flip(at) => bytes[at] ^= 1 << (at % 8),
            Self::Cut(at) => bytes.truncate(at),
            Self::Zero(at) => {
                let end = bytes.len().min(at + 4096);
                bytes[at..end].fill(0);
            }
            Self::Gone => return fs::remove_file(path).expect("the file goes"),
        }
        fs::write(path, bytes).expect("the damage");
    }
}

/// The same numbers for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit.max(1) as u64).expect("it is below a usize")
    }
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|e| panic!("{name}: {e}")))
}

/// Damages a copy of `base` and starts a node on it.
///
/// # Errors
/// Something acknowledged is lost, or the refusal does not name what is damaged.
fn judge(base: &Path, file: &Path, damage: Damage, written: &Written) -> Result<Verdict, String> {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    copy(base, &data);
    damage.inflict(&data.join(file));
    let mut node = Node::launch(&data, &folder.path().join("log"));
    if node.serves() {
        let missing = node.missing(written);
        return if missing.is_empty() {
            Ok(Verdict::Whole)
        } else {
            Err(format!("{} acknowledged writes are lost without a word: {missing:?}", missing.len()))
        };
    }
    let said = node.said();
    let last = said.lines().rfind(|line| line.starts_with("muster:")).unwrap_or_default();
    if !last.contains(&data.display().to_string()) || !last.contains("damaged") {
        return Err(format!("the damage is not named:\n{said}"));
    }
    let mut again = Node::launch(&data, &folder.path().join("log"));
    if again.serves() {
        return Err(format!("it refused once, and at the next start all seems well:\n{said}"));
    }
    Ok(Verdict::Refused(last.to_string()))
}

/// What a node made of a damage.
enum Verdict {
    /// It said what is damaged.
    Refused(String),
    /// Everything is there.
    Whole,
}

fn torment(clean: bool) {
    let seed = number("MUSTER_TORTURE_SEED", 1);
    let places = number("MUSTER_TORTURE_PLACES", PLACES);
    let mut chance = Chance(0x9E37_79B9_7F4A_7C15 ^ ((seed as u64) << 1) ^ u64::from(clean));
    let folder = TempDir::new().expect("a folder");
    let base = folder.path().join("base");
    let written = fill(&base, clean);
    let (mut refused, mut whole) = (0, 0);
    let mut failures = Vec::new();
    for file in files(&base) {
        let length = used(&file);
        let name = file.strip_prefix(&base).expect("below the folder").to_path_buf();
        let mut damages = vec![Damage::Gone];
        // The log is where nearly everything lies.
        let weight = if name.starts_with("log") { 4 } else { 1 };
        for _ in 0..places * weight {
            if length > 0 {
                damages.push(Damage::Flip(chance.below(length)));
            }
        }
        for _ in 0..(places * weight).div_ceil(3) {
            let last = length.saturating_sub(1 + chance.below(6000));
            damages.extend([chance.below(length), last].map(Damage::Zero));
            damages.extend([chance.below(length), last].map(Damage::Cut));
        }
        for damage in damages {
            match judge(&base, &name, damage, &written) {
                Ok(Verdict::Refused(how)) => {
                    refused += 1;
                    println!("{} {damage:?}: {}", name.display(), how.chars().take(300).collect::<String>());
                }
                Ok(Verdict::Whole) => {
                    whole += 1;
                    println!("{} {damage:?}: nothing lost", name.display());
                }
                Err(why) => failures.push(format!("{} {damage:?}: {why}", name.display())),
            }
        }
    }
    println!("seed {seed}: {refused} refused by name, {whole} without any loss");
    assert!(failures.is_empty(), "{} of them went wrong:\n{}", failures.len(), failures.join("\n"));
    assert!(refused > 0, "no damage was noticed");
}

#[test]
fn damage_after_sigkill_is_named_or_costs_nothing() {
    torment(false);
}

#[test]
fn damage_after_a_clean_end_is_named_or_costs_nothing() {
    torment(true);
}
