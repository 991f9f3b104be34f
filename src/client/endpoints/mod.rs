//! Which server is asked: finding the endpoints, who is next when one does not answer, pauses between tries.

pub mod backoff;
pub mod failover;
mod list;
pub mod srv;

pub use list::Endpoints;
