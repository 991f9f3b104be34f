//! How a new node finds out who it is: it asks members of the cluster on their peer port.

use std::io;
use std::time::Duration;

use crate::raft::peer::channel::Channel;
use crate::raft::peer::hello::Hello;
use crate::raft::peer::network::address;
use crate::raft::peer::wire::{Introduction, PeerRequest, PeerResponse};
use crate::raft::versions::Versions;

/// How long one member may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Asks the member that is reached at any of `at` (peer URLs) who the node is that will be reached at `mine`.
///
/// # Errors
/// Nobody answers there, or somebody who is no member. `Unsupported`: the cluster has reached a version that this node
/// does not know.
pub async fn introduce(at: &[String], mine: &[String]) -> io::Result<Introduction> {
    let addresses = at.iter().filter_map(|url| address(url)).collect();
    let versions = Versions::of_stranger();
    let channel = Channel::new(Hello::of_stranger(), addresses, versions.clone());
    match channel.call(&PeerRequest::Introduce { peer_urls: mine.to_vec() }, ANSWER_LIMIT).await {
        Ok(PeerResponse::Introduced(introduction)) => Ok(introduction),
        Err(error) if versions.too_new().is_some() => {
            Err(io::Error::new(io::ErrorKind::Unsupported, error.to_string()))
        }
        Err(error) => Err(error),
        Ok(other) => Err(io::Error::other(format!("unexpected answer {other:?}"))),
    }
}
