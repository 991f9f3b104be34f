//! `muster reboot`.

mod render;
mod request;

pub(super) use render::machines as table;

use std::collections::BTreeSet;

use clap::Subcommand;

use super::terminal::machines::Machines;
use super::terminal::this_machine;
use super::{Context, Failure, Format, block_on};
use crate::client::Client;
use crate::config::{RebootdFragment, RebootdSettings};
use crate::ids::MachineId;
use crate::model::reboot::Group;
use crate::reboot::lock::Lock;
use crate::reboot::overview::Overview;
use crate::reboot::semaphore::{Outcome, Semaphore};

/// Ask for reboots, look at and change the reboot lock.
#[derive(clap::Args, Debug)]
#[command(
    arg_required_else_help = false,
    after_help = "A request is carried out by the machine's own coordinator, `muster rebootd`: once it holds the \
        lock and the store can spare the machine."
)]
pub struct Args {
    /// Group of machines that share one lock [default: default]
    #[arg(long, global = true, value_name = "NAME")]
    group: Option<String>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Ask machines to reboot, each when it holds the lock
    Request(request::Args),
    /// Take back requests of machines that do not hold the lock yet
    Cancel(request::CancelArgs),
    /// Show the lock, who holds it, who is on the way and who waits
    Status,
    /// Take a slot of the lock for a machine, so that fewer others may reboot meanwhile
    Lock {
        /// The machine, by id, host name or the beginning of either [default: this one]
        #[arg(value_name = "MACHINE")]
        machine: Option<String>,
    },
    /// Give back the slot of a machine, such as one that will not come back
    Unlock {
        /// The machine, by id, host name or the beginning of either [default: this one]
        #[arg(value_name = "MACHINE")]
        machine: Option<String>,
    },
    /// Change how many machines may be away at once
    SetMax {
        /// At least 1
        #[arg(value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(1..))]
        max: i64,
    },
}

pub(super) fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let mut fragment: RebootdFragment = context.section()?;
    fragment.group = args.group.or(fragment.group);
    let group = RebootdSettings::try_from(fragment)?.group;
    let client = Client::new(&context.client_settings()?).map_err(Failure::new)?;
    let lock = Lock::new(client.clone(), &group);
    block_on(async {
        match args.command {
            Command::Request(args) => request::request(args, client, group, context.output).await,
            Command::Cancel(args) => request::cancel(args, client, group).await,
            Command::Status => status(&client, &group, context.output).await,
            Command::Lock { machine } => {
                let id = one(&client, &group, machine.as_deref()).await?;
                take(&lock, id, context.output).await
            }
            Command::Unlock { machine } => {
                let id = one(&client, &group, machine.as_deref()).await?;
                give_back(&lock, id, context.output).await
            }
            Command::SetMax { max } => set_max(&lock, max, context.output).await,
        }
    })
}

/// The machines that `names` name, in a group that there is; this one if there are no names.
async fn machines(client: &Client, group: &Group, names: &[String]) -> Result<BTreeSet<MachineId>, Failure> {
    // Whoever has to do with the group may be named, though it will never come back.
    let overview = Overview::read(client, group).await.map_err(Failure::new)?;
    if names.is_empty() {
        return Ok(BTreeSet::from([this_machine::or_this(None)?]));
    }
    let known = Machines::load(client, overview.machines.into_iter().map(|line| line.machine)).await?;
    names.iter().map(|name| known.find(name)).collect()
}

/// The machine that `name` names, or this one.
async fn one(client: &Client, group: &Group, name: Option<&str>) -> Result<MachineId, Failure> {
    let names: Vec<String> = name.into_iter().map(Into::into).collect();
    let found = machines(client, group, &names).await?.pop_first();
    found.ok_or_else(|| Failure::new("no machine is named"))
}

async fn status(client: &Client, group: &Group, output: Format) -> Result<(), Failure> {
    let overview = Overview::read(client, group).await.map_err(Failure::new)?;
    match output {
        Format::Json => outln!("{}", serde_json::to_string(&overview).map_err(Failure::new)?),
        Format::Simple | Format::Extended => out!("{}", render::overview(&overview)),
    }
    Ok(())
}

async fn take(lock: &Lock, id: MachineId, output: Format) -> Result<(), Failure> {
    let changed = lock
        .acquire(&id)
        .await
        .map_err(|error| Failure::new(format!("cannot take the reboot lock for {id}: {error}")))?;
    let already = if changed.outcome == Outcome::None { " already" } else { "" };
    print(output, &changed.after, &format!("{id} holds the lock{already}, {}", free(&changed.after)))
}

async fn give_back(lock: &Lock, id: MachineId, output: Format) -> Result<(), Failure> {
    let changed = lock
        .release(&id)
        .await
        .map_err(|error| Failure::new(format!("cannot give back the reboot lock of {id}: {error}")))?;
    if changed.outcome == Outcome::None {
        return Err(Failure::new(format!("cannot give back the reboot lock of {id}: it does not hold it")));
    }
    print(
        output,
        &changed.after,
        &format!("{id} does not hold the lock any longer, {}", free(&changed.after)),
    )
}

async fn set_max(lock: &Lock, max: i64, output: Format) -> Result<(), Failure> {
    let changed = lock.set_max(max).await.map_err(Failure::new)?;
    print(output, &changed.after, &format!("Old-Max: {}\nMax: {}", changed.before.max(), changed.after.max()))
}

/// For programs the document itself, for people a sentence.
fn print(output: Format, semaphore: &Semaphore, sentence: &str) -> Result<(), Failure> {
    match output {
        Format::Json => outln!("{}", semaphore.render()),
        Format::Simple | Format::Extended => outln!("{sentence}"),
    }
    Ok(())
}

fn free(semaphore: &Semaphore) -> String {
    format!("{} of {} free", semaphore.available(), semaphore.max())
}
