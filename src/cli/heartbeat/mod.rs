//! `muster heartbeat`.

mod command;
mod ls;
mod watch;

pub(super) use ls::table;

use std::ffi::OsString;
use std::time::Duration;

use clap::Subcommand;

use super::terminal::signals::Ending;
use super::terminal::this_machine;
use super::unit::unit_name;
use super::{Context, Failure, block_on, logging};
use crate::client::Client;
use crate::config::{HeartbeatFragment, HeartbeatSettings, Span};
use crate::heartbeat::pulse::Pulse;
use crate::heartbeat::supervise::{self, Beater, FAREWELL};
use crate::ids::{MachineId, UnitName};
use crate::model::beat::{BeatName, Source};
use crate::systemd::{Bus, Systemd, systemd1};

/// Keep a key alive while a service is healthy, and watch such keys.
#[derive(clap::Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    arg_required_else_help = false,
    after_help = "The key is /muster/heartbeats/NAME/MACHINE. It expires when no beat came for its TTL (lost) and is \
        deleted when the service ended on purpose (stopped): the unit became inactive, or the command succeeded or was \
        told to end."
)]
pub struct Args {
    /// Beat for as long as systemd calls this unit active; a service if the name has no suffix
    #[arg(long, value_name = "NAME", conflicts_with = "command")]
    unit: Option<String>,

    /// Name of the command's heartbeat [default: the program's name]
    #[arg(long, value_name = "NAME", requires = "command")]
    name: Option<BeatName>,

    #[command(flatten)]
    beat: Beating,

    /// Run this command and beat for as long as it runs; ends as the command ends
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,

    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Send one beat and end: for a service's own loop
    Beat {
        /// Name of the heartbeat, usually the unit's
        name: BeatName,
        #[command(flatten)]
        beat: Beating,
    },
    /// List who beats now
    Ls(ls::Args),
    /// Tell when a heartbeat is lost, comes back or stops
    Watch(watch::Args),
}

/// How and where one beats.
#[derive(clap::Args, Debug)]
struct Beating {
    /// Lost after so much silence, in whole seconds [default: 10s]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    ttl: Option<Duration>,

    /// Stand for this machine instead of the one in /etc/machine-id
    #[arg(long, value_name = "ID")]
    machine: Option<MachineId>,
}

impl Beating {
    fn pulse(self, name: &BeatName, source: Source, context: &Context) -> Result<Pulse, Failure> {
        let mut fragment: HeartbeatFragment = context.section()?;
        fragment.ttl = self.ttl.map(Span).or(fragment.ttl);
        let ttl = HeartbeatSettings::try_from(fragment)?.ttl;
        let machine = this_machine::or_this(self.machine)?;
        let client = Client::new(&context.client_settings()?).map_err(Failure::new)?;
        Ok(Pulse::new(client, name, &machine, ttl, source))
    }
}

pub(super) fn run(args: Args, context: &Context) -> Result<(), Failure> {
    match (args.action, args.unit) {
        (Some(Action::Beat { name, beat }), _) => {
            // The process that calls this one is the service or its loop.
            let caller = std::os::unix::process::parent_id();
            let pulse = beat.pulse(&name, Source::Beat, context)?.of_process(Some(caller));
            block_on(async { pulse.beat().await.map(drop).map_err(Failure::new) })
        }
        (Some(Action::Ls(args)), _) => ls::run(args, context),
        (Some(Action::Watch(args)), _) => watch::run(args, context),
        (None, Some(unit)) => {
            let unit = unit_name(&unit)?;
            // systemd takes names that begin with `_`; a key that does is hidden from listings.
            let name: BeatName = unit.as_str().parse().map_err(Failure::usage)?;
            let pulse = args.beat.pulse(&name, Source::Unit, context)?;
            logging::init()?;
            block_on(follow(unit, pulse))
        }
        (None, None) => {
            if args.command.is_empty() {
                return Err(Failure::usage("give --unit NAME, or -- COMMAND, or one of beat, ls, watch"));
            }
            let name = match args.name {
                Some(name) => name,
                None => command::name_of(&args.command[0])?,
            };
            let pulse = args.beat.pulse(&name, Source::Command, context)?;
            logging::init()?;
            command::run(&args.command, pulse)
        }
    }
}

/// Beats for `unit` until asked to end.
async fn follow(unit: UnitName, pulse: Pulse) -> Result<(), Failure> {
    let mut ending = Ending::listen()?;
    let systemd = systemd1::connect(Bus::system()).await.map_err(Failure::new)?;
    let mut beater = Beater::new(pulse);
    let signal = tokio::select! {
        () = supervise::unit(&mut beater, &systemd, &unit) => unreachable!("it has no end of its own"),
        signal = ending.recv() => signal,
    };
    tracing::info!("ending after {signal}");
    if is_shutting_down(&systemd).await {
        // The unit ends with the machine, on purpose.
        let _ = tokio::time::timeout(FAREWELL, beater.stop()).await;
    }
    Ok(())
}

async fn is_shutting_down(systemd: &Systemd) -> bool {
    systemd.system_state().await.is_ok_and(|state| state == "stopping")
}
