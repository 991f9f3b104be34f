//! `muster member add`.

use serde::Serialize;

use super::Shown;
use crate::cli::{Failure, Format};
use crate::client::{Client, Member};

/// Add a member, and print how to start it
///
/// The new node gets every change once it runs, and votes by itself when it has caught up. Until then nobody needs it.
#[derive(clap::Args, Debug)]
pub struct Add {
    /// The name that the new node will have
    name: String,

    /// Where other members will reach it, such as http://10.0.0.4:2380
    #[arg(value_delimiter = ',', required = true, value_name = "PEER-URLS")]
    urls: Vec<String>,

    /// Let it get every change and serve clients, but never vote
    #[arg(long)]
    read_replica: bool,
}

/// What starts the node, for programs.
#[derive(Serialize)]
struct Page<'a> {
    #[serde(flatten)]
    member: Shown<'a>,
    environment: Environment,
    command: String,
}

/// The variables that start the node, as etcd reads them.
#[derive(Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
struct Environment {
    etcd_name: String,
    etcd_initial_cluster: String,
    etcd_initial_cluster_state: &'static str,
}

impl Add {
    pub async fn run(self, client: &Client, format: Format) -> Result<String, Failure> {
        if self.name.is_empty() || self.name.contains(['=', ',']) {
            return Err(Failure::usage("the name must not be empty nor contain '=' or ','"));
        }
        let mut added = client.add_member(&self.urls, self.read_replica).await.map_err(Failure::new)?;
        added.name.clone_from(&self.name);
        // It was added: what follows only helps to start it.
        let members = client.members().await.unwrap_or_default();
        let environment = Environment {
            etcd_name: self.name.clone(),
            etcd_initial_cluster: initial_cluster(&members, &added),
            etcd_initial_cluster_state: "existing",
        };
        let command = command(client, &added, self.read_replica);
        match format {
            Format::Simple | Format::Extended => Ok(format!(
                "Added member named {} with ID {} to cluster\n\n\
                 ETCD_NAME=\"{}\"\nETCD_INITIAL_CLUSTER=\"{}\"\nETCD_INITIAL_CLUSTER_STATE=\"{}\"\n\n{command}\n",
                self.name,
                added.id,
                environment.etcd_name,
                environment.etcd_initial_cluster,
                environment.etcd_initial_cluster_state,
            )),
            Format::Json => {
                let page = Page { member: Shown::new(&added), environment, command };
                serde_json::to_string(&page).map(|text| text + "\n").map_err(Failure::new)
            }
        }
    }
}

/// Every member that has a name, and the new one under its name to be.
fn initial_cluster(members: &[Member], added: &Member) -> String {
    let others = members.iter().filter(|member| member.id != added.id && !member.name.is_empty());
    let pairs = others
        .chain([added])
        .flat_map(|member| member.peer_urls.iter().map(move |url| format!("{}={url}", member.name)));
    pairs.collect::<Vec<_>>().join(",")
}

fn command(client: &Client, added: &Member, read_replica: bool) -> String {
    let endpoints: Vec<String> =
        client.endpoints().iter().map(|url| url.as_str().trim_end_matches('/').to_string()).collect();
    let urls = added.peer_urls.join(",");
    let replica = if read_replica { " --read-replica" } else { "" };
    format!(
        "muster store --name {} --join {}{replica} --initial-advertise-peer-urls {urls} --listen-peer-urls {urls}",
        added.name,
        endpoints.join(",")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_initial_cluster_has_everybody_with_a_name_and_the_new_one() {
        let member = |id: &str, name: &str| Member {
            id: id.into(),
            name: name.into(),
            peer_urls: vec![format!("http://{id}:2380")],
            ..Member::default()
        };
        let members = [member("a1", "one"), member("b2", ""), member("c3", "")];
        assert_eq!(initial_cluster(&members, &member("c3", "new")), "one=http://a1:2380,new=http://c3:2380");
    }
}
