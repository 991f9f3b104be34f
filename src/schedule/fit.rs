//! Whether a unit may run on a machine, and if not, what stands in its way.
//!
//! Shared by the engine, which places units, and by agents, each of which finds out by itself which global units
//! run on its machine.

use std::collections::BTreeMap;

use crate::ids::{MachineId, UnitName};
use crate::model::options::{Options, Patterns};

use super::cluster::Machine;

/// A unit with its patterns made ready for matching.
#[derive(Clone, Debug)]
pub struct Rules<'a> {
    /// What the unit asks for.
    pub options: &'a Options,
    conflicts: Patterns,
    replaces: Patterns,
}

impl<'a> Rules<'a> {
    /// Prepares a unit's options.
    pub fn new(options: &'a Options) -> Self {
        Self {
            options,
            conflicts: Patterns::new(&options.conflicts),
            replaces: Patterns::new(&options.replaces),
        }
    }

    /// Whether this unit's `Replaces=` names `other`.
    pub fn replaces(&self, other: &UnitName) -> bool {
        self.replaces.matches(other)
    }
}

/// The units on one machine.
pub type Residents<'a> = BTreeMap<&'a UnitName, &'a Rules<'a>>;

/// Why a unit may not run on a machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// `MachineID=` names another machine.
    OtherMachine {
        /// The id asked for.
        wanted: String,
    },
    /// `MachineMetadata=`: the machine has none of the values of a key.
    Lacks {
        /// The key and the values that would do, as `key=a or b`.
        wanted: String,
    },
    /// `Conflicts=`, of this unit or of the other.
    Conflict {
        /// The unit in the way.
        with: UnitName,
    },
    /// `MachineOf=`: that unit is not here.
    Without {
        /// The unit to be with.
        unit: UnitName,
        /// Whether that unit is on any machine at all.
        placed: bool,
    },
    /// `Replaces=` of a unit here.
    ReplacedBy {
        /// The unit that takes its place.
        unit: UnitName,
    },
    /// The machine takes no new units.
    Cordoned,
    /// Its agent does not run.
    AgentStopped,
}

/// What keeps a unit off a machine by its identity or metadata, whatever else runs there.
pub fn unsuitable(options: &Options, id: &MachineId, machine: &Machine) -> Option<Obstacle> {
    if let Some(wanted) = options.machine_id.as_ref().filter(|w| *w != id.as_str() && *w != id.short()) {
        return Some(Obstacle::OtherMachine { wanted: wanted.clone() });
    }
    let lacking = options
        .machine_metadata
        .iter()
        .find(|(key, values)| machine.metadata.get(*key).is_none_or(|has| !values.contains(has)));
    lacking.map(|(key, values)| Obstacle::Lacks { wanted: format!("{key}={}", values.join(" or ")) })
}

/// The first unit among `residents` that conflicts with `unit`, in either direction.
pub fn conflict<'a>(unit: &UnitName, rules: &Rules<'_>, residents: &Residents<'a>) -> Option<&'a UnitName> {
    let clash = |other: &UnitName, theirs: &Rules<'_>| {
        other != unit && (rules.conflicts.matches(other) || theirs.conflicts.matches(unit))
    };
    residents.iter().find(|(other, theirs)| clash(other, theirs)).map(|(other, _)| *other)
}

/// The first unit among `residents` that replaces `unit`. Two that replace each other leave each other alone.
pub fn replacement<'a>(
    unit: &UnitName,
    rules: &Rules<'_>,
    residents: &Residents<'a>,
) -> Option<&'a UnitName> {
    let replaces = |other: &UnitName, theirs: &Rules<'_>| {
        other != unit && theirs.replaces(unit) && !rules.replaces(other)
    };
    residents.iter().find(|(other, theirs)| replaces(other, theirs)).map(|(other, _)| *other)
}

/// The global units that run on a machine beside `residents`: those that suit it and conflict neither with them nor
/// with a global unit earlier in the order of names.
pub fn globals_on<'a>(
    id: &MachineId,
    machine: &Machine,
    residents: &Residents<'a>,
    globals: &Residents<'a>,
) -> Residents<'a> {
    let mut chosen = Residents::new();
    for (unit, rules) in globals {
        let clash = [residents, &chosen].iter().any(|others| conflict(unit, rules, others).is_some());
        if !clash && unsuitable(rules.options, id, machine).is_none() {
            chosen.insert(unit, rules);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(name: &str) -> UnitName {
        name.parse().unwrap()
    }

    fn machine(metadata: &[(&str, &str)]) -> Machine {
        let metadata = metadata.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        Machine { hostname: "m".into(), metadata, ..Machine::default() }
    }

    #[test]
    fn metadata_is_or_within_a_key_and_and_across_keys() {
        let mut options = Options::default();
        options.machine_metadata.insert("role".into(), vec!["db".into(), "web".into()]);
        options.machine_metadata.insert("zone".into(), vec!["a".into()]);
        let id: MachineId = "abc".parse().unwrap();
        assert_eq!(unsuitable(&options, &id, &machine(&[("role", "web"), ("zone", "a")])), None);
        assert_eq!(
            unsuitable(&options, &id, &machine(&[("role", "mail"), ("zone", "a")])),
            Some(Obstacle::Lacks { wanted: "role=db or web".into() })
        );
        assert_eq!(
            unsuitable(&options, &id, &machine(&[("role", "db")])),
            Some(Obstacle::Lacks { wanted: "zone=a".into() })
        );
    }

    #[test]
    fn a_machine_is_named_by_its_whole_id_or_its_first_eight_characters() {
        let id: MachineId = "0123456789abcdef0123456789abcdef".parse().unwrap();
        for (wanted, fits) in [(id.as_str(), true), ("01234567", true), ("0123456", false), ("abcd", false)] {
            let options = Options { machine_id: Some(wanted.into()), ..Options::default() };
            assert_eq!(unsuitable(&options, &id, &machine(&[])).is_none(), fits, "{wanted}");
        }
    }

    #[test]
    fn conflicts_count_in_both_directions_and_never_with_itself() {
        let shy = Options { conflicts: vec!["*.service".into()], ..Options::default() };
        let (shy, easy) = (Rules::new(&shy), Rules::new(&Options { ..Options::default() }).options.clone());
        let easy = Rules::new(&easy);
        let (a, b) = (unit("a.service"), unit("b.service"));
        assert_eq!(conflict(&a, &shy, &Residents::from([(&b, &easy)])), Some(&b));
        assert_eq!(conflict(&b, &easy, &Residents::from([(&a, &shy)])), Some(&a));
        assert_eq!(conflict(&a, &shy, &Residents::from([(&a, &shy)])), None);
    }

    #[test]
    fn of_two_global_units_that_conflict_the_first_by_name_runs() {
        let options = Options { global: true, conflicts: vec!["*.service".into()], ..Options::default() };
        let rules = Rules::new(&options);
        let (a, b) = (unit("a.service"), unit("b.service"));
        let globals = Residents::from([(&b, &rules), (&a, &rules)]);
        let chosen = globals_on(&"m".parse().unwrap(), &machine(&[]), &Residents::new(), &globals);
        assert_eq!(chosen.keys().collect::<Vec<_>>(), [&&a]);
    }
}
