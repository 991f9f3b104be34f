//! What integration tests share. Tests of real machines live in files named `lab_*.rs`: they run one at a time.

#![allow(dead_code)] // each test file is a crate of its own and uses a part of this

pub mod daemon;
pub mod dns;
pub mod etcd;
pub mod http;
pub mod lab;
pub mod ports;
pub mod relay;
pub mod store;
pub mod trio;
pub mod writer;

use std::time::{Duration, Instant};

/// Says why a test is left out on this machine. Where nothing may be left out (`tests/run` sees to that by the variable
/// `MUSTER_TEST_NEEDS_ALL`), it fails.
///
/// # Panics
/// When the variable is set.
#[track_caller]
pub fn skip(why: &str) {
    assert!(std::env::var_os("MUSTER_TEST_NEEDS_ALL").is_none(), "this test must not be left out: {why}");
    eprintln!("skipped: {why}");
}

/// Waits until `condition` holds.
///
/// # Panics
/// Naming `what`, when it does not hold within `limit`.
#[track_caller]
pub fn wait_for(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < limit, "waited {limit:?} in vain for: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
