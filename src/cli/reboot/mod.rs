//! `muster reboot`.

mod follow;
mod render;
mod request;

pub(super) use render::machines as table;

use std::collections::BTreeSet;
use std::fmt::Display;

use clap::Subcommand;

use super::terminal::machines::Machines;
use super::terminal::this_machine;
use super::{Context, Failure, Format, block_on};
use crate::agent::facts;
use crate::claim;
use crate::client::Client;
use crate::config::{RebootdFragment, RebootdSettings};
use crate::ids::MachineId;
use crate::model::claim::Owner;
use crate::model::reboot::{Group, Phase};
use crate::reboot::lock::Lock;
use crate::reboot::overview::Overview;
use crate::reboot::records::Records;
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
    /// Take back requests; works until logind is asked to reboot the machine
    Cancel(request::CancelArgs),
    /// Show the lock, who holds it, who is on the way and who waits
    Status,
    /// Take a slot of the lock for a machine, so that fewer others may reboot meanwhile
    Lock {
        /// The machine, by id, host name or the beginning of either (m1 for m1.example.org) [default: this one]
        #[arg(value_name = "MACHINE")]
        machine: Option<String>,
    },
    /// Give back the slot of a machine, such as one that will not come back
    Unlock {
        /// The machine, by id, host name or the beginning of either (m1 for m1.example.org) [default: this one]
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
                let chosen = Chosen::read(&client, &group, machine.as_slice()).await?;
                take(&lock, &chosen, context.output).await
            }
            Command::Unlock { machine } => {
                let chosen = Chosen::read(&client, &group, machine.as_slice()).await?;
                give_back(&lock, &Records::new(client, group), &chosen, context.output).await
            }
            Command::SetMax { max } => set_max(&lock, max, context.output).await,
        }
    })
}

/// The machines that a command is about, among all those that may be named.
struct Chosen {
    known: Machines,
    machines: BTreeSet<MachineId>,
}

impl Chosen {
    /// The machines that `names` name, in a group that there is; this one if there are no names.
    async fn read(client: &Client, group: &Group, names: &[String]) -> Result<Self, Failure> {
        let known = known(client, &Overview::read(client, group).await.map_err(Failure::new)?).await?;
        let machines = if names.is_empty() {
            let id = this_machine::or_this(None)?;
            let boot_id = facts::boot_id().map_err(Failure::new)?;
            let found = claim::find(client, &id, &boot_id, false).await.map_err(Failure::new)?;
            BTreeSet::from([this_one(&known, id, found.map(|found| found.owner))?])
        } else {
            names.iter().map(|name| known.find(name)).collect::<Result<_, _>>()?
        };
        Ok(Self { known, machines })
    }

    /// Every machine that is present now, for a group that there is.
    async fn present(client: &Client, group: &Group) -> Result<Self, Failure> {
        let known = known(client, &Overview::read(client, group).await.map_err(Failure::new)?).await?;
        let machines: BTreeSet<MachineId> = known.all_present().cloned().collect();
        if machines.is_empty() {
            return Err(Failure::new("no machine is present"));
        }
        Ok(Self { known, machines })
    }

    /// The only machine, with its name for people.
    fn only(&self) -> Result<(&MachineId, String), Failure> {
        let id = self.machines.first().ok_or_else(|| Failure::new("no machine is named"))?;
        Ok((id, self.known.name(id)))
    }
}

/// This machine, if anybody has to do with it: a slot that was taken under an id that nobody goes by is never given back.
/// `owner` is whose presence there is under its id: it may be another machine's, such as the one that this is a clone of.
fn this_one(known: &Machines, id: MachineId, owner: Option<Owner>) -> Result<MachineId, Failure> {
    if let Some(Owner::Other(other)) = owner {
        return Err(Failure::new(format!(
            "this machine's id {id} is in use by {} (boot id {}), or that was this machine before it booted: name the \
             machine that is meant",
            other.hostname, other.boot_id
        )));
    }
    if known.knows(&id) {
        Ok(id)
    } else {
        Err(Failure::new(format!("this machine ({id}) is not known: does its agent run?")))
    }
}

/// The machines that may be named: whoever has to do with the group is one of them, though it will never come back.
async fn known(client: &Client, overview: &Overview) -> Result<Machines, Failure> {
    let lines = overview.machines.iter();
    Machines::load(client, lines.map(|line| (line.machine.clone(), line.hostname.clone()))).await
}

async fn status(client: &Client, group: &Group, output: Format) -> Result<(), Failure> {
    let overview = Overview::read(client, group).await.map_err(Failure::new)?;
    match output {
        Format::Json => outln!("{}", serde_json::to_string(&overview).map_err(Failure::new)?),
        Format::Simple | Format::Extended => {
            let known = known(client, &overview).await?;
            out!("{}", render::overview(&overview, &known));
        }
    }
    Ok(())
}

async fn take(lock: &Lock, chosen: &Chosen, output: Format) -> Result<(), Failure> {
    let (id, name) = chosen.only()?;
    let changed = lock.acquire(id).await.map_err(|error| {
        let why = chosen.known.told(&error.to_string());
        Failure::new(format!("cannot take the reboot lock for {name}: {why}"))
    })?;
    let already = if changed.outcome == Outcome::None { " already" } else { "" };
    print(output, &changed.after, &format!("{name} holds the lock{already}, {}", free(&changed.after)))
}

async fn give_back(lock: &Lock, records: &Records, chosen: &Chosen, output: Format) -> Result<(), Failure> {
    let (id, name) = chosen.only()?;
    let failed =
        |why: &dyn Display| Failure::new(format!("cannot give back the reboot lock of {name}: {why}"));
    let changed = lock.release(id).await.map_err(|error| failed(&error))?;
    if changed.outcome == Outcome::None {
        return Err(failed(&"it does not hold it"));
    }
    let free = free(&changed.after);
    print(output, &changed.after, &format!("{name} does not hold the lock any longer, {free}"))?;
    // Read afterwards: a machine that begins to leave only now finds that it does not hold the lock.
    let phase = records.holder(id).await.map_err(Failure::new)?.map(|(holder, _)| holder.phase);
    if phase == Some(Phase::Leaving) {
        eprintln!("muster: {name} is leaving: if logind has been asked already, it reboots without the lock");
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::machine::MachineInfo;

    #[test]
    fn this_machine_has_to_be_known_as_any_other_has() {
        let (known, id): (_, MachineId) =
            (Machines::default(), "8cd4acaff41c4de68c0a81e5d0070daa".parse().unwrap());
        let error = this_one(&known, id.clone(), None).unwrap_err();
        assert_eq!(
            (error.code, error.message),
            (1, format!("this machine ({id}) is not known: does its agent run?"))
        );
        let info =
            serde_json::from_str(&format!(r#"{{"id":"{id}","hostname":"m1","boot_id":"b"}}"#)).unwrap();
        let known = Machines::present([(&id, &info)]);
        for owner in [None, Some(Owner::Us), Some(Owner::Nobody)] {
            assert_eq!(this_one(&known, id.clone(), owner).unwrap(), id);
        }
    }

    #[test]
    fn this_machine_is_not_the_one_whose_id_it_has() {
        let id: MachineId = "8cd4acaff41c4de68c0a81e5d0070daa".parse().unwrap();
        let info: MachineInfo =
            serde_json::from_str(&format!(r#"{{"id":"{id}","hostname":"m1","boot_id":"another"}}"#)).unwrap();
        let known = Machines::present([(&id, &info)]);
        let error = this_one(&known, id, Some(Owner::Other(Box::new(info)))).unwrap_err();
        assert!(error.message.contains("is in use by m1 (boot id another)"), "{}", error.message);
    }
}
