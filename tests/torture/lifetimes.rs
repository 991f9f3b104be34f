//! Keys with a lifetime: none may be gone before its time, and all must go in the end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::Stopwatch;
use super::chance::Chance;
use crate::common::http;

/// Keys that are watched at a time.
const KEYS: usize = 6;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_millis(2500);

/// What became of the lifetimes.
#[derive(Debug, Default)]
pub struct Lifetimes {
    /// Keys that ran out in their time or later.
    pub expired: usize,
    /// Keys that were gone too early, with how.
    pub early: Vec<String>,
    /// Keys still there when the time was up.
    pub left: Vec<String>,
    /// The longest that a key outlived its time.
    pub latest: Duration,
}

struct Mortal {
    key: String,
    /// Before the request was sent: no stamp of it can be earlier.
    began: Instant,
    lifetime: Duration,
}

/// Writes keys that live for 1 to 4 s through any node and looks for them through any other, until `stop`; then for
/// at most `grace`.
pub fn run(urls: &[String], mut chance: Chance, stop: &AtomicBool, grace: Duration) -> Lifetimes {
    let mut result = Lifetimes::default();
    let started = Instant::now();
    let mut alive: Vec<Mortal> = Vec::new();
    let mut end: Option<Stopwatch> = None;
    for number in 0_u64.. {
        let stopping = stop.load(Ordering::Relaxed);
        if stopping && (alive.is_empty() || end.get_or_insert_with(Stopwatch::start).passed() >= grace) {
            break;
        }
        if !stopping && alive.len() < KEYS {
            alive.extend(make(chance.pick(urls).as_str(), number, 1 + chance.below(4) as u64));
        }
        alive.retain(|mortal| {
            let answer =
                http_within(chance.pick(urls).as_str(), "GET", &format!("{}?quorum=true", mortal.key), None);
            let Some(404) = answer else { return true };
            let age = mortal.began.elapsed();
            if age < mortal.lifetime {
                let when = mortal.began - started;
                let key = &mortal.key;
                result.early.push(format!(
                    "{key}, made {when:?} after the start, lived {age:?} of {:?}",
                    mortal.lifetime
                ));
            } else {
                result.expired += 1;
                result.latest = result.latest.max(age - mortal.lifetime);
            }
            false
        });
        std::thread::sleep(Duration::from_millis(50));
    }
    result.left = alive.into_iter().map(|mortal| mortal.key).collect();
    result
}

/// A key that is known to be there; one whose write got no answer is left to itself.
fn make(url: &str, number: u64, seconds: u64) -> Option<Mortal> {
    let key = format!("/v2/keys/ttl/{number}");
    let began = Instant::now();
    let status = http_within(url, "PUT", &key, Some(&format!("value={number}&ttl={seconds}")));
    matches!(status, Some(200 | 201)).then(|| Mortal { key, began, lifetime: Duration::from_secs(seconds) })
}

/// An answer's status.
fn http_within(url: &str, method: &str, target: &str, form: Option<&str>) -> Option<u16> {
    let mut connection = http::Connection::open_within(url, PATIENCE).ok()?;
    connection.request(method, target, form).ok().map(|answer| answer.status)
}
