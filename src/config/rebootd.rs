//! `[rebootd]`.

use serde::Deserialize;

use super::{ConfigError, Section};

/// What one source says of the rebootd.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RebootdFragment {}

impl Section for RebootdFragment {
    const NAME: &'static str = "rebootd";
}

/// Checked settings of the rebootd.
#[derive(Clone, Debug)]
pub struct RebootdSettings {}

impl TryFrom<RebootdFragment> for RebootdSettings {
    type Error = ConfigError;

    fn try_from(_: RebootdFragment) -> Result<Self, ConfigError> {
        Ok(Self {})
    }
}
