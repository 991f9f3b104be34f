//! Pages of the store beside the keys: users and roles, members, backups; and keys of a server that is no endpoint.

pub mod auth;
pub mod backup;
pub mod directory;
pub mod members;
