//! Faults that tests put in, to see that they are noticed. Not there in release builds.

/// Whether writes are to be acknowledged before they are flushed: when `MUSTER_TEST_ACKNOWLEDGE_EARLY` is set.
#[cfg(debug_assertions)]
pub fn acknowledges_early() -> bool {
    static EARLY: std::sync::LazyLock<bool> =
        std::sync::LazyLock::new(|| std::env::var_os("MUSTER_TEST_ACKNOWLEDGE_EARLY").is_some());
    *EARLY
}

/// The base of the room on disk, in bytes, when `MUSTER_TEST_DISK_BASE` is set: tests need not write so much then.
#[cfg(debug_assertions)]
pub fn disk_base() -> Option<u64> {
    static BASE: std::sync::LazyLock<Option<u64>> =
        std::sync::LazyLock::new(|| std::env::var("MUSTER_TEST_DISK_BASE").ok()?.parse().ok());
    *BASE
}

/// Waits while the file is there that `MUSTER_TEST_HOLD_SNAPSHOTS` names: a snapshot takes as long as a test likes.
#[cfg(debug_assertions)]
pub fn hold_snapshots() {
    static FILE: std::sync::LazyLock<Option<std::path::PathBuf>> =
        std::sync::LazyLock::new(|| std::env::var_os("MUSTER_TEST_HOLD_SNAPSHOTS").map(Into::into));
    while FILE.as_ref().is_some_and(|file| file.exists()) {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// Never in a release build.
#[cfg(not(debug_assertions))]
pub fn hold_snapshots() {}

/// Never in a release build.
#[cfg(not(debug_assertions))]
pub fn disk_base() -> Option<u64> {
    None
}

/// Never in a release build.
#[cfg(not(debug_assertions))]
pub fn acknowledges_early() -> bool {
    false
}
