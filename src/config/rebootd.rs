//! `[rebootd]`.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, Section, Span};
use crate::model::reboot::Group;

/// The file by which Debian and others say that a reboot is due.
pub const DEFAULT_SENTINEL: &str = "/run/reboot-required";

/// What one source says of the reboot coordinator.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RebootdFragment {
    /// Machines of one group share one lock.
    pub group: Option<String>,
    /// Whether a file asks for a reboot too.
    pub use_sentinel: Option<bool>,
    /// That file. One that is still there after the reboot for it is not obeyed again.
    pub sentinel: Option<PathBuf>,
    /// How often what cannot be watched is looked at.
    pub check_interval: Option<Span>,
    /// Whether the machine stays when the store would lose its quorum.
    pub keep_quorum: Option<bool>,
}

impl Section for RebootdFragment {
    const NAME: &'static str = "rebootd";
}

/// Checked settings of the reboot coordinator.
#[derive(Clone, Debug)]
pub struct RebootdSettings {
    /// Machines of one group share one lock.
    pub group: Group,
    /// The file that asks for a reboot by being there; `None` when only requests count.
    pub sentinel: Option<PathBuf>,
    /// How often what cannot be watched is looked at: the file, systemd's state, the store's members.
    pub check_interval: Duration,
    /// Whether the machine stays when the store would lose its quorum without it.
    pub keep_quorum: bool,
}

impl TryFrom<RebootdFragment> for RebootdSettings {
    type Error = ConfigError;

    fn try_from(fragment: RebootdFragment) -> Result<Self, ConfigError> {
        let group = match fragment.group {
            None => Group::default(),
            Some(text) => text.parse().map_err(|e| ConfigError::key("rebootd", "group", e))?,
        };
        let sentinel = fragment.sentinel.unwrap_or_else(|| DEFAULT_SENTINEL.into());
        if !sentinel.is_absolute() {
            let shown = sentinel.display();
            return Err(ConfigError::key("rebootd", "sentinel", format!("{shown} is no absolute path")));
        }
        let check_interval = fragment.check_interval.map_or(Duration::from_secs(1), |span| span.0);
        if check_interval.is_zero() {
            return Err(ConfigError::key("rebootd", "check_interval", "must be longer than nothing"));
        }
        Ok(Self {
            group,
            sentinel: fragment.use_sentinel.unwrap_or(true).then_some(sentinel),
            check_interval,
            keep_quorum: fragment.keep_quorum.unwrap_or(true),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentinel_can_be_switched_off() {
        let settings = RebootdSettings::try_from(RebootdFragment::default()).unwrap();
        assert_eq!(settings.sentinel, Some(DEFAULT_SENTINEL.into()));
        let off = RebootdFragment { use_sentinel: Some(false), ..RebootdFragment::default() };
        assert_eq!(RebootdSettings::try_from(off).unwrap().sentinel, None);
    }

    #[test]
    fn bad_values_name_their_key() {
        let bad = RebootdFragment { group: Some("..".into()), ..RebootdFragment::default() };
        let error = RebootdSettings::try_from(bad).unwrap_err().to_string();
        assert!(error.starts_with("rebootd.group:"), "{error}");
    }
}
