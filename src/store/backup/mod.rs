//! Copies of the whole keyspace: of a node that runs, and of one that does not.

pub mod copy;
pub mod live;
