//! Who belongs to the cluster, and raft's membership that follows it.

pub mod join;
mod node;
pub mod plan;
pub mod progress;
pub mod reconcile;
pub mod removal;
