//! The peer port: takes what other members ask for and hands it to openraft.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::io::AsyncReadExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::appends;
use super::appends::Order;
use super::callers::{Crowded, Seat};
use super::card::{Card, Dismissal, Refusal};
use super::channel::tune;
use super::hello::{self, Hello, PREFACE, Refused, Welcome};
use super::incoming::{Part, Receiver};
use super::wire;
use super::wire::{PeerRequest, PeerResponse};
use crate::format::{LOWEST, Version};
use crate::raft::membership::inquiry;
use crate::raft::node::Node;
use crate::raft::state::machine::SnapshotFile;
use crate::raft::state::snapshot;
use crate::raft::types::{RaftVote, TypeConfig};
use openraft::alias::SnapshotOf;

/// How long a new connection may take to say who it is.
pub(super) const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// Requests of one connection that are worked on at a time.
const OPEN_REQUESTS: usize = 128;

/// Bytes of the requests of one connection that are worked on at a time; one more is taken in while they are fewer.
const OPEN_BYTES: usize = 16 << 20;

/// How long a look at a member's address may take, when a new run of it calls.
const LOOK_LIMIT: Duration = Duration::from_millis(500);

/// How long somebody may stay who does not say that it is a member.
pub(super) const STRANGER_LIMIT: Duration = Duration::from_secs(10);

type Source = FramedRead<OwnedReadHalf, LengthDelimitedCodec>;
type Sink = FramedWrite<OwnedWriteHalf, LengthDelimitedCodec>;

/// Serves `listener` until `stop`; all its connections have ended then.
pub async fn serve(node: Arc<Node>, listener: Arc<TcpListener>, stop: CancellationToken) {
    let connections = TaskTracker::new();
    accept(&node, &listener, &stop, &connections).await;
    connections.close();
    connections.wait().await;
}

async fn accept(
    node: &Arc<Node>,
    listener: &TcpListener,
    stop: &CancellationToken,
    connections: &TaskTracker,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                let from = from.ip();
                let seat = match node.callers.arrive(from) {
                    Ok(seat) => seat,
                    Err(crowded) => {
                        complain(node, from, None, &crowded);
                        continue;
                    }
                };
                let (node, stop) = (node.clone(), stop.clone());
                connections.spawn(async move {
                    let talk = stop.run_until_cancelled(converse(node, stream, from, seat));
                    if let Some(Err(error)) = talk.await {
                        tracing::debug!(%from, %error, "peer connection ended");
                    }
                });
            }
            Err(error) => {
                if let Some(before) = node.callers.unaccepted.say(&error.raw_os_error()) {
                    tracing::warn!(%error, before, "cannot accept a peer connection");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Logs why a caller is not served, once a minute for each address and reason.
fn complain(node: &Node, from: IpAddr, member: Option<u64>, why: &dyn std::fmt::Display) {
    if let Some(before) = node.callers.complain(from, why) {
        let member = member.map(|id| format!("{id:x}"));
        tracing::warn!(%from, member, %why, before, "peer refused");
    }
}

/// Reads the first line, which must be that of a peer.
///
/// # Errors
/// `InvalidData`: it is not. Or it did not come in time, or the connection broke.
pub(super) async fn greet(stream: &mut TcpStream) -> io::Result<()> {
    tune(stream)?;
    let greeting = async {
        let mut preface = [0; PREFACE.len()];
        stream.read_exact(&mut preface).await?;
        hello::check_preface(&preface)
    };
    tokio::time::timeout(HELLO_TIMEOUT, greeting).await?
}

async fn converse(node: Arc<Node>, mut stream: TcpStream, address: IpAddr, mut seat: Seat) -> io::Result<()> {
    if let Err(error) = greet(&mut stream).await {
        if error.kind() == io::ErrorKind::InvalidData {
            complain(&node, address, None, &error);
        }
        return Err(error);
    }
    let (read, write) = stream.into_split();
    let mut source = FramedRead::new(read, wire::greeting_codec());
    let mut sink = FramedWrite::new(write, wire::codec());
    let hello = tokio::time::timeout(HELLO_TIMEOUT, source.next()).await?;
    let Some(hello) = hello else { return Ok(()) };
    let hello = wire::decode::<Hello>(hello?)?.1.map_err(io::Error::other)?;
    let (welcome, version) = welcome(&node, &hello, address, &mut seat).await;
    sink.send(wire::encode(0, &welcome, LOWEST)?).await?;
    let version = version?;
    if hello.is_of_stranger() {
        let talk = answer_requests(&node, &hello, version, source, sink);
        return tokio::time::timeout(STRANGER_LIMIT, talk).await?;
    }
    source.decoder_mut().set_max_frame_length(wire::FRAME_LIMIT);
    answer_requests(&node, &hello, version, source, sink).await
}

/// Answers what a caller asks for until the connection ends.
async fn answer_requests(
    node: &Arc<Node>,
    hello: &Hello,
    version: Version,
    mut source: Source,
    mut sink: Sink,
) -> io::Result<()> {
    let encode = |number: u64, response: &PeerResponse| wire::encode(number, response, version);
    let mut incoming =
        Receiver::new(node.callers.transfers.clone(), hello.card.member, node.state().folder().clone());
    // New futures are polled in the order in which they are pushed: that keeps appends in order while many are open.
    let order = Order::default();
    let mut open = FuturesUnordered::new();
    let mut open_bytes = 0;
    loop {
        tokio::select! {
            frame = source.next(), if open.len() < OPEN_REQUESTS && open_bytes < OPEN_BYTES => {
                let Some(frame) = frame else { return Ok(()) };
                let frame = frame?;
                let bytes = frame.len();
                let (number, request) = wire::decode::<PeerRequest>(frame)?;
                let request = match request {
                    Ok(request) => request,
                    Err(error) => {
                        tracing::debug!(from = format!("{:x}", hello.card.member), %error, "unknown request");
                        sink.send(encode(number, &wire::not_understood(&error))?).await?;
                        continue;
                    }
                };
                if let Some(refusal) = refuse(node, hello, &request) {
                    sink.send(encode(number, &refusal)?).await?;
                    continue;
                }
                if matches!(request, PeerRequest::Append { .. }) {
                    node.statistics().received(bytes);
                }
                match request {
                    PeerRequest::Chunk { id, offset, data } => {
                        let response = match incoming.chunk(id, offset, &data).await {
                            Ok(()) => PeerResponse::Chunk,
                            Err(error) => PeerResponse::Failed(error.to_string()),
                        };
                        sink.send(encode(number, &response)?).await?;
                    }
                    PeerRequest::Install { id, vote, length } => {
                        let response = match incoming.finish(id, length).await {
                            Ok(part) => install(node, vote, &part).await,
                            Err(error) => PeerResponse::Failed(error.to_string()),
                        };
                        sink.send(encode(number, &response)?).await?;
                    }
                    request => {
                        let (node, order) = (node.clone(), order.clone());
                        open_bytes += bytes;
                        open.push(async move { (number, bytes, answer(&node, &order, request).await) });
                    }
                }
            }
            Some((number, bytes, response)) = open.next() => {
                open_bytes -= bytes;
                sink.feed(encode(number, &response)?).await?;
                while let Some(Some((number, bytes, response))) = open.next().now_or_never() {
                    open_bytes -= bytes;
                    sink.feed(encode(number, &response)?).await?;
                }
                SinkExt::<Bytes>::flush(&mut sink).await?;
            }
        }
    }
}

/// The answer to a hello, and the version to speak in.
async fn welcome(
    node: &Node,
    hello: &Hello,
    address: IpAddr,
    seat: &mut Seat,
) -> (Welcome, io::Result<Version>) {
    let from = hello.card.member;
    if let Err(refusal) = meet(node, hello).await {
        complain(node, address, Some(from), &refusal);
        return (Welcome::Unwelcome(told(node, refusal)), Err(io::Error::other(refusal)));
    }
    let seated = |version| {
        if !hello.is_of_stranger() {
            let crowded = |crowded: Crowded| Refused { why: crowded.to_string(), needed: None };
            seat.belongs_to(from).map_err(crowded)?;
        }
        Ok(version)
    };
    match hello::agree(hello, node.state().versions()).and_then(seated) {
        Ok(version) => (Welcome::Agreed { version, card: node.peers.gate().card().clone() }, Ok(version)),
        Err(refused) => {
            let Refused { why, needed } = refused.clone();
            complain(node, address, Some(from), &why);
            (Welcome::Refused { why, needed }, Err(refused.into()))
        }
    }
}

/// Whether this node has to do with a caller.
async fn meet(node: &Node, hello: &Hello) -> Result<(), Refusal> {
    if hello.is_of_stranger() {
        return Ok(());
    }
    let (gate, Hello { card, to, .. }) = (node.peers.gate(), hello);
    if *to == node.identity.member {
        // Once for each run. Without this a copy of a folder elsewhere would pass for the member, and the member for old.
        if gate.is_news(card).await && runs_elsewhere(node, card).await {
            return Err(Refusal::Twice);
        }
        return gate.admit(card).await;
    }
    if card.cluster == gate.card().cluster && card.incarnation != gate.card().incarnation {
        // Whomever it looks for: it is of another founding, which had other members.
        return Err(Refusal::OtherFounding(gate.card().incarnation));
    }
    let refusal = Refusal::OtherMember(*to);
    // Whoever looks for a member that is none any more has old news: this one may have been added in its place.
    let sought = node.state().read().keyspace.roster().get(*to).is_some();
    if sought && card.cluster == gate.card().cluster {
        // Somebody of this cluster, even this member itself, takes this place for another member's.
        gate.was_told(Dismissal { refusal, by: card.member, leading: false });
    }
    Err(refusal)
}

/// Whether another node with the caller's data folder runs where the caller should be reached. Nobody there, or somebody
/// else, says nothing.
async fn runs_elsewhere(node: &Node, caller: &Card) -> bool {
    let Some(peer) = node.members().remove(&caller.member) else { return false };
    let there = tokio::time::timeout(LOOK_LIMIT, inquiry::card_at(&peer.peer_urls)).await;
    there.ok().flatten().is_some_and(|there| {
        (there.member, there.incarnation, there.folder) == (caller.member, caller.incarnation, caller.folder)
            && there.run != caller.run
    })
}

fn told(node: &Node, refusal: Refusal) -> Dismissal {
    let me = node.identity.member;
    let leading = node.is_leader() && node.acting_leader() == Some(me);
    Dismissal { refusal, by: me, leading }
}

/// The answer to those that have no business here: strangers may only ask and introduce themselves, and those that were
/// removed or have lost what they promised are told so.
fn refuse(node: &Node, hello: &Hello, request: &PeerRequest) -> Option<PeerResponse> {
    if hello.is_of_stranger() {
        let allowed = matches!(
            request,
            PeerRequest::Introduce { .. } | PeerRequest::Inquire { .. } | PeerRequest::Enter { .. }
        );
        return (!allowed).then(|| PeerResponse::Failed("introduce yourself first".into()));
    }
    let member = hello.card.member;
    if node.has_dropped(member) {
        return Some(PeerResponse::Dismissed(told(node, Refusal::Removed)));
    }
    node.peers.gate().has_lost(member).then(|| PeerResponse::Dismissed(told(node, Refusal::LostEntries)))
}

async fn answer(node: &Node, order: &Order, request: PeerRequest) -> PeerResponse {
    let failed = |error: &dyn std::fmt::Display| PeerResponse::Failed(error.to_string());
    match request {
        PeerRequest::Append { clock, entries } => appends::take(node, order, clock, entries).await,
        PeerRequest::Vote(request) => {
            node.raft().vote(request).await.map_or_else(|e| failed(&e), PeerResponse::Vote)
        }
        PeerRequest::PreVote(request) => {
            node.raft().pre_vote(request).await.map_or_else(|e| failed(&e), PeerResponse::Vote)
        }
        PeerRequest::Transfer(request) => match node.raft().handle_transfer_leader(request).await {
            Ok(Ok(())) => PeerResponse::Transfer(Ok(())),
            Ok(Err(why)) => PeerResponse::Transfer(Err(why.to_string())),
            Err(error) => failed(&error),
        },
        PeerRequest::Propose { ticket, commands } => node.propose_here(ticket, commands).await,
        PeerRequest::ReadIndex => node.read_index_here().await,
        PeerRequest::Introduce { peer_urls } => PeerResponse::Introduced(node.introduction(&peer_urls)),
        PeerRequest::Inquire { member, folder, peer_urls, .. } => {
            PeerResponse::Word { cluster: node.identity.cluster, word: node.word(member, folder, &peer_urls) }
        }
        PeerRequest::Enter { member, folder, run, ticket } => node.enter(member, folder, run, ticket).await,
        PeerRequest::Belong => PeerResponse::Belongs,
        PeerRequest::Progress => node.tell_progress(),
        PeerRequest::MoveLeader { to } => node.move_leader_here(to).await,
        PeerRequest::Chunk { .. } | PeerRequest::Install { .. } => {
            failed(&"snapshots have a connection of their own")
        }
    }
}

/// Installs a snapshot that is complete. Its file has another name then, unless it is damaged, was not needed any more
/// or came from a deposed leader: such a file goes with `part`.
async fn install(node: &Node, vote: RaftVote, part: &Part) -> PeerResponse {
    let file = part.path().to_path_buf();
    // Openraft stops a node whose snapshot cannot be installed; what another member's disk has damaged is no reason.
    let received = file.clone();
    let checked = tokio::task::spawn_blocking(move || snapshot::check(&received)).await;
    let meta = match checked.map_err(io::Error::other).and_then(|checked| checked) {
        Ok(meta) => crate::raft::state::machine::to_openraft(&meta),
        Err(error) => {
            if let Some(before) = node.callers.uninstalled.say(&error.kind()) {
                tracing::warn!(%error, before, "a snapshot from the leader is not installed");
            }
            return PeerResponse::Failed(error.to_string());
        }
    };
    let snapshot = SnapshotOf::<TypeConfig, SnapshotFile> { meta, snapshot: SnapshotFile(file) };
    node.statistics().heard();
    match node.raft().install_full_snapshot(vote, snapshot).await {
        Ok(answer) => PeerResponse::Installed(answer),
        Err(error) => PeerResponse::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use openraft::EntryPayload;
    use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};

    use super::super::card::Card;
    use super::super::channel::Channel;
    use super::*;
    use crate::raft::node_test::{among, tuning};
    use crate::raft::offline::folder::Nobody;
    use crate::raft::tuning::Tuning;
    use crate::raft::types::{CommittedLeader, RaftEntry, RaftLogId};

    /// A node that serves its peer port until the test ends.
    struct Served {
        node: Arc<Node>,
        address: String,
        stop: CancellationToken,
        serving: tokio::task::JoinHandle<()>,
        folder: tempfile::TempDir,
    }

    impl Served {
        async fn start() -> Self {
            Self::start_among(1, &tuning()).await
        }

        async fn start_among(members: u64, tuning: &Tuning) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let node = among(members, folder.path(), Arc::new(Nobody), tuning).await;
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let stop = CancellationToken::new();
            let serving = tokio::spawn(serve(node.clone(), Arc::new(listener), stop.clone()));
            Self { node, address, stop, serving, folder }
        }

        /// A way to it for member 2, or for a stranger.
        fn channel(&self, hello: Hello) -> Channel {
            Channel::saying(hello, vec![self.address.clone()], self.node.state().versions().clone())
        }

        fn parts(&self) -> usize {
            let files = std::fs::read_dir(self.folder.path().join("snapshots")).unwrap();
            files
                .filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|e| e == "part"))
                .count()
        }

        async fn wait_for_parts(&self, count: usize) {
            let until = std::time::Instant::now() + LIMIT;
            while self.parts() != count {
                assert!(std::time::Instant::now() < until, "{} files", self.parts());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }

        async fn end(self) {
            self.stop.cancel();
            self.serving.await.unwrap();
            self.node.stop().await;
        }
    }

    const LIMIT: Duration = Duration::from_secs(30);

    fn member() -> Hello {
        Hello::new(Card { cluster: 1, member: 2, incarnation: 7, folder: 22, run: 1, previous: 0 }, 1)
    }

    /// Reads until the other side closes, which it does within the limit.
    async fn is_closed(stream: &mut TcpStream) -> bool {
        let mut sink = tokio::io::sink();
        // It may be reset as well.
        tokio::time::timeout(LIMIT, tokio::io::copy(stream, &mut sink)).await.is_ok()
    }

    #[tokio::test]
    async fn who_is_not_known_yet_sends_nothing_large() {
        let served = Served::start().await;
        // Room for a frame that nobody has seen is not made.
        let mut stream = TcpStream::connect(&served.address).await.unwrap();
        stream.write_all(PREFACE).await.unwrap();
        stream.write_all(&u32::try_from(wire::GREETING_LIMIT + 1).unwrap().to_be_bytes()).await.unwrap();
        assert!(is_closed(&mut stream).await);
        let large = || PeerRequest::Introduce { peer_urls: vec!["x".repeat(wire::GREETING_LIMIT)] };
        assert!(served.channel(Hello::of_stranger()).call(&large(), LIMIT).await.is_err());
        let answer = served.channel(member()).call(&large(), LIMIT).await.unwrap();
        assert!(matches!(answer, PeerResponse::Introduced(_)), "a member may");
        served.end().await;
    }

    #[tokio::test]
    async fn connections_that_say_nothing_do_not_keep_members_out() {
        let served = Served::start().await;
        let mut silent = Vec::new();
        for _ in 0..40 {
            silent.push(TcpStream::connect(&served.address).await.unwrap());
        }
        // Those that are too many are closed at once, the others when they have had their time.
        for stream in &mut silent {
            assert!(is_closed(stream).await);
        }
        let answer = served.channel(member()).call(&PeerRequest::Belong, LIMIT).await.unwrap();
        assert!(matches!(answer, PeerResponse::Belongs));
        served.end().await;
    }

    #[tokio::test]
    async fn whoever_looks_here_for_a_member_that_is_none_any_more_has_old_news() {
        let served = Served::start().await;
        let old = Hello { to: 77, ..member() };
        assert!(served.channel(old).call(&PeerRequest::Belong, LIMIT).await.is_err());
        assert!(served.node.peers.gate().told().is_empty(), "it is where it should be");
        served.end().await;
    }

    #[tokio::test]
    async fn a_snapshot_that_is_broken_off_leaves_no_file() {
        let served = Served::start().await;
        let piece = |id| PeerRequest::Chunk { id, offset: 0, data: Bytes::from_static(b"abc") };
        let first = served.channel(member());
        assert!(matches!(first.call(&piece(1), LIMIT).await.unwrap(), PeerResponse::Chunk));
        served.wait_for_parts(1).await;
        let second = served.channel(member());
        assert!(matches!(second.call(&piece(2), LIMIT).await.unwrap(), PeerResponse::Chunk));
        served.wait_for_parts(1).await;
        let more = PeerRequest::Chunk { id: 1, offset: 3, data: Bytes::from_static(b"d") };
        assert!(matches!(first.call(&more, LIMIT).await.unwrap(), PeerResponse::Failed(_)));
        drop((first, second));
        served.wait_for_parts(0).await;
        served.end().await;
    }

    #[tokio::test]
    async fn no_connection_outlives_the_peer_port() {
        let served = Served::start().await;
        let channel = served.channel(member());
        channel.call(&PeerRequest::Belong, LIMIT).await.unwrap();
        let node = served.node.clone();
        served.end().await;
        assert_eq!(Arc::strong_count(&node), 1, "a connection has the node still");
    }

    /// What member 2 sends as the leader of a term, behind the entry `prev`.
    fn append(term: u64, prev: Option<RaftLogId>, indexes: std::ops::Range<u64>) -> PeerRequest {
        let entry = |index| RaftEntry {
            log_id: RaftLogId::new(CommittedLeader::new(term), index),
            payload: EntryPayload::Blank,
        };
        let entries = AppendEntriesRequest {
            vote: RaftVote::new_committed(term, 2),
            prev_log_id: prev,
            entries: indexes.map(entry).collect(),
            leader_commit: None,
        };
        PeerRequest::Append { clock: 0, entries }
    }

    #[tokio::test]
    async fn entries_wait_in_their_order_while_the_log_has_no_room_and_heartbeats_do_not() {
        const TERM: u64 = 1000;
        // It can never lead, and calls no election once it follows member 2.
        let served = Served::start_among(2, &Tuning { election: LIMIT * 100, ..tuning() }).await;
        let (entries, heartbeats) = (served.channel(member()), served.channel(member()));
        let answer = heartbeats.call(&append(TERM, None, 0..0), LIMIT).await.unwrap();
        assert!(matches!(answer, PeerResponse::Append(AppendEntriesResponse::Success)), "{answer:?}");
        let last = served.node.log.last_id().unwrap().unwrap();
        let heartbeat = || append(TERM, Some(last), 0..0);
        let room = served.node.log.room();
        // More than any limit that the look at the disk may set meanwhile.
        let fill = || {
            room.add(1 << 60);
            room.limit(0);
        };
        fill();
        let next = RaftLogId::new(CommittedLeader::new(TERM), last.index + 1);
        let connection = entries.connection().await.unwrap();
        let first = connection.send(&append(TERM, Some(last), next.index..next.index + 1)).unwrap().1;
        let behind = append(TERM, Some(next), next.index + 1..next.index + 2);
        let second = connection.send(&behind).unwrap().1;
        let (mut first, mut second) = (Box::pin(first), Box::pin(second));
        for _ in 0..50 {
            let answer = heartbeats.call(&heartbeat(), LIMIT).await.unwrap();
            assert!(matches!(answer, PeerResponse::Append(AppendEntriesResponse::Success)), "{answer:?}");
            assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        }
        assert_eq!(served.node.log.last_id().unwrap(), Some(last), "nothing is written meanwhile");
        room.subtract(1 << 60);
        room.limit(u64::MAX);
        for answer in [first.await.unwrap(), second.await.unwrap()] {
            assert!(matches!(answer, PeerResponse::Append(AppendEntriesResponse::Success)), "{answer:?}");
        }
        // Whoever sends them is told before it gives up waiting.
        fill();
        let answer = entries.call(&behind, LIMIT).await.unwrap();
        assert!(matches!(&answer, PeerResponse::Failed(why) if why.contains("no room")), "{answer:?}");
        served.end().await;
    }
}
