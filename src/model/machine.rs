//! Records of machines: what one says of itself, and what users set on it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Moment;
use crate::ids::MachineId;

/// `/muster/machines/ID/info`: what a machine says of itself. Lives as long as the machine's presence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineInfo {
    /// Its machine-id.
    pub id: MachineId,
    /// Its host name.
    pub hostname: String,
    /// Its addresses, without loopback and link-local ones.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// What its configuration says of it.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// What it has.
    #[serde(default)]
    pub resources: Resources,
    /// The version of its agent.
    #[serde(default)]
    pub version: String,
    /// Its kernel's boot id: another one after every boot, and for another machine with the same machine-id.
    pub boot_id: String,
    /// When its agent registered it (RFC 3339).
    #[serde(default)]
    pub since: String,
    /// Its agent has taken the id and does not know its units' states yet: nothing new is placed here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub registering: bool,
    /// Its agent ended in order, so the next one with this machine-id need not wait for the presence to expire.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub agent_stopped: bool,
}

/// `/muster/refused/ID/BOOT`: a machine that was refused because another one that is alive has its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Its host name.
    pub hostname: String,
    /// Its addresses.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Its kernel's boot id.
    pub boot_id: String,
    /// When it was refused.
    pub since: Moment,
}

/// What a machine has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Processors that the agent may use.
    pub cpus: u64,
    /// Bytes of main memory.
    pub memory_bytes: u64,
}

/// `/muster/settings/ID`: what users set on a machine; outlives its presence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MachineSettings {
    /// No unit is placed on it any more; those there stay.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cordon: bool,
    /// Over what its configuration says; an empty value hides a key.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// `/muster/lease/engine`: who decides where units run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineLease {
    /// The machine whose agent holds it.
    pub holder: MachineId,
    /// Since when (RFC 3339).
    pub since: String,
}

/// The metadata a machine counts as having.
pub fn metadata(info: &MachineInfo, settings: &MachineSettings) -> BTreeMap<String, String> {
    let mut merged = info.metadata.clone();
    merged.extend(settings.metadata.clone());
    merged.retain(|_, value| !value.is_empty());
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_win_over_the_configuration_and_an_empty_value_hides() {
        let pairs = |list: &[(&str, &str)]| {
            list.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect::<BTreeMap<_, _>>()
        };
        let text =
            r#"{"id":"a","hostname":"h","boot_id":"b","metadata":{"role":"db","zone":"x","rack":"1"}}"#;
        let info: MachineInfo = serde_json::from_str(text).unwrap();
        let settings = MachineSettings { cordon: false, metadata: pairs(&[("role", "web"), ("zone", "")]) };
        assert_eq!(metadata(&info, &settings), pairs(&[("role", "web"), ("rack", "1")]));
    }

    #[test]
    fn empty_settings_are_an_empty_document() {
        assert_eq!(serde_json::to_string(&MachineSettings::default()).unwrap(), "{}");
    }
}
