//! The replicated log: openraft over a write-ahead log and over connections between members. `openraft` and `sled` are named
//! nowhere else.
//!
//! | folder | what it is about |
//! |---|---|
//! | [`log`] | entries and the vote on disk: the write-ahead log, its watermark, what is purged when |
//! | [`state`] | the state machine, what it remembers of sessions, snapshots of it |
//! | [`peer`] | connections between members: their frames, both ends, openraft's way over them |
//! | [`membership`] | who belongs to the cluster: progress of each, the next step, taking it, joining, being removed |
//! | [`offline`] | data folders of nodes that do not run |

mod data_version;
mod identity;
mod latency;
mod leadership;
mod log;
mod membership;
pub mod metrics;
mod node;
#[cfg(test)]
mod node_test;
mod offline;
mod peer;
mod start;
mod state;
mod statistics;
mod status;
mod storage;
mod tasks;
mod tuning;
mod types;
mod versions;

pub use identity::Identity;
pub use latency::Latency;
pub use membership::admission::Admission;
pub use membership::enter::{Candidate, EnterError, FOUND_GRACE, enter};
pub use membership::inquiry::introduce;
pub use membership::plan::has_quorum;
pub use membership::progress::{MemberProgress, Progress};
pub use node::{Node, NodeError};
pub use offline::copy::copy_alone;
pub use offline::folder::{found, read as read_folder};
pub use peer::card::Refusal;
pub use peer::serve::serve;
pub use peer::wire::Introduction;
pub use state::background::{discard, give_way};
pub use state::machine::{Observer, Outcome, Replica, StateMachine};
pub use status::Status;
pub use storage::{Storage, refuse_full_disk};
pub use tuning::Tuning;
pub use types::{Peer, RaftLogId, Ticket};

use std::io;

/// A number that nobody else has and nobody can guess, never 0: 64 bits from the system's source of randomness.
///
/// # Errors
/// The system has no randomness to give.
pub fn unique() -> io::Result<u64> {
    loop {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(io::Error::from)?;
        match u64::from_ne_bytes(bytes) {
            0 => continue,
            number => return Ok(number),
        }
    }
}

#[cfg(test)]
mod recorded_test;
