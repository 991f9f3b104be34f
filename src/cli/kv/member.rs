//! `muster kv member`: members in the words of etcdctl. `muster member` knows more.

use clap::Subcommand;
use serde_json::json;

use super::output::Output;
use crate::cli::Failure;
use crate::cli::terminal::say::Voice;
use crate::client::{Client, Member};

/// List, add, remove and update members, as etcdctl does
#[derive(clap::Args, Debug)]
#[command(
    subcommand_required = true,
    arg_required_else_help = false,
    after_help = "See also: muster member, which does more, and says more of what it refuses."
)]
pub(super) struct MemberCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// List the members
    List,
    /// Add a member, to be started afterwards
    Add {
        /// What it will be called
        name: String,
        /// Where other members will reach it
        peer_url: String,
    },
    /// Remove a member
    Remove {
        /// Its id, as member list prints it
        id: String,
    },
    /// Change where other members reach a member
    Update {
        /// Its id, as member list prints it
        id: String,
        /// The new URLs, separated by commas
        peer_urls: String,
    },
}

impl MemberCommand {
    pub async fn run(self, client: &Client, output: &Output) -> Result<(), Failure> {
        match self.verb {
            Verb::List => list(client, output).await,
            Verb::Add { name, peer_url } => add(&name, &peer_url, client, output).await,
            Verb::Remove { id } => remove(&id, client, output).await,
            Verb::Update { id, peer_urls } => update(&id, &peer_urls, client, output).await,
        }
    }
}

/// Prints all members.
pub(in crate::cli) async fn list(client: &Client, output: &Output) -> Result<(), Failure> {
    let members = client.members().await.map_err(|error| output.declined(error))?;
    let leader = client.leader().await.map_err(|error| {
        eprintln!("Failed to get leader:  {}", output.words(&error));
        Failure::with_code(1, "")
    })?;
    let text: String = members.iter().map(|member| line(member, member.id == leader.id)).collect();
    let rows: Vec<_> = members
        .iter()
        .map(|member| {
            let Member { id, name, peer_urls, client_urls, .. } = member;
            json!({"id": id, "name": name, "peerURLs": peer_urls, "clientURLs": client_urls,
                "isLeader": *id == leader.id})
        })
        .collect();
    output.lines(&text, &rows)
}

fn line(member: &Member, leads: bool) -> String {
    let Member { id, name, peer_urls, client_urls, .. } = member;
    let (peer_urls, client_urls) = (peer_urls.join(","), client_urls.join(","));
    if name.is_empty() {
        return format!("{id}[unstarted]: peerURLs={peer_urls}\n");
    }
    format!("{id}: name={name} peerURLs={peer_urls} clientURLs={client_urls} isLeader={leads}\n")
}

/// Adds a member and prints the variables to start it with.
pub(in crate::cli) async fn add(
    name: &str,
    peer_url: &str,
    client: &Client,
    output: &Output,
) -> Result<(), Failure> {
    let added =
        client.add_member(&[peer_url.to_string()], false).await.map_err(|error| output.declined(error))?;
    let first = format!("Added member named {name} with ID {} to cluster\n", added.id);
    let members = match client.members().await {
        Ok(members) => members,
        Err(error) => {
            // It is there all the same.
            output.lines(&first, &json!({"id": added.id}))?;
            return Err(output.declined(error));
        }
    };
    let entries: Vec<String> = members
        .iter()
        .flat_map(|member| {
            let name = if member.id == added.id { name } else { &member.name };
            member.peer_urls.iter().map(move |url| format!("{name}={url}"))
        })
        .collect();
    let cluster = entries.join(",");
    output.lines(
        &format!(
            "{first}\nETCD_NAME={name:?}\nETCD_INITIAL_CLUSTER={cluster:?}\nETCD_INITIAL_CLUSTER_STATE=\"existing\"\n"
        ),
        &json!({"id": added.id, "name": name, "initialCluster": cluster, "initialClusterState": "existing"}),
    )
}

/// Removes a member; one that is not there is refused without asking the store to.
pub(in crate::cli) async fn remove(id: &str, client: &Client, output: &Output) -> Result<(), Failure> {
    let members = client.members().await.map_err(|error| {
        eprintln!("Error while verifying ID against known members: {}", output.words(&error));
        Failure::with_code(1, "")
    })?;
    for member in members.iter().filter(|member| member.name == id) {
        eprintln!(
            "Found a member named {}; if this is correct, please use its ID, eg:\n\tetcdctl member remove {}",
            member.name, member.id
        );
    }
    if !members.iter().any(|member| member.id == id) {
        eprintln!("Couldn't find a member in the cluster with an ID of {id}.");
        return Err(Failure::with_code(1, ""));
    }
    // Whoever knows of force is told why a member stays; etcd's own words do not say it.
    let force = (output.voice == Voice::Muster).then_some(false);
    client.remove_member(id, force).await.map_err(|error| {
        eprintln!("Received an error trying to remove member {id}: {}", output.words(&error));
        Failure::with_code(1, "")
    })?;
    output.lines(&format!("Removed member {id} from cluster\n"), &json!({"id": id}))
}

/// Changes a member's peer URLs.
pub(in crate::cli) async fn update(
    id: &str,
    peer_urls: &str,
    client: &Client,
    output: &Output,
) -> Result<(), Failure> {
    let urls: Vec<String> = peer_urls.split(',').map(str::to_string).collect();
    client.update_member(id, &urls).await.map_err(|error| output.declined(error))?;
    output.lines(&format!("Updated member with ID {id} in cluster\n"), &json!({"id": id, "peerURLs": urls}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_never_started_has_no_name_and_no_client_urls() {
        let mut member =
            Member { id: "8e".into(), peer_urls: vec!["http://a:1".into()], ..Member::default() };
        assert_eq!(line(&member, false), "8e[unstarted]: peerURLs=http://a:1\n");
        member.name = "one".into();
        member.client_urls = vec!["http://a:2".into(), "http://b:2".into()];
        assert_eq!(
            line(&member, true),
            "8e: name=one peerURLs=http://a:1 clientURLs=http://a:2,http://b:2 isLeader=true\n"
        );
    }
}
