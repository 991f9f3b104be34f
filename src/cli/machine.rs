//! `muster machine`.

use clap::Subcommand;
use serde_json::json;

use super::terminal::table;
use super::unit::View;
use super::{Context, Failure, Format, block_on};
use crate::client::Client;
use crate::ids::MachineId;
use crate::model::machine::{self, MachineInfo};

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
        notes.push("cordoned");
    }
    if info.agent_stopped {
        notes.push("its agent is stopped");
    }
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
    document
}
