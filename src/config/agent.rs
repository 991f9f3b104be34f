//! `[agent]`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, Section, Span};
use crate::ids::MachineId;

/// What one source says of the agent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentFragment {
    /// How long a machine counts as present after its last sign of life.
    pub presence_ttl: Option<Span>,
    /// Whether this machine may decide where units run.
    pub engine: Option<bool>,
    /// How long the engine's lease lasts without renewal.
    pub lease_ttl: Option<Span>,
    /// What users may choose machines by.
    pub metadata: Option<BTreeMap<String, String>>,
    /// Another name than the host's.
    pub hostname: Option<String>,
    /// Another id than that of `/etc/machine-id`.
    pub machine_id: Option<String>,
    /// Where unit files and the record of what was done are kept until the next boot.
    pub run_directory: Option<PathBuf>,
    /// Where systemd reads runtime drop-ins.
    pub systemd_directory: Option<PathBuf>,
}

impl Section for AgentFragment {
    const NAME: &'static str = "agent";
}

/// Checked settings of the agent.
#[derive(Clone, Debug)]
pub struct AgentSettings {
    /// How long a machine counts as present after its last sign of life. Whole seconds.
    pub presence_ttl: Duration,
    /// Whether this machine may decide where units run.
    pub engine: bool,
    /// How long the engine's lease lasts without renewal. Whole seconds.
    pub lease_ttl: Duration,
    /// What users may choose machines by.
    pub metadata: BTreeMap<String, String>,
    /// Another name than the host's.
    pub hostname: Option<String>,
    /// Another id than that of `/etc/machine-id`.
    pub machine_id: Option<MachineId>,
    /// Where unit files and the record of what was done are kept until the next boot.
    pub run_directory: PathBuf,
    /// Where systemd reads runtime drop-ins.
    pub systemd_directory: PathBuf,
}

impl TryFrom<AgentFragment> for AgentSettings {
    type Error = ConfigError;

    fn try_from(fragment: AgentFragment) -> Result<Self, ConfigError> {
        let machine_id = fragment.machine_id.map(|text| text.parse()).transpose();
        let metadata = fragment.metadata.unwrap_or_default();
        if let Some(key) = metadata.keys().find(|key| key.is_empty() || key.contains('=')) {
            return Err(ConfigError::key(
                "agent",
                "metadata",
                format!("\"{key}\" is no key: it must have no ="),
            ));
        }
        Ok(Self {
            presence_ttl: ttl("presence_ttl", fragment.presence_ttl, 10)?,
            engine: fragment.engine.unwrap_or(true),
            lease_ttl: ttl("lease_ttl", fragment.lease_ttl, 5)?,
            metadata,
            hostname: fragment.hostname,
            machine_id: machine_id.map_err(|error| ConfigError::key("agent", "machine_id", error))?,
            run_directory: directory("run_directory", fragment.run_directory, "/run/muster")?,
            systemd_directory: directory(
                "systemd_directory",
                fragment.systemd_directory,
                "/run/systemd/system",
            )?,
        })
    }
}

/// A time to live, which the store takes in whole seconds.
fn ttl(key: &str, given: Option<Span>, default: u64) -> Result<Duration, ConfigError> {
    let ttl = given.map_or(Duration::from_secs(default), |span| span.0);
    if ttl.subsec_nanos() != 0 || ttl < Duration::from_secs(2) {
        return Err(ConfigError::key("agent", key, "expected whole seconds, at least 2s"));
    }
    Ok(ttl)
}

fn directory(key: &str, given: Option<PathBuf>, default: &str) -> Result<PathBuf, ConfigError> {
    let path = given.unwrap_or_else(|| default.into());
    if path.is_relative() {
        return Err(ConfigError::key("agent", key, format!("{} is not an absolute path", path.display())));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<AgentSettings, ConfigError> {
        toml::from_str::<AgentFragment>(text).unwrap().try_into()
    }

    #[test]
    fn the_defaults_are_those_of_the_documentation() {
        let settings = settings("").unwrap();
        assert_eq!(settings.presence_ttl, Duration::from_secs(10));
        assert_eq!(settings.lease_ttl, Duration::from_secs(5));
        assert!(settings.engine && settings.metadata.is_empty());
    }

    #[test]
    fn values_that_the_store_cannot_hold_are_refused() {
        for bad in
            ["presence_ttl = '1500ms'", "lease_ttl = '1s'", "machine_id = 'a/b'", "run_directory = 'x'"]
        {
            assert!(settings(bad).is_err(), "{bad} was taken");
        }
        assert!(settings("metadata = { \"a=b\" = \"c\" }").is_err());
    }
}
