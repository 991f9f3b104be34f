//! What a service says of itself under `/muster/heartbeats/NAME/ID`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{HEARTBEATS, Moment};
use crate::ids::{MachineId, NameError};

/// Name of something that beats: a unit's name or any other.
///
/// Invariant: 1 to 255 bytes of `A-Z a-z 0-9 : - _ . \ @`, does not start with `.` or `_` (a key that does is hidden
/// from listings).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BeatName(Box<str>);

const BEAT_NAME_MAX: usize = 255;

/// The value of a heartbeat's key. Written once; the beats that follow only refresh the key's TTL, which keeps the
/// value and wakes no watcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// When this run of beats began.
    pub since: Moment,
    /// Seconds without a beat after which it counts as lost.
    pub ttl: u64,
    /// What beats: the service itself, its unit or its command.
    pub source: Source,
    /// The process it stands for, on its machine, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
}

/// Who sends a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// `muster heartbeat --unit`: as long as systemd calls the unit active.
    Unit,
    /// `muster heartbeat -- COMMAND`: as long as the command runs.
    Command,
    /// `muster heartbeat beat`: the service itself, beat by beat.
    Beat,
}

impl BeatName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BeatName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let kind = "heartbeat name";
        if text.is_empty() || text.len() > BEAT_NAME_MAX {
            return Err(NameError::Length { kind, text: text.into(), max: BEAT_NAME_MAX });
        }
        if let Some(bad) = text.chars().next().filter(|c| "._".contains(*c)) {
            return Err(NameError::Beginning { kind, text: text.into(), bad });
        }
        let foreign = text.chars().find(|c| !(c.is_ascii_alphanumeric() || ":-_.\\@".contains(*c)));
        match foreign {
            Some(bad) => Err(NameError::Character { kind, text: text.into(), bad }),
            None => Ok(Self(text.into())),
        }
    }
}

impl TryFrom<String> for BeatName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<BeatName> for String {
    fn from(name: BeatName) -> String {
        name.0.into()
    }
}

impl fmt::Display for BeatName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unit => "unit",
            Self::Command => "command",
            Self::Beat => "beat",
        })
    }
}

/// Folder of all machines' heartbeats of that name.
pub fn heartbeats(name: &BeatName) -> String {
    format!("{HEARTBEATS}/{name}")
}

/// Key of one machine's heartbeat.
pub fn heartbeat(name: &BeatName, id: &MachineId) -> String {
    let key = format!("{HEARTBEATS}/{name}/{id}");
    debug_assert_eq!(parse_heartbeat(&key), Some((name.clone(), id.clone())), "what is written is read");
    key
}

/// Name and machine of a heartbeat's key; `None` for keys that are none.
pub fn parse_heartbeat(key: &str) -> Option<(BeatName, MachineId)> {
    let (name, id) = key.strip_prefix(HEARTBEATS)?.strip_prefix('/')?.split_once('/')?;
    Some((name.parse().ok()?, id.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_as_name_and_machine() {
        let (name, id) = ("web@1.service".parse().unwrap(), "m1".parse().unwrap());
        let key = heartbeat(&name, &id);
        assert_eq!(key, "/muster/heartbeats/web@1.service/m1");
        assert_eq!(parse_heartbeat(&key), Some((name, id)));
    }

    #[test]
    fn other_keys_are_no_heartbeats() {
        for key in ["/muster/heartbeats", "/muster/heartbeats/web", "/muster/heartbeats/a/b/c", "/other/a/b"]
        {
            assert_eq!(parse_heartbeat(key), None, "{key}");
        }
    }

    #[test]
    fn names_that_would_be_hidden_or_leave_the_folder_are_refused() {
        for bad in ["", "_x", ".", "..", "a/b", "a b"] {
            assert!(bad.parse::<BeatName>().is_err(), "{bad:?} was taken");
        }
        let error = "_b".parse::<BeatName>().unwrap_err().to_string();
        assert!(error.ends_with("must not begin with '_'"), "{error}");
        assert!("worker-7".parse::<BeatName>().is_ok());
    }

    #[test]
    fn the_value_is_small_and_plain() {
        let text = r#"{"since":"2026-01-31T12:00:00Z","ttl":5,"source":"beat"}"#;
        let beat: Beat = serde_json::from_str(text).unwrap();
        assert_eq!((beat.source, beat.pid), (Source::Beat, None));
        assert_eq!(serde_json::to_string(&beat).unwrap(), text);
    }
}
