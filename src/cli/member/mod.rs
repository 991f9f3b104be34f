//! `muster member`: the nodes of the store's cluster.

mod add;
mod change;
mod ls;

use clap::Subcommand;

use super::{Context, Failure, Format, block_on};
use crate::client::{Client, Member};

/// Look at the members of the store's cluster and change them
#[derive(clap::Args, Debug)]
#[command(
    subcommand_required = true,
    arg_required_else_help = false,
    after_help = "A MEMBER is named by its ID or by its name.\n\
                  \n\
                  Examples:\n  \
                  muster member ls\n  \
                  muster member add n4 http://10.0.0.4:2380\n  \
                  muster member remove n2\n  \
                  muster member move-leader n3"
)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// List the members: ID, name, URLs, who leads, and what each does
    Ls,
    /// Add a member, and print how to start it
    Add(add::Add),
    /// Remove a member for good; its node stops
    Remove(change::Remove),
    /// Give a member other peer URLs
    Update(change::Update),
    /// Let a read replica vote
    Promote(change::Promote),
    /// Have another member lead: the one that is named, or the one that is best prepared
    MoveLeader(change::MoveLeader),
}

pub(super) fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let client = Client::new(&context.client_settings()?).map_err(Failure::new)?;
    let format = context.output;
    let text = block_on(async {
        match args.verb {
            Verb::Ls => ls::list(&client, format).await,
            Verb::Add(verb) => verb.run(&client, format).await,
            Verb::Remove(verb) => verb.run(&client, format).await,
            Verb::Update(verb) => verb.run(&client, format).await,
            Verb::Promote(verb) => verb.run(&client, format).await,
            Verb::MoveLeader(verb) => verb.run(&client, format).await,
        }
    })?;
    out!("{text}");
    Ok(())
}

/// The member with this id or, if there is none, the one with this name.
async fn find(client: &Client, named: &str) -> Result<Member, Failure> {
    let members = client.members().await.map_err(Failure::new)?;
    pick(members, named).map_err(Failure::new)
}

fn pick(members: Vec<Member>, named: &str) -> Result<Member, String> {
    let as_id = named.to_lowercase();
    let as_id = as_id.trim_start_matches('0');
    let (found, others): (Vec<_>, Vec<_>) = members.into_iter().partition(|member| member.id == as_id);
    let mut found: Vec<Member> = match found.is_empty() {
        true => others.into_iter().filter(|member| !named.is_empty() && member.name == named).collect(),
        false => found,
    };
    match (found.pop(), found.len()) {
        (Some(member), 0) => Ok(member),
        (Some(_), _) => {
            Err(format!("several members are named {named}: name it by its ID (muster member ls)"))
        }
        (None, _) => Err(format!("no member has the ID or name {named}: see muster member ls")),
    }
}

/// A member as other programs are told of it.
#[derive(Clone, Copy, serde::Serialize)]
struct Shown<'a> {
    id: &'a str,
    name: &'a str,
    #[serde(rename = "peerURLs")]
    peer_urls: &'a [String],
    #[serde(rename = "clientURLs")]
    client_urls: &'a [String],
}

impl<'a> Shown<'a> {
    fn new(member: &'a Member) -> Self {
        let Member { id, name, peer_urls, client_urls, .. } = member;
        Self { id, name, peer_urls, client_urls }
    }
}

/// One line for people, or the member for programs.
fn told(format: Format, member: &Member, line: String) -> Result<String, Failure> {
    match format {
        Format::Simple | Format::Extended => Ok(line + "\n"),
        Format::Json => {
            serde_json::to_string(&Shown::new(member)).map(|text| text + "\n").map_err(Failure::new)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, name: &str) -> Member {
        Member { id: id.into(), name: name.into(), ..Member::default() }
    }

    #[test]
    fn members_are_named_by_id_first_and_then_by_name() {
        let members = || vec![member("a1", "one"), member("b2", "a1"), member("c3", ""), member("d4", "one")];
        assert_eq!(pick(members(), "a1").map(|m| m.id), Ok("a1".into()));
        assert_eq!(pick(members(), "00A1").map(|m| m.id), Ok("a1".into()));
        assert!(pick(members(), "one").unwrap_err().contains("several"));
        assert!(pick(members(), "").is_err());
        assert!(pick(members(), "two").unwrap_err().contains("muster member ls"));
    }
}
