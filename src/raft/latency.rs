//! Statistics of the log's way to the followers, as etcd keeps them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How many messages a rate looks back upon (etcd `etcdserver/api/v2stats/queue.go`).
const RATE_MESSAGES: usize = 200;

/// After so long without a message there is no rate.
const RATE_SILENCE: Duration = Duration::from_secs(1);

/// How one follower has answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Latency {
    /// The last answer took so long, in milliseconds.
    pub current: f64,
    /// The mean, in milliseconds.
    pub average: f64,
    /// The shortest, in milliseconds.
    pub minimum: f64,
    /// The longest, in milliseconds.
    pub maximum: f64,
    /// Requests that failed.
    pub fail: u64,
    /// Requests that were answered.
    pub success: u64,
    /// The sum of the squared distances from the mean.
    spread: f64,
}

impl Latency {
    /// An answer after `time`, or a failure.
    pub fn note(&mut self, time: Option<Duration>) {
        let Some(time) = time else {
            self.fail += 1;
            return;
        };
        let millis = time.as_secs_f64() * 1000.0;
        self.minimum = if self.success == 0 { millis } else { self.minimum.min(millis) };
        self.maximum = self.maximum.max(millis);
        self.current = millis;
        self.success += 1;
        // Welford's way: no large sums whose difference would lose the digits.
        let distance = millis - self.average;
        self.average += distance / self.success as f64;
        self.spread += distance * (millis - self.average);
    }

    /// How far the answers lie around the mean, in milliseconds.
    pub fn standard_deviation(&self) -> f64 {
        if self.success == 0 { 0.0 } else { (self.spread / self.success as f64).sqrt() }
    }
}

/// The latest messages with their sizes.
#[derive(Debug, Default)]
pub struct Rates {
    latest: VecDeque<(Instant, usize)>,
    bytes: usize,
}

impl Rates {
    /// A message of `bytes` at `now`.
    pub fn note(&mut self, now: Instant, bytes: usize) {
        if self.latest.len() == RATE_MESSAGES
            && let Some((_, old)) = self.latest.pop_front()
        {
            self.bytes -= old;
        }
        self.latest.push_back((now, bytes));
        self.bytes += bytes;
    }

    /// Messages and bytes a second; `None` when the last message is long ago or there is but one.
    pub fn per_second(&self, now: Instant) -> Option<(f64, f64)> {
        let ((first, _), (last, _)) = (self.latest.front()?, self.latest.back()?);
        let span = (*last - *first).as_secs_f64();
        if now.saturating_duration_since(*last) > RATE_SILENCE || span == 0.0 {
            return None;
        }
        Some((self.latest.len() as f64 / span, self.bytes as f64 / span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_summed_up() {
        let mut latency = Latency::default();
        for millis in [1, 3, 2] {
            latency.note(Some(Duration::from_millis(millis)));
        }
        latency.note(None);
        assert_eq!((latency.success, latency.fail), (3, 1));
        assert_eq!((latency.minimum, latency.maximum, latency.current), (1.0, 3.0, 2.0));
        assert!((latency.average - 2.0).abs() < 1e-9);
        assert!((latency.standard_deviation() - (2.0f64 / 3.0).sqrt()).abs() < 1e-9);
    }

    #[test]
    fn a_rate_is_of_the_latest_messages_and_ends_with_them() {
        let start = Instant::now();
        let mut rates = Rates::default();
        assert_eq!(rates.per_second(start), None);
        for tenth in 0..=10u32 {
            rates.note(start + Duration::from_millis(100) * tenth, 10);
        }
        let now = start + Duration::from_secs(1);
        let (messages, bytes) = rates.per_second(now).expect("a rate");
        assert!((messages - 11.0).abs() < 1e-6 && (bytes - 110.0).abs() < 1e-6);
        assert_eq!(rates.per_second(now + Duration::from_secs(2)), None);
    }
}
