//! The same requests to a node of ours and to Debian's etcd. Each topic is a table of requests; what differs on purpose
//! stands in `known`, with the reason.

mod auth;
mod compare;
mod expiry;
mod forms;
mod known;
mod members;
mod mix;
mod names;
mod operations;
mod pages;
mod pair;
mod paths;
mod removals;
mod statistics;
mod values;
mod watches;
mod wire;

pub use compare::difference;
pub use pair::Pair;
