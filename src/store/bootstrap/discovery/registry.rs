//! etcd 2's registration protocol (etcd `etcdserver/api/v2discovery`): whoever knows the URL of a directory registers
//! below it, and waits until as many have as `_config/size` asks for.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::{DiscoveryError, FirstMembers};
use crate::client::{ClientError, Directory, Node};

/// The pause before a registry that did not answer is asked again doubles each time; this is its longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(64);

/// How long this node's own registration may take to show in the registry's history.
const SHOWN_LIMIT: Duration = Duration::from_secs(5);

/// Where members say in which client URLs they serve, so that surplus nodes find them. Hidden: to etcd's own members
/// it is not there.
const CLIENTS: &str = "_clients";

/// A node that wants to be one of the first members.
#[derive(Clone, Debug)]
pub struct Applicant {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Where other members reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it.
    pub client_urls: Vec<String>,
    /// A file in its data folder that says at which URL it has registered: a node that was stopped while it waited
    /// for the others is no duplicate of itself.
    pub note: PathBuf,
}

/// What a registry said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The applicant is one of the first members.
    First(FirstMembers),
    /// The cluster has all the members that it wanted; the applicant is none of them.
    Full {
        /// How many those are.
        size: usize,
        /// Where clients reach them, as far as they told.
        client_urls: Vec<Url>,
    },
}

/// An applicant's dealings with one registry.
pub struct Registration {
    registry: Directory,
    applicant: Applicant,
    /// Times that the registry did not answer, in a row.
    failures: u32,
}

/// Who is registered.
struct Roll {
    /// The registry's directory as its server names it.
    directory: String,
    /// In the order of their registration.
    members: Vec<Node>,
    /// How many there shall be.
    size: usize,
    /// The registry's index when it was read.
    index: u64,
}

impl Roll {
    /// The first so many as wanted.
    fn first(&self) -> &[Node] {
        &self.members[..self.size.min(self.members.len())]
    }

    fn is_full(&self) -> bool {
        self.members.len() >= self.size
    }

    fn lists(&self, name: &str) -> bool {
        self.first().iter().any(|member| base(&member.key) == name)
    }

    /// Takes notice of a change in the directory or below.
    fn note(&mut self, action: &str, node: Node) {
        let above = node.key.rsplit_once('/').map_or("", |(above, _)| above);
        if above != self.directory || !is_member(&node) {
            return;
        }
        self.members.retain(|member| member.key != node.key);
        if !matches!(action, "delete" | "compareAndDelete" | "expire") {
            self.members.push(node);
            self.members.sort_by_key(|member| member.created_index);
        }
    }
}

impl Registration {
    /// Prepares it; asks nothing yet.
    ///
    /// # Errors
    /// The HTTP client cannot be set up.
    pub fn new(url: Url, proxy: Option<&Url>, applicant: Applicant) -> Result<Self, DiscoveryError> {
        Ok(Self { registry: Directory::new(url, proxy)?, applicant, failures: 0 })
    }

    /// Registers and waits until all first members have, however long that takes.
    ///
    /// # Errors
    /// See [`DiscoveryError`]. A registry that does not answer is no error: it is asked again.
    pub async fn complete(mut self) -> Result<Found, DiscoveryError> {
        let roll = self.read().await?;
        let me = self.my_key();
        if roll.is_full() && !roll.lists(&me) {
            return self.full(&roll).await;
        }
        self.register().await?;
        loop {
            let roll = self.read().await?;
            if roll.is_full() {
                return if roll.lists(&me) { self.first(&roll) } else { self.full(&roll).await };
            }
            if let Some(roll) = self.wait(roll).await? {
                // Read once more: the order of registration decides, and a change may have been missed.
                tracing::debug!(members = roll.members.len(), "the registry is complete");
            }
        }
    }

    fn my_key(&self) -> String {
        format!("{:x}", self.applicant.id)
    }

    /// Size and members, in the two requests that etcd makes.
    async fn read(&mut self) -> Result<Roll, DiscoveryError> {
        let registry = self.registry.url().to_string();
        loop {
            let size = match self.registry.get("_config/size").await {
                Ok(answer) => answer.node.value.unwrap_or_default(),
                Err(ClientError::Refused(refusal)) => {
                    return Err(DiscoveryError::NotPrepared { registry, refusal });
                }
                Err(error) => {
                    self.pause(error).await?;
                    continue;
                }
            };
            let size = match size.trim().parse::<usize>() {
                Ok(number) if number > 0 => number,
                _ => return Err(DiscoveryError::BadSize { registry, value: size }),
            };
            match self.registry.get("").await {
                Ok(answer) => {
                    self.failures = 0;
                    let mut members = answer.node.nodes;
                    members.retain(is_member);
                    members.sort_by_key(|member| member.created_index);
                    return Ok(Roll { directory: answer.node.key, members, size, index: answer.index });
                }
                Err(error) => self.pause(error).await?,
            }
        }
    }

    /// Makes this node's key. A note beside the data says that it has been done: then the key may be there already.
    async fn register(&mut self) -> Result<(), DiscoveryError> {
        let Applicant { id, name, peer_urls, client_urls, note } = self.applicant.clone();
        let registry = self.registry.url().to_string();
        let value: Vec<String> = peer_urls.iter().map(|url| format!("{name}={url}")).collect();
        let value = value.join(",");
        let text = format!("{id:x} {value} {registry}\n");
        let mut maybe_done = tokio::fs::read_to_string(&note).await.is_ok_and(|noted| noted == text);
        if !maybe_done {
            let failed = |cause| DiscoveryError::Note { path: note.clone(), cause };
            if let Some(folder) = note.parent() {
                tokio::fs::create_dir_all(folder).await.map_err(failed)?;
            }
            tokio::fs::write(&note, text).await.map_err(failed)?;
        }
        self.tell_clients(&client_urls).await;
        loop {
            match self.registry.create(&self.my_key(), &value).await {
                Ok(answer) => {
                    tracing::info!(member = self.my_key(), %registry, "registered, waiting for the other members");
                    return self.see(answer.node.created_index).await;
                }
                Err(error) if error.is_exists() && !maybe_done => {
                    // It is not this node's: it must not be taken for that at the next start.
                    let gone = tokio::fs::remove_file(&note).await;
                    gone.map_err(|cause| DiscoveryError::Note { path: note.clone(), cause })?;
                    return Err(DiscoveryError::DuplicateId { registry, id: self.my_key() });
                }
                Err(error) if error.is_exists() => {
                    tracing::info!(member = self.my_key(), %registry, "registered already");
                    return Ok(());
                }
                Err(error) => {
                    self.pause(error).await?;
                    maybe_done = true;
                }
            }
        }
    }

    /// Leaves word where clients are served. Registries that take nothing but members are fine, too.
    async fn tell_clients(&self, client_urls: &[String]) {
        let key = format!("{CLIENTS}/{}", self.my_key());
        if let Err(error) = self.registry.set(&key, &client_urls.join(",")).await {
            tracing::warn!(%error, "surplus nodes will not find this one by the registry");
        }
    }

    /// Sees to it that the server that is asked next knows of the registration.
    async fn see(&mut self, created: u64) -> Result<(), DiscoveryError> {
        let key = self.my_key();
        let shown = self.registry.wait(&key, false, created);
        match tokio::time::timeout(SHOWN_LIMIT, shown).await {
            // Silence and a history that has moved on are fine: the list that is read next is what counts.
            Err(_) | Ok(Ok(_) | Err(ClientError::Cleared { .. })) => Ok(()),
            Ok(Err(error)) => self.pause(error).await,
        }
    }

    /// Waits until the roll is full; `None` when it must be read anew for another reason.
    async fn wait(&mut self, mut roll: Roll) -> Result<Option<Roll>, DiscoveryError> {
        let mut index = roll.index + 1;
        while !roll.is_full() {
            let missing = roll.size - roll.members.len();
            tracing::info!(missing, "waiting for other members to register");
            match self.registry.wait("", true, index).await {
                Ok(event) => {
                    index = event.node.modified_index + 1;
                    roll.note(&event.action, event.node);
                }
                Err(ClientError::Cleared { .. }) => return Ok(None),
                Err(error) => {
                    self.pause(error).await?;
                    return Ok(None);
                }
            }
        }
        Ok(Some(roll))
    }

    /// After a registry did not answer: waits longer each time. Anything else that goes wrong is given back.
    async fn pause(&mut self, error: ClientError) -> Result<(), DiscoveryError> {
        if !error.is_unavailable() {
            return Err(error.into());
        }
        self.failures = self.failures.saturating_add(1);
        let pause = Duration::from_secs(2_u64.saturating_pow(self.failures)).min(LONGEST_PAUSE);
        tracing::warn!(%error, "the registry does not answer, asking again in {} s", pause.as_secs());
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// The first members, among whom this node must find itself as it is.
    fn first(&self, roll: &Roll) -> Result<Found, DiscoveryError> {
        let registry = self.registry.url().to_string();
        let values: Vec<(&str, &str)> =
            roll.first().iter().map(|n| (base(&n.key), n.value.as_deref().unwrap_or_default())).collect();
        let members = members(&registry, &values)?;
        if members.get(&self.applicant.name) != Some(&self.applicant.peer_urls) {
            return Err(DiscoveryError::DuplicateId { registry, id: self.my_key() });
        }
        tracing::info!(members = roll.size, "found all first members in the registry");
        Ok(Found::First(members))
    }

    /// The cluster is full: where its members are found.
    async fn full(&mut self, roll: &Roll) -> Result<Found, DiscoveryError> {
        let registry = self.registry.url().to_string();
        let listed = loop {
            match self.registry.get(CLIENTS).await {
                Ok(answer) => break answer.node.nodes,
                Err(error) if error.is_not_found() => break Vec::new(),
                Err(error) => self.pause(error).await?,
            }
        };
        let of_members = listed.iter().filter(|node| roll.lists(base(&node.key)));
        let client_urls: Vec<Url> = of_members
            .filter_map(|node| node.value.as_deref())
            .flat_map(|urls| urls.split(','))
            .filter_map(|url| Url::parse(url).ok())
            .collect();
        tracing::info!(%registry, size = roll.size, "the cluster is full");
        Ok(Found::Full { size: roll.size, client_urls })
    }
}

/// The last component of a key.
fn base(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or_default()
}

/// Whether a child of the registry is a member's key: hidden ones are not.
fn is_member(node: &Node) -> bool {
    !node.dir && !base(&node.key).starts_with('_')
}

/// What the first members registered, as a cluster.
fn members(registry: &str, values: &[(&str, &str)]) -> Result<FirstMembers, DiscoveryError> {
    let mut members = FirstMembers::new();
    for (key, value) in values {
        let invalid = || DiscoveryError::InvalidUrl {
            registry: registry.into(),
            key: key.to_string(),
            value: value.to_string(),
        };
        let mut own = FirstMembers::new();
        for pair in value.split(',') {
            let (name, url) =
                pair.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(invalid)?;
            let parsed = Url::parse(url).map_err(|_| invalid())?;
            if parsed.scheme() != "http" || parsed.host().is_none() || !matches!(parsed.path(), "" | "/") {
                return Err(invalid());
            }
            own.entry(name.into()).or_default().push(url.trim_end_matches('/').into());
        }
        for (name, urls) in own {
            if members.insert(name.clone(), urls).is_some() {
                return Err(DiscoveryError::DuplicateName { registry: registry.into(), name });
            }
        }
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGISTRY: &str = "http://h:1/v2/keys/_etcd/registry/t";

    fn node(key: &str, created: u64) -> Node {
        Node { key: key.into(), created_index: created, modified_index: created, ..Node::default() }
    }

    #[test]
    fn registered_values_become_the_first_members() {
        let found = members(REGISTRY, &[("1", "b=http://h:2,b=http://i:2"), ("2", "a=http://h:3/")]).unwrap();
        assert_eq!(found["b"], ["http://h:2", "http://i:2"]);
        assert_eq!(found["a"], ["http://h:3"]);
    }

    #[test]
    fn values_that_are_no_members_are_refused_in_etcds_words() {
        let refused = |values: &[(&str, &str)]| members(REGISTRY, values).unwrap_err().to_string();
        for bad in ["", "a", "=http://h:1", "a=h:1", "a=https://h:1", "a=http://h:1/x"] {
            let error = refused(&[("1", bad)]);
            assert!(error.starts_with("discovery: invalid URL"), "{bad}: {error}");
        }
        let error = refused(&[("1", "a=http://h:1"), ("2", "a=http://h:2")]);
        assert!(error.starts_with("discovery: found duplicate name"), "{error}");
    }

    #[test]
    fn the_order_of_registration_decides_and_hidden_keys_do_not_count() {
        let directory = "/t".to_string();
        let mut roll = Roll { directory, members: vec![node("/t/b", 5)], size: 2, index: 5 };
        for other in ["/t", "/t/_clients/1", "/t/x/1", "/u/1"] {
            roll.note("create", node(other, 6));
        }
        roll.note("create", node("/t/a", 9));
        roll.note("set", node("/t/c", 7));
        assert!(roll.is_full() && roll.lists("c") && !roll.lists("a"));
        roll.note("delete", node("/t/c", 7));
        assert!(roll.lists("a"));
    }
}
