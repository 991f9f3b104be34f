//! What can go wrong around a reboot.

use super::lifecycle::Illegal;
use super::semaphore::SemaphoreError;
use crate::chain::chain;
use crate::claim::Duplicate;
use crate::client::ClientError;
use crate::systemd::BusError;

/// Why a step of the reboot coordinator did not work.
#[derive(Debug, thiserror::Error)]
pub enum RebootError {
    /// The store did not do its part.
    #[error("cannot {doing}: {cause}")]
    Store {
        /// What was tried, such as `read the reboot lock`.
        doing: &'static str,
        /// What the client said.
        cause: Box<ClientError>,
    },
    /// The semaphore refuses.
    #[error(transparent)]
    Semaphore(#[from] SemaphoreError),
    /// Others changed the lock each time between reading and writing it.
    #[error("the reboot lock was changed by others {0} times in a row")]
    Contended(u32),
    /// There is no such group.
    #[error(
        "there is no group \"{0}\" of machines: no coordinator has it in its settings, and nobody has set its maximum"
    )]
    NoGroup(String),
    /// A record is not what it should be; somebody may have written it by hand.
    #[error("the value of {key} is not understood: {cause}")]
    Record {
        /// The record's key.
        key: String,
        /// What is wrong with it.
        cause: serde_json::Error,
    },
    /// systemd or logind did not do what was asked.
    #[error("{}", chain(.0))]
    Bus(#[from] BusError),
    /// Something of this machine could not be read.
    #[error("cannot read {what}: {cause}")]
    Machine {
        /// The file or fact.
        what: &'static str,
        /// What the system said.
        cause: std::io::Error,
    },
    /// Another machine has this one's id: neither its record nor its lock may be touched.
    #[error(transparent)]
    Duplicate(#[from] Duplicate),
    /// A fault of the coordinator itself.
    #[error(transparent)]
    Illegal(#[from] Illegal),
}

impl RebootError {
    /// For `map_err` on requests to the store: `doing` is what was tried, such as `read the reboot lock`.
    pub fn store(doing: &'static str) -> impl FnOnce(ClientError) -> Self {
        move |cause| Self::Store { doing, cause: Box::new(cause) }
    }
}
