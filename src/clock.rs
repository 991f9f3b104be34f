//! Time as data. The replicated core never reads a clock: the leader stamps every log entry, and everyone else takes
//! the stamp from the entry. This file is the only one that reads the wall clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Nanoseconds in a second.
pub const NANOS: i64 = 1_000_000_000;

/// When something happened, twice: on the replicated cluster clock, by which keys expire, and on the leader's wall
/// clock, which is only ever shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Nanoseconds on the cluster clock, which starts at zero with the cluster and never goes back.
    pub clock: i64,
    /// Nanoseconds since 1970 on the wall clock of the leader that stamped the entry.
    pub wall: i64,
}

/// Nanoseconds since 1970 by this machine's wall clock; for showing, never for deciding.
pub fn wall_nanos() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_nanos()).unwrap_or(i64::MAX),
    }
}

/// Longest step that the cluster clock takes between two readings. A process that was stopped for longer, or a
/// machine that was paused, goes on where it was: clients could not refresh their keys in that time either.
pub const LONGEST_STEP: Duration = Duration::from_millis(500);

/// A node's reading of the cluster clock: the newest stamp it has seen, carried on by its own monotonic clock.
///
/// It only runs while it is *driven*: the leader drives it by being leader, a follower by hearing from the leader.
/// The time of an election or an outage therefore does not count against any key.
#[derive(Debug)]
pub struct ClusterClock {
    reading: i64,
    read_at: Instant,
}

impl ClusterClock {
    /// A clock that starts at the newest stamp known to this node.
    pub fn new(reading: i64, now: Instant) -> Self {
        Self { reading, read_at: now }
    }

    /// Takes over a stamp seen in the log; an older one changes nothing.
    pub fn observe(&mut self, stamp: i64, now: Instant) {
        if stamp > self.reading {
            self.reading = stamp;
            self.read_at = now;
        }
    }

    /// Lets the clock run up to `now`, by at most [`LONGEST_STEP`], and reads it.
    pub fn drive(&mut self, now: Instant) -> i64 {
        let step = now.saturating_duration_since(self.read_at).min(LONGEST_STEP);
        self.reading += i64::try_from(step.as_nanos()).unwrap_or(i64::MAX);
        self.read_at = self.read_at.max(now);
        self.reading
    }

    /// Skips the time up to `now` without counting it: nobody drove the clock meanwhile.
    pub fn skip(&mut self, now: Instant) {
        self.read_at = self.read_at.max(now);
    }

    /// How long nobody has driven the clock.
    pub fn idle(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.read_at)
    }

    /// The reading at `now` without moving the clock.
    pub fn peek(&self, now: Instant) -> i64 {
        let step = now.saturating_duration_since(self.read_at).min(LONGEST_STEP);
        self.reading + i64::try_from(step.as_nanos()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_driven_clock_follows_the_monotonic_clock() {
        let start = Instant::now();
        let mut clock = ClusterClock::new(5, start);
        assert_eq!(clock.drive(start + SECOND / 4), 5 + NANOS / 4);
        assert_eq!(clock.drive(start + SECOND / 2), 5 + NANOS / 2);
        assert_eq!(clock.peek(start + SECOND), 5 + NANOS);
    }

    #[test]
    fn a_long_pause_counts_as_one_step() {
        let start = Instant::now();
        let mut clock = ClusterClock::new(0, start);
        assert_eq!(clock.drive(start + 60 * SECOND), NANOS / 2);
        assert_eq!(clock.drive(start + 60 * SECOND), NANOS / 2);
    }

    #[test]
    fn undriven_time_is_skipped_and_newer_stamps_are_taken_over() {
        let start = Instant::now();
        let mut clock = ClusterClock::new(0, start);
        clock.skip(start + SECOND / 4);
        assert_eq!(clock.peek(start + SECOND / 4), 0);
        clock.observe(7 * NANOS, start + SECOND / 4);
        clock.observe(3 * NANOS, start + SECOND / 2);
        assert_eq!(clock.peek(start + SECOND / 4), 7 * NANOS);
    }
}
