//! The replicated state and what is kept of it on disk.

pub mod background;
pub mod machine;
pub mod sessions;
pub mod snapshot;
