//! Connections between members.

pub mod appends;
pub mod callers;
pub mod card;
pub mod channel;
pub mod gate;
pub mod hello;
pub mod incoming;
pub mod lobby;
pub mod network;
pub mod serve;
pub mod wire;
