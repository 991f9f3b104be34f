//! Whether the log has room for more. While it has none, the leader takes no proposals, and a follower takes no entries.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::IntCounter;
use tokio::sync::watch;

/// How much room the log takes, and how much it may take.
pub struct Room {
    /// Bytes of the log's files.
    bytes: AtomicU64,
    /// There is no room from so many on.
    limit: AtomicU64,
    full: watch::Sender<bool>,
    /// Counts how often there was none.
    times: IntCounter,
}

impl Room {
    /// Room without limit; `times` counts how often there was none.
    pub fn new(times: IntCounter) -> Self {
        let (bytes, limit) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        Self { bytes, limit, full: watch::Sender::new(false), times }
    }

    /// Bytes of the log's files.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    /// A file of so many bytes has come.
    pub fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
        self.look();
    }

    /// A file of so many bytes has gone.
    pub fn subtract(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.look();
    }

    /// There is no room from so many bytes on.
    pub fn limit(&self, bytes: u64) {
        self.limit.store(bytes, Ordering::Release);
        self.look();
    }

    /// Waits until there is room.
    pub async fn wait(&self) {
        // `self` keeps the sender alive, so the wait ends only with room.
        let _ = self.full.subscribe().wait_for(|full| !full).await;
    }

    fn look(&self) {
        let mut seen = (0, 0);
        let changed = self.full.send_if_modified(|known| {
            // Under the sender's lock, so that of two looks at a time the later one counts.
            seen = (self.bytes(), self.limit.load(Ordering::Acquire));
            let full = seen.0 >= seen.1;
            std::mem::replace(known, full) != full
        });
        let (bytes, limit) = seen;
        match (changed, bytes >= limit) {
            (true, true) => {
                self.times.inc();
                tracing::warn!(bytes, limit, "writes wait: the log has no room until a snapshot is finished");
            }
            (true, false) => tracing::info!(bytes, limit, "writes go on: the log has room again"),
            (false, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn who_comes_while_there_is_no_room_waits_until_there_is() {
        let room = Room::new(IntCounter::new("times", "times").unwrap());
        assert!(room.wait().now_or_never().is_some());
        room.add(10);
        room.limit(10);
        let mut first = Box::pin(room.wait());
        assert!((&mut first).now_or_never().is_none());
        room.add(1);
        assert!(room.wait().now_or_never().is_none());
        room.subtract(2);
        assert!(first.now_or_never().is_some());
        room.limit(9);
        assert!(room.wait().now_or_never().is_none());
        assert_eq!(room.times.get(), 2, "it was full twice");
    }
}
