//! `muster member remove`, `update`, `promote` and `move-leader`.

use super::{find, told};
use crate::cli::{Failure, Format};
use crate::client::{Client, ClientError};

/// Remove a member for good; its node stops
///
/// A leader hands over first. What would lose the quorum is refused: if the members that run would no longer be a
/// majority, start or remove those that do not run first.
#[derive(clap::Args, Debug)]
pub struct Remove {
    /// Its ID or name
    member: String,

    /// Remove it even if that loses the quorum; its vote counts until the others can do without it
    #[arg(long)]
    force: bool,
}

/// Give a member other peer URLs
///
/// The others reach it there from then on. Change what it listens on and restart it.
#[derive(clap::Args, Debug)]
pub struct Update {
    /// Its ID or name
    member: String,

    /// Where other members reach it, such as http://10.0.0.4:2380
    #[arg(value_delimiter = ',', required = true, value_name = "PEER-URLS")]
    urls: Vec<String>,
}

/// Let a read replica vote
#[derive(clap::Args, Debug)]
pub struct Promote {
    /// Its ID or name
    member: String,
}

/// Have another member lead: the one that is named, or the one that is best prepared
#[derive(clap::Args, Debug)]
pub struct MoveLeader {
    /// Its ID or name [default: the member that is best prepared]
    member: Option<String>,
}

impl Remove {
    pub async fn run(self, client: &Client, format: Format) -> Result<String, Failure> {
        let member = match find(client, &self.member).await {
            Ok(member) => member,
            // The server knows whether such a member was removed before.
            Err(unknown) => {
                return match client.remove_member(&self.member, Some(self.force)).await {
                    Err(ClientError::Declined { status: 410, message }) => Err(Failure::new(message)),
                    Err(_) => Err(unknown),
                    // The node that listed the members had not heard of it yet.
                    Ok(()) => Ok(format!("Removed member {} from cluster\n", self.member)),
                };
            }
        };
        client.remove_member(&member.id, Some(self.force)).await.map_err(Failure::new)?;
        told(format, &member, format!("Removed member {} from cluster", member.id))
    }
}

impl Update {
    pub async fn run(self, client: &Client, format: Format) -> Result<String, Failure> {
        let mut member = find(client, &self.member).await?;
        client.update_member(&member.id, &self.urls).await.map_err(Failure::new)?;
        member.peer_urls = self.urls;
        told(format, &member, format!("Updated member with ID {} in cluster", member.id))
    }
}

impl Promote {
    pub async fn run(self, client: &Client, format: Format) -> Result<String, Failure> {
        let member = find(client, &self.member).await?;
        client.promote_member(&member.id).await.map_err(Failure::new)?;
        told(format, &member, format!("Member {} votes as soon as it has caught up", member.id))
    }
}

impl MoveLeader {
    pub async fn run(self, client: &Client, format: Format) -> Result<String, Failure> {
        let to = match &self.member {
            Some(named) => Some(find(client, named).await?.id),
            None => None,
        };
        let leader = client.move_leader(to.as_deref()).await.map_err(Failure::new)?;
        told(format, &leader, format!("Member {} ({}) leads", leader.id, leader.name))
    }
}
