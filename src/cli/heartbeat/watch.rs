//! `muster heartbeat watch`.

use tokio::process::Command;

use crate::cli::{Context, Failure, Format, block_on};
use crate::client::Client;
use crate::clock::wall_time;
use crate::heartbeat::tracker::BeatChange;
use crate::heartbeat::watch::watch;
use crate::model::Moment;
use crate::model::beat::BeatName;

/// Tell when a heartbeat is lost, comes back or stops.
#[derive(clap::Args, Debug)]
#[command(after_help = "Runs until it is ended, and goes on over outages of the store.")]
pub(super) struct Args {
    /// Only heartbeats of this name
    name: Option<BeatName>,

    /// Have the shell run this for every change, one after the other; MUSTER_HEARTBEAT_NAME,
    /// MUSTER_HEARTBEAT_MACHINE and MUSTER_HEARTBEAT_EVENT (lost, back or stopped) say what happened
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,
}

pub(super) fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let client = Client::new(&context.client_settings()?).map_err(Failure::new)?;
    let output = context.output;
    block_on(async {
        let command = args.exec.as_deref();
        let tell = |change: BeatChange| async move {
            outln!("{}", line(&change, output));
            if let Some(command) = command {
                hook(command, &change).await;
            }
            Ok::<_, Failure>(())
        };
        let trouble = |trouble| eprintln!("muster: {trouble}; watching on");
        match watch(&client, args.name.as_ref(), tell, trouble).await? {}
    })
}

fn line(change: &BeatChange, output: Format) -> String {
    let at = Moment::new(wall_time());
    match output {
        Format::Json => {
            let BeatChange { name, machine, event } = change;
            serde_json::json!({"at": at, "name": name, "machine": machine, "event": event}).to_string()
        }
        Format::Simple | Format::Extended => {
            format!("{at} {} {} {}", change.name, change.machine, change.event)
        }
    }
}

/// Runs the user's command and waits for it. One that fails is worth a line: the next change has its own.
async fn hook(command: &str, change: &BeatChange) {
    let status = Command::new("/bin/sh")
        .args(["-c", command])
        .env("MUSTER_HEARTBEAT_NAME", change.name.as_str())
        .env("MUSTER_HEARTBEAT_MACHINE", change.machine.as_str())
        .env("MUSTER_HEARTBEAT_EVENT", change.event.to_string())
        .status()
        .await;
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => eprintln!("muster: {command}: {status}"),
        Err(error) => eprintln!("muster: cannot run {command}: {error}"),
    }
}
