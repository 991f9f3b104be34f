//! `muster reboot request` and `cancel`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Chosen;
use crate::cli::{Failure, Format};
use crate::client::{Client, ClientError, GetOptions};
use crate::clock::wall_time;
use crate::ids::MachineId;
use crate::model::reboot::{Group, Phase, Request};
use crate::model::{Moment, REBOOT};
use crate::reboot::RebootError;
use crate::reboot::overview::{Line, Overview};
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
    /// The machines, by id, host name or the beginning of either (m1 for m1.example.org) [default: this one]
    #[arg(long = "machine", value_name = "MACHINE", value_delimiter = ',')]
    machines: Vec<String>,
}

pub(super) async fn request(args: Args, client: Client, group: Group, output: Format) -> Result<(), Failure> {
    let chosen = if args.all {
        Chosen::present(&client, &group).await?
    } else {
        Chosen::read(&client, &group, &args.whom.machines).await?
    };
    let records = Records::new(client.clone(), group.clone());
    let request = Request { since: Some(Moment::new(wall_time())), reason: args.reason };
    for id in &chosen.machines {
        records.put_request(id, &request).await.map_err(Failure::new)?;
        match output {
            Format::Json => outln!("{}", serde_json::json!({"machine": id, "requested": request})),
            Format::Simple | Format::Extended => {
                outln!("{} was asked to reboot: {}", chosen.known.name(id), request.reason);
            }
        }
    }
    if args.wait { follow(&client, &group, &chosen).await } else { Ok(()) }
}

pub(super) async fn cancel(args: CancelArgs, client: Client, group: Group) -> Result<(), Failure> {
    let chosen = Chosen::read(&client, &group, &args.whom.machines).await?;
    let records = Records::new(client, group);
    let mut unasked = Vec::new();
    for id in &chosen.machines {
        let name = chosen.known.name(id);
        if records.request(id).await.map_err(Failure::new)?.0.is_none() {
            unasked.push(name);
            continue;
        }
        records.remove_request(id, None).await.map_err(Failure::new)?;
        let phase = records.holder(id).await.map_err(Failure::new)?.map(|(holder, _)| holder.phase);
        outln!("{name} is not asked to reboot any longer{}", too_late(phase));
    }
    if unasked.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("not asked to reboot: {}", unasked.join(", "))))
}

/// What the end of a request does not change for a machine in this phase.
fn too_late(phase: Option<Phase>) -> &'static str {
    match phase {
        Some(Phase::Leaving) => ", but it is leaving: if logind has been asked already, it reboots",
        Some(Phase::Back | Phase::Checking | Phase::Releasing) => ", but it has rebooted already",
        _ => "",
    }
}

/// Prints every step of the chosen machines until the last has come to the end of its way.
async fn follow(client: &Client, group: &Group, chosen: &Chosen) -> Result<(), Failure> {
    let mut said: BTreeMap<&MachineId, String> = BTreeMap::new();
    loop {
        // The index comes first, so that nothing that happens between look and watch is missed.
        let look =
            async { Ok::<_, RebootError>((index(client).await?, Overview::read(client, group).await?)) };
        let (index, overview) = match look.await {
            Ok(seen) => seen,
            Err(error @ RebootError::NoGroup(_)) => return Err(Failure::new(error)),
            // A leader that is just rebooting; what was missed is read afterwards.
            Err(error) => {
                eprintln!("muster: {error}; still waiting");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let mut under_way = false;
        for id in &chosen.machines {
            let line = overview.machines.iter().find(|line| line.machine == *id);
            under_way |= line.is_some_and(Line::is_under_way);
            let state = chosen.known.told(&state(line));
            if said.get(id) != Some(&state) {
                outln!("{} {state}", chosen.known.name(id));
                said.insert(id, state);
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

/// How far a machine has come that was asked to reboot.
fn state(line: Option<&Line>) -> String {
    let phase = line.filter(|line| line.is_under_way()).map_or("done", |line| line.phase.as_str());
    match line.and_then(|line| line.waits_for.as_deref()) {
        Some(why) => format!("{phase}: {why}"),
        None => phase.into(),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn line(phase: &str, waits_for: Option<&str>) -> Line {
        Line {
            machine: "m1".parse().unwrap(),
            holds: false,
            phase: phase.into(),
            since: None,
            reason: None,
            waits_for: waits_for.map(Into::into),
        }
    }

    #[test]
    fn a_reboot_is_done_when_its_file_stays_or_an_operator_holds_the_lock() {
        for (phase, under_way) in [
            ("requested", true),
            ("checking", true),
            ("releasing", true),
            ("answered", false),
            ("locked", false),
        ] {
            assert_eq!(line(phase, None).is_under_way(), under_way, "{phase}");
        }
        assert_eq!(state(None), "done");
        assert_eq!(state(Some(&line("locked", None))), "done");
        let why = "/run/reboot-required is still there after the reboot for it";
        assert_eq!(state(Some(&line("answered", Some(why)))), format!("done: {why}"));
        assert_eq!(
            state(Some(&line("checking", Some("systemd says degraded")))),
            "checking: systemd says degraded"
        );
    }

    #[test]
    fn a_request_that_ends_too_late_is_told_so() {
        assert_eq!(too_late(None), "");
        assert_eq!(too_late(Some(Phase::WaitingForLock)), "");
        assert!(too_late(Some(Phase::Leaving)).contains("it is leaving"));
        assert!(too_late(Some(Phase::Checking)).contains("has rebooted already"));
    }
}
