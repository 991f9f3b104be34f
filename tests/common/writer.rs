//! A writer that never rests while nodes die around it: what it was told is stored must be there afterwards.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::http::{self, Connection};
use super::wait_for;

/// How long an answer may take before the next node is asked.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between two writes: enough of them to see a gap, and few enough not to make one.
const PACE: Duration = Duration::from_millis(10);

/// Writes one key after the other below a folder until it is stopped or dropped.
pub struct Writer {
    folder: String,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Vec<(u64, Instant)>>>,
    thread: Option<JoinHandle<()>>,
}

/// What a writer was told is stored.
pub struct Written {
    folder: String,
    acknowledged: Vec<(u64, Instant)>,
}

impl Writer {
    /// Starts one that talks to the first node of `urls` until that fails it, then to the next.
    pub fn start(urls: Vec<String>, folder: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let thread = std::thread::spawn({
            let (stop, acknowledged, folder) = (stop.clone(), acknowledged.clone(), folder.to_string());
            move || write(&urls, &folder, &stop, &acknowledged)
        });
        let writer = Self { folder: folder.to_string(), stop, acknowledged, thread: Some(thread) };
        wait_for("the first writes", Duration::from_secs(10), || {
            writer.acknowledged.lock().expect("the writer has not panicked").len() > 10
        });
        writer
    }

    /// Stops it.
    pub fn stop(mut self) -> Written {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it is stopped once");
        thread.join().expect("the writer has not panicked");
        let acknowledged = std::mem::take(&mut *self.acknowledged.lock().expect("nobody else has it"));
        Written { folder: std::mem::take(&mut self.folder), acknowledged }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Written {
    /// How many writes were acknowledged.
    pub fn count(&self) -> usize {
        self.acknowledged.len()
    }

    /// The longest time between two successful writes.
    pub fn longest_gap(&self) -> Duration {
        let gaps = self.acknowledged.windows(2).map(|pair| pair[1].1 - pair[0].1);
        gaps.max().unwrap_or_default()
    }

    /// Acknowledged writes that the node's own copy does not have.
    #[track_caller]
    pub fn missing_on(&self, url: &str) -> Vec<u64> {
        let target = format!("/v2/keys/{}?quorum=false", self.folder);
        let answer = http::request(url, "GET", &target, None).expect("the node answers");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        let nodes = answer["node"]["nodes"].as_array().cloned().unwrap_or_default();
        let stored: BTreeSet<u64> =
            nodes.iter().filter_map(|node| node["value"].as_str()?.parse().ok()).collect();
        let acknowledged = self.acknowledged.iter().map(|(number, _)| *number);
        acknowledged.filter(|number| !stored.contains(number)).collect()
    }
}

/// A write without an answer may have happened or not: its number is not used again.
fn write(urls: &[String], folder: &str, stop: &AtomicBool, acknowledged: &Mutex<Vec<(u64, Instant)>>) {
    let mut nodes = urls.iter().cycle();
    let mut connection = None;
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        match put(&mut connection, &mut nodes, folder, number) {
            Ok(()) => {
                let mut acknowledged = acknowledged.lock().expect("nobody panics with it");
                acknowledged.push((number, Instant::now()));
            }
            Err(_) => connection = None,
        }
        std::thread::sleep(PACE);
    }
}

fn put<'a>(
    connection: &mut Option<Connection>,
    nodes: &mut impl Iterator<Item = &'a String>,
    folder: &str,
    number: u64,
) -> io::Result<()> {
    let connection = match connection {
        Some(connection) => connection,
        None => {
            let url = nodes.next().expect("there is a node");
            connection.insert(Connection::open_within(url, PATIENCE)?)
        }
    };
    let target = format!("/v2/keys/{folder}/{number}");
    let answer = connection.request("PUT", &target, Some(&format!("value={number}")))?;
    match answer.status {
        200 | 201 => Ok(()),
        status => Err(io::Error::other(format!("status {status}"))),
    }
}
