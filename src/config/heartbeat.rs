//! `[heartbeat]`.

use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, Section, Span};

/// What one source says of heartbeats.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatFragment {
    /// How long a service may be silent.
    pub ttl: Option<Span>,
}

impl Section for HeartbeatFragment {
    const NAME: &'static str = "heartbeat";
}

/// Checked settings of heartbeats.
#[derive(Clone, Debug)]
pub struct HeartbeatSettings {
    /// Seconds that a service may be silent before it counts as lost; at least 1.
    pub ttl: u64,
}

impl TryFrom<HeartbeatFragment> for HeartbeatSettings {
    type Error = ConfigError;

    fn try_from(fragment: HeartbeatFragment) -> Result<Self, ConfigError> {
        let ttl = fragment.ttl.map_or(Duration::from_secs(10), |span| span.0);
        if ttl.as_secs() == 0 || ttl.subsec_nanos() != 0 {
            return Err(ConfigError::key(
                "heartbeat",
                "ttl",
                "must be whole seconds, such as 5s: the store counts in no smaller unit",
            ));
        }
        Ok(Self { ttl: ttl.as_secs() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ttl(length: Duration) -> Result<u64, ConfigError> {
        HeartbeatSettings::try_from(HeartbeatFragment { ttl: Some(Span(length)) }).map(|s| s.ttl)
    }

    #[test]
    fn a_ttl_is_whole_seconds() {
        assert_eq!(ttl(Duration::from_secs(5)).unwrap(), 5);
        for bad in [0, 500, 1500] {
            let error = ttl(Duration::from_millis(bad)).unwrap_err().to_string();
            assert!(error.starts_with("heartbeat.ttl:"), "{error}");
        }
    }
}
