//! Connections of clients: accepting them, requests and answers on them, watches that wait.

pub mod connection;
pub mod service;
pub mod target;
pub mod watch_stream;
