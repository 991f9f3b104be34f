//! Time as data. The replicated core never reads a clock: the leader stamps every log entry, and everyone else takes
//! the stamp from the entry. This file is the only one that reads the wall clock (`tests/layout.rs` sees to it).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
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

/// This machine's wall clock; for showing, never for deciding.
pub fn wall_time() -> Timestamp {
    Timestamp::now()
}

/// Longest step that the cluster clock takes between two readings. A process that was stopped for longer, or a
/// machine that was paused, goes on where it was: clients could not refresh their keys in that time either.
pub const LONGEST_STEP: Duration = Duration::from_millis(500);

/// A node's reading of the cluster clock. The leader lets it run by its own monotonic clock; a follower takes over what
/// the leader tells it, and carries that on when it becomes leader itself.
///
/// No reading is ever ahead of the leader's, or a key would run out early under the next one: a leader that was
/// cut off and went on counting goes back to the reading of the one that followed it. The time of an election or an
/// outage does not count against any key.
#[derive(Debug)]
pub struct ClusterClock {
    reading: i64,
    read_at: Instant,
    /// The term of the leader that was followed last.
    term: u64,
}

impl ClusterClock {
    /// A clock that starts at the newest stamp known to this node.
    pub fn new(reading: i64, now: Instant) -> Self {
        Self { reading, read_at: now, term: 0 }
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

    /// Takes over the reading of the leader of `term`; that of a new leader also when this clock was ahead of it.
    pub fn follow(&mut self, term: u64, reading: i64, now: Instant) {
        // Of what one leader tells, the highest counts: its messages may overtake each other.
        if term == self.term && reading < self.reading {
            return;
        }
        (self.term, self.reading) = (term, reading);
        self.read_at = self.read_at.max(now);
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
    fn newer_stamps_are_taken_over() {
        let start = Instant::now();
        let mut clock = ClusterClock::new(0, start);
        clock.observe(7 * NANOS, start + SECOND / 4);
        clock.observe(3 * NANOS, start + SECOND / 2);
        assert_eq!(clock.peek(start + SECOND / 4), 7 * NANOS);
    }

    #[test]
    fn a_leader_that_was_cut_off_goes_back_to_the_reading_of_the_one_that_followed_it() {
        let start = Instant::now();
        let (mut old, mut new) = (ClusterClock::new(0, start), ClusterClock::new(0, start));
        for step in 1..=30 {
            old.drive(start + SECOND / 10 * step);
        }
        // The new one hears nothing for 2 s, then leads: a key that it stamps for 4 s must last for 4 s.
        let stamped = new.drive(start + SECOND * 2);
        let told = new.drive(start + SECOND * 3);
        assert!(old.peek(start + SECOND * 3) > told);
        old.follow(2, told, start + SECOND * 3);
        assert!(old.drive(start + SECOND * 3) <= stamped + NANOS);
        old.follow(2, stamped, start + SECOND * 3);
        assert_eq!(old.peek(start + SECOND * 3), told, "a message that was overtaken");
    }
}
