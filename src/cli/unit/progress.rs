//! How far a request for a unit has come, as the store shows it.

use std::collections::BTreeMap;

use super::view::View;
use crate::ids::UnitName;
use crate::model::unit::{Desired, UnitState};

/// What is to be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// systemd says the unit is active, by a request of this generation or a later one.
    Started(u64),
    /// systemd says the unit is inactive, by a request of this generation or a later one.
    Stopped(u64),
    /// No machine has anything of it.
    Gone,
}

/// How far it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// There, with a word on it.
    Reached(String),
    /// On its way, with where it is.
    Under(String),
    /// Nothing will happen until the cluster changes, and why.
    Blocked(String),
    /// It went wrong, and why.
    Failed(String),
}

use Progress::{Blocked, Failed, Reached, Under};

/// How far `unit` has come towards `goal`.
pub(super) fn progress(view: &View, unit: &UnitName, goal: Goal) -> Progress {
    match goal {
        Goal::Started(request) => started(view, unit, request),
        Goal::Stopped(request) => stopped(view, unit, request),
        Goal::Gone => match view.states.get(unit).and_then(|states| states.iter().next()) {
            Some((id, state)) => Under(format!("being removed from {}{}", view.name(id), problem(state))),
            None => Reached("gone".into()),
        },
    }
}

fn started(view: &View, unit: &UnitName, request: u64) -> Progress {
    match view.units.get(unit) {
        Some(record) if record.desired != Desired::Launched => {
            return Failed(format!("somebody wants it {} now", record.desired));
        }
        Some(record) if record.options.global => return started_everywhere(view, unit, request),
        Some(_) => {}
        None => return Failed("somebody destroyed it".into()),
    }
    let Some(placement) = view.schedule.get(unit) else { return Under("waiting to be placed".into()) };
    let Some(id) = &placement.machine else {
        let answered = placement.request >= request;
        return if answered {
            Blocked(placement.reason.clone())
        } else {
            Under("waiting to be placed".into())
        };
    };
    let name = view.name(id);
    if !view.machines.contains_key(id) {
        return Under(format!("placed on {name}, which is absent"));
    }
    let Some(state) = view.states.get(unit).and_then(|states| states.get(id)) else {
        return Under(format!("placed on {name}"));
    };
    let (active, sub) = (&state.active, &state.sub);
    if state.request < request || state.generation < placement.generation {
        return Under(format!("{active} ({sub}) on {name}{}", problem(state)));
    }
    if state.refused {
        return Failed(view.says(id, state));
    }
    match active.as_str() {
        "active" | "reloading" => Reached(format!("active ({sub}) on {name}")),
        "activating" | "deactivating" => Under(format!("{active} ({sub}) on {name}")),
        _ if !state.problem.is_empty() => Failed(format!("{active} on {name}: {}", state.problem)),
        "inactive" if state.result != "success" && !state.result.is_empty() => {
            Failed(format!("inactive on {name}: {}", state.result))
        }
        "inactive" => Reached(format!("started and ended on {name}")),
        _ => Failed(format!("{active} on {name}: {}", state.result)),
    }
}

/// What keeps a machine from going on, to be put behind what it is at.
fn problem(state: &UnitState) -> String {
    if state.problem.is_empty() { String::new() } else { format!(": {}", state.problem) }
}

/// A global unit: where it runs is each machine's own affair.
fn started_everywhere(view: &View, unit: &UnitName, request: u64) -> Progress {
    let waits =
        view.schedule.get(unit).filter(|record| record.machine.is_none() && record.request >= request);
    if let Some(record) = waits {
        return Blocked(record.reason.clone());
    }
    let answers: Vec<_> =
        view.states.get(unit).into_iter().flatten().filter(|(_, state)| state.request >= request).collect();
    let on: Vec<String> =
        answers.iter().filter(|(_, state)| state.active == "active").map(|(id, _)| view.name(id)).collect();
    if !on.is_empty() {
        return Reached(format!("active on {} and wherever else it may run", on.join(", ")));
    }
    let refused: BTreeMap<_, _> = answers
        .iter()
        .filter(|(_, state)| state.refused)
        .map(|(id, state)| (*id, view.says(id, state)))
        .collect();
    let why = refused.values().map(String::as_str).collect::<Vec<_>>().join("; ");
    if why.is_empty() {
        Under("waiting for the first machine".into())
    } else if view.machines.keys().all(|id| refused.contains_key(id)) {
        Failed(why)
    } else {
        Under(format!("waiting for the first machine; {why}"))
    }
}

fn stopped(view: &View, unit: &UnitName, request: u64) -> Progress {
    let empty = Default::default();
    let states = view.states.get(unit).unwrap_or(&empty);
    let up = states.iter().find(|(_, state)| !matches!(state.active.as_str(), "inactive" | "failed"));
    if let Some((id, state)) = up {
        return Under(format!("{} ({}) on {}", state.active, state.sub, view.name(id)));
    }
    let placed = view.placed_on(unit).filter(|id| view.machines.contains_key(*id));
    let global = view.units.get(unit).is_some_and(|record| record.options.global);
    match placed.filter(|_| !global) {
        Some(id) if states.get(id).is_none_or(|state| state.request < request) => {
            Under(format!("waiting for {}", view.name(id)))
        }
        _ => Reached("inactive".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(record: &str, placement: &str, state: &str) -> View {
        let machine = r#"{"id":"m1","hostname":"one","boot_id":"b"}"#;
        let one = |name: &str, value: &str| match value {
            "" => "{}".to_string(),
            value => format!("{{\"{name}\":{value}}}"),
        };
        let states = if state.is_empty() { String::new() } else { one("m1", state) };
        View {
            units: serde_json::from_str(&one("a.service", record)).unwrap(),
            schedule: serde_json::from_str(&one("a.service", placement)).unwrap(),
            states: serde_json::from_str(&one("a.service", &states)).unwrap(),
            machines: serde_json::from_str(&one("m1", machine)).unwrap(),
            ..View::default()
        }
    }

    fn unit() -> UnitName {
        "a.service".parse().unwrap()
    }

    const LAUNCHED: &str = r#"{"hash":"h","options":{},"desired":"launched","generation":3}"#;
    const LOADED: &str = r#"{"hash":"h","options":{},"desired":"loaded","generation":4}"#;
    const PLACED: &str = r#"{"machine":"m1","generation":7,"reason":"","since":"","request":2}"#;

    fn state(active: &str, generation: u64, request: u64) -> String {
        format!(
            r#"{{"load":"loaded","active":"{active}","sub":"x","result":"exit-code","generation":{generation},"request":{request}}}"#
        )
    }

    #[test]
    fn a_start_is_over_when_the_machine_has_acted_on_it() {
        let at = |state: String| progress(&view(LAUNCHED, PLACED, &state), &unit(), Goal::Started(3));
        assert_eq!(at(state("active", 7, 3)), Reached("active (x) on one/m1".into()));
        assert_eq!(at(state("failed", 7, 2)), Under("failed (x) on one/m1".into()));
        assert_eq!(at(state("active", 6, 3)), Under("active (x) on one/m1".into()));
        assert_eq!(at(state("failed", 7, 3)), Failed("failed on one/m1: exit-code".into()));
        assert_eq!(at(String::new()), Under("placed on one/m1".into()));
    }

    #[test]
    fn only_an_answer_to_this_request_blocks_it() {
        let at = |request: u64| {
            let waits = format!(
                r#"{{"machine":null,"generation":7,"reason":"full","since":"","request":{request}}}"#
            );
            progress(&view(LAUNCHED, &waits, ""), &unit(), Goal::Started(3))
        };
        assert_eq!(at(3), Blocked("full".into()));
        assert_eq!(at(2), Under("waiting to be placed".into()));
    }

    #[test]
    fn a_stop_is_over_when_nothing_is_up_and_the_machine_has_acted() {
        let at = |state: String| progress(&view(LOADED, PLACED, &state), &unit(), Goal::Stopped(4));
        assert_eq!(at(state("active", 7, 3)), Under("active (x) on one/m1".into()));
        assert_eq!(at(state("inactive", 7, 3)), Under("waiting for one/m1".into()));
        assert_eq!(at(state("inactive", 7, 4)), Reached("inactive".into()));
        assert_eq!(progress(&view(LOADED, "", ""), &unit(), Goal::Stopped(4)), Reached("inactive".into()));
    }

    #[test]
    fn a_global_unit_fails_only_if_every_machine_refuses_this_very_request() {
        let at = |one: &str, two: &str| {
            let global = LAUNCHED.replace("{}", r#"{"global":true}"#);
            let mut view = view(&global, "", "");
            let machine = r#"{"id":"m2","hostname":"two","boot_id":"b"}"#;
            view.machines.insert("m2".parse().unwrap(), serde_json::from_str(machine).unwrap());
            let states = [("m1", one), ("m2", two)].into_iter().filter(|(_, state)| !state.is_empty());
            let states =
                states.map(|(id, state)| (id.parse().unwrap(), serde_json::from_str(state).unwrap()));
            view.states.insert(unit(), states.collect());
            assert_eq!(view.refusal(&unit()), None, "it may be asked for again");
            progress(&view, &unit(), Goal::Started(3))
        };
        let refused = |request: u64| {
            state("inactive", 3, request)
                .replace("\"request\"", "\"refused\":true,\"problem\":\"it is taken\",\"request\"")
        };
        assert_eq!(
            at(&refused(3), &state("active", 3, 3)),
            Reached("active on two/m2 and wherever else it may run".into())
        );
        let waits = Under("waiting for the first machine; one/m1 says that it is taken".into());
        assert_eq!(at(&refused(3), ""), waits);
        assert_eq!(at(&refused(3), &refused(2)), waits);
        assert_eq!(at(&refused(2), &refused(2)), Under("waiting for the first machine".into()));
        assert_eq!(
            at(&refused(3), &refused(4)),
            Failed("one/m1 says that it is taken; two/m2 says that it is taken".into())
        );
    }

    #[test]
    fn a_request_that_somebody_takes_back_fails() {
        assert!(matches!(progress(&view(LOADED, PLACED, ""), &unit(), Goal::Started(3)), Failed(_)));
        assert!(matches!(progress(&view("", "", ""), &unit(), Goal::Started(3)), Failed(_)));
    }
}
