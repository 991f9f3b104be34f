//! What the store wants of this machine: which units belong here, which must go, and which are left alone because
//! nothing certain is known.
//!
//! A unit goes only if a readable record says so. A registry that is gone, unreadable or not read yet says nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;

use crate::ids::{MachineId, UnitName};
use crate::model;
use crate::model::tree::Tree;
use crate::model::unit::{Desired, ScheduleRecord, UnitRecord};
use crate::schedule::Machine;
use crate::schedule::fit;
use crate::schedule::fit::{Residents, Rules};

use super::steps::{Assignment, Ticket};

/// This machine, as far as it matters for units that run everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Me {
    /// Its id.
    pub id: MachineId,
    /// Its metadata, settings included.
    pub machine: Machine,
}

/// What is wanted here, and which units are to be handed over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DesiredState {
    /// By unit; a unit that is missing is not wanted here.
    pub units: BTreeMap<UnitName, Assignment>,
    /// Units that another machine has now: they go from here once they run there.
    pub handed_over: BTreeMap<UnitName, Handover>,
}

/// A unit's new place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// The machine that has it now.
    pub to: MachineId,
    /// The generation of that placement.
    pub generation: u64,
}

/// Reads what is wanted of `me`. `managed` are the units that systemd was given files of.
pub fn read(me: &Me, units: &Tree, schedule: &Tree, managed: &BTreeSet<UnitName>) -> DesiredState {
    let mut desired = DesiredState::default();
    // A store without these directories is not one in which nothing is wanted: it is empty, or was emptied.
    if !units.exists || !schedule.exists && !schedule_may_be_missing(units, managed) {
        desired.units = managed.iter().map(|unit| (unit.clone(), Assignment::Leave)).collect();
        return desired;
    }
    let records = Records::read(units, schedule);
    for unit in records.units.keys().chain(records.unreadable.iter()).chain(managed) {
        match records.desired(me, unit) {
            Verdict::Assigned(assignment) => {
                desired.units.insert(unit.clone(), assignment);
            }
            Verdict::Elsewhere(handover) => {
                if managed.contains(unit) {
                    desired.handed_over.insert(unit.clone(), handover);
                }
            }
            Verdict::Unwanted => {}
        }
    }
    records.add_globals(me, &mut desired.units);
    desired
}

/// Before the engine has placed anything there is no schedule; only what runs everywhere can be wanted then.
fn schedule_may_be_missing(units: &Tree, managed: &BTreeSet<UnitName>) -> bool {
    managed.iter().all(|unit| {
        let record = units.files.get(&model::unit(unit));
        record.is_some_and(|file| {
            serde_json::from_str::<UnitRecord>(&file.value).is_ok_and(|record| record.options.global)
        })
    })
}

enum Verdict {
    Assigned(Assignment),
    Elsewhere(Handover),
    Unwanted,
}

#[derive(Default)]
struct Records {
    units: BTreeMap<UnitName, UnitRecord>,
    schedule: BTreeMap<UnitName, ScheduleRecord>,
    unreadable: BTreeSet<UnitName>,
}

impl Records {
    fn read(units: &Tree, schedule: &Tree) -> Self {
        let mut records = Self::default();
        parse(units, &mut records.units, &mut records.unreadable);
        parse(schedule, &mut records.schedule, &mut records.unreadable);
        records
    }

    /// What is wanted of a unit that runs on one machine.
    fn desired(&self, me: &Me, unit: &UnitName) -> Verdict {
        if self.unreadable.contains(unit) {
            return Verdict::Assigned(Assignment::Leave);
        }
        let Some(record) = self.units.get(unit).filter(|record| record.desired > Desired::Inactive) else {
            return Verdict::Unwanted;
        };
        if record.options.global {
            return Verdict::Unwanted;
        }
        let Some((placement, machine)) = self.placement(unit) else {
            // The engine will decide; until then nobody else has it.
            return Verdict::Assigned(Assignment::Leave);
        };
        let generation = placement.generation;
        if *machine != me.id {
            return Verdict::Elsewhere(Handover { to: machine.clone(), generation });
        }
        Verdict::Assigned(here(record, generation))
    }

    fn placement(&self, unit: &UnitName) -> Option<(&ScheduleRecord, &MachineId)> {
        let placement = self.schedule.get(unit)?;
        Some((placement, placement.machine.as_ref()?))
    }

    /// Adds the global units that run on this machine beside what is placed on it.
    fn add_globals(&self, me: &Me, desired: &mut BTreeMap<UnitName, Assignment>) {
        let active = self.units.iter().filter(|(unit, record)| {
            record.desired > Desired::Inactive && !unit.is_template() && !self.unreadable.contains(*unit)
        });
        let rules: BTreeMap<&UnitName, Rules<'_>> =
            active.map(|(unit, record)| (unit, Rules::new(&record.options))).collect();
        let split = |global: bool| -> Residents<'_> {
            let chosen = rules.iter().filter(|(_, rules)| rules.options.global == global);
            chosen.map(|(unit, rules)| (*unit, rules)).collect()
        };
        let mut residents = split(false);
        residents.retain(|unit, _| self.placement(unit).is_some_and(|(_, machine)| *machine == me.id));
        for unit in fit::globals_on(&me.id, &me.machine, &residents, &split(true)).into_keys() {
            if let Some(record) = self.units.get(unit) {
                desired.insert(unit.clone(), here(record, record.generation));
            }
        }
    }
}

fn here(record: &UnitRecord, generation: u64) -> Assignment {
    let launched = record.desired == Desired::Launched;
    let ticket = Ticket { generation, request: record.generation, launched };
    Assignment::Here { hash: record.hash.clone(), ticket }
}

fn parse<T: DeserializeOwned>(tree: &Tree, into: &mut BTreeMap<UnitName, T>, bad: &mut BTreeSet<UnitName>) {
    for (key, file) in &tree.files {
        let Some(unit) = model::unit_key(key) else { continue };
        match serde_json::from_str(&file.value) {
            Ok(record) => {
                into.insert(unit, record);
            }
            Err(_) => {
                bad.insert(unit);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tree::File;

    fn unit(name: &str) -> UnitName {
        name.parse().unwrap()
    }

    fn me() -> Me {
        Me { id: "m1".parse().unwrap(), machine: Machine::default() }
    }

    fn tree(dir: &str, files: &[(&str, &str)]) -> Tree {
        let file = |value: &str| File { value: value.into(), modified_index: 1 };
        let files = files.iter().map(|(name, value)| (format!("{dir}/{name}"), file(value))).collect();
        Tree { exists: true, files, index: 1 }
    }

    fn units(files: &[(&str, &str)]) -> Tree {
        tree(model::UNITS, files)
    }

    fn schedule(files: &[(&str, &str)]) -> Tree {
        tree(model::SCHEDULE, files)
    }

    const LAUNCHED: &str = r#"{"hash":"h","options":{},"desired":"launched","generation":3}"#;
    const ON_M1: &str = r#"{"machine":"m1","generation":7,"reason":"","since":""}"#;
    const ON_M2: &str = r#"{"machine":"m2","generation":8,"reason":"","since":""}"#;
    const NOWHERE: &str = r#"{"machine":null,"generation":8,"reason":"x","since":""}"#;

    fn read_one(record: &str, placement: &str, managed: &[&str]) -> DesiredState {
        let managed = managed.iter().map(|name| unit(name)).collect();
        read(&me(), &units(&[("a.service", record)]), &schedule(&[("a.service", placement)]), &managed)
    }

    #[test]
    fn a_unit_placed_here_belongs_here() {
        let ticket = Ticket { generation: 7, request: 3, launched: true };
        let desired = read_one(LAUNCHED, ON_M1, &[]);
        assert_eq!(desired.units[&unit("a.service")], Assignment::Here { hash: "h".into(), ticket });
    }

    #[test]
    fn a_unit_placed_elsewhere_is_handed_over() {
        let desired = read_one(LAUNCHED, ON_M2, &["a.service"]);
        assert!(desired.units.is_empty());
        let handover = Handover { to: "m2".parse().unwrap(), generation: 8 };
        assert_eq!(desired.handed_over[&unit("a.service")], handover);
        assert_eq!(read_one(LAUNCHED, ON_M2, &[]), DesiredState::default());
    }

    #[test]
    fn a_unit_that_waits_for_a_machine_goes_on_running_where_it_does() {
        assert_eq!(read_one(LAUNCHED, NOWHERE, &["a.service"]).units[&unit("a.service")], Assignment::Leave);
    }

    #[test]
    fn a_unit_that_was_destroyed_or_unloaded_is_not_wanted() {
        let unloaded = LAUNCHED.replace("launched", "inactive");
        assert_eq!(read_one(&unloaded, ON_M1, &["a.service"]), DesiredState::default());
        let managed = BTreeSet::from([unit("a.service")]);
        assert_eq!(read(&me(), &units(&[]), &schedule(&[]), &managed), DesiredState::default());
    }

    #[test]
    fn a_registry_that_is_gone_or_unreadable_stops_nothing() {
        let managed = BTreeSet::from([unit("a.service")]);
        let left = BTreeMap::from([(unit("a.service"), Assignment::Leave)]);
        let gone = Tree::default();
        assert_eq!(read(&me(), &gone, &schedule(&[("a.service", ON_M1)]), &managed).units, left);
        assert_eq!(read(&me(), &units(&[("a.service", LAUNCHED)]), &gone, &managed).units, left);
        assert_eq!(read_one("nonsense", ON_M2, &["a.service"]).units, left);
        assert_eq!(read_one(LAUNCHED, "nonsense", &["a.service"]).units, left);
    }

    #[test]
    fn a_global_unit_runs_here_if_nothing_placed_here_conflicts() {
        let global = r#"{"hash":"g","options":{"global":true,"conflicts":["a*"]},"desired":"launched","generation":2}"#;
        let all = units(&[("a.service", LAUNCHED), ("g.service", global)]);
        let managed = BTreeSet::new();
        let desired = read(&me(), &all, &schedule(&[("a.service", ON_M2)]), &managed);
        let ticket = Ticket { generation: 2, request: 2, launched: true };
        assert_eq!(desired.units[&unit("g.service")], Assignment::Here { hash: "g".into(), ticket });
        let desired = read(&me(), &all, &schedule(&[("a.service", ON_M1)]), &managed);
        assert!(!desired.units.contains_key(&unit("g.service")));
        // Before anything was ever placed there is no schedule.
        let desired = read(&me(), &units(&[("g.service", global)]), &Tree::default(), &managed);
        assert!(desired.units.contains_key(&unit("g.service")));
    }
}
