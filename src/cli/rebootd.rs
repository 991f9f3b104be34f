//! `muster rebootd`.

use super::terminal::this_machine;
use super::{Context, Failure, block_on, logging};
use crate::client::Client;
use crate::config::{RebootdFragment, RebootdSettings};
use crate::ids::MachineId;
use crate::reboot::{Driver, RebootError, host::ThisMachine};
use crate::systemd::{Bus, notify};

/// Run this machine's reboot coordinator.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Reboots the machine when `muster reboot request` or the file `[rebootd] sentinel` (/run/reboot-required) asks for it, but \
        only while it holds its group's lock, and gives the lock back once the machine is back and well."
)]
pub struct Args {
    /// Group of machines that share one lock [default: default]
    #[arg(long, value_name = "NAME")]
    group: Option<String>,

    /// Stand for this machine instead of the one in /etc/machine-id
    #[arg(long, value_name = "ID")]
    machine: Option<MachineId>,
}

pub(super) fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let mut fragment: RebootdFragment = context.section()?;
    fragment.group = args.group.or(fragment.group);
    let settings = RebootdSettings::try_from(fragment)?;
    let id = this_machine::or_this(args.machine)?;
    let client_settings = context.client_settings()?;
    logging::init()?;
    block_on(async {
        let client = Client::new(&client_settings).map_err(Failure::new)?;
        tracing::info!("coordinating reboots of machine {id} in group {}", settings.group);
        let driver = Driver::new(client, ThisMachine::new(Bus::system()), id, settings);
        let mut signals = crate::cli::terminal::signals::Ending::listen()?;
        notify::ready();
        tokio::select! {
            ended = driver.run() => ended.map(|never| match never {}).map_err(|error| match error {
                // It does not heal by itself, so systemd must not try for ever.
                RebootError::Duplicate(_) => Failure::usage(error),
                _ => Failure::new(error),
            }),
            signal = signals.recv() => {
                // Whatever was under way goes on from its record when the coordinator starts again.
                tracing::info!("ending after {signal}");
                notify::stopping();
                Ok(())
            }
        }
    })
}
