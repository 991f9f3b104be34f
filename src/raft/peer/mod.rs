//! Connections between members.

pub mod channel;
pub mod network;
pub mod serve;
pub mod wire;
