//! `muster reboot request` and `cancel`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::machines;
use crate::cli::{Failure, Format};
use crate::client::{Client, ClientError, GetOptions};
use crate::clock::wall_time;
use crate::ids::MachineId;
use crate::model::reboot::{Group, Request};
use crate::model::{MACHINES, Moment, REBOOT};
use crate::reboot::RebootError;
use crate::reboot::overview::Overview;
use crate::reboot::records::Records;

/// The pause before a store that gave no useful answer is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// Ask machines to reboot, each when it holds the lock.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Why, for people who look
    #[arg(long, default_value = "requested", value_name = "TEXT")]
    reason: String,

    #[command(flatten)]
    whom: Whom,

    /// Every machine that is present now
    #[arg(long, conflicts_with = "machines")]
    all: bool,

    /// Say how far they come and return when all have rebooted and are well
    #[arg(long)]
    wait: bool,
}

/// Take back requests of machines that do not hold the lock yet.
#[derive(clap::Args, Debug)]
pub(super) struct CancelArgs {
    #[command(flatten)]
    whom: Whom,
}

#[derive(clap::Args, Debug)]
struct Whom {
    /// The machines, by id, host name or the beginning of either [default: this one]
    #[arg(long = "machine", value_name = "MACHINE", value_delimiter = ',')]
    machines: Vec<String>,
}

pub(super) async fn request(args: Args, client: Client, group: Group, output: Format) -> Result<(), Failure> {
    let machines = if args.all {
        present(&client).await?
    } else {
        machines(&client, &group, &args.whom.machines).await?
    };
    let records = Records::new(client.clone(), group.clone());
    let request = Request { since: Some(Moment::new(wall_time())), reason: args.reason };
    for id in &machines {
        records.put_request(id, &request).await.map_err(Failure::new)?;
        match output {
            Format::Json => outln!("{}", serde_json::json!({"machine": id, "requested": request})),
            Format::Simple | Format::Extended => outln!("{id} was asked to reboot: {}", request.reason),
        }
    }
    if args.wait { follow(&client, &group, machines).await } else { Ok(()) }
}

pub(super) async fn cancel(args: CancelArgs, client: Client, group: Group) -> Result<(), Failure> {
    let machines = machines(&client, &group, &args.whom.machines).await?;
    let records = Records::new(client, group);
    let mut unasked = Vec::new();
    for id in machines {
        if records.request(&id).await.map_err(Failure::new)?.0.is_none() {
            unasked.push(id.to_string());
            continue;
        }
        records.remove_request(&id, None).await.map_err(Failure::new)?;
        outln!("{id} is not asked to reboot any longer");
    }
    if unasked.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("not asked to reboot: {}", unasked.join(", "))))
}

/// The machines that announce themselves.
async fn present(client: &Client) -> Result<BTreeSet<MachineId>, Failure> {
    let answer = match client.get(MACHINES, &GetOptions::linearizable()).await {
        Ok(answer) => answer,
        Err(error) if error.is_not_found() => return Err(Failure::new("no machine is present")),
        Err(error) => return Err(Failure::new(error)),
    };
    let names = answer.node.nodes.iter().filter_map(|node| node.key.rsplit('/').next());
    let machines: BTreeSet<MachineId> = names.filter_map(|name| name.parse().ok()).collect();
    if machines.is_empty() {
        return Err(Failure::new("no machine is present"));
    }
    Ok(machines)
}

/// Prints every step of `machines` until the last has come to the end of its way.
async fn follow(client: &Client, group: &Group, machines: BTreeSet<MachineId>) -> Result<(), Failure> {
    let mut said: BTreeMap<MachineId, String> = BTreeMap::new();
    loop {
        // The index comes first, so that nothing that happens between look and watch is missed.
        let look =
            async { Ok::<_, RebootError>((index(client).await?, Overview::read(client, group).await?)) };
        let (index, overview) = match look.await {
            Ok(seen) => seen,
            // A leader that is just rebooting; what was missed is read afterwards.
            Err(error) => {
                eprintln!("muster: {error}; still waiting");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let mut under_way = false;
        for id in &machines {
            let line = overview.machines.iter().find(|line| line.machine == *id && line.phase != "locked");
            under_way |= line.is_some();
            let state = match line {
                Some(line) => match &line.waits_for {
                    Some(why) => format!("{}: {why}", line.phase),
                    None => line.phase.clone(),
                },
                None => "done".into(),
            };
            if said.get(id) != Some(&state) {
                outln!("{id} {state}");
                said.insert(id.clone(), state);
            }
        }
        if !under_way {
            return Ok(());
        }
        match client.watch(REBOOT, true, Some(index)).next().await {
            Ok(_) => {}
            // What was missed is read, but not without pause where the history is too short for any watch.
            Err(ClientError::Cleared { .. }) => tokio::time::sleep(PAUSE).await,
            Err(error) => return Err(Failure::new(error)),
        }
    }
}

/// The store's index now.
async fn index(client: &Client) -> Result<u64, RebootError> {
    match client.get(REBOOT, &GetOptions::linearizable()).await {
        Ok(answer) => Ok(answer.index),
        Err(error) if error.is_not_found() => Ok(error.api().map_or(0, |api| api.index)),
        Err(cause) => Err(RebootError::store("read the records of reboots")(cause)),
    }
}
