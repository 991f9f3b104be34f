//! What the store tells to Prometheus.

pub mod counters;
pub mod gauges;
pub mod process;
