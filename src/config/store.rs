//! `[store]`.

use serde::Deserialize;

use super::{ConfigError, Section};

/// What one source says of the store.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreFragment {
    /// The member's name.
    pub name: Option<String>,
    /// Log entries between snapshots.
    pub snapshot_count: Option<u64>,
}

impl Section for StoreFragment {
    const NAME: &'static str = "store";
    const ALIASES: &'static [(&'static str, &'static str)] = &[("ETCD_NAME", "name")];
}

/// Checked settings of the store.
#[derive(Clone, Debug)]
pub struct StoreSettings {}

impl TryFrom<StoreFragment> for StoreSettings {
    type Error = ConfigError;

    fn try_from(_: StoreFragment) -> Result<Self, ConfigError> {
        Ok(Self {})
    }
}
