//! `muster machine`.

use clap::Subcommand;
use serde_json::json;

use super::terminal::table;
use super::unit::View;
use super::{Context, Failure, Format, block_on};
use crate::client::Client;
use crate::ids::MachineId;
use crate::model::machine::{self, MachineInfo, Refusal};

/// Look at the cluster's machines.
#[derive(clap::Args, Debug)]
#[command(subcommand_required = true, arg_required_else_help = false)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// List the machines that are present
    Ls,
}

pub(super) fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let client = Client::new(&context.client_settings()?).map_err(Failure::new)?;
    match args.command {
        Command::Ls => block_on(ls(&client, context.output)),
    }
}

async fn ls(client: &Client, format: Format) -> Result<(), Failure> {
    let view = View::load(client).await?;
    match format {
        Format::Json => {
            outln!("{}", serde_json::to_string_pretty(&documents(&view)).map_err(Failure::new)?);
        }
        Format::Simple => out!("{}", simple(&view)),
        Format::Extended => {
            let header = [
                "MACHINE",
                "HOSTNAME",
                "ADDRESSES",
                "METADATA",
                "UNITS",
                "SINCE",
                "NOTE",
                "CPUS",
                "MEMORY",
                "VERSION",
                "BOOT",
            ];
            out!("{}", table::render(&header, &rows(&view, true)));
        }
    }
    Ok(())
}

/// The machines as people see them.
pub(super) fn simple(view: &View) -> String {
    let header = ["MACHINE", "HOSTNAME", "ADDRESSES", "METADATA", "UNITS", "SINCE", "NOTE"];
    table::render(&header, &rows(view, false))
}

/// The machines as programs see them.
pub(super) fn documents(view: &View) -> Vec<serde_json::Value> {
    view.machines.iter().map(|(id, info)| document(view, id, info)).collect()
}

fn rows(view: &View, extended: bool) -> Vec<Vec<String>> {
    let mut rows: Vec<_> =
        view.machines.iter().map(|(id, info)| (info, row(view, id, info, extended))).collect();
    rows.sort_by(|(a, _), (b, _)| (&a.hostname, &a.id).cmp(&(&b.hostname, &b.id)));
    rows.into_iter().map(|(_, row)| row).collect()
}

fn row(view: &View, id: &MachineId, info: &MachineInfo, extended: bool) -> Vec<String> {
    let settings = view.settings.get(id).cloned().unwrap_or_default();
    let metadata = machine::metadata(info, &settings);
    let metadata: Vec<String> = metadata.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut notes = Vec::new();
    if settings.cordon {
        notes.push("cordoned".into());
    }
    if info.agent_stopped {
        notes.push("its agent is stopped".into());
    }
    if info.registering {
        notes.push("its agent is starting".into());
    }
    notes.extend(refused(view, id).iter().map(refusal));
    let shown = if extended { id.as_str() } else { id.short() };
    let mut row = vec![
        shown.into(),
        info.hostname.clone(),
        info.addresses.join(","),
        metadata.join(","),
        units(view, id).to_string(),
        info.since.clone(),
        notes.join(", "),
    ];
    if extended {
        row.push(info.resources.cpus.to_string());
        row.push(format!("{} MiB", info.resources.memory_bytes >> 20));
        row.push(info.version.clone());
        row.push(info.boot_id.clone());
    }
    row
}

/// The other machines that were refused with a machine's id.
fn refused<'a>(view: &'a View, id: &MachineId) -> &'a [Refusal] {
    view.duplicates.get(id).map(Vec::as_slice).unwrap_or_default()
}

fn refusal(other: &Refusal) -> String {
    let Refusal { hostname, addresses, boot_id, since } = other;
    let place = if addresses.is_empty() { String::new() } else { format!(" at {}", addresses.join(",")) };
    format!("{hostname}{place} (boot {boot_id}) has the same machine-id and was refused at {since}")
}

/// How many units a machine runs.
fn units(view: &View, id: &MachineId) -> usize {
    view.states.values().filter(|states| states.get(id).is_some_and(|state| state.active == "active")).count()
}

fn document(view: &View, id: &MachineId, info: &MachineInfo) -> serde_json::Value {
    let settings = view.settings.get(id).cloned().unwrap_or_default();
    let mut document = json!(info);
    document["metadata"] = json!(machine::metadata(info, &settings));
    document["settings"] = json!(settings);
    document["units"] = json!(units(view, id));
    document["refused"] = json!(refused(view, id));
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_was_refused_is_named_beside_the_one_that_has_its_id() {
        let info = r#"{"id":"abcd","hostname":"m1","boot_id":"one"}"#;
        let note =
            r#"{"hostname":"m2","addresses":["10.0.0.2"],"boot_id":"two","since":"2026-01-31T12:00:00Z"}"#;
        let view = View {
            machines: serde_json::from_str(&format!("{{\"abcd\":{info}}}")).unwrap(),
            duplicates: serde_json::from_str(&format!("{{\"abcd\":[{note}]}}")).unwrap(),
            ..View::default()
        };
        assert!(simple(&view).ends_with(
            "m2 at 10.0.0.2 (boot two) has the same machine-id and was refused at 2026-01-31T12:00:00Z\n"
        ));
        assert_eq!(documents(&view)[0]["refused"][0]["boot_id"], "two");
    }
}
