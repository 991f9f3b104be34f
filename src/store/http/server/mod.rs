//! Connections of clients: accepting them, requests and answers on them, watches that wait, large bodies.

pub mod answer_stream;
pub mod connection;
pub mod framing;
pub mod service;
pub mod target;
pub mod watch_stream;
