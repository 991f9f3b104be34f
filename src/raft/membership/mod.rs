//! Who belongs to the cluster, and raft's membership that follows it.

pub mod admission;
pub mod enter;
pub mod found;
pub mod founding;
pub mod inquiry;
mod newcomer;
mod node;
pub mod plan;
pub mod progress;
pub mod reconcile;
pub mod removal;
