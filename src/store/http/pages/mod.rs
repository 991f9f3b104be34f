//! The pages: what is answered below which path.

pub mod admin;
pub mod auth;
pub mod backup;
pub mod discovery;
pub mod info;
pub mod keys;
pub mod machines;
pub mod members;
pub mod params;
pub mod statistics;
pub mod watch;
