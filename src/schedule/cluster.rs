//! Everything a decision is made from.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;

use crate::ids::{MachineId, UnitName};
use crate::model::machine::{self, MachineInfo, MachineSettings};
use crate::model::tree::File;
use crate::model::unit::{Desired, ScheduleRecord, UnitRecord, UnitState};
use crate::model::{self, MachineKey};

/// The cluster at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// The machines that are present.
    pub machines: BTreeMap<MachineId, Machine>,
    /// What users want.
    pub units: BTreeMap<UnitName, UnitRecord>,
    /// Where units are placed now.
    pub schedule: BTreeMap<UnitName, ScheduleRecord>,
    /// Units whose record or placement cannot be read: they stay as they are.
    pub unreadable: BTreeSet<UnitName>,
    /// Where units run, whatever the schedule says.
    pub running: BTreeMap<UnitName, BTreeSet<MachineId>>,
    /// Whether an absent machine may be taken for dead. False for a while after the store could not be reached:
    /// then it may well be that the machines could not reach it either.
    pub may_bury: bool,
}

/// A machine that is present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// For people: its host name.
    pub hostname: String,
    /// Its metadata, settings included.
    pub metadata: BTreeMap<String, String>,
    /// Takes no new units.
    pub cordon: bool,
    /// Nobody would start units there at the moment: its agent has ended, or does not know its units yet.
    pub agent_stopped: bool,
}

impl Cluster {
    /// The units that are to be placed somewhere, or everywhere if they are global.
    pub fn wanted(&self) -> impl Iterator<Item = (&UnitName, &UnitRecord)> {
        self.units.iter().filter(|(name, record)| {
            record.desired > Desired::Inactive && !name.is_template() && !self.unreadable.contains(*name)
        })
    }
}

/// The files of the store that a decision is made from, by key.
#[derive(Clone, Copy, Debug)]
pub struct Trees<'a> {
    /// Below `/muster/units`.
    pub units: &'a BTreeMap<String, File>,
    /// Below `/muster/schedule`.
    pub schedule: &'a BTreeMap<String, File>,
    /// Below `/muster/machines`.
    pub machines: &'a BTreeMap<String, File>,
    /// Below `/muster/settings`.
    pub settings: &'a BTreeMap<String, File>,
}

impl Cluster {
    /// Reads the cluster, and says which units have records that cannot be read. A key whose last part is no unit's
    /// name is none of ours. A machine counts as present once it has said who it is.
    pub fn read(trees: &Trees<'_>) -> (Self, BTreeMap<UnitName, String>) {
        let mut cluster = Self::default();
        let mut complaints = BTreeMap::new();
        records(trees.units, &mut cluster.units, &mut complaints);
        records(trees.schedule, &mut cluster.schedule, &mut complaints);
        cluster.unreadable = complaints.keys().cloned().collect();
        for (key, file) in trees.machines {
            match model::machine_key(key) {
                Some((id, MachineKey::Info)) => {
                    if let Ok(info) = serde_json::from_str::<MachineInfo>(&file.value) {
                        let settings = trees.settings.get(&model::settings(&id));
                        let settings = settings.and_then(|file| serde_json::from_str(&file.value).ok());
                        cluster.machines.insert(id, Machine::new(&info, &settings.unwrap_or_default()));
                    }
                }
                Some((id, MachineKey::Unit(unit))) => {
                    let state = serde_json::from_str::<UnitState>(&file.value);
                    if state.is_ok_and(|state| {
                        matches!(state.active.as_str(), "active" | "reloading" | "activating")
                    }) {
                        cluster.running.entry(unit).or_default().insert(id);
                    }
                }
                None => {}
            }
        }
        (cluster, complaints)
    }
}

impl Machine {
    /// A machine as it describes itself, under what users set on it.
    pub fn new(info: &MachineInfo, settings: &MachineSettings) -> Self {
        Self {
            hostname: info.hostname.clone(),
            metadata: machine::metadata(info, settings),
            cordon: settings.cordon,
            agent_stopped: info.agent_stopped || info.registering,
        }
    }
}

fn records<T: DeserializeOwned>(
    files: &BTreeMap<String, File>,
    into: &mut BTreeMap<UnitName, T>,
    complaints: &mut BTreeMap<UnitName, String>,
) {
    for (key, file) in files {
        let Some(unit) = model::unit_key(key) else { continue };
        match serde_json::from_str(&file.value) {
            Ok(record) => {
                into.insert(unit, record);
            }
            Err(error) => {
                complaints.insert(unit, format!("{key} cannot be read: {error}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> BTreeMap<String, File> {
        let file = |value: &str| File { value: value.into(), modified_index: 1 };
        list.iter().map(|(key, value)| (key.to_string(), file(value))).collect()
    }

    #[test]
    fn a_machine_whose_agent_does_not_know_its_units_yet_or_has_ended_gets_no_new_ones() {
        for (word, stopped) in
            [("", false), (r#","registering":true"#, true), (r#","agent_stopped":true"#, true)]
        {
            let text = format!(r#"{{"id":"m1","hostname":"one","boot_id":"b"{word}}}"#);
            let machine = Machine::new(&serde_json::from_str(&text).unwrap(), &MachineSettings::default());
            assert_eq!(machine.agent_stopped, stopped, "{text}");
        }
    }

    #[test]
    fn records_are_read_and_broken_ones_are_named_without_harm_to_others() {
        let units = files(&[
            ("/muster/units/a.service", r#"{"hash":"x","options":{},"desired":"launched","generation":1}"#),
            ("/muster/units/b.service", "nonsense"),
            ("/muster/units/readme", "no unit"),
        ]);
        let schedule = files(&[("/muster/schedule/a.service", "{}")]);
        let machines = files(&[
            ("/muster/machines/m1/info", r#"{"id":"m1","hostname":"one","boot_id":"b"}"#),
            (
                "/muster/machines/m1/units/a.service",
                r#"{"load":"loaded","active":"active","sub":"running","generation":1}"#,
            ),
            (
                "/muster/machines/m2/units/a.service",
                r#"{"load":"loaded","active":"failed","sub":"failed","generation":1}"#,
            ),
        ]);
        let settings = files(&[("/muster/settings/m1", r#"{"cordon":true}"#)]);
        let trees = Trees { units: &units, schedule: &schedule, machines: &machines, settings: &settings };
        let (cluster, complaints) = Cluster::read(&trees);
        let unit = |name: &str| name.parse::<UnitName>().unwrap();
        assert_eq!(complaints.keys().collect::<Vec<_>>(), [&unit("a.service"), &unit("b.service")]);
        assert!(complaints[&unit("b.service")].starts_with("/muster/units/b.service cannot be read"));
        assert_eq!(cluster.units.len(), 1);
        let m1: MachineId = "m1".parse().unwrap();
        assert_eq!(cluster.machines.keys().collect::<Vec<_>>(), [&m1]);
        assert!(cluster.machines[&m1].cordon);
        assert_eq!(cluster.running, BTreeMap::from([(unit("a.service"), BTreeSet::from([m1]))]));
    }
}
