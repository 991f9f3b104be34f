//! Records of units: what users want, where the engine puts it, what came of it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::MachineId;

use super::options::Options;

/// How far a unit is to be taken, as in fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Desired {
    /// Known to the cluster, placed nowhere.
    Inactive,
    /// Placed, its file known to systemd there; not started.
    Loaded,
    /// Placed and started.
    Launched,
}

impl fmt::Display for Desired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Inactive => "inactive",
            Self::Loaded => "loaded",
            Self::Launched => "launched",
        })
    }
}

/// A word that names no desired state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is none of inactive, loaded, launched")]
pub struct UnknownDesired(String);

impl FromStr for Desired {
    type Err = UnknownDesired;

    fn from_str(word: &str) -> Result<Self, UnknownDesired> {
        [Self::Inactive, Self::Loaded, Self::Launched]
            .into_iter()
            .find(|desired| desired.to_string() == word)
            .ok_or_else(|| UnknownDesired(word.into()))
    }
}

/// What a machine does with a unit that runs once when it is cut off from the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Partition {
    /// Lets it run. It may run twice until the split heals.
    #[default]
    Keep,
    /// Reserved: stops it before another machine may start it. Agents treat it as `keep` for now.
    Stop,
}

/// `/muster/units/NAME`: what users want of a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitRecord {
    /// SHA-1 of the text in hex; the text lies under `/muster/files/HASH`.
    pub hash: String,
    /// What the text asks of the cluster.
    pub options: Options,
    /// How far it is to be taken.
    pub desired: Desired,
    /// Raised by one whenever a user asks for something, be it the same again: agents act once on each.
    pub generation: u64,
    /// What to do on a machine that is cut off.
    #[serde(default)]
    pub partition: Partition,
}

/// `/muster/schedule/NAME`: where the engine puts a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleRecord {
    /// The machine; `null` while there is none for it.
    pub machine: Option<MachineId>,
    /// The fencing token, handed to the unit as `MUSTER_GENERATION`: the store's index at which the engine decided.
    /// Every later placement of the unit has a greater one, even if the unit was destroyed meanwhile.
    pub generation: u64,
    /// Why it is there, or what stands in its way, for people.
    pub reason: String,
    /// When the engine decided (RFC 3339).
    pub since: String,
    /// The generation of the unit's record that this answers.
    #[serde(default)]
    pub request: u64,
}

/// `/muster/machines/ID/units/NAME`: what a machine's systemd says of a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitState {
    /// systemd's load state: `loaded`, `not-found`, …
    pub load: String,
    /// systemd's active state: `active`, `failed`, …
    pub active: String,
    /// systemd's sub state: `running`, `dead`, …
    pub sub: String,
    /// How a service's last run ended: `success`, `exit-code`, …; empty if unknown.
    #[serde(default)]
    pub result: String,
    /// SHA-1 of the text that systemd has; empty if it has none.
    #[serde(default)]
    pub hash: String,
    /// The placement's generation that the machine has acted on.
    pub generation: u64,
    /// The generation of the unit's record that the machine has acted on: its job is over.
    #[serde(default)]
    pub request: u64,
    /// When the state changed last (RFC 3339); empty if never.
    #[serde(default)]
    pub since: String,
    /// The main process, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main_pid: Option<u32>,
    /// The machine refuses the unit because its name is the machine's own: `problem` says why. The words above say
    /// nothing of the machine's own unit of that name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refused: bool,
    /// What keeps the machine from doing what is wanted, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub problem: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_written_by_hand_may_leave_out_the_policy() {
        let text = r#"{"hash":"ab","options":{},"desired":"launched","generation":1}"#;
        let record: UnitRecord = serde_json::from_str(text).unwrap();
        assert_eq!((record.desired, record.partition), (Desired::Launched, Partition::Keep));
    }

    #[test]
    fn a_record_without_options_or_with_another_desire_is_refused() {
        for bad in [
            r#"{"hash":"ab","desired":"launched","generation":1}"#,
            r#"{"hash":"ab","options":{},"desired":"started","generation":1}"#,
        ] {
            assert!(serde_json::from_str::<UnitRecord>(bad).is_err());
        }
    }

    #[test]
    fn desired_states_are_ordered_and_have_words() {
        assert!(Desired::Inactive < Desired::Loaded && Desired::Loaded < Desired::Launched);
        assert_eq!("loaded".parse(), Ok(Desired::Loaded));
        assert!("started".parse::<Desired>().is_err());
    }

    #[test]
    fn states_leave_out_what_is_not() {
        let state = UnitState {
            load: "loaded".into(),
            active: "inactive".into(),
            sub: "dead".into(),
            result: String::new(),
            hash: "ab".into(),
            generation: 7,
            request: 1,
            since: String::new(),
            main_pid: None,
            refused: false,
            problem: String::new(),
        };
        let text = serde_json::to_string(&state).unwrap();
        assert!(!text.contains("main_pid") && !text.contains("problem"), "{text}");
        assert_eq!(serde_json::from_str::<UnitState>(&text).unwrap(), state);
    }
}
