//! `[agent]`.

use serde::Deserialize;

use super::{ConfigError, Section};

/// What one source says of the agent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentFragment {}

impl Section for AgentFragment {
    const NAME: &'static str = "agent";
}

/// Checked settings of the agent.
#[derive(Clone, Debug)]
pub struct AgentSettings {}

impl TryFrom<AgentFragment> for AgentSettings {
    type Error = ConfigError;

    fn try_from(_: AgentFragment) -> Result<Self, ConfigError> {
        Ok(Self {})
    }
}
