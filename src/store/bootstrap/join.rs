//! Who a node is: known from its data, one of the first members, or a newcomer that asks the cluster.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use url::Url;

use crate::client::{Client, ClientError};
use crate::config::{Bootstrap, ClientFragment, ClientSettings, StoreSettings};
use crate::raft::{Candidate, Identity, Introduction, Peer};
use crate::store::members::list::{cluster_id, member_id};

/// Between two tries to find the cluster.
const PAUSE: Duration = Duration::from_secs(1);

/// How long the members may be silent, or not know the newcomer, before it gives up. A member that lags behind takes a
/// moment to hear of one that was just added.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a newcomer could not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The cluster does not know this node.
    #[error(
        "no member of the cluster has the peer URL {mine}: add this node first (muster member add, or etcdctl member \
         add), start it with --join, or found a new cluster with --initial-cluster-state new"
    )]
    Unknown {
        /// This node's peer URLs.
        mine: String,
    },
    /// No member answers.
    #[error("no member of the cluster answers at {asked}: {problem}")]
    Silent {
        /// The peer URLs that were asked.
        asked: String,
        /// The last problem.
        problem: String,
    },
    /// Access is restricted, and this node may not change the members.
    #[error(
        "the cluster does not take this node: {0}. Give --join the name and password of a user who may change members, \
         in the URL or as MUSTER_USERNAME and MUSTER_PASSWORD, or add this node first (muster member add)"
    )]
    Denied(String),
    /// The cluster has reached a version that this node does not know.
    #[error("this Muster is too old for the cluster: {0}")]
    TooOld(String),
    /// The cluster will not have this node.
    #[error("the cluster does not take this node: {0}")]
    Refused(String),
}

/// One of the first members, all of which are told the same.
pub fn found(settings: &StoreSettings) -> Candidate {
    let mut members = BTreeMap::new();
    for (name, peer_urls) in &settings.initial_cluster {
        // A name that was made up for an SRV record is this node's alone, and all must found the same cluster.
        let name = if matches!(settings.bootstrap, Bootstrap::Srv(_)) { String::new() } else { name.clone() };
        let peer = Peer { name, peer_urls: peer_urls.clone() };
        members.insert(member_id(peer_urls, &settings.token), peer);
    }
    let member = member_id(&settings.advertise_peer, &settings.token);
    let identity = Identity { member, cluster: cluster_id(members.keys()) };
    candidate(settings, identity, members, true)
}

/// A newcomer: adds itself when it is told to join, and asks the members who it is.
///
/// # Errors
/// See [`JoinError`].
pub async fn newcomer(settings: &StoreSettings) -> Result<Candidate, JoinError> {
    let mine = &settings.advertise_peer;
    let others: Vec<Vec<String>> = match &settings.join {
        Some(urls) => enrol(settings, urls).await?,
        None => settings.initial_cluster.values().filter(|urls| *urls != mine).cloned().collect(),
    };
    let Introduction { cluster, member, members } = ask(&others, mine).await?;
    let Some(member) = member else { return Err(JoinError::Unknown { mine: mine.join(",") }) };
    tracing::info!(
        member = format!("{member:x}"),
        cluster = format!("{cluster:x}"),
        members = members.len(),
        "joining the cluster"
    );
    let identity = Identity { member, cluster };
    Ok(candidate(settings, identity, members, false))
}

/// A node that asks `members`, and is one of the first of them if it `founds` a cluster.
pub fn candidate(
    settings: &StoreSettings,
    identity: Identity,
    members: BTreeMap<u64, Peer>,
    founds: bool,
) -> Candidate {
    Candidate {
        identity,
        peer_urls: settings.advertise_peer.clone(),
        members,
        founds,
        with_all: founds && settings.found_with_all,
        heartbeat: settings.heartbeat,
        election: settings.election,
    }
}

/// Asks one member after the other until one knows this node, for [`PATIENCE`].
async fn ask(others: &[Vec<String>], mine: &[String]) -> Result<Introduction, JoinError> {
    let until = Instant::now() + PATIENCE;
    let mut stranger = None;
    let mut problem = "there is no other member in initial_cluster".to_string();
    loop {
        for urls in others {
            match crate::raft::introduce(urls, mine).await {
                Ok(introduction) if introduction.member.is_some() => return Ok(introduction),
                Ok(introduction) => stranger = Some(introduction),
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    return Err(JoinError::TooOld(error.to_string()));
                }
                Err(error) => problem = error.to_string(),
            }
        }
        if others.is_empty() || Instant::now() >= until {
            let asked = others.concat().join(", ");
            return stranger.ok_or(JoinError::Silent { asked, problem });
        }
        match &stranger {
            Some(_) => tracing::info!("the members of the cluster do not know this node yet, asking again"),
            None => tracing::info!(problem, "no member of the cluster answers yet, asking again"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Sees to it that the cluster behind the client URLs has this node as a member; waits for the cluster as long as it
/// takes. Returns the peer URLs of the others.
async fn enrol(settings: &StoreSettings, at: &[Url]) -> Result<Vec<Vec<String>>, JoinError> {
    let refused = |error: &dyn std::fmt::Display| JoinError::Refused(error.to_string());
    let defaults = ClientSettings::try_from(ClientFragment::default()).map_err(|e| refused(&e))?;
    let credentials = settings.join_as.clone();
    let asked = ClientSettings { endpoints: at.to_vec(), credentials, ..defaults };
    let client = Client::new(&asked).map_err(|e| refused(&e))?;
    let mine = &settings.advertise_peer;
    loop {
        let problem = match enrol_once(&client, settings).await {
            Ok(Some(others)) => return Ok(others),
            Ok(None) => continue,
            Err(error @ (ClientError::Unavailable { .. } | ClientError::UnknownOutcome { .. })) => {
                error.to_string()
            }
            Err(ClientError::Declined { status: 401, message }) => return Err(JoinError::Denied(message)),
            Err(error) => return Err(refused(&error)),
        };
        tracing::info!(problem, peer_urls = mine.join(","), "cannot join the cluster yet, trying again");
        tokio::time::sleep(PAUSE).await;
    }
}

/// One try: the others' peer URLs when this node is a member, `None` when it was just added or may have been.
async fn enrol_once(
    client: &Client,
    settings: &StoreSettings,
) -> Result<Option<Vec<Vec<String>>>, ClientError> {
    let mine = &settings.advertise_peer;
    let Some(member_statuses) = client.member_statuses().await? else {
        // Before anything is added there: an etcd would count the newcomer for its majority.
        let message = "what answers there is not Muster".into();
        return Err(ClientError::Declined { status: 404, message });
    };
    let members = member_statuses.members.into_iter().map(|status| status.member);
    let (own, others): (Vec<_>, Vec<_>) =
        members.partition(|member| member.peer_urls.iter().any(|url| mine.contains(url)));
    if !own.is_empty() {
        return Ok(Some(others.into_iter().map(|member| member.peer_urls).collect()));
    }
    match client.add_member(mine, settings.read_replica).await {
        Ok(member) => {
            tracing::info!(member = member.id, replica = settings.read_replica, "added to the cluster");
            Ok(None)
        }
        // Added meanwhile, by somebody else or by a try whose answer was lost.
        Err(ClientError::Declined { status: 409, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
