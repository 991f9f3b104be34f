//! The members of the cluster as clients are shown them, and changes of them.

pub mod change;
pub mod list;
pub mod version;
