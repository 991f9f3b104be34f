//! Heartbeats: a key with a TTL that somebody keeps alive as long as a service is well.
//!
//! What watchers can rely on: a key that *expires* was not kept alive any longer: its service hangs, has failed, or its
//! machine is gone. A key that is *deleted* belonged to a service that ended on purpose. A beat only refreshes the TTL,
//! so no watcher is woken by it; a key that is created again after it expired is back.

mod error;
pub mod list;
pub mod pulse;
pub mod supervise;
pub mod tracker;
pub mod watch;

pub use error::HeartbeatError;
