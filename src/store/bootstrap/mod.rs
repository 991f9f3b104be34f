//! How a node comes by its cluster: what its data says, discovery, joining, founding.

pub mod discovery;
pub mod found;
pub mod join;
