//! `muster unit ls`.

use serde::Serialize;

use super::view::View;
use crate::cli::terminal::table;
use crate::cli::{Failure, Format};
use crate::client::Client;
use crate::ids::{MachineId, UnitName};
use crate::model::unit::{Desired, UnitRecord, UnitState};

/// One line: a unit, on one machine if it is on any.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Row {
    /// The unit.
    pub unit: UnitName,
    /// What users want; absent for what is left of a destroyed unit.
    pub desired: Option<Desired>,
    /// The machine.
    pub machine: Option<MachineId>,
    /// The machine's host name.
    pub hostname: Option<String>,
    /// What the machine says.
    #[serde(flatten)]
    pub state: Option<UnitState>,
    /// What keeps the unit from being as it should, for people.
    pub note: String,
}

pub(super) async fn ls(client: &Client, all: bool, format: Format) -> Result<(), Failure> {
    let view = View::load(client).await?;
    let rows = rows(&view, all);
    match format {
        Format::Json => outln!("{}", serde_json::to_string_pretty(&rows).map_err(Failure::new)?),
        Format::Simple => out!("{}", simple(&view, &rows)),
        Format::Extended => out!("{}", extended(&rows)),
    }
    Ok(())
}

/// The lines as people see them.
pub(in crate::cli) fn simple(view: &View, rows: &[Row]) -> String {
    let line = |row: &Row| {
        let (active, sub) = row.state.as_ref().map_or(("", ""), |state| (&state.active, &state.sub));
        let machine = row.machine.as_ref().map(|id| view.name(id)).unwrap_or_default();
        vec![row.unit.to_string(), machine, active.into(), sub.into(), row.note.clone()]
    };
    table::render(&["UNIT", "MACHINE", "ACTIVE", "SUB", "NOTE"], &rows.iter().map(line).collect::<Vec<_>>())
}

fn extended(rows: &[Row]) -> String {
    let line = |row: &Row| {
        let of = |get: fn(&UnitState) -> String| row.state.as_ref().map(get).unwrap_or_default();
        vec![
            row.unit.to_string(),
            row.desired.map(|desired| desired.to_string()).unwrap_or_default(),
            row.machine.as_ref().map(MachineId::to_string).unwrap_or_default(),
            row.hostname.clone().unwrap_or_default(),
            of(|state| state.load.clone()),
            of(|state| state.active.clone()),
            of(|state| state.sub.clone()),
            of(|state| state.main_pid.map(|pid| pid.to_string()).unwrap_or_default()),
            of(|state| state.since.clone()),
            of(|state| state.hash.chars().take(7).collect()),
            row.note.clone(),
        ]
    };
    let header =
        ["UNIT", "DESIRED", "MACHINE", "HOSTNAME", "LOAD", "ACTIVE", "SUB", "PID", "SINCE", "HASH", "NOTE"];
    table::render(&header, &rows.iter().map(line).collect::<Vec<_>>())
}

/// The lines, in the order of units and machines. Without `all` only what is wanted or there.
pub(in crate::cli) fn rows(view: &View, all: bool) -> Vec<Row> {
    let mut rows = Vec::new();
    for (unit, record) in &view.units {
        let before = rows.len();
        if let Some(states) = view.states.get(unit) {
            rows.extend(states.iter().map(|(id, state)| reported(view, unit, Some(record), id, state)));
        }
        let placed = view.placed_on(unit);
        let is_reported =
            placed.is_some_and(|id| rows[before..].iter().any(|row| row.machine.as_ref() == Some(id)));
        let wanted = record.desired > Desired::Inactive;
        let unreported = if record.options.global { rows.len() == before } else { !is_reported };
        if wanted && unreported || all && rows.len() == before {
            rows.push(unreported_row(view, unit, record));
        }
    }
    for (unit, states) in view.states.iter().filter(|(unit, _)| !view.units.contains_key(*unit)) {
        rows.extend(states.iter().map(|(id, state)| reported(view, unit, None, id, state)));
    }
    for (unit, why) in &view.unreadable {
        let (unit, note) = (unit.clone(), why.clone());
        rows.push(Row { unit, desired: None, machine: None, hostname: None, state: None, note });
    }
    rows.sort_by(|a, b| (&a.unit, &a.machine).cmp(&(&b.unit, &b.machine)));
    rows
}

/// A unit that a machine tells of.
fn reported(
    view: &View,
    unit: &UnitName,
    record: Option<&UnitRecord>,
    id: &MachineId,
    state: &UnitState,
) -> Row {
    Row {
        unit: unit.clone(),
        desired: record.map(|record| record.desired),
        machine: Some(id.clone()),
        hostname: view.machines.get(id).map(|info| info.hostname.clone()),
        state: Some(state.clone()),
        note: note(view, unit, record, id, state),
    }
}

fn note(
    view: &View,
    unit: &UnitName,
    record: Option<&UnitRecord>,
    id: &MachineId,
    state: &UnitState,
) -> String {
    if !state.problem.is_empty() {
        return state.problem.clone();
    }
    let Some(record) = record else {
        return "destroyed, on its way out".into();
    };
    if !record.options.global && view.placed_on(unit) != Some(id) {
        return match view.placed_on(unit) {
            Some(other) => format!("placed on {} now", view.name(other)),
            None => waiting(view, unit),
        };
    }
    let acted = state.request >= record.generation;
    match state.active.as_str() {
        "failed" => format!("result: {}", state.result),
        "inactive" if record.desired == Desired::Launched && acted => "ended or stopped by hand".into(),
        "active" if record.desired == Desired::Loaded && acted => "started by hand".into(),
        _ if !state.hash.is_empty() && state.hash != record.hash => "an older text".into(),
        _ => String::new(),
    }
}

/// A unit that no machine tells of, or not the one that it is placed on.
fn unreported_row(view: &View, unit: &UnitName, record: &UnitRecord) -> Row {
    let machine = view.placed_on(unit).cloned();
    let note = match &machine {
        _ if record.desired == Desired::Inactive => "not started".into(),
        Some(id) if !view.machines.contains_key(id) => "its machine is absent".into(),
        Some(_) => "the machine has not answered yet".into(),
        None => waiting(view, unit),
    };
    let hostname = machine.as_ref().and_then(|id| view.machines.get(id)).map(|info| info.hostname.clone());
    Row { unit: unit.clone(), desired: Some(record.desired), machine, hostname, state: None, note }
}

fn waiting(view: &View, unit: &UnitName) -> String {
    match view.schedule.get(unit) {
        Some(record) if !record.reason.is_empty() => record.reason.clone(),
        _ => "not placed yet".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(units: &str, schedule: &str, states: &str) -> View {
        let machine = r#"{"id":"m1","hostname":"one","boot_id":"b"}"#;
        View {
            units: serde_json::from_str(units).unwrap(),
            schedule: serde_json::from_str(schedule).unwrap(),
            states: serde_json::from_str(states).unwrap(),
            machines: serde_json::from_str(&format!("{{\"m1\":{machine}}}")).unwrap(),
            ..View::default()
        }
    }

    const LAUNCHED: &str = r#"{"a.service":{"hash":"h","options":{},"desired":"launched","generation":3}}"#;

    #[test]
    fn a_unit_without_a_machine_tells_why() {
        let waits = r#"{"a.service":{"machine":null,"generation":1,"reason":"one is cordoned","since":""}}"#;
        let view = view(LAUNCHED, waits, "{}");
        assert_eq!(
            simple(&view, &rows(&view, false)),
            "UNIT       MACHINE  ACTIVE  SUB  NOTE\na.service  -        -       -    one is cordoned\n"
        );
    }

    #[test]
    fn a_unit_on_its_machine_has_one_line_and_no_note() {
        let placed = r#"{"a.service":{"machine":"m1","generation":1,"reason":"","since":""}}"#;
        let state = r#"{"a.service":{"m1":{"load":"loaded","active":"active","sub":"running","hash":"h","generation":1,"request":3}}}"#;
        let view = view(LAUNCHED, placed, state);
        assert_eq!(
            simple(&view, &rows(&view, false)),
            "UNIT       MACHINE  ACTIVE  SUB      NOTE\na.service  one/m1   active  running  -\n"
        );
    }

    #[test]
    fn notes_tell_what_is_not_as_it_should_be() {
        let placed = |on: &str| {
            format!(r#"{{"a.service":{{"machine":"{on}","generation":1,"reason":"","since":""}}}}"#)
        };
        let state = |active: &str, hash: &str| {
            format!(
                r#"{{"a.service":{{"m1":{{"load":"loaded","active":"{active}","sub":"x","result":"exit-code","hash":"{hash}","generation":1,"request":3}}}}}}"#
            )
        };
        let notes = |on: &str, active: &str, hash: &str| {
            let view = view(LAUNCHED, &placed(on), &state(active, hash));
            rows(&view, false).into_iter().map(|row| row.note).collect::<Vec<_>>()
        };
        assert_eq!(notes("m1", "failed", "h"), ["result: exit-code"]);
        assert_eq!(notes("m1", "inactive", "h"), ["ended or stopped by hand"]);
        assert_eq!(notes("m1", "active", "other"), ["an older text"]);
        assert_eq!(notes("m2", "active", "h"), ["placed on m2 now", "its machine is absent"]);
    }

    #[test]
    fn units_that_nobody_wants_are_listed_on_demand() {
        let view = view(&LAUNCHED.replace("launched", "inactive"), "{}", "{}");
        assert!(rows(&view, false).is_empty());
        assert_eq!(rows(&view, true)[0].note, "not started");
    }
}
