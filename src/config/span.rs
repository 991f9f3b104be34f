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

/// A length of time that etcd gives as a bare number of milliseconds; `100ms` or `1s` is taken as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Millis(pub Duration);

impl std::str::FromStr for Millis {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(number) => Ok(Self(Duration::from_millis(number))),
            Err(_) => humantime::parse_duration(text)
                .map(Self)
                .map_err(|e| format!("expected milliseconds or a length of time such as 100ms: {e}")),
        }
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;

        impl serde::de::Visitor<'_> for Reading {
            type Value = Millis;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("milliseconds or a length of time such as 100ms")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Millis, E> {
                Ok(Millis(Duration::from_millis(number)))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Millis, E> {
                u64::try_from(number).map_err(E::custom).and_then(|n| self.visit_u64(n))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Millis, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Reading)
    }
}
