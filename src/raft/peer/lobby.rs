//! The peer port of a node that takes no part in raft yet: it tells strangers what it is, and refuses everything else.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::codec::{FramedRead, FramedWrite};

use super::card::{Card, Dismissal, Refusal};
use super::hello;
use super::hello::{Hello, Welcome};
use super::serve::{HELLO_TIMEOUT, greet};
use super::wire;
use super::wire::{PeerRequest, PeerResponse};
use crate::format::LOWEST;
use crate::raft::membership::founding::Word;
use crate::raft::versions::Versions;

/// Between two tries to take a connection when that fails.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Connections that are served at a time; a node in the lobby is asked by a few others.
const MOST_CONNECTIONS: usize = 128;

/// A node that waits to take part in raft.
pub struct Lobby {
    card: Card,
    word: Mutex<Word>,
}

impl Lobby {
    /// A node with this card that says `word` of itself.
    pub fn new(card: Card, word: Word) -> Self {
        Self { card, word: Mutex::new(word) }
    }

    /// Says something else from now on.
    pub fn say(&self, word: Word) {
        *self.word.lock().expect("the lobby's lock poisoned") = word;
    }

    /// Serves a listener until it is dropped.
    pub async fn serve(self: Arc<Self>, listener: Arc<TcpListener>) {
        let mut open = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept(), if open.len() < MOST_CONNECTIONS => accepted,
                Some(_) = open.join_next() => continue,
            };
            match accepted {
                Ok((stream, from)) => {
                    let lobby = self.clone();
                    open.spawn(async move {
                        if let Err(error) = lobby.converse(stream).await {
                            tracing::debug!(%from, %error, "peer connection ended");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a peer connection");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    async fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        greet(&mut stream).await?;
        let (read, write) = stream.into_split();
        let mut source = FramedRead::new(read, wire::codec());
        let mut sink = FramedWrite::new(write, wire::codec());
        let Some(hello) = tokio::time::timeout(HELLO_TIMEOUT, source.next()).await? else { return Ok(()) };
        let hello = wire::decode::<Hello>(hello?)?.1.map_err(io::Error::other)?;
        if !hello.is_of_stranger() {
            return sink.send(wire::encode(0, &Welcome::Unwelcome(self.refusal()), LOWEST)?).await;
        }
        let version = match hello::agree(&hello, &Versions::of_stranger()) {
            Ok(version) => version,
            Err(hello::Refused { why, needed }) => {
                return sink.send(wire::encode(0, &Welcome::Refused { why, needed }, LOWEST)?).await;
            }
        };
        sink.send(wire::encode(0, &Welcome::Agreed { version, card: self.card.clone() }, LOWEST)?).await?;
        while let Some(frame) = tokio::time::timeout(HELLO_TIMEOUT, source.next()).await? {
            let (number, request) = wire::decode::<PeerRequest>(frame?)?;
            let answer = match request {
                Ok(PeerRequest::Inquire { .. }) => {
                    let word = self.word.lock().expect("the lobby's lock poisoned").clone();
                    PeerResponse::Word { cluster: self.card.cluster, word }
                }
                Ok(_) => PeerResponse::Dismissed(self.refusal()),
                Err(error) => wire::not_understood(&error),
            };
            sink.send(wire::encode(number, &answer, version)?).await?;
        }
        Ok(())
    }

    fn refusal(&self) -> Dismissal {
        Dismissal { refusal: Refusal::Blank, by: self.card.member, leading: false }
    }
}
