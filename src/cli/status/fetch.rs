//! Asks the store for everything at once.

use std::collections::BTreeSet;

use super::report::{self, MemberLine, Part, Report};
use crate::client::{Client, ClientError, GetOptions, Node};
use crate::heartbeat::list::list;
use crate::model::reboot::Group;
use crate::model::{MACHINES, SCHEDULE, UNITS};
use crate::reboot::overview::Overview;
use crate::reboot::survey::survey;

/// What can be read, and why the rest cannot.
pub(super) async fn report(client: &Client, group: &Group) -> Report {
    let (members, machines, units, schedule, reboot, heartbeats) = tokio::join!(
        members(client),
        tree(client, MACHINES),
        tree(client, UNITS),
        tree(client, SCHEDULE),
        Overview::read(client, group),
        list(client, None),
    );
    let machines = machines.map(|tree| report::machines(&tree));
    let units = match (&machines, units, schedule) {
        (Ok((_, states)), Ok(units), Ok(schedule)) => Ok(report::units(&units, &schedule, states)),
        (_, Err(error), _) | (_, _, Err(error)) => Err(error),
        (Err(error), _, _) => Err(error.clone()),
    };
    Report {
        members: Part::from(members),
        machines: Part::from(machines.map(|(lines, _)| lines)),
        units: Part::from(units),
        reboot: Part::from(reboot),
        heartbeats: Part::from(heartbeats.map(|(lines, _)| lines)),
    }
}

async fn members(client: &Client) -> Result<Vec<MemberLine>, ClientError> {
    let nowhere = BTreeSet::new();
    let (members, leader, seen) = tokio::join!(client.members(), client.leader(), survey(client, &nowhere));
    // Without a leader there is none to mark: that is shown, and no error.
    let leader = leader.ok().map(|member| member.id);
    Ok(report::members(&members?, leader.as_deref(), &seen?))
}

/// A folder with everything below it; empty if there is none.
async fn tree(client: &Client, folder: &str) -> Result<Node, ClientError> {
    let options = GetOptions { recursive: true, sorted: true, quorum: Some(true) };
    match client.get(folder, &options).await {
        Ok(answer) => Ok(answer.node),
        Err(error) if error.is_not_found() => Ok(Node::default()),
        Err(error) => Err(error),
    }
}
