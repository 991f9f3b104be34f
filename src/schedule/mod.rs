//! Which unit runs on which machine.
//!
//! [`plan()`] decides and never acts: the store, the bus and the clock are out of its reach. The [`engine`] holds a
//! lease so that one machine decides at a time, watches, asks the plan and writes what it says.

pub mod cluster;
pub mod contact;
pub mod engine;
pub mod fit;
mod lease;
pub mod plan;
mod reason;

pub use cluster::{Cluster, Machine};
pub use contact::Contact;
pub use engine::Engine;
pub use plan::{Action, plan};
