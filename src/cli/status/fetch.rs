//! Asks the store for everything at once.

use std::collections::BTreeSet;

use super::report::{self, Cluster, MemberLine, Part, Report};
use crate::cli::unit::{self, View};
use crate::cli::{Failure, machine};
use crate::client::{Client, ClientError};
use crate::heartbeat::list::list;
use crate::model::reboot::Group;
use crate::reboot::RebootError;
use crate::reboot::overview::Overview;
use crate::reboot::survey::survey;

/// What can be read, and why the rest cannot.
pub(super) async fn report(client: &Client, group: &Group) -> Report {
    let (members, cluster, reboot, heartbeats) =
        tokio::join!(members(client), cluster(client), Overview::read(client, group), list(client, None),);
    let denied = matches!(&reboot, Err(RebootError::Store { cause, .. }) if cause.is_denied());
    Report {
        denied,
        members: Part::from(members),
        cluster: Part::from(cluster.map_err(|failure| failure.message)),
        reboot: Part::from(reboot),
        heartbeats: Part::from(heartbeats.map(|(lines, _)| lines)),
    }
}

async fn cluster(client: &Client) -> Result<Cluster, Failure> {
    let view = View::load(client).await?;
    let (machines, units) = (machine::documents(&view), unit::rows(&view, false));
    Ok(Cluster { view, machines, units })
}

async fn members(client: &Client) -> Result<Vec<MemberLine>, ClientError> {
    let nowhere = BTreeSet::new();
    let (members, leader, seen) = tokio::join!(client.members(), client.leader(), survey(client, &nowhere));
    // Without a leader there is none to mark: that is shown, and no error.
    let leader = leader.ok().map(|member| member.id);
    Ok(report::members(&members?, leader.as_deref(), &seen?))
}
