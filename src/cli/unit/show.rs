//! `muster unit cat` and `muster unit status`.

use serde_json::json;

use super::view::View;
use super::{source, unit_names};
use crate::cli::{Failure, Format};
use crate::client::Client;
use crate::ids::UnitName;
use crate::model::unit::{Desired, UnitState};

pub(super) async fn cat(client: &Client, arguments: &[String]) -> Result<(), Failure> {
    for unit in unit_names(arguments)? {
        let stored = source::stored(client, &unit).await?;
        let record = stored.ok_or_else(|| Failure::new(format!("{unit} is not known")))?.record;
        let text = source::text(client, &unit, &record.hash).await?;
        if arguments.len() > 1 {
            outln!("# {unit}");
        }
        out!("{text}");
        if !text.ends_with('\n') {
            outln!();
        }
    }
    Ok(())
}

pub(super) async fn status(client: &Client, arguments: &[String], format: Format) -> Result<(), Failure> {
    let units = unit_names(arguments)?;
    let view = View::load(client).await?;
    if let Some(unit) = units.iter().find(|unit| !is_known(&view, unit)) {
        return Err(Failure::new(format!("{unit} is not known")));
    }
    if format == Format::Json {
        let all: Vec<_> = units.iter().map(|unit| document(&view, unit)).collect();
        outln!("{}", serde_json::to_string_pretty(&all).map_err(Failure::new)?);
        return Ok(());
    }
    let blocks: Vec<String> = units.iter().map(|unit| block(&view, unit)).collect();
    out!("{}", blocks.join("\n"));
    Ok(())
}

fn is_known(view: &View, unit: &UnitName) -> bool {
    view.units.contains_key(unit) || view.states.contains_key(unit) || view.unreadable.contains_key(unit)
}

fn document(view: &View, unit: &UnitName) -> serde_json::Value {
    json!({
        "unit": unit,
        "record": view.units.get(unit),
        "schedule": view.schedule.get(unit),
        "states": view.states.get(unit),
        "error": view.unreadable.get(unit),
    })
}

fn block(view: &View, unit: &UnitName) -> String {
    let mut lines = vec![unit.to_string()];
    let mut say = |name: &str, text: String| lines.push(format!("  {name:<10}{text}"));
    if let Some(error) = view.unreadable.get(unit) {
        say("Error:", error.clone());
    }
    match view.units.get(unit) {
        Some(record) => {
            say("Desired:", format!("{} (request {})", record.desired, record.generation));
            say("Text:", record.hash.clone());
            if let Ok(options) = serde_json::to_string(&record.options)
                && options != "{}"
            {
                say("Options:", options);
            }
            match view.schedule.get(unit) {
                _ if record.options.global => say("Placed:", "on every machine that may run it".into()),
                Some(placement) => {
                    let at = placement.machine.as_ref().map_or("nowhere".into(), |id| view.name(id));
                    let (since, generation) = (&placement.since, placement.generation);
                    say("Placed:", format!("{at} since {since} (generation {generation})"));
                    say("Reason:", placement.reason.clone());
                }
                None if record.desired > Desired::Inactive => say("Placed:", "not yet".into()),
                None => {}
            }
        }
        None => say("Desired:", "nothing: it was destroyed".into()),
    }
    for (id, state) in view.states.get(unit).into_iter().flatten() {
        say("Machine:", format!("{}: {}", view.name(id), sentence(state)));
        if !state.problem.is_empty() {
            say("Problem:", state.problem.clone());
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

fn sentence(state: &UnitState) -> String {
    let mut text = format!("{} ({})", state.active, state.sub);
    if !state.since.is_empty() {
        text.push_str(&format!(" since {}", state.since));
    }
    if let Some(pid) = state.main_pid {
        text.push_str(&format!(", main PID {pid}"));
    }
    if state.active == "failed" && !state.result.is_empty() {
        text.push_str(&format!(", result: {}", state.result));
    }
    text
}
