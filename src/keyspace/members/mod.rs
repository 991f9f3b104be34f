//! The members of the cluster, as its log decided.

mod attributes;
mod roster;

pub use attributes::{Attributes, Members};
pub use roster::{MemberError, PEER_URLS_BYTES, Roster, Seat};
