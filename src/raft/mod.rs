//! The replicated log: openraft over a write-ahead log and over connections between members. `openraft` and `sled` are named
//! nowhere else.

mod channel;
mod faults;
mod hard_state;
mod log;
mod network;
mod node;
mod notes;
mod room;
mod serve;
mod sessions;
mod snapshot;
mod state;
mod types;
mod wal;
mod watermark;
mod wire;

pub use node::{Identity, Node, NodeError, Storage, Tuning};
pub use serve::serve;
pub use state::{Observer, Outcome, Replica, StateMachine};
pub use types::{Peer, RaftLogId, Ticket};

use std::hash::{BuildHasher, Hasher, RandomState};

/// A number that nobody else has: random, by the seed that the standard library draws for each hasher.
pub fn unique() -> u64 {
    RandomState::new().build_hasher().finish()
}
