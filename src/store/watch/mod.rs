//! Watching keys: who waits, telling them, what waits for each.

pub mod fanout;
pub mod hub;
pub mod mailbox;
