//! The cluster's units as the store shows them.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use crate::cli::Failure;
use crate::cli::terminal::tree::tree;
use crate::client::{Client, Mirror};
use crate::ids::{MachineId, UnitName};
use crate::model::machine::{MachineInfo, MachineSettings, Refusal};
use crate::model::tree::Tree;
use crate::model::unit::{ScheduleRecord, UnitRecord, UnitState};
use crate::model::{self, DUPLICATES, MACHINES, MachineKey, SCHEDULE, SETTINGS, UNITS};

/// Everything there is to know of units and machines at one moment.
#[derive(Debug, Default)]
pub(in crate::cli) struct View {
    /// What users want.
    pub units: BTreeMap<UnitName, UnitRecord>,
    /// Where the engine puts it.
    pub schedule: BTreeMap<UnitName, ScheduleRecord>,
    /// The machines that are present.
    pub machines: BTreeMap<MachineId, MachineInfo>,
    /// What users set on machines, present or not.
    pub settings: BTreeMap<MachineId, MachineSettings>,
    /// What came of units on machines.
    pub states: BTreeMap<UnitName, BTreeMap<MachineId, UnitState>>,
    /// Machines that were refused because another has their id, by that id.
    pub duplicates: BTreeMap<MachineId, Vec<Refusal>>,
    /// Records that cannot be read, and why.
    pub unreadable: BTreeMap<UnitName, String>,
}

impl View {
    /// Reads the store.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn load(client: &Client) -> Result<Self, Failure> {
        let (units, schedule, machines, settings, duplicates) = tokio::try_join!(
            tree(client, UNITS),
            tree(client, SCHEDULE),
            tree(client, MACHINES),
            tree(client, SETTINGS),
            tree(client, DUPLICATES)
        )?;
        let mut view = Self::of(&units, &schedule, &machines, &settings);
        for (key, file) in &duplicates.files {
            if let (Some(id), Ok(note)) = (model::refusal_key(key), serde_json::from_str(&file.value)) {
                view.duplicates.entry(id).or_default().push(note);
            }
        }
        Ok(view)
    }

    fn of(units: &Tree, schedule: &Tree, machines: &Tree, settings: &Tree) -> Self {
        let mut view = Self::default();
        view.unreadable = records(units, &mut view.units);
        view.unreadable.extend(records(schedule, &mut view.schedule));
        for (key, file) in &machines.files {
            match model::machine_key(key) {
                Some((id, MachineKey::Info)) => {
                    if let Ok(info) = serde_json::from_str(&file.value) {
                        view.machines.insert(id, info);
                    }
                }
                Some((id, MachineKey::Unit(unit))) => {
                    if let Ok(state) = serde_json::from_str(&file.value) {
                        view.states.entry(unit).or_default().insert(id, state);
                    }
                }
                None => {}
            }
        }
        for (key, file) in &settings.files {
            if let (Some(id), Ok(settings)) = (model::settings_key(key), serde_json::from_str(&file.value)) {
                view.settings.insert(id, settings);
            }
        }
        view
    }

    /// A machine's name for people: host name and the id's beginning.
    pub fn name(&self, id: &MachineId) -> String {
        match self.machines.get(id) {
            Some(info) => format!("{}/{}", info.hostname, id.short()),
            None => id.short().into(),
        }
    }

    /// Which machine refuses a unit because it has that name itself, and why; `None` if another machine has it, or may
    /// have it because it is for every machine.
    pub fn refusal(&self, unit: &UnitName) -> Option<String> {
        let states = self.states.get(unit)?;
        let global = self.units.get(unit).is_some_and(|record| record.options.global);
        if global || states.values().any(|state| !state.refused) {
            return None;
        }
        let (id, state) = states.iter().next()?;
        Some(self.says(id, state))
    }

    /// Why a machine refuses a unit, in its own words.
    pub fn says(&self, id: &MachineId, state: &UnitState) -> String {
        format!("{} says that {}", self.name(id), state.problem)
    }

    /// The machine that a unit is placed on.
    pub fn placed_on(&self, unit: &UnitName) -> Option<&MachineId> {
        self.schedule.get(unit)?.machine.as_ref()
    }
}

fn records<T: DeserializeOwned>(tree: &Tree, into: &mut BTreeMap<UnitName, T>) -> BTreeMap<UnitName, String> {
    let mut unreadable = BTreeMap::new();
    for (key, file) in &tree.files {
        let Some(unit) = model::unit_key(key) else { continue };
        match serde_json::from_str(&file.value) {
            Ok(record) => {
                into.insert(unit, record);
            }
            Err(error) => {
                unreadable.insert(unit, format!("{key} cannot be read: {error}"));
            }
        }
    }
    unreadable
}

/// A view that follows the store.
pub(super) struct Live {
    units: Mirror,
    schedule: Mirror,
    machines: Mirror,
}

impl Live {
    pub fn open(client: &Client) -> Self {
        let open = |dir| Mirror::open(client, dir);
        Self { units: open(UNITS), schedule: open(SCHEDULE), machines: open(MACHINES) }
    }

    /// Waits for a change.
    pub async fn changed(&mut self) {
        tokio::select! {
            () = self.units.changed() => {}
            () = self.schedule.changed() => {}
            () = self.machines.changed() => {}
        }
    }

    /// The store as it is now; `None` while it has not been read.
    pub fn view(&self) -> Option<View> {
        self.units.read(|units| {
            self.schedule.read(|schedule| {
                self.machines.read(|machines| View::of(units, schedule, machines, &Tree::default()))
            })
        })??
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(options: &str, states: &str) -> Option<String> {
        let record = format!(
            r#"{{"a.service":{{"hash":"h","options":{options},"desired":"launched","generation":3}}}}"#
        );
        let view = View {
            units: serde_json::from_str(&record).unwrap(),
            states: serde_json::from_str(&format!("{{\"a.service\":{states}}}")).unwrap(),
            ..View::default()
        };
        view.refusal(&"a.service".parse().unwrap())
    }

    #[test]
    fn a_name_is_refused_at_once_only_while_no_other_machine_has_or_may_have_the_unit() {
        let taken = r#""m1":{"load":"not-found","active":"inactive","sub":"dead","generation":1,"refused":true,"problem":"it is taken"}"#;
        let stopped = r#""m2":{"load":"loaded","active":"inactive","sub":"dead","generation":1}"#;
        assert_eq!(refusal("{}", &format!("{{{taken}}}")).as_deref(), Some("m1 says that it is taken"));
        assert_eq!(refusal("{}", &format!("{{{taken},{stopped}}}")), None);
        assert_eq!(refusal(r#"{"global":true}"#, &format!("{{{taken}}}")), None);
        assert_eq!(refusal("{}", "{}"), None);
    }
}
