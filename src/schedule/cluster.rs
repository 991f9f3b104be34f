//! Everything a decision is made from.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{MachineId, UnitName};
use crate::model::unit::{Desired, ScheduleRecord, UnitRecord};

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
}

impl Cluster {
    /// The units that are to be placed somewhere, or everywhere if they are global.
    pub fn wanted(&self) -> impl Iterator<Item = (&UnitName, &UnitRecord)> {
        self.units.iter().filter(|(name, record)| {
            record.desired > Desired::Inactive && !name.is_template() && !self.unreadable.contains(*name)
        })
    }
}
