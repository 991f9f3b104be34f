//! `muster member`: the nodes of the store's cluster.

use clap::Subcommand;
use serde::Serialize;

use super::{Context, Failure, Format, block_on, table};
use crate::client::{Client, Member};

/// Look at the members of the store's cluster
#[derive(clap::Args, Debug)]
#[command(subcommand_required = true, arg_required_else_help = false)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// List the members: ID, name, URLs, and who leads
    Ls,
}

pub(super) fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let Verb::Ls = args.verb;
    let client = Client::new(&context.client_settings()?).map_err(Failure::new)?;
    out!("{}", block_on(list(&client, context.output))?);
    Ok(())
}

async fn list(client: &Client, format: Format) -> Result<String, Failure> {
    let members = client.members().await.map_err(Failure::new)?;
    // Without a leader the list is still worth showing.
    let leader = match client.leader().await {
        Ok(leader) => Some(leader.id),
        Err(error) if error.is_unavailable() => None,
        Err(error) => return Err(Failure::new(error)),
    };
    let rows: Vec<Row> = members.iter().map(|member| Row::new(member, leader.as_deref())).collect();
    match format {
        Format::Simple | Format::Extended => Ok(render(&rows)),
        Format::Json => serde_json::to_string(&rows).map(|text| text + "\n").map_err(Failure::new),
    }
}

/// One member as it is shown.
#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    name: &'a str,
    #[serde(rename = "peerURLs")]
    peer_urls: &'a [String],
    #[serde(rename = "clientURLs")]
    client_urls: &'a [String],
    leader: bool,
}

impl<'a> Row<'a> {
    fn new(member: &'a Member, leader: Option<&str>) -> Self {
        let Member { id, name, peer_urls, client_urls, .. } = member;
        Self { id, name, peer_urls, client_urls, leader: leader == Some(id) }
    }
}

fn render(rows: &[Row<'_>]) -> String {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let role = if row.leader { "leader" } else { "" };
            vec![
                row.id.into(),
                row.name.into(),
                row.peer_urls.join(","),
                row.client_urls.join(","),
                role.into(),
            ]
        })
        .collect();
    table::render(&["ID", "NAME", "PEER URLS", "CLIENT URLS", "ROLE"], &cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leader_is_marked_and_a_member_that_never_started_has_dashes() {
        let member = |id: &str, name: &str| Member {
            id: id.into(),
            name: name.into(),
            peer_urls: vec![format!("http://{id}:2380")],
            client_urls: Vec::new(),
            is_learner: false,
        };
        let members = [member("a1", "one"), member("b2", "")];
        let rows: Vec<Row> = members.iter().map(|member| Row::new(member, Some("a1"))).collect();
        assert_eq!(
            render(&rows),
            "ID  NAME  PEER URLS       CLIENT URLS  ROLE\n\
             a1  one   http://a1:2380  -            leader\n\
             b2  -     http://b2:2380  -            -\n"
        );
    }
}
