//! Connections between members.

pub mod callers;
pub mod channel;
pub mod hello;
pub mod incoming;
pub mod network;
pub mod serve;
pub mod wire;
