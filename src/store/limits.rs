//! What clients share: places for connections, room for large requests and answers.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Open files that are kept for the log, for snapshots and for other members.
const OWN_FILES: u64 = 512;

/// Bytes of request bodies that may be in the making at a time, those of small ones left out.
const BODY_BYTES: usize = 64 << 20;

/// A body up to this size takes no part in the limit on all of them.
pub const SMALL_BODY_BYTES: usize = 16 << 10;

/// Answers to reads of directories that may be in the making, or large and on their way, at a time.
const LISTINGS: usize = 64;

/// An answer up to this size is no longer counted once it is made.
pub const SMALL_ANSWER_BYTES: usize = 64 << 10;

/// Connections that are being told that there are too many.
const REFUSALS: usize = 128;

/// How long a request waits for such room.
const PATIENCE: Duration = Duration::from_secs(7);

/// The shared limits of one node.
#[derive(Debug)]
pub struct Limits {
    connections: Arc<Semaphore>,
    most_connections: usize,
    bodies: Arc<Semaphore>,
    listings: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
}

/// A place that is free again when this is dropped.
#[derive(Debug)]
pub struct Room(#[expect(dead_code, reason = "it is only held")] OwnedSemaphorePermit);

impl Limits {
    /// Limits for a process that may have so many files open and is to serve at most so many connections.
    pub fn new(open_files: u64, connections: usize) -> Self {
        let possible = usize::try_from(open_files.saturating_sub(OWN_FILES).max(1)).unwrap_or(usize::MAX);
        let most = connections.min(possible).min(Semaphore::MAX_PERMITS);
        if most < connections {
            tracing::info!(
                open_files,
                connections = most,
                "fewer client connections than max_connections: raise LimitNOFILE= or ulimit -n"
            );
        }
        Self {
            connections: Arc::new(Semaphore::new(most)),
            most_connections: most,
            bodies: Arc::new(Semaphore::new(BODY_BYTES)),
            listings: Arc::new(Semaphore::new(LISTINGS)),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
        }
    }

    /// A place for one more connection; `None` when all are taken.
    pub fn connection(&self) -> Option<Room> {
        self.connections.clone().try_acquire_owned().ok().map(Room)
    }

    /// A place to say that there is none; `None` when too many are being told: those are just closed.
    pub fn refusal(&self) -> Option<Room> {
        self.refusals.clone().try_acquire_owned().ok().map(Room)
    }

    /// How many connections there are, and how many there may be.
    pub fn connections(&self) -> (usize, usize) {
        (self.most_connections - self.connections.available_permits(), self.most_connections)
    }

    /// Room for a request's body of so many bytes; `None` when there was none for too long.
    pub async fn body(&self, bytes: usize) -> Option<Room> {
        let bytes = u32::try_from(bytes.min(BODY_BYTES)).unwrap_or(u32::MAX);
        within(self.bodies.clone().acquire_many_owned(bytes)).await
    }

    /// Room for the answer to a read of a directory; `None` when there was none for too long.
    pub async fn listing(&self) -> Option<Room> {
        within(self.listings.clone().acquire_owned()).await
    }
}

async fn within<E>(acquired: impl Future<Output = Result<OwnedSemaphorePermit, E>>) -> Option<Room> {
    tokio::time::timeout(PATIENCE, acquired).await.ok()?.ok().map(Room)
}

/// Lets the process open as many files as the system allows it, and says how many that are.
pub fn raise_open_files() -> u64 {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) if soft < hard => match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
            Ok(()) => hard,
            Err(error) => {
                tracing::warn!(%error, open_files = soft, "cannot raise the limit of open files");
                soft
            }
        },
        Ok((soft, _)) => soft,
        Err(error) => {
            tracing::warn!(%error, "cannot read the limit of open files");
            OWN_FILES * 2
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn places_for_connections_are_limited_by_the_setting_and_by_open_files() {
        assert_eq!(Limits::new(1000, 5000).connections(), (0, 488));
        let limits = Limits::new(100_000, 2);
        let first = limits.connection();
        let second = limits.connection();
        assert!(first.is_some() && second.is_some() && limits.connection().is_none());
        drop(first);
        assert_eq!(limits.connections(), (1, 2));
        assert!(limits.connection().is_some());
    }

    #[tokio::test]
    async fn a_body_waits_for_room() {
        let limits = Limits::new(10_000, 10);
        let all = limits.body(usize::MAX).await;
        assert!(all.is_some() && limits.body(1).now_or_never().is_none());
        drop(all);
        assert!(limits.body(1).await.is_some());
    }
}
