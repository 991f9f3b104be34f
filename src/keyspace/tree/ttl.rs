//! Lifetimes of keys as requests give them.

use serde::{Deserialize, Serialize};

use crate::clock::NANOS;

/// How long a key is to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ttl {
    /// Nanoseconds from the stamp of the entry; may be zero or negative, as etcd allows.
    pub nanos: i64,
}

impl Ttl {
    /// From whole seconds as the API takes them. Values beyond the range wrap around as in etcd, whose conversion to
    /// nanoseconds overflows.
    pub fn from_secs(secs: u64) -> Self {
        Self { nanos: secs.cast_signed().wrapping_mul(NANOS) }
    }
}
