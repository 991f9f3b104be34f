//! How a node without data finds the first members of its cluster: in a registry, which is a directory of any v2
//! store, or by SRV records.

mod registry;
mod srv;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use crate::client::srv::SrvError;
use crate::client::{ApiError, ClientError};
use crate::config::{Bootstrap, StoreSettings, Surplus};
use crate::store::member_id;
use registry::{Applicant, Found, Registration};

/// The first members by name, with their peer URLs.
pub type FirstMembers = BTreeMap<String, Vec<String>>;

/// Why the members were not found.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// Nobody has said how many members there will be, or the URL is wrong.
    #[error(
        "discovery: {registry} is not prepared: {refusal}; take a URL that GET /new?size=3 of a store gives, or put \
         the number of members into {registry}/_config/size"
    )]
    NotPrepared {
        /// The discovery URL.
        registry: String,
        /// In the registry's words.
        refusal: ApiError,
    },
    /// The number of members is none.
    #[error(
        "discovery: size key is bad: {registry}/_config/size holds \"{value}\", which is no number of members"
    )]
    BadSize {
        /// The discovery URL.
        registry: String,
        /// What it holds.
        value: String,
    },
    /// As many members as wanted are registered, and this node is not among them.
    #[error(
        "discovery: cluster is full: {registry} has its {size} members; take a new URL for a new cluster"
    )]
    Full {
        /// The discovery URL.
        registry: String,
        /// How many members there are.
        size: usize,
    },
    /// The cluster is full, and its members left nothing by which it could be joined.
    #[error(
        "discovery: cluster is full, and {registry} does not say where its members serve clients; join one of them \
         with --join"
    )]
    NobodyToJoin {
        /// The discovery URL.
        registry: String,
    },
    /// Somebody with this node's URLs has registered before.
    #[error(
        "discovery: found duplicate id: member {id} has previously registered at {registry}, and its data is not in \
         this data folder: a member that forgot what it promised could lose writes of others. Give the data back, or \
         remove the member (muster member remove {id}) and start this node with --join, or take a new discovery URL"
    )]
    DuplicateId {
        /// The discovery URL.
        registry: String,
        /// The member's id in hex.
        id: String,
    },
    /// Two members have the same name.
    #[error(
        "discovery: found duplicate name: two members at {registry} are called \"{name}\"; give each its own"
    )]
    DuplicateName {
        /// The discovery URL.
        registry: String,
        /// The name.
        name: String,
    },
    /// A registered value is not `name=http://host:port`.
    #[error("discovery: invalid URL: {key} at {registry} holds \"{value}\", not name=http://host:port")]
    InvalidUrl {
        /// The discovery URL.
        registry: String,
        /// The member's key.
        key: String,
        /// What it holds.
        value: String,
    },
    /// The registry refused, or is none.
    #[error("discovery: {0}")]
    Registry(#[from] ClientError),
    /// No SRV records were found.
    #[error("discovery: {0}")]
    Srv(#[from] SrvError),
    /// No SRV record means this node.
    #[error(
        "discovery: none of the SRV records of {domain} ({found}) means this node, whose \
         initial_advertise_peer_urls are {own}"
    )]
    NotAmongRecords {
        /// The domain.
        domain: String,
        /// The records' URLs.
        found: String,
        /// This node's peer URLs.
        own: String,
    },
    /// The domain has records for TLS alone.
    #[error(
        "discovery: {domain} has only _etcd-server-ssl records, and there is no TLS: add _etcd-server records"
    )]
    OnlyTls {
        /// The domain.
        domain: String,
    },
    /// The note that this node has registered cannot be kept.
    #[error("discovery: cannot write {}: {cause}", path.display())]
    Note {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// The settings of a node without data, with the first members put in that it is told to look for; or, when those are
/// complete without it, with a cluster to join. May wait for the other first members as long as it takes.
///
/// # Errors
/// See [`DiscoveryError`].
pub async fn resolve(settings: &StoreSettings) -> Result<StoreSettings, DiscoveryError> {
    let mut resolved = settings.clone();
    let registry = match &settings.bootstrap {
        Bootstrap::Listed => return Ok(resolved),
        Bootstrap::Srv(domain) => {
            let members = srv::first_members(domain, &settings.name, &settings.advertise_peer).await?;
            // The others know this node as its record has it.
            if let Some(urls) = members.get(&settings.name) {
                resolved.advertise_peer = urls.clone();
            }
            resolved.initial_cluster = members;
            return Ok(resolved);
        }
        Bootstrap::Registry(registry) => registry,
    };
    // As in etcd, the URL keeps this cluster apart from others.
    resolved.token = registry.url.to_string();
    let applicant = Applicant {
        id: member_id(&settings.advertise_peer, &resolved.token),
        name: settings.name.clone(),
        peer_urls: settings.advertise_peer.clone(),
        client_urls: settings.advertise_client.clone(),
        note: settings.data_dir.join("discovery"),
    };
    let registration = Registration::new(registry.url.clone(), registry.proxy.as_ref(), applicant)?;
    match registration.complete().await? {
        Found::First(members) => resolved.initial_cluster = members,
        Found::Full { size, .. } if registry.surplus == Surplus::Exit => {
            return Err(DiscoveryError::Full { registry: resolved.token, size });
        }
        Found::Full { client_urls, .. } if client_urls.is_empty() => {
            return Err(DiscoveryError::NobodyToJoin { registry: resolved.token });
        }
        Found::Full { client_urls, .. } => {
            resolved.join = Some(client_urls);
            resolved.read_replica = true;
        }
    }
    Ok(resolved)
}
