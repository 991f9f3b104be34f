//! What clients share: places for connections, room for large requests and answers.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// Open files that are kept for the log, for snapshots, for other members and for refusals.
const OWN_FILES: u64 = 512;

/// With fewer open files a node does not start: it keeps its own, and the least number of clients worth serving, which
/// leaves half of an old default of 1024 for the latter.
pub const LEAST_FILES: u64 = OWN_FILES + LEAST_CONNECTIONS;

/// Client connections that there must be room for.
const LEAST_CONNECTIONS: u64 = 64;

/// Bytes of request bodies that may be in the making at a time, those of small ones left out.
const BODY_BYTES: usize = 64 << 20;

/// A body up to this size takes no part in the limit on all of them.
pub const SMALL_BODY_BYTES: usize = 16 << 10;

/// An answer up to this size is made at once, and takes no part in the limit on large ones.
pub const SMALL_ANSWER_BYTES: usize = 64 << 10;

/// A larger one is made in pieces of about so many bytes, each when the client has taken the one before.
pub const PIECE_BYTES: usize = 64 << 10;

/// Bytes that a large answer may take: a piece ends behind the node or the part of a value that reaches its size, whose
/// bytes may be escaped by six.
const LARGE_ANSWER_BYTES: u32 = 192 << 10;

/// Bytes that were overwritten or removed and may still be in memory for answers that are on their way, all of them
/// together: those that began earlier are given up.
pub const KEPT_BYTES: u64 = 512 << 20;

/// Bytes of large answers that may be on their way.
const LARGE_ANSWERS_BYTES: usize = 96 << 20;

/// Connections that are being told that there are too many.
const REFUSALS: usize = 128;

/// How long a request waits for such room.
const PATIENCE: Duration = Duration::from_secs(7);

/// The process may open too few files to be of use.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this process may have {open_files} files open, and a node needs at least {LEAST_FILES}: raise LimitNOFILE= or \
     ulimit -n"
)]
pub struct TooFewFiles {
    /// How many it may.
    pub open_files: u64,
}

/// The shared limits of one node.
#[derive(Debug)]
pub struct Limits {
    connections: Arc<Semaphore>,
    most_connections: usize,
    bodies: Arc<Semaphore>,
    large_answers: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
}

/// The place that a new connection gets.
#[derive(Debug)]
pub enum Place {
    /// Among the clients.
    Client(Room),
    /// Among those that are told that there are too many.
    Refusal(Room),
}

/// A place that is free again when this is dropped.
#[derive(Debug)]
pub struct Room(OwnedSemaphorePermit);

impl Room {
    /// Takes in more of the same.
    pub fn add(&mut self, more: Self) {
        self.0.merge(more.0);
    }
}

impl Limits {
    /// Limits for a process that may have so many files open and is to serve at most so many connections.
    ///
    /// # Errors
    /// Fewer open files than [`LEAST_FILES`].
    pub fn new(open_files: u64, connections: usize) -> Result<Self, TooFewFiles> {
        if open_files < LEAST_FILES {
            return Err(TooFewFiles { open_files });
        }
        let possible = usize::try_from(open_files - OWN_FILES).unwrap_or(usize::MAX);
        let most = connections.min(possible).min(Semaphore::MAX_PERMITS);
        if most < connections {
            tracing::warn!(
                open_files,
                connections = most,
                "fewer client connections than max_connections: raise LimitNOFILE= or ulimit -n"
            );
        }
        Ok(Self {
            connections: Arc::new(Semaphore::new(most)),
            most_connections: most,
            bodies: Arc::new(Semaphore::new(BODY_BYTES)),
            large_answers: Arc::new(Semaphore::new(LARGE_ANSWERS_BYTES)),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
        })
    }

    /// A place for one more connection: among the clients, or else where it is told that there are too many. Waits while
    /// too many are being told.
    pub async fn place(&self) -> Place {
        let held = |permit: Result<_, AcquireError>| Room(permit.expect("the limits are never closed"));
        tokio::select! {
            biased;
            permit = self.connections.clone().acquire_owned() => Place::Client(held(permit)),
            permit = self.refusals.clone().acquire_owned() => Place::Refusal(held(permit)),
        }
    }

    /// How many connections there are, and how many there may be.
    pub fn connections(&self) -> (usize, usize) {
        (self.most_connections - self.connections.available_permits(), self.most_connections)
    }

    /// Room for so many bytes of a request's body that has none yet; `None` when there was none for too long.
    pub async fn body(&self, bytes: usize) -> Option<Room> {
        let bytes = u32::try_from(bytes.min(BODY_BYTES)).unwrap_or(u32::MAX);
        within(self.bodies.clone().acquire_many_owned(bytes)).await
    }

    /// More room for a body that has some; `None` when there is none now.
    pub fn more_of_body(&self, bytes: usize) -> Option<Room> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.bodies.clone().try_acquire_many_owned(bytes).ok().map(Room)
    }

    /// Room for one more large answer; `None` when there is none now.
    pub fn large_answer(&self) -> Option<Room> {
        self.large_answers.clone().try_acquire_many_owned(LARGE_ANSWER_BYTES).ok().map(Room)
    }

    /// Room for one more large answer; `None` when there was none for too long.
    pub async fn large_answer_in_time(&self) -> Option<Room> {
        within(self.large_answers.clone().acquire_many_owned(LARGE_ANSWER_BYTES)).await
    }

    /// How many large answers are on their way.
    pub fn large_answers(&self) -> usize {
        (LARGE_ANSWERS_BYTES - self.large_answers.available_permits()) / LARGE_ANSWER_BYTES as usize
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
            LEAST_FILES
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn places_for_connections_are_limited_by_the_setting_and_by_open_files() {
        assert_eq!(Limits::new(1000, 5000).unwrap().connections(), (0, 488));
        let limits = Limits::new(100_000, 2).unwrap();
        let places: Vec<Place> = (0..2 + REFUSALS).filter_map(|_| limits.place().now_or_never()).collect();
        let clients = places.iter().filter(|place| matches!(place, Place::Client(_))).count();
        assert_eq!((clients, places.len()), (2, 2 + REFUSALS));
        assert_eq!(limits.connections(), (2, 2));
        assert!(limits.place().now_or_never().is_none(), "it waits, and is not just closed");
        drop(places);
        assert!(matches!(limits.place().now_or_never(), Some(Place::Client(_))));
    }

    #[test]
    fn a_node_needs_some_open_files() {
        assert_eq!(Limits::new(LEAST_FILES - 1, 1).unwrap_err(), TooFewFiles { open_files: 575 });
        assert_eq!(Limits::new(LEAST_FILES, 5000).unwrap().connections(), (0, 64));
    }

    #[tokio::test]
    async fn a_body_waits_for_room() {
        let limits = Limits::new(10_000, 10).unwrap();
        let all = limits.body(usize::MAX).await;
        assert!(all.is_some() && limits.body(1).now_or_never().is_none());
        drop(all);
        assert!(limits.body(1).await.is_some());
    }

    #[tokio::test]
    async fn large_answers_are_limited_by_what_they_may_take() {
        let limits = Limits::new(10_000, 10).unwrap();
        let most = LARGE_ANSWERS_BYTES / LARGE_ANSWER_BYTES as usize;
        let mut all: Vec<_> = std::iter::from_fn(|| limits.large_answer()).collect();
        assert_eq!((all.len(), limits.large_answers()), (most, most));
        assert!(limits.large_answer_in_time().now_or_never().is_none());
        all.pop();
        assert!(limits.large_answer_in_time().await.is_some());
        assert_eq!(limits.large_answers(), most - 1);
    }
}
