//! The plan, in sentences and under random clusters.

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use super::*;
use crate::model::options::{Options, Patterns};
use crate::model::unit::{Desired, Partition, ScheduleRecord, UnitRecord};
use crate::schedule::cluster::Machine;

fn unit(name: &str) -> UnitName {
    name.parse().unwrap()
}

fn machine(name: &str) -> MachineId {
    name.parse().unwrap()
}

fn record(desired: Desired, options: Options) -> UnitRecord {
    UnitRecord { hash: "ab".into(), options, desired, generation: 1, partition: Partition::Keep }
}

fn launched(options: Options) -> UnitRecord {
    record(Desired::Launched, options)
}

fn conflicts(pattern: &str) -> Options {
    Options { conflicts: vec![pattern.into()], ..Options::default() }
}

fn with_role(role: &str) -> Options {
    Options { machine_metadata: BTreeMap::from([("role".into(), vec![role.into()])]), ..Options::default() }
}

fn placed(on: &str, generation: u64) -> ScheduleRecord {
    ScheduleRecord {
        machine: Some(machine(on)),
        generation,
        reason: String::new(),
        since: String::new(),
        request: 1,
    }
}

/// A cluster of machines without units in which absent machines may be buried.
fn cluster(machines: &[&str]) -> Cluster {
    let machines = machines
        .iter()
        .map(|name| (machine(name), Machine { hostname: name.to_string(), ..Machine::default() }));
    Cluster { machines: machines.collect(), may_bury: true, ..Cluster::default() }
}

/// Does what the engine does with a plan.
fn apply(cluster: &mut Cluster, actions: &[Action], index: u64) {
    for action in actions {
        let (unit, machine, reason) = match action {
            Action::Place { unit, machine, reason } => (unit, Some(machine.clone()), reason),
            Action::Wait { unit, reason } => (unit, None, reason),
            Action::Forget { unit } => {
                cluster.schedule.remove(unit);
                continue;
            }
        };
        let request = cluster.units[unit].generation;
        let record = ScheduleRecord {
            machine,
            generation: index,
            reason: reason.clone(),
            since: String::new(),
            request,
        };
        cluster.schedule.insert(unit.clone(), record);
    }
}

fn places(actions: &[Action]) -> Vec<(&str, &str)> {
    let mut pairs = Vec::new();
    for action in actions {
        if let Action::Place { unit, machine, .. } = action {
            pairs.push((unit.as_str(), machine.as_str()));
        }
    }
    pairs
}

fn waits(actions: &[Action]) -> Vec<String> {
    let text = |action: &Action| match action {
        Action::Wait { unit, reason } => Some(format!("{unit}: {reason}")),
        _ => None,
    };
    actions.iter().filter_map(text).collect()
}

#[test]
fn units_go_to_the_least_loaded_machine_and_ties_to_the_smallest_id() {
    let mut cluster = cluster(&["m1", "m2", "m3"]);
    cluster.units.insert(unit("old.service"), launched(Options::default()));
    cluster.schedule.insert(unit("old.service"), placed("m1", 5));
    for name in ["a.service", "b.service", "c.service"] {
        cluster.units.insert(unit(name), launched(Options::default()));
    }
    assert_eq!(places(&plan(&cluster)), [("a.service", "m2"), ("b.service", "m3"), ("c.service", "m1")]);
}

#[test]
fn conflicting_instances_spread_and_the_one_too_many_says_why_it_waits() {
    let mut cluster = cluster(&["m1", "m2", "m3"]);
    for n in 1..=4 {
        cluster.units.insert(unit(&format!("web@{n}.service")), launched(conflicts("web@*.service")));
    }
    let actions = plan(&cluster);
    assert_eq!(places(&actions), [("web@1.service", "m1"), ("web@2.service", "m2"), ("web@3.service", "m3")]);
    assert_eq!(
        waits(&actions),
        ["web@4.service: m1 conflicts with web@1.service; m2 conflicts with web@2.service; \
          m3 conflicts with web@3.service"]
    );
    apply(&mut cluster, &actions, 10);
    assert_eq!(plan(&cluster), []);
}

#[test]
fn units_of_a_gone_machine_move_and_those_that_cannot_wait() {
    let mut cluster = cluster(&["m1", "m2"]);
    for (n, on) in [(1, "m1"), (2, "m2"), (3, "m3")] {
        let name = unit(&format!("web@{n}.service"));
        cluster.units.insert(name.clone(), launched(conflicts("web@*.service")));
        cluster.schedule.insert(name, placed(on, n));
    }
    cluster.units.insert(unit("free.service"), launched(Options::default()));
    cluster.schedule.insert(unit("free.service"), placed("m3", 4));
    let actions = plan(&cluster);
    assert_eq!(places(&actions), [("free.service", "m1")]);
    assert_eq!(
        waits(&actions),
        [
            "web@3.service: m1 conflicts with web@1.service; m2 conflicts with web@2.service (machine m3 is gone)"
        ]
    );
    apply(&mut cluster, &actions, 10);
    assert_eq!(plan(&cluster), []);

    // Another machine goes, without anything to move: the reason no longer names it.
    let mut fewer = cluster.clone();
    fewer.machines.remove(&machine("m1"));
    let actions = plan(&fewer);
    assert!(
        waits(&actions).contains(&"web@3.service: m2 conflicts with web@2.service".to_string()),
        "{actions:?}"
    );

    // It comes back: its unit returns to it, and nothing else moves.
    cluster.machines.insert(machine("m3"), Machine { hostname: "m3".into(), ..Machine::default() });
    assert_eq!(places(&plan(&cluster)), [("web@3.service", "m3")]);
    assert_eq!(plan(&cluster).len(), 1);
}

#[test]
fn nobody_is_buried_while_the_store_may_have_lost_them() {
    let mut cluster = cluster(&["m1"]);
    cluster.may_bury = false;
    cluster.units.insert(unit("a.service"), launched(Options::default()));
    cluster.schedule.insert(unit("a.service"), placed("m2", 1));
    assert_eq!(plan(&cluster), []);
    cluster.may_bury = true;
    assert_eq!(places(&plan(&cluster)), [("a.service", "m1")]);
}

#[test]
fn a_unit_that_nobody_wants_placed_is_forgotten_and_an_unreadable_one_is_left_alone() {
    let mut cluster = cluster(&["m1"]);
    cluster.units.insert(unit("idle.service"), record(Desired::Inactive, Options::default()));
    for name in ["idle.service", "destroyed.service", "broken.service"] {
        cluster.schedule.insert(unit(name), placed("m1", 1));
    }
    cluster.unreadable.insert(unit("broken.service"));
    assert_eq!(
        plan(&cluster),
        [Action::Forget { unit: unit("destroyed.service") }, Action::Forget { unit: unit("idle.service") }]
    );
}

#[test]
fn a_unit_leaves_a_machine_that_no_longer_suits_it() {
    let mut cluster = cluster(&["m1", "m2"]);
    let m2 = cluster.machines.get_mut(&machine("m2")).unwrap();
    m2.metadata.insert("role".into(), "db".into());
    cluster.units.insert(unit("a.service"), launched(with_role("db")));
    cluster.schedule.insert(unit("a.service"), placed("m1", 1));
    let actions = plan(&cluster);
    assert_eq!(places(&actions), [("a.service", "m2")]);
    assert!(matches!(&actions[0], Action::Place { reason, .. } if reason.starts_with("m1 lacks role=db;")));
}

#[test]
fn a_cordoned_machine_keeps_its_units_and_gets_no_new_ones() {
    let mut cluster = cluster(&["m1"]);
    cluster.machines.get_mut(&machine("m1")).unwrap().cordon = true;
    cluster.units.insert(unit("a.service"), launched(Options::default()));
    cluster.schedule.insert(unit("a.service"), placed("m1", 1));
    cluster.units.insert(unit("b.service"), launched(Options::default()));
    assert_eq!(waits(&plan(&cluster)), ["b.service: m1 is cordoned"]);
    assert_eq!(plan(&cluster).len(), 1);
}

#[test]
fn a_unit_follows_the_one_it_must_be_with_in_one_round() {
    let mut cluster = cluster(&["m1", "m2"]);
    let with = Options { machine_of: vec![unit("z.service")], ..Options::default() };
    cluster.units.insert(unit("a.service"), launched(with));
    assert_eq!(waits(&plan(&cluster)), ["a.service: z.service is placed nowhere"]);
    cluster.units.insert(unit("z.service"), launched(Options::default()));
    assert_eq!(places(&plan(&cluster)), [("z.service", "m1"), ("a.service", "m1")]);
}

#[test]
fn a_unit_that_runs_somewhere_is_placed_there_even_if_loaded_more() {
    let mut cluster = cluster(&["m1", "m2"]);
    cluster.units.insert(unit("b.service"), launched(Options::default()));
    cluster.schedule.insert(unit("b.service"), placed("m2", 1));
    cluster.units.insert(unit("a.service"), launched(Options::default()));
    cluster.running.insert(unit("a.service"), BTreeSet::from([machine("m2")]));
    assert_eq!(places(&plan(&cluster)), [("a.service", "m2")]);
}

#[test]
fn global_units_count_as_load_and_are_placed_by_nobody() {
    let mut cluster = cluster(&["m1", "m2"]);
    let m1 = cluster.machines.get_mut(&machine("m1")).unwrap();
    m1.metadata.insert("role".into(), "db".into());
    let global = Options { global: true, ..with_role("db") };
    cluster.units.insert(unit("everywhere.service"), launched(global.clone()));
    cluster.units.insert(unit("a.service"), launched(Options::default()));
    assert_eq!(places(&plan(&cluster)), [("a.service", "m2")]);
    cluster.machines.remove(&machine("m1"));
    assert_eq!(waits(&plan(&cluster)), ["everywhere.service: no machine has role=db"]);
}

#[test]
fn a_replaced_unit_moves_to_another_machine() {
    let mut cluster = cluster(&["m1", "m2"]);
    let replaces = Options { replaces: vec!["old*.service".into()], ..Options::default() };
    let on_m1 = |options: Options| Options { machine_metadata: with_role("x").machine_metadata, ..options };
    cluster.machines.get_mut(&machine("m1")).unwrap().metadata.insert("role".into(), "x".into());
    cluster.units.insert(unit("old.service"), launched(Options::default()));
    cluster.schedule.insert(unit("old.service"), placed("m1", 1));
    cluster.units.insert(unit("new.service"), launched(on_m1(replaces)));
    let actions = plan(&cluster);
    assert_eq!(places(&actions), [("new.service", "m1")]);
    apply(&mut cluster, &actions, 10);
    let actions = plan(&cluster);
    assert_eq!(places(&actions), [("old.service", "m2")]);
    apply(&mut cluster, &actions, 11);
    assert_eq!(plan(&cluster), []);
}

#[test]
fn a_template_is_never_placed() {
    let mut cluster = cluster(&["m1"]);
    cluster.units.insert(unit("web@.service"), launched(Options::default()));
    assert_eq!(plan(&cluster), []);
}

#[test]
fn a_new_request_for_a_unit_that_waits_is_answered() {
    let mut cluster = cluster(&[]);
    cluster.units.insert(unit("a.service"), launched(Options::default()));
    let actions = plan(&cluster);
    apply(&mut cluster, &actions, 1);
    assert_eq!(plan(&cluster), []);
    cluster.units.get_mut(&unit("a.service")).unwrap().generation = 2;
    assert_eq!(waits(&plan(&cluster)), ["a.service: no machine is present"]);
}

const UNITS: [&str; 8] = [
    "a.service",
    "b.service",
    "c.service",
    "web@1.service",
    "web@2.service",
    "web@3.service",
    "web@4.service",
    "z.timer",
];
const MACHINES: [&str; 4] = ["m1", "m2", "m3", "m4"];

prop_compose! {
    fn some_options()(kind in 0..8, other in 0..UNITS.len(), role in 0..2usize) -> Options {
        let role = ["x", "y"][role];
        match kind {
            0 => conflicts("web@*.service"),
            1 => conflicts(UNITS[other]),
            2 => with_role(role),
            3 => Options { machine_of: vec![unit(UNITS[other])], ..Options::default() },
            4 => Options { global: true, ..with_role(role) },
            5 => Options { machine_id: Some(MACHINES[other % MACHINES.len()].into()), ..Options::default() },
            _ => Options::default(),
        }
    }
}

prop_compose! {
    fn some_cluster()(
        units in prop::collection::btree_map(0..UNITS.len(), (some_options(), 0..3usize), 0..UNITS.len()),
        present in prop::collection::btree_map(0..MACHINES.len(), (any::<bool>(), any::<bool>()), 0..=MACHINES.len()),
        schedule in prop::collection::btree_map(0..UNITS.len(), (0..=MACHINES.len(), 1..5u64), 0..UNITS.len()),
        may_bury in any::<bool>(),
    ) -> Cluster {
        let mut all = cluster(&[]);
        all.may_bury = may_bury;
        for (n, (options, desired)) in units {
            let desired = [Desired::Inactive, Desired::Loaded, Desired::Launched][desired];
            all.units.insert(unit(UNITS[n]), record(desired, options));
        }
        for (n, (role, cordon)) in present {
            let metadata = BTreeMap::from([("role".into(), if role { "x" } else { "y" }.into())]);
            let hostname = MACHINES[n].to_string();
            all.machines.insert(machine(MACHINES[n]), Machine { hostname, metadata, cordon, agent_stopped: false });
        }
        for (n, (on, generation)) in schedule {
            let mut entry = placed("m1", generation);
            entry.machine = MACHINES.get(on).map(|name| machine(name));
            all.schedule.insert(unit(UNITS[n]), entry);
        }
        all
    }
}

/// Plans and applies until there is nothing left to do.
fn settled(mut cluster: Cluster) -> Cluster {
    for round in 0..20 {
        let actions = plan(&cluster);
        if actions.is_empty() {
            return cluster;
        }
        apply(&mut cluster, &actions, 100 + round);
    }
    panic!("the plan never comes to rest: {:?}", plan(&cluster));
}

fn single_on<'a>(cluster: &'a Cluster, id: &MachineId) -> Vec<&'a UnitName> {
    let here = cluster.schedule.iter().filter(|(_, record)| record.machine.as_ref() == Some(id));
    here.map(|(unit, _)| unit).collect()
}

proptest! {
    // Cases that failed once lie beside this file and are tried first.
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_same_cluster_gives_the_same_plan(cluster in some_cluster()) {
        prop_assert_eq!(plan(&cluster), plan(&cluster.clone()));
    }

    #[test]
    fn a_settled_cluster_holds_no_conflict_and_explains_every_unit(cluster in some_cluster()) {
        let cluster = settled(cluster);
        for id in cluster.machines.keys() {
            let here = single_on(&cluster, id);
            for one in &here {
                let patterns = Patterns::new(&cluster.units[*one].options.conflicts);
                for other in here.iter().filter(|other| *other != one) {
                    prop_assert!(!patterns.matches(other), "{one} conflicts with {other} on {id}");
                }
                let options = &cluster.units[*one].options;
                prop_assert_eq!(fit::unsuitable(options, id, &cluster.machines[id]), None);
            }
        }
        for (unit, record) in cluster.wanted() {
            let entry = cluster.schedule.get(unit);
            let explained = entry.is_some_and(|entry| entry.machine.is_some() || !entry.reason.is_empty());
            prop_assert!(record.options.global || explained, "{unit} has no machine and no reason");
        }
    }

    #[test]
    fn nothing_that_may_stay_is_moved(cluster in some_cluster()) {
        let before = settled(cluster);
        // A machine more and a unit more move nothing that is placed.
        let mut after = before.clone();
        after.machines.insert(machine("m9"), Machine { hostname: "m9".into(), ..Machine::default() });
        after.units.insert(unit("more.service"), launched(Options::default()));
        for action in plan(&after) {
            if let Action::Place { unit, .. } = &action {
                let had = before.schedule.get(unit).and_then(|entry| entry.machine.as_ref());
                prop_assert!(had.is_none(), "{unit} was moved from {had:?}: {action:?}");
            }
        }
    }

    #[test]
    fn absent_machines_keep_their_units_until_they_may_be_buried(cluster in some_cluster()) {
        let cluster = Cluster { may_bury: false, ..cluster };
        for action in plan(&cluster) {
            let (Action::Place { unit, .. } | Action::Wait { unit, .. }) = &action else { continue };
            let had = cluster.schedule.get(unit).and_then(|entry| entry.machine.as_ref());
            let single = !cluster.units[unit].options.global;
            prop_assert!(
                !single || had.is_none_or(|id| cluster.machines.contains_key(id)),
                "{action:?} although its machine is only absent"
            );
        }
    }
}
