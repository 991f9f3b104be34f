//! How a new node finds out who it is: it asks members of the cluster on their peer port.

use std::io;
use std::time::Duration;

use super::channel::Channel;
use super::network::address;
use super::wire::{Hello, Introduction, Request, Response};

/// How long one member may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Asks the member that is reached at any of `at` (peer URLs) who the node is that will be reached at `mine`.
///
/// # Errors
/// Nobody answers there, or somebody who is no member of this version.
pub async fn introduce(at: &[String], mine: &[String]) -> io::Result<Introduction> {
    let channel = Channel::new(Hello::STRANGER, at.iter().filter_map(|url| address(url)).collect());
    match channel.call(&Request::Introduce { peer_urls: mine.to_vec() }, ANSWER_LIMIT).await? {
        Response::Introduced(introduction) => Ok(introduction),
        other => Err(io::Error::other(format!("unexpected answer {other:?}"))),
    }
}
