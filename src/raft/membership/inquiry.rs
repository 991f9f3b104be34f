//! What a node that takes no part in raft yet asks of others on their peer port.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::raft::peer::card::Card;
use crate::raft::peer::channel::Connection;
use crate::raft::peer::hello::Hello;
use crate::raft::peer::network::address;
use crate::raft::peer::wire::{Introduction, PeerRequest, PeerResponse};
use crate::raft::versions::Versions;

/// How long a connection may take to come about.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// How long one member may take to answer once it is reached.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Missed {
    /// Nobody is reached, or whoever was there has gone.
    #[error("{0}")]
    Away(String),
    /// It takes the connection and does not answer.
    #[error("{0} takes connections, but does not answer")]
    Late(String),
    /// The cluster has reached a version that this node does not know.
    #[error("{0}")]
    Outgrown(String),
}

/// How long an answer may take for which the log is written.
const PROPOSAL_LIMIT: Duration = Duration::from_secs(8);

/// Puts a stranger's request to whoever is reached at any of `at` (peer URLs).
///
/// # Errors
/// See [`Missed`].
pub async fn ask(at: &[String], request: &PeerRequest) -> Result<PeerResponse, Missed> {
    ask_within(at, request, ANSWER_LIMIT).await
}

/// As [`ask`], for what takes a write of the log.
///
/// # Errors
/// See [`Missed`].
pub async fn ask_for_long(at: &[String], request: &PeerRequest) -> Result<PeerResponse, Missed> {
    ask_within(at, request, PROPOSAL_LIMIT).await
}

async fn ask_within(at: &[String], request: &PeerRequest, limit: Duration) -> Result<PeerResponse, Missed> {
    let mut missed = Missed::Away("it has no address".into());
    let versions = Versions::of_stranger();
    for address in at.iter().filter_map(|url| address(url)) {
        let away = |error: io::Error| Missed::Away(format!("{address}: {error}"));
        let stream = match tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(&address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                missed = away(error);
                continue;
            }
            Err(_) => {
                missed = Missed::Away(format!("{address}: no connection in time"));
                continue;
            }
        };
        let talk = async {
            let (connection, _) = Connection::open(stream, &Hello::of_stranger(), &versions, None).await?;
            connection.send(request)?.1.await
        };
        missed = match tokio::time::timeout(limit, talk).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) if versions.too_new().is_some() => {
                return Err(Missed::Outgrown(error.to_string()));
            }
            Ok(Err(error)) => away(error),
            Err(_) => Missed::Late(address.clone()),
        };
    }
    Err(missed)
}

/// What whoever is reached at any of `at` (peer URLs) shows of itself.
pub async fn card_at(at: &[String]) -> Option<Card> {
    for address in at.iter().filter_map(|url| address(url)) {
        let Ok(Ok(stream)) = tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(&address)).await else {
            continue;
        };
        let opened = Connection::open(stream, &Hello::of_stranger(), &Versions::of_stranger(), None).await;
        if let Ok((_, card)) = opened {
            return Some(card);
        }
    }
    None
}

/// Asks the member that is reached at any of `at` (peer URLs) who the node is that will be reached at `mine`.
///
/// # Errors
/// Nobody answers there, or somebody who is no member. `Unsupported`: the cluster has reached a version that this node
/// does not know.
pub async fn introduce(at: &[String], mine: &[String]) -> io::Result<Introduction> {
    let answer = ask(at, &PeerRequest::Introduce { peer_urls: mine.to_vec() }).await;
    match answer {
        Ok(PeerResponse::Introduced(introduction)) => Ok(introduction),
        Err(Missed::Outgrown(why)) => Err(io::Error::new(io::ErrorKind::Unsupported, why)),
        Err(missed) => Err(io::Error::other(missed)),
        Ok(other) => Err(io::Error::other(format!("unexpected answer {other:?}"))),
    }
}
