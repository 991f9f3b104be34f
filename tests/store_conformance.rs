//! The store against a real etcd: the same bytes are sent to both, and the whole answers compared.

mod common;
mod conformance;
