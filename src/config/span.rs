//! Lengths of time as people write them.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

/// A length of time, written as `10s`, `1m 30s` or `250ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text)
            .map(Span)
            .map_err(|e| D::Error::custom(format!("expected a length of time such as 10s or 1m30s: {e}")))
    }
}
