//! `muster member add`.

use std::time::Duration;

use futures_util::future::join_all;
use serde::Serialize;
use url::Url;

use super::Shown;
use crate::cli::{Failure, Format};
use crate::client::{Client, Member};

/// Where clients reach a node that says nothing else: at its host, on this port.
const CLIENT_PORT: u16 = 2379;
/// How often the members are listed before a name counts as taken, for a member may list one that was just removed.
const LOOKS: usize = 10;
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(200);

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
        self.expect_free_name(client).await?;
        let mut added = client.add_member(&self.urls, self.read_replica).await.map_err(Failure::new)?;
        added.name.clone_from(&self.name);
        // It was added: what follows only helps to start it.
        let members = client.members().await.unwrap_or_default();
        let environment = Environment {
            etcd_name: self.name.clone(),
            etcd_initial_cluster: initial_cluster(&members, &added),
            etcd_initial_cluster_state: "existing",
        };
        let command = command(&those_that_answer(client).await, &added, self.read_replica);
        match format {
            Format::Simple | Format::Extended => Ok(format!(
                "Added member named {} with ID {} to cluster\n\n\
                 ETCD_NAME=\"{}\"\nETCD_INITIAL_CLUSTER=\"{}\"\nETCD_INITIAL_CLUSTER_STATE=\"{}\"\n\n\
                 Adapt the client URLs to where its clients are to reach it:\n\n{command}\n",
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

    /// Refuses a name that a member has already: a list with both would start neither.
    async fn expect_free_name(&self, client: &Client) -> Result<(), Failure> {
        let mut left = LOOKS;
        loop {
            let members = client.members().await.map_err(Failure::new)?;
            let Some(taken) = members.into_iter().find(|member| member.name == self.name) else {
                return Ok(());
            };
            left -= 1;
            if left == 0 {
                return Err(Failure::new(format!(
                    "member {} is named {} already: give the new one another name, or remove that one first",
                    taken.id, taken.name
                )));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// The endpoints that answer now; all if none does.
async fn those_that_answer(client: &Client) -> Vec<Url> {
    let all = client.endpoints();
    let answers = join_all(all.iter().map(|endpoint| client.get_raw(endpoint, "/version"))).await;
    let alive: Vec<Url> =
        all.iter().zip(answers).filter(|(_, answer)| answer.is_ok()).map(|(url, _)| url.clone()).collect();
    if alive.is_empty() { all } else { alive }
}

/// Every member that has a name, and the new one under its name to be.
fn initial_cluster(members: &[Member], added: &Member) -> String {
    let others = members.iter().filter(|member| member.id != added.id && !member.name.is_empty());
    let pairs = others
        .chain([added])
        .flat_map(|member| member.peer_urls.iter().map(move |url| format!("{}={url}", member.name)));
    pairs.collect::<Vec<_>>().join(",")
}

/// What starts the node, with client URLs at the hosts of its peer URLs.
fn command(endpoints: &[Url], added: &Member, read_replica: bool) -> String {
    let endpoints: Vec<&str> = endpoints.iter().map(|url| url.as_str().trim_end_matches('/')).collect();
    let peers = added.peer_urls.join(",");
    let mut clients = Vec::new();
    for url in added.peer_urls.iter().filter_map(|text| Url::parse(text).ok()) {
        let client = url.host_str().map(|host| format!("http://{host}:{CLIENT_PORT}"));
        clients.extend(client.filter(|client| !clients.contains(client)));
    }
    let clients = clients.join(",");
    let replica = if read_replica { " --read-replica" } else { "" };
    format!(
        "muster store --name {} --join {}{replica} --initial-advertise-peer-urls {peers} --listen-peer-urls {peers} \
         --advertise-client-urls {clients} --listen-client-urls {clients}",
        added.name,
        endpoints.join(",")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, name: &str) -> Member {
        Member {
            id: id.into(),
            name: name.into(),
            peer_urls: vec![format!("http://{id}:2380")],
            ..Member::default()
        }
    }

    #[test]
    fn the_initial_cluster_has_everybody_with_a_name_and_the_new_one() {
        let members = [member("a1", "one"), member("b2", ""), member("c3", "")];
        assert_eq!(initial_cluster(&members, &member("c3", "new")), "one=http://a1:2380,new=http://c3:2380");
    }

    #[test]
    fn the_command_has_the_new_nodes_own_client_urls() {
        let mut added = member("c3", "new");
        added.peer_urls =
            ["http://10.0.0.4:2380", "http://10.0.0.4:7001", "http://[::2]:2380"].map(Into::into).into();
        let endpoints = [Url::parse("http://10.0.0.1:2379").unwrap()];
        let command = command(&endpoints, &added, true);
        assert!(
            command.starts_with("muster store --name new --join http://10.0.0.1:2379 --read-replica "),
            "{command}"
        );
        let clients = "http://10.0.0.4:2379,http://[::2]:2379";
        assert!(
            command.ends_with(&format!("--advertise-client-urls {clients} --listen-client-urls {clients}")),
            "{command}"
        );
    }
}
