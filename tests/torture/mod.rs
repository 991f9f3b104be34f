//! The torture of the store: nodes in network namespaces of their own are killed, paused, cut off, lied to about time
//! and starved of disk, while clients write down what they asked and what they were told; afterwards that must make
//! sense.

pub mod chance;
pub mod checker;
pub mod client;
pub mod cluster;
pub mod driver;
pub mod folders;
pub mod history;
pub mod lifetimes;
pub mod model;
pub mod nemesis;
pub mod network;
pub mod verdict;

use std::time::{Duration, Instant};

/// How long something takes, without the time in which the whole machine stood still: between two looks no more than
/// [`LONGEST_STEP`] counts.
pub struct Stopwatch {
    seen: Instant,
    passed: Duration,
}

/// Longer than any two looks at a stopwatch are apart.
const LONGEST_STEP: Duration = Duration::from_secs(10);

impl Stopwatch {
    pub fn start() -> Self {
        Self { seen: Instant::now(), passed: Duration::ZERO }
    }

    pub fn passed(&mut self) -> Duration {
        self.passed += self.seen.elapsed().min(LONGEST_STEP);
        self.seen = Instant::now();
        self.passed
    }
}

/// A setting of the torture in the environment.
///
/// # Panics
/// It is no number.
pub fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|e| panic!("{name}: {e}")))
}
