//! The replicated log: openraft over a write-ahead log and over connections between members. `openraft` and `sled` are named
//! nowhere else.

mod background;
mod belong;
mod channel;
mod copy;
mod faults;
mod force;
mod hard_state;
mod introduce;
mod latency;
mod log;
mod members;
pub mod metrics;
mod network;
mod node;
mod notes;
mod offline;
mod plan;
mod room;
mod serve;
mod sessions;
mod snapshot;
mod standing;
mod state;
mod status;
mod steward;
mod storage;
mod tuning;
mod types;
mod wal;
mod watermark;
mod wire;

pub use copy::copy_alone;
pub use introduce::introduce;
pub use latency::Latency;
pub use node::{Node, NodeError};
pub use offline::{found, read as read_folder};
pub use plan::has_quorum;
pub use serve::serve;
pub use standing::{Place, Standing};
pub use state::{Observer, Outcome, Replica, StateMachine};
pub use status::Status;
pub use storage::{Identity, Storage};
pub use tuning::Tuning;
pub use types::{Peer, RaftLogId, Ticket};
pub use wire::Introduction;

use std::hash::{BuildHasher, Hasher, RandomState};

/// A number that nobody else has: random, by the seed that the standard library draws for each hasher.
pub fn unique() -> u64 {
    RandomState::new().build_hasher().finish()
}
