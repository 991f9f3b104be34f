//! Raft's log on disk.

pub mod budget;
pub mod compaction;
pub mod faults;
pub mod medium;
pub mod room;
pub mod store;
mod wal;
mod watermark;
