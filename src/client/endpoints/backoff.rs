//! Pauses between attempts: longer each time, and partly by chance.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

/// The longest first pause.
const FIRST: Duration = Duration::from_millis(100);
/// The longest pause of all.
const LONGEST: Duration = Duration::from_secs(5);

/// Counts failures and says how long to wait after each.
#[derive(Clone, Debug, Default)]
pub(in crate::client) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after one more failure: doubles up to a limit, of which chance takes up to a half.
    pub fn pause(&mut self) -> Duration {
        let full = FIRST.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        jitter(full)
    }

    /// Something worked: the next failure is the first one again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Between half of `full` and all of it, so that many clients that failed together do not come back together.
pub(in crate::client) fn jitter(full: Duration) -> Duration {
    // The seed of a hash map is chance enough for a pause.
    let chance = RandomState::new().hash_one(0_u8) % 1000;
    full / 2 + full.mul_f64(chance as f64 / 2000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_limit_and_start_over_after_a_success() {
        let mut backoff = Backoff::default();
        let pauses: Vec<Duration> = (0..40).map(|_| backoff.pause()).collect();
        assert!(pauses[0] >= FIRST / 2 && pauses[0] <= FIRST);
        assert!(pauses[3] >= FIRST * 4 && pauses[3] <= FIRST * 8);
        assert!(pauses[39] >= LONGEST / 2 && pauses[39] <= LONGEST);
        backoff.reset();
        assert!(backoff.pause() <= FIRST);
    }

    #[test]
    fn two_clients_do_not_wait_alike() {
        let waits: Vec<Duration> = (0..20).map(|_| jitter(Duration::from_secs(1))).collect();
        assert!(waits.iter().any(|wait| *wait != waits[0]));
    }
}
