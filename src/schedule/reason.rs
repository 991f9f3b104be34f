//! Sentences for people: why a unit is where it is, or what stands in its way.

use std::collections::BTreeMap;

use super::cluster::Machine;
use super::fit::Obstacle;

/// How many machines are named before "and 5 more".
const NAMED_MACHINES: usize = 8;
/// How many different obstacles are told.
const NAMED_OBSTACLES: usize = 12;

/// Why a unit that each of these machines refuses cannot be placed.
pub fn nowhere<'a>(refusals: impl IntoIterator<Item = (&'a Machine, Obstacle)>) -> String {
    let mut groups: BTreeMap<Obstacle, Vec<&str>> = BTreeMap::new();
    let mut machines = 0;
    for (machine, obstacle) in refusals {
        groups.entry(obstacle).or_default().push(&machine.hostname);
        machines += 1;
    }
    if machines == 0 {
        return "no machine is present".into();
    }
    let mut groups: Vec<(Obstacle, Vec<&str>)> = groups.into_iter().collect();
    groups.sort_by(|(_, a), (_, b)| a.first().cmp(&b.first()));
    let mut sentences: Vec<(bool, String)> =
        groups.iter().map(|(obstacle, on)| sentence(obstacle, on, on.len() == machines)).collect();
    // What is said of single machines comes first, then what is missing everywhere.
    sentences.sort_by_key(|(everywhere, _)| *everywhere);
    let more = sentences.len().saturating_sub(NAMED_OBSTACLES);
    let mut told: Vec<String> = sentences.into_iter().take(NAMED_OBSTACLES).map(|(_, text)| text).collect();
    if more > 0 {
        told.push(format!("and {more} obstacles more"));
    }
    told.join("; ")
}

/// Why a unit cannot stay on the machine that it is on.
pub fn here(machine: &Machine, obstacle: &Obstacle) -> String {
    sentence(obstacle, &[&machine.hostname], false).1
}

/// One obstacle in words, and whether it is told of the cluster as a whole.
fn sentence(obstacle: &Obstacle, on: &[&str], all: bool) -> (bool, String) {
    let several = on.len() > 1;
    let machines = list(on);
    let text = match obstacle {
        Obstacle::OtherMachine { wanted } if all => {
            return (true, format!("no present machine has the id {wanted}"));
        }
        Obstacle::OtherMachine { wanted } => {
            format!("{machines} {} not {wanted}", pick(several, "is", "are"))
        }
        Obstacle::Lacks { wanted } if all => return (true, format!("no machine has {wanted}")),
        Obstacle::Lacks { wanted } => format!("{machines} {} {wanted}", pick(several, "lacks", "lack")),
        Obstacle::Conflict { with } => {
            format!("{machines} {} with {with}", pick(several, "conflicts", "conflict"))
        }
        Obstacle::Without { unit, placed: false } => return (true, format!("{unit} is placed nowhere")),
        Obstacle::Without { unit, .. } => format!("{machines} {} without {unit}", pick(several, "is", "are")),
        Obstacle::ReplacedBy { unit } => {
            format!("{machines} {} {unit}, which replaces it", pick(several, "has", "have"))
        }
        Obstacle::AgentStopped => format!("{machines} {} a stopped agent", pick(several, "has", "have")),
        Obstacle::Cordoned => format!("{machines} {} cordoned", pick(several, "is", "are")),
    };
    (false, text)
}

fn pick<'a>(several: bool, one: &'a str, many: &'a str) -> &'a str {
    if several { many } else { one }
}

fn list(names: &[&str]) -> String {
    let shown = names.iter().take(NAMED_MACHINES).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED_MACHINES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(name: &str) -> Machine {
        Machine { hostname: name.into(), ..Machine::default() }
    }

    #[test]
    fn every_machine_is_told_with_what_stands_in_the_way() {
        let conflict = |unit: &str| Obstacle::Conflict { with: unit.parse().unwrap() };
        let lacks = || Obstacle::Lacks { wanted: "role=db".into() };
        let (m1, m2, m3) = (machine("m1"), machine("m2"), machine("m3"));
        assert_eq!(
            nowhere([(&m1, conflict("web@1.service")), (&m2, conflict("web@2.service")), (&m3, lacks())]),
            "m1 conflicts with web@1.service; m2 conflicts with web@2.service; m3 lacks role=db"
        );
        assert_eq!(nowhere([(&m1, lacks()), (&m2, lacks())]), "no machine has role=db");
        assert_eq!(nowhere([]), "no machine is present");
        assert_eq!(nowhere([(&m1, Obstacle::Cordoned), (&m2, Obstacle::Cordoned)]), "m1, m2 are cordoned");
    }

    #[test]
    fn long_lists_are_cut_short() {
        let machines: Vec<Machine> = (0..1000).map(|n| machine(&format!("m{n}"))).collect();
        let text = nowhere(machines.iter().map(|machine| (machine, Obstacle::Cordoned)));
        assert!(text.ends_with("m7 and 992 more are cordoned"), "{text}");
        let units = (0..1000).map(|n| Obstacle::Conflict { with: format!("u{n}.service").parse().unwrap() });
        let text = nowhere(machines.iter().zip(units));
        assert!(text.ends_with("and 988 obstacles more") && text.len() < 600, "{text}");
    }
}
