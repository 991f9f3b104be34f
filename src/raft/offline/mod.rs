//! Data folders of nodes that do not run.

pub mod copy;
pub mod folder;
pub mod force;
