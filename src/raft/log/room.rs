//! Whether the log has room for more. While it has none, the leader takes no proposals, and a follower does not answer
//! what it has appended, so that its leader sends it nothing more.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use prometheus::IntCounter;
use tokio::sync::watch;

/// Somebody who waits until there is room.
type Waiter = Box<dyn FnOnce() + Send>;

/// How much room the log takes, and how much it may take.
pub struct Room {
    /// Bytes of the log's files.
    bytes: AtomicU64,
    /// There is no room from so many on.
    limit: AtomicU64,
    full: watch::Sender<bool>,
    waiting: Mutex<Vec<Waiter>>,
    /// Counts how often there was none.
    times: IntCounter,
}

impl Room {
    /// Room without limit; `times` counts how often there was none.
    pub fn new(times: IntCounter) -> Self {
        Self {
            bytes: AtomicU64::new(0),
            limit: AtomicU64::new(u64::MAX),
            full: watch::Sender::new(false),
            waiting: Mutex::default(),
            times,
        }
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

    /// Calls `told` once there is room: at once, or later on another thread, in the order in which they came. An error
    /// never waits.
    pub fn tell(&self, result: io::Result<()>, told: impl FnOnce(io::Result<()>) + Send + 'static) {
        if result.is_err() {
            return told(result);
        }
        let mut waiting = self.waiting();
        if *self.full.borrow() || !waiting.is_empty() {
            waiting.push(Box::new(move || told(result)));
        } else {
            drop(waiting);
            told(result);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiter>> {
        self.waiting.lock().expect("log room lock poisoned")
    }

    fn look(&self) {
        let mut waiting = self.waiting();
        // Under the lock, so that nobody begins to wait behind a look that let everybody go.
        let (bytes, limit) = (self.bytes(), self.limit.load(Ordering::Acquire));
        let full = bytes >= limit;
        let changed = self.full.send_if_modified(|known| std::mem::replace(known, full) != full);
        if full {
            if changed {
                self.times.inc();
                tracing::warn!(bytes, limit, "writes wait: the log has no room until a snapshot is finished");
            }
            return;
        }
        if changed {
            tracing::info!(bytes, limit, "writes go on: the log has room again");
        }
        waiting.drain(..).for_each(|told| told());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn who_comes_while_there_is_no_room_is_told_in_order_once_there_is_and_errors_at_once() {
        let room = Arc::new(Room::new(IntCounter::new("times", "times").unwrap()));
        let told: Arc<Mutex<Vec<u32>>> = Arc::default();
        let tell = |number: u32, result| {
            let told = told.clone();
            room.tell(result, move |_| told.lock().unwrap().push(number));
        };
        tell(1, Ok(()));
        room.add(10);
        room.limit(10);
        tell(2, Ok(()));
        tell(3, Err(io::ErrorKind::Other.into()));
        tell(4, Ok(()));
        assert_eq!(*told.lock().unwrap(), [1, 3]);
        assert!(room.wait().now_or_never().is_none());
        room.subtract(1);
        assert_eq!(*told.lock().unwrap(), [1, 3, 2, 4]);
        assert!(room.wait().now_or_never().is_some());
        assert_eq!(room.times.get(), 1);
    }
}
