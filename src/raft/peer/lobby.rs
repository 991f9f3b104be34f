//! The peer port of a node that takes no part in raft yet: it tells strangers what it is, and refuses everything else.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::codec::{FramedRead, FramedWrite};

use super::callers::Callers;
use super::card::{Card, Dismissal, Refusal};
use super::hello;
use super::hello::{Hello, Welcome};
use super::serve::{HELLO_TIMEOUT, STRANGER_LIMIT, greet};
use super::wire;
use super::wire::{PeerRequest, PeerResponse};
use crate::format::LOWEST;
use crate::raft::membership::founding::Word;
use crate::raft::versions::Versions;

/// Between two tries to take a connection when that fails.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// How long a member's call is remembered.
const CALLED_LATELY: Duration = Duration::from_secs(10);

/// How many members' calls are remembered. Whoever says that it is one is believed; it only keeps this node from founding.
const MOST_CALLERS: usize = 64;

/// A node that waits to take part in raft.
pub struct Lobby {
    card: Card,
    word: Mutex<Word>,
    /// Members of the cluster that have called, for which member, and when.
    called: Mutex<BTreeMap<u64, (u64, Instant)>>,
    callers: Callers,
}

impl Lobby {
    /// A node with this card that says `word` of itself.
    pub fn new(card: Card, word: Word) -> Self {
        Self { card, word: Mutex::new(word), called: Mutex::default(), callers: Callers::default() }
    }

    /// Says something else from now on.
    pub fn say(&self, word: Word) {
        *self.word.lock().expect("the lobby's lock poisoned") = word;
    }

    /// Members that take part in a cluster of the same first members and have called here of late, and for which member.
    pub fn callers(&self) -> BTreeMap<u64, u64> {
        let mut called = self.called.lock().expect("the lobby's lock poisoned");
        called.retain(|_, (_, at)| at.elapsed() < CALLED_LATELY);
        called.iter().map(|(caller, (sought, _))| (*caller, *sought)).collect()
    }

    fn was_called(&self, caller: u64, sought: u64) {
        let mut called = self.called.lock().expect("the lobby's lock poisoned");
        if called.len() < MOST_CALLERS || called.contains_key(&caller) {
            called.insert(caller, (sought, Instant::now()));
        }
    }

    /// Serves a listener until it is dropped.
    pub async fn serve(self: Arc<Self>, listener: Arc<TcpListener>) {
        let mut open = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = open.join_next() => continue,
            };
            match accepted {
                Ok((stream, from)) => {
                    let seat = match self.callers.arrive(from.ip()) {
                        Ok(seat) => seat,
                        Err(crowded) => {
                            if let Some(before) = self.callers.complain(from.ip(), &crowded) {
                                tracing::warn!(from = %from.ip(), why = %crowded, before, "peer refused");
                            }
                            continue;
                        }
                    };
                    let lobby = self.clone();
                    open.spawn(async move {
                        let _seat = seat;
                        let talk = tokio::time::timeout(STRANGER_LIMIT, lobby.converse(stream)).await;
                        let Ok(Err(error)) = talk else { return };
                        tracing::debug!(%from, %error, "peer connection ended");
                        if error.kind() == io::ErrorKind::InvalidData
                            && let Some(before) = lobby.callers.complain(from.ip(), &error)
                        {
                            tracing::warn!(from = %from.ip(), why = %error, before, "peer refused");
                        }
                    });
                }
                Err(error) => {
                    if let Some(before) = self.callers.unaccepted.say(&error.raw_os_error()) {
                        tracing::warn!(%error, before, "cannot accept a peer connection");
                    }
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    async fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        greet(&mut stream).await?;
        let (read, write) = stream.into_split();
        let mut source = FramedRead::new(read, wire::greeting_codec());
        let mut sink = FramedWrite::new(write, wire::codec());
        let Some(hello) = tokio::time::timeout(HELLO_TIMEOUT, source.next()).await? else { return Ok(()) };
        let hello = wire::decode::<Hello>(hello?)?.1.map_err(io::Error::other)?;
        if !hello.is_of_stranger() {
            if hello.card.cluster == self.card.cluster && hello.card.incarnation != 0 {
                self.was_called(hello.card.member, hello.to);
            }
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::channel::Channel;
    use super::hello::PREFACE;
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn card(member: u64, incarnation: u64) -> Card {
        Card { cluster: 1, member, incarnation, folder: member * 11, run: 1, previous: 0 }
    }

    /// A node that waits, and where.
    async fn waiting() -> (Arc<Lobby>, String, JoinSet<()>) {
        let lobby = Arc::new(Lobby::new(card(1, 0), Word::Blank { folder: 11 }));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut tasks = JoinSet::new();
        tasks.spawn(lobby.clone().serve(Arc::new(listener)));
        (lobby, address, tasks)
    }

    #[tokio::test]
    async fn it_is_remembered_which_members_of_the_cluster_called_and_for_whom() {
        let (lobby, address, _tasks) = waiting().await;
        let call = async |card: Card, to: u64| {
            let hello = Hello::new(card, to);
            let channel = Channel::saying(hello, vec![address.clone()], Versions::of_stranger());
            assert!(channel.call(&PeerRequest::Belong, LIMIT).await.is_err());
        };
        call(Card { cluster: 9, ..card(2, 5) }, 1).await;
        call(card(3, 0), 1).await;
        assert!(lobby.callers().is_empty(), "another cluster's, and one that waits itself");
        call(card(2, 5), 1).await;
        call(card(4, 5), 8).await;
        assert_eq!(lobby.callers(), BTreeMap::from([(2, 1), (4, 8)]));
        for member in 100..300 {
            lobby.was_called(member, 1);
        }
        assert_eq!(lobby.callers().len(), MOST_CALLERS);
    }

    #[tokio::test]
    async fn strangers_get_as_little_of_it_as_of_any_peer_port() {
        let (_lobby, address, _tasks) = waiting().await;
        let mut large = TcpStream::connect(&address).await.unwrap();
        large.write_all(PREFACE).await.unwrap();
        large.write_all(&u32::try_from(wire::GREETING_LIMIT + 1).unwrap().to_be_bytes()).await.unwrap();
        let mut silent = Vec::new();
        for _ in 0..40 {
            silent.push(TcpStream::connect(&address).await.unwrap());
        }
        for mut stream in silent.into_iter().chain([large]) {
            // It is closed, or reset.
            let end = tokio::time::timeout(LIMIT, stream.read(&mut [0])).await.expect("it ends");
            assert!(!matches!(end, Ok(1)));
        }
    }
}
