//! Connections between members.

pub mod channel;
pub mod hello;
pub mod network;
pub mod serve;
pub mod wire;
