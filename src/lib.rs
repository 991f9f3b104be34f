//! Muster: node coordination through systemd.

pub mod agent;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod heartbeat;
pub mod ids;
pub mod keyspace;
pub mod model;
pub mod raft;
pub mod reboot;
pub mod schedule;
pub mod store;
pub mod systemd;
