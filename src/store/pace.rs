//! How long somebody at the other end of a connection is waited for: less and less by one who is slower than a least
//! speed, because what is under way takes room meanwhile.

use std::time::Duration;

/// The least speed, in bytes a second.
pub const LEAST_SPEED: u32 = 64 << 10;

/// How long somebody may still be waited for.
#[derive(Debug)]
pub struct Pace {
    patience: Duration,
    left: Duration,
}

impl Pace {
    /// Nothing is under way yet. `patience` is how long nothing may come, or less than the least speed, before that
    /// counts.
    pub fn new(patience: Duration) -> Self {
        Self { patience, left: patience }
    }

    /// How long it may be waited for now.
    pub fn left(&self) -> Duration {
        self.left
    }

    /// Some bytes have moved.
    pub fn took(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let earned = Duration::from_secs(1) * bytes / LEAST_SPEED;
        self.left = (self.left + earned).min(self.patience);
    }

    /// It was waited for.
    pub fn waited(&mut self, time: Duration) {
        self.left = self.left.saturating_sub(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn who_keeps_the_least_speed_may_go_on_and_who_is_slower_may_not() {
        let mut pace = Pace::new(PATIENCE);
        for _ in 0..100 {
            pace.waited(SECOND);
            pace.took(LEAST_SPEED as usize);
        }
        assert_eq!(pace.left(), PATIENCE);
        let mut waits = 0;
        while pace.left() > 2 * SECOND {
            pace.waited(2 * SECOND);
            pace.took(LEAST_SPEED as usize);
            waits += 1;
        }
        assert_eq!(waits, 8);
    }

    #[test]
    fn who_drips_is_waited_for_as_one_who_sends_nothing() {
        let mut pace = Pace::new(PATIENCE);
        for _ in 0..1000 {
            pace.waited(SECOND / 100);
            pace.took(1);
        }
        assert!(pace.left() < SECOND / 10, "{:?}", pace.left());
    }

    #[test]
    fn speed_earns_no_more_than_the_patience() {
        let mut pace = Pace::new(PATIENCE);
        pace.took(100 << 20);
        assert_eq!(pace.left(), PATIENCE);
        pace.waited(PATIENCE * 2);
        assert_eq!(pace.left(), Duration::ZERO);
    }
}
