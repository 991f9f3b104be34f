//! How a new node finds out who it is: it asks members of the cluster on their peer port.

use std::io;
use std::time::Duration;

use crate::raft::peer::channel::Channel;
use crate::raft::peer::network::address;
use crate::raft::peer::wire::{Hello, Introduction, PeerRequest, PeerResponse};

/// How long one member may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Asks the member that is reached at any of `at` (peer URLs) who the node is that will be reached at `mine`.
///
/// # Errors
/// Nobody answers there, or somebody who is no member of this version.
pub async fn introduce(at: &[String], mine: &[String]) -> io::Result<Introduction> {
    let channel = Channel::new(Hello::STRANGER, at.iter().filter_map(|url| address(url)).collect());
    match channel.call(&PeerRequest::Introduce { peer_urls: mine.to_vec() }, ANSWER_LIMIT).await? {
        PeerResponse::Introduced(introduction) => Ok(introduction),
        other => Err(io::Error::other(format!("unexpected answer {other:?}"))),
    }
}
