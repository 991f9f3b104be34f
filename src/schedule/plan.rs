//! Where units should be. A pure function of the cluster: the same input gives the same answer, in the same order.
//!
//! What is placed and may stay, stays: nothing is ever moved to even out the load. Everything else goes to the least
//! loaded machine that may run it, machines of equal load in the order of their ids; a machine where the unit runs
//! already comes before all others. What fits nowhere waits, with the reason.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{MachineId, UnitName};

use super::cluster::Cluster;
use super::fit::{self, Obstacle, Residents, Rules};
use super::reason;

/// One change of the schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Put a unit on a machine, or move it there.
    Place {
        /// The unit.
        unit: UnitName,
        /// Where it goes.
        machine: MachineId,
        /// Why there, for people.
        reason: String,
    },
    /// Note that a unit has no machine, and why.
    Wait {
        /// The unit.
        unit: UnitName,
        /// What stands in its way, for people.
        reason: String,
    },
    /// Take a unit out of the schedule: nobody wants it there.
    Forget {
        /// The unit.
        unit: UnitName,
    },
}

/// The changes that the schedule needs now; none if everything is as it should be.
pub fn plan(cluster: &Cluster) -> Vec<Action> {
    let rules: BTreeMap<&UnitName, Rules<'_>> =
        cluster.wanted().map(|(unit, record)| (unit, Rules::new(&record.options))).collect();
    let mut board = Board::new(cluster, &rules);
    let mut homeless = board.keep();
    board.add_globals();
    homeless.extend(board.leave_without_globals());
    let mut actions = forgotten(cluster, &board);
    // A unit may wait for another that is placed later in the same round.
    loop {
        let before = homeless.len();
        homeless.retain(|unit, why_left| match board.place(unit, why_left.as_deref()) {
            Some(action) => {
                actions.extend(action);
                false
            }
            None => true,
        });
        if homeless.len() == before {
            break;
        }
    }
    actions.extend(homeless.iter().filter_map(|(unit, why_left)| board.wait(unit, why_left.as_deref())));
    actions.extend(board.idle_globals());
    actions
}

/// Placements of units that nobody wants placed, or that run everywhere anyway.
fn forgotten(cluster: &Cluster, board: &Board<'_>) -> Vec<Action> {
    let needed = |unit: &UnitName| match board.rules.get(unit) {
        Some(rules) if rules.options.global => !board.everywhere.contains(unit),
        Some(_) => true,
        None => cluster.unreadable.contains(unit),
    };
    let unneeded = cluster.schedule.keys().filter(|unit| !needed(unit));
    unneeded.map(|unit| Action::Forget { unit: unit.clone() }).collect()
}

/// Units on machines while the plan is made.
struct Board<'a> {
    cluster: &'a Cluster,
    rules: &'a BTreeMap<&'a UnitName, Rules<'a>>,
    residents: BTreeMap<&'a MachineId, Residents<'a>>,
    placed: BTreeMap<&'a UnitName, &'a MachineId>,
    /// The placed units that replace others, by machine.
    replacing: BTreeMap<&'a MachineId, Residents<'a>>,
    /// Global units that run on at least one machine.
    everywhere: BTreeSet<&'a UnitName>,
}

/// Units without a machine, each with why it has to leave the one it was on.
type Homeless<'a> = BTreeMap<&'a UnitName, Option<String>>;

impl<'a> Board<'a> {
    fn new(cluster: &'a Cluster, rules: &'a BTreeMap<&'a UnitName, Rules<'a>>) -> Self {
        let residents = cluster.machines.keys().map(|id| (id, Residents::new())).collect();
        Self {
            cluster,
            rules,
            residents,
            placed: BTreeMap::new(),
            replacing: BTreeMap::new(),
            everywhere: BTreeSet::new(),
        }
    }

    /// Keeps what is placed and may stay, the oldest placements first. Gives back everything else.
    fn keep(&mut self) -> Homeless<'a> {
        let cluster = self.cluster;
        let single = |unit: &UnitName| self.rules.get(unit).is_some_and(|rules| !rules.options.global);
        let mut homeless: Homeless<'a> =
            self.rules.keys().filter(|unit| single(unit)).map(|unit| (*unit, None)).collect();
        let mut placed: Vec<_> = cluster
            .schedule
            .iter()
            .filter(|(unit, _)| homeless.contains_key(*unit))
            .filter_map(|(unit, record)| Some((record.generation, unit, record.machine.as_ref()?)))
            .collect();
        placed.sort();
        // Where units are counts as it is now: whoever follows a unit that moves does so in the next round.
        for (_, unit, machine) in &placed {
            self.count(unit, machine);
        }
        for (_, unit, machine) in placed {
            match self.reason_to_leave(unit, machine) {
                None => {
                    homeless.remove(unit);
                    self.settle(unit, machine);
                }
                Some(why) => {
                    homeless.insert(unit, Some(why));
                }
            }
        }
        for unit in homeless.keys() {
            self.discount(unit);
        }
        homeless
    }

    /// Units that were kept for the sake of a global unit which then found no room beside them.
    fn leave_without_globals(&mut self) -> Homeless<'a> {
        let cluster = self.cluster;
        let lonely = self.placed.iter().filter_map(|(unit, id)| {
            let (machine, rules) = (cluster.machines.get(*id)?, self.rules.get(unit)?);
            let obstacle = self.without(rules, id).filter(|obstacle| self.is_about_global(obstacle))?;
            Some((*unit, Some(reason::here(machine, &obstacle))))
        });
        let lonely: Homeless<'a> = lonely.collect();
        for unit in lonely.keys() {
            self.discount(unit);
        }
        lonely
    }

    fn is_about_global(&self, obstacle: &Obstacle) -> bool {
        match obstacle {
            Obstacle::Without { unit, .. } => self.rules.get(unit).is_some_and(|rules| rules.options.global),
            _ => false,
        }
    }

    fn reason_to_leave(&self, unit: &UnitName, id: &MachineId) -> Option<String> {
        let Some(machine) = self.cluster.machines.get(id) else {
            return self.cluster.may_bury.then(|| format!("machine {} is gone", id.short()));
        };
        // Which global units run is found out later.
        let obstacle = self.obstacle(unit, id).filter(|obstacle| !self.is_about_global(obstacle));
        let obstacle = obstacle.or_else(|| self.replaced(unit, id))?;
        Some(reason::here(machine, &obstacle))
    }

    /// Whether a unit scheduled to the same machine takes this one's place there.
    fn replaced(&self, unit: &UnitName, id: &MachineId) -> Option<Obstacle> {
        let by = fit::replacement(unit, self.rules.get(unit)?, self.replacing.get(id)?)?;
        Some(Obstacle::ReplacedBy { unit: by.clone() })
    }

    /// What keeps a unit off a machine, apart from the machine taking no new units.
    fn obstacle(&self, unit: &UnitName, id: &MachineId) -> Option<Obstacle> {
        let (rules, machine) = (self.rules.get(unit)?, self.cluster.machines.get(id)?);
        if let Some(obstacle) = fit::unsuitable(rules.options, id, machine) {
            return Some(obstacle);
        }
        if let Some(with) = fit::conflict(unit, rules, self.residents.get(id)?) {
            return Some(Obstacle::Conflict { with: with.clone() });
        }
        self.without(rules, id)
    }

    /// The first unit of `MachineOf=` that is not on the machine.
    fn without(&self, rules: &Rules<'_>, id: &MachineId) -> Option<Obstacle> {
        rules.options.machine_of.iter().find_map(|unit| {
            let here = self.placed.get(unit) == Some(&id)
                || self.residents.get(id).is_some_and(|residents| residents.contains_key(unit));
            let placed = self.placed.contains_key(unit) || self.everywhere.contains(unit);
            (!here).then(|| Obstacle::Without { unit: unit.clone(), placed })
        })
    }

    /// Counts a unit as placed, without putting it into anyone's way.
    fn count(&mut self, unit: &'a UnitName, id: &'a MachineId) {
        self.placed.insert(unit, id);
        if let Some(rules) = self.rules.get(unit).filter(|rules| !rules.options.replaces.is_empty()) {
            self.replacing.entry(id).or_default().insert(unit, rules);
        }
    }

    /// The reverse of counting and settling.
    fn discount(&mut self, unit: &UnitName) {
        let Some(machine) = self.placed.remove(unit) else { return };
        for residents in [&mut self.replacing, &mut self.residents] {
            if let Some(residents) = residents.get_mut(machine) {
                residents.remove(unit);
            }
        }
    }

    fn settle(&mut self, unit: &'a UnitName, id: &'a MachineId) {
        self.count(unit, id);
        if let (Some(residents), Some(rules)) = (self.residents.get_mut(id), self.rules.get(unit)) {
            residents.insert(unit, rules);
        }
    }

    fn add_globals(&mut self) {
        let globals: Residents<'a> =
            self.rules.iter().filter(|(_, rules)| rules.options.global).map(|(unit, r)| (*unit, r)).collect();
        for (id, machine) in &self.cluster.machines {
            let Some(residents) = self.residents.get_mut(id) else { continue };
            let chosen = fit::globals_on(id, machine, residents, &globals);
            self.everywhere.extend(chosen.keys());
            residents.extend(chosen);
        }
    }

    /// Finds a machine for a unit; `None` if there is none. No action is needed if it is the one that it was on: what
    /// drove it away has left, too.
    fn place(&mut self, unit: &'a UnitName, why_left: Option<&str>) -> Option<Option<Action>> {
        let runs_on = self.cluster.running.get(unit);
        let mut candidates: Vec<_> = self
            .residents
            .iter()
            .map(|(id, residents)| {
                let runs_there = runs_on.is_some_and(|machines| machines.contains(*id));
                (!runs_there, residents.len(), *id)
            })
            .collect();
        candidates.sort();
        let (moves, load, id) = candidates.into_iter().find(|(_, _, id)| self.refusal(unit, id).is_none())?;
        self.settle(unit, id);
        if self.cluster.schedule.get(unit).is_some_and(|record| record.machine.as_ref() == Some(id)) {
            return Some(None);
        }
        let mut reason = why_left.map(|why| format!("{why}; ")).unwrap_or_default();
        reason.push_str(&if moves { format!("least loaded ({load})") } else { "runs there already".into() });
        Some(Some(Action::Place { unit: unit.clone(), machine: id.clone(), reason }))
    }

    /// What keeps a unit from being placed on a machine.
    fn refusal(&self, unit: &UnitName, id: &MachineId) -> Option<Obstacle> {
        let found = self.obstacle(unit, id).or_else(|| self.replaced(unit, id));
        let machine = self.cluster.machines.get(id)?;
        found
            .or_else(|| machine.cordon.then_some(Obstacle::Cordoned))
            .or_else(|| machine.agent_stopped.then_some(Obstacle::AgentStopped))
    }

    /// Notes why a unit waits, unless that is noted already.
    fn wait(&self, unit: &UnitName, why_left: Option<&str>) -> Option<Action> {
        let machines = self.cluster.machines.iter();
        let refusals = machines.filter_map(|(id, machine)| Some((machine, self.refusal(unit, id)?)));
        let reason = reason::nowhere(refusals);
        let request = self.cluster.units.get(unit).map_or(0, |record| record.generation);
        let noted = self.cluster.schedule.get(unit).is_some_and(|record| {
            // Why it had to leave its last machine was told behind and need not be told again.
            let same = record.reason == reason || record.reason.starts_with(&format!("{reason} ("));
            record.machine.is_none() && record.request == request && same
        });
        let reason = match why_left {
            Some(why) => format!("{reason} ({why})"),
            None => reason,
        };
        (!noted).then(|| Action::Wait { unit: unit.clone(), reason })
    }

    /// Global units that no machine may run.
    fn idle_globals(&self) -> Vec<Action> {
        let idle = self.rules.iter().filter(|(unit, r)| r.options.global && !self.everywhere.contains(*unit));
        idle.filter_map(|(unit, _)| self.wait(unit, None)).collect()
    }
}

#[cfg(test)]
#[path = "plan_test.rs"]
mod tests;
