//! Why the store does not answer as asked.

use crate::keyspace::Refusal;

/// A request that the store could not carry out.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The keyspace refused it; nothing changed.
    #[error("{}", .0.error)]
    Refused(Refusal),
    /// No leader with a quorum answered in time. A write may still take effect.
    #[error("request timed out")]
    TimedOut,
    /// It could be done, and would do harm.
    #[error("{0}")]
    Unwilling(String),
    /// Nobody led until the time was up: nothing was proposed.
    #[error("no leader")]
    NoLeader,
    /// So much waited that this was not taken up until the time was up: nothing was proposed.
    #[error("too many requests")]
    Busy,
    /// So many watches there are already that no more are taken.
    #[error("too many watches: {0} are on this node, and max_watchers allows no more")]
    TooManyWatches(u64),
    /// This node is stopping.
    #[error("server stopped")]
    Stopping,
}

impl From<Refusal> for StoreError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
