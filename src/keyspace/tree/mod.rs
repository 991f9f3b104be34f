//! The tree of keys: its nodes in order, and which of them run out when.

mod blob;
mod expiry;
mod key;
mod node;
mod nodes;
mod ttl;

pub use blob::Blob;
pub use expiry::Deadlines;
pub use key::Key;
pub use node::{Deadline, Kind, Node, View};
pub use nodes::{Extent, Tree};
pub use ttl::Ttl;
