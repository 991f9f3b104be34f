//! `[heartbeat]`.

use serde::Deserialize;

use super::{ConfigError, Section};

/// What one source says of the heartbeat.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatFragment {}

impl Section for HeartbeatFragment {
    const NAME: &'static str = "heartbeat";
}

/// Checked settings of the heartbeat.
#[derive(Clone, Debug)]
pub struct HeartbeatSettings {}

impl TryFrom<HeartbeatFragment> for HeartbeatSettings {
    type Error = ConfigError;

    fn try_from(_: HeartbeatFragment) -> Result<Self, ConfigError> {
        Ok(Self {})
    }
}
