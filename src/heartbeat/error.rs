//! What can go wrong with heartbeats.

use crate::client::ClientError;

/// Why a heartbeat could not be sent, ended or listed.
#[derive(Debug, thiserror::Error)]
pub enum HeartbeatError {
    /// The store did not do its part.
    #[error("cannot {doing}: {cause}")]
    Store {
        /// What was tried, such as `send the heartbeat`.
        doing: &'static str,
        /// What the client said.
        cause: Box<ClientError>,
    },
    /// The key came and went between the requests of one beat, again and again: its TTL is too short for the store.
    #[error("the heartbeat's key vanished {0} times while it was being written; its TTL may be too short")]
    Unsteady(u32),
    /// The value could not be written as JSON.
    #[error("cannot write the heartbeat's value: {0}")]
    Value(#[from] serde_json::Error),
}

impl HeartbeatError {
    /// For `map_err` on requests to the store: `doing` is what was tried.
    pub(super) fn store(doing: &'static str) -> impl FnOnce(ClientError) -> Self {
        move |cause| Self::Store { doing, cause: Box::new(cause) }
    }
}
