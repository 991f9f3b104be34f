//! Raft's log on disk.

pub mod compaction;
mod faults;
pub mod medium;
pub mod store;
mod wal;
mod watermark;
