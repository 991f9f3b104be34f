//! Finds out of every unit that comes to this machine whether its name is free here, before anything is done about it.

use std::collections::{BTreeMap, BTreeSet};

use crate::chain::chain;
use crate::ids::UnitName;
use crate::model::unit::UnitState;
use crate::systemd::Systemd;

use super::files::Files;
use super::host::kept;
use super::report;
use super::steps::{Assignment, Ticket};

/// What is known of the names of units that are not managed here yet.
#[derive(Default)]
pub(super) struct Vetting {
    /// Names that are free.
    free: BTreeSet<UnitName>,
    /// Requests for names that the machine keeps to itself, and why.
    refused: BTreeMap<UnitName, (Ticket, String)>,
    /// What the log was told last of each.
    told: BTreeMap<UnitName, String>,
}

impl Vetting {
    /// Looks at the units in `desired` that are not `managed` yet, each once for each request.
    ///
    /// # Errors
    /// The units of which nothing can be said now, and why.
    pub async fn look(
        &mut self,
        desired: &BTreeMap<UnitName, Assignment>,
        managed: impl Fn(&UnitName) -> bool,
        systemd: &Systemd,
        files: &Files,
    ) -> Result<(), (Vec<UnitName>, String)> {
        let comes = |unit: &UnitName| match desired.get(unit) {
            Some(Assignment::Here { ticket, .. }) if !managed(unit) => Some(*ticket),
            _ => None,
        };
        self.free.retain(|unit| comes(unit).is_some());
        self.told.retain(|unit, _| comes(unit).is_some());
        self.refused.retain(|unit, (ticket, _)| comes(unit) == Some(*ticket));
        let news: Vec<(UnitName, Ticket)> = desired
            .keys()
            .filter(|unit| !self.free.contains(*unit) && !self.refused.contains_key(*unit))
            .filter_map(|unit| Some((unit.clone(), comes(unit)?)))
            .collect();
        if news.is_empty() {
            return Ok(());
        }
        let names: Vec<UnitName> = news.iter().map(|(unit, _)| unit.clone()).collect();
        let (folders, origins) = match tokio::try_join!(systemd.unit_path(), systemd.origins(&names)) {
            Ok(told) => told,
            Err(error) => return Err((names, chain(&error))),
        };
        for ((unit, ticket), origin) in news.into_iter().zip(origins) {
            let theirs = files.of_the_host(&unit, &folders);
            match kept(&unit, &origin, &theirs, &files.places(&unit)) {
                Some(why) => {
                    if self.told.insert(unit.clone(), why.clone()).as_ref() != Some(&why) {
                        tracing::warn!("{why}");
                    }
                    self.refused.insert(unit, (ticket, why));
                }
                None => drop(self.free.insert(unit)),
            }
        }
        Ok(())
    }

    /// Whether nothing may be done about a unit that is not managed: its name is the machine's, or not looked at yet.
    pub fn bars(&self, unit: &UnitName) -> bool {
        !self.free.contains(unit)
    }

    /// The machine's units may be others by now: all names are looked at again.
    pub fn forget(&mut self) {
        self.free.clear();
        self.refused.clear();
    }

    /// What to publish of the units that were refused. Nothing of the machine's own unit of that name.
    pub fn states(&self) -> impl Iterator<Item = (UnitName, UnitState)> {
        self.refused.iter().map(|(unit, (ticket, why))| {
            let (generation, request) = (ticket.generation, ticket.request);
            (unit.clone(), UnitState { generation, request, refused: true, ..report::nothing(why) })
        })
    }
}
