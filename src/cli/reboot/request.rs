//! `muster reboot request` and `cancel`.

use std::collections::BTreeMap;

use super::Chosen;
use super::follow::Follow;
use crate::cli::{Failure, Format};
use crate::client::Client;
use crate::clock::wall_time;
use crate::model::Moment;
use crate::model::reboot::{Group, Phase, Request};
use crate::reboot::records::Records;

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

    /// Say how far they come and return when all have rebooted and are well, or with status 1 when a request was taken
    /// back
    #[arg(long)]
    wait: bool,
}

/// Take back requests; works until logind is asked to reboot.
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
    let follow = if args.wait { Some(Follow::begin(&client, &group).await?) } else { None };
    let mut asked = BTreeMap::new();
    for id in &chosen.machines {
        asked.insert(id.clone(), records.put_request(id, &request).await.map_err(Failure::new)?);
        match output {
            Format::Json => outln!("{}", serde_json::json!({"machine": id, "requested": request})),
            Format::Simple | Format::Extended => {
                outln!("{} was asked to reboot: {}", chosen.known.name(id), request.reason);
            }
        }
    }
    match follow {
        Some(follow) => follow.until_the_end(&asked, &chosen.known).await,
        None => Ok(()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_ends_too_late_is_told_so() {
        assert_eq!(too_late(None), "");
        assert_eq!(too_late(Some(Phase::WaitingForLock)), "");
        assert!(too_late(Some(Phase::Leaving)).contains("it is leaving"));
        assert!(too_late(Some(Phase::Checking)).contains("has rebooted already"));
    }
}
