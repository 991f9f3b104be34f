//! How openraft reaches the other members.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, stream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{RaftNetworkFactory, RaftNetworkV2};
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use url::Url;

use super::channel::{Channel, Connection};
use super::gate::Gate;
use super::wire::{CHUNK_BYTES, PeerRequest, PeerResponse};
use crate::raft::metrics::PeerMetrics;
use crate::raft::state::machine::{SnapshotFile, StateMachine};
use crate::raft::statistics::Statistics;
use crate::raft::types::{Peer, RaftVote, TypeConfig};

/// How long an answer about log entries may take: a slow disk is no reason to send everything again.
pub(super) const APPEND_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one piece of a snapshot may take, and how long its installation may.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(10);
const INSTALL_TIMEOUT: Duration = Duration::from_secs(600);

/// What a connection is for. Each kind has its own, so that nothing urgent waits behind something large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Votes, heartbeats, forwarded proposals, read indexes.
    Control,
    /// Log entries.
    Log,
    /// For snapshots, whose size would keep everything else waiting.
    Snapshot,
}

/// The ways to all members. Clones share them.
#[derive(Clone)]
pub struct Peers(Arc<Inner>);

struct Inner {
    gate: Arc<Gate>,
    statistics: Arc<Statistics>,
    state: StateMachine,
    given_up: watch::Receiver<u64>,
    channels: Mutex<HashMap<(u64, Lane), (Peer, Channel)>>,
}

impl Peers {
    /// The ways from the member that `gate` keeps, which tell others its reading of the cluster clock in `state`.
    /// Entries of the log before the index in `given_up` are sent to nobody.
    pub fn new(
        gate: Arc<Gate>,
        statistics: Arc<Statistics>,
        state: StateMachine,
        given_up: watch::Receiver<u64>,
    ) -> Self {
        Self(Arc::new(Inner { gate, statistics, state, given_up, channels: Mutex::default() }))
    }

    /// Whom this member has to do with.
    pub fn gate(&self) -> &Gate {
        &self.0.gate
    }

    /// The way to `target`, at the addresses that `peer` has.
    pub fn channel(&self, target: u64, peer: &Peer, lane: Lane) -> Channel {
        let mut channels = self.0.channels.lock().expect("peer channels lock poisoned");
        if let Some((known, channel)) = channels.get_mut(&(target, lane)) {
            if known != peer {
                channel.readdress(addresses(peer));
                *known = peer.clone();
            }
            return channel.clone();
        }
        let versions = self.0.state.versions().clone();
        let channel = Channel::new(target, self.0.gate.clone(), addresses(peer), versions);
        channels.insert((target, lane), (peer.clone(), channel.clone()));
        channel
    }

    /// Takes note of where members are reached now, and forgets those that are no members any more. Connections that
    /// are open stay so; openraft keeps a way to a member for long, and it leads to the new place from then on.
    pub fn learn(&self, members: &BTreeMap<u64, Peer>) {
        let mut channels = self.0.channels.lock().expect("peer channels lock poisoned");
        channels.retain(|(id, _), (known, channel)| {
            let Some(peer) = members.get(id) else { return false };
            if known != peer {
                channel.readdress(addresses(peer));
                *known = peer.clone();
            }
            true
        });
    }
}

/// `host:port` of every peer URL.
fn addresses(peer: &Peer) -> Vec<String> {
    peer.peer_urls.iter().filter_map(|url| address(url)).collect()
}

/// `host:port` of a peer URL, if it is one.
pub fn address(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?))
}

/// Openraft's way to one member.
pub struct Link {
    target: u64,
    channel: Channel,
    appends: AppendStatistics,
    state: StateMachine,
    given_up: watch::Receiver<u64>,
}

/// Where it is noted how a member takes AppendEntries.
#[derive(Clone)]
struct AppendStatistics {
    target: u64,
    statistics: Arc<Statistics>,
    metrics: PeerMetrics,
    gate: Arc<Gate>,
}

impl AppendStatistics {
    /// One that went out at `began` was taken, or was not.
    fn answered(&self, began: Instant, taken: bool) {
        self.metrics.note(began, taken);
        self.statistics.answered(self.target, taken.then(|| began.elapsed()));
    }

    /// Keeps in mind how far the member's log agrees with this leader's. Openraft takes for granted that it never says
    /// less later: it would wait for the entries in between for ever, so such an answer does not reach it.
    fn judge(
        &self,
        answer: AppendEntriesResponse<TypeConfig>,
        term: u64,
        prev: Option<u64>,
        last: Option<u64>,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RpcError> {
        let has = match &answer {
            AppendEntriesResponse::Success => last,
            AppendEntriesResponse::PartialSuccess(upto) => upto.map(|id| id.index),
            AppendEntriesResponse::Conflict => {
                let lost = prev.is_some_and(|prev| self.gate.lacks(self.target, term, prev));
                if lost {
                    let what = io::Error::other("the member has lost entries that it had acknowledged");
                    return Err(unreachable(&what));
                }
                None
            }
            AppendEntriesResponse::HigherVote(_) => None,
        };
        if let Some(has) = has {
            self.gate.acknowledges(self.target, term, has);
        }
        Ok(answer)
    }

    /// One did not get onto its way.
    fn unreached(&self) {
        self.metrics.failures.inc();
        self.statistics.answered(self.target, None);
    }
}

impl Peers {
    fn link(&self, target: u64, node: &Peer, lane: Lane) -> Link {
        let statistics = self.0.statistics.clone();
        let metrics = statistics.metrics().peer(target);
        let appends = AppendStatistics { target, statistics, metrics, gate: self.0.gate.clone() };
        let (state, given_up) = (self.0.state.clone(), self.0.given_up.clone());
        Link { target, channel: self.channel(target, node, lane), appends, state, given_up }
    }
}

impl RaftNetworkFactory<TypeConfig> for Peers {
    type Network = Link;

    async fn new_client(&mut self, target: u64, node: &Peer) -> Link {
        self.link(target, node, Lane::Log)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &Peer) -> Link {
        self.link(target, node, Lane::Control)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &Peer) -> Link {
        self.link(target, node, Lane::Snapshot)
    }
}

type RpcError = RPCError<TypeConfig>;

fn unreachable(error: &io::Error) -> RpcError {
    match error.kind() {
        // Worth another try at once, on a new connection.
        io::ErrorKind::ConnectionReset | io::ErrorKind::TimedOut => {
            RPCError::Network(NetworkError::new(error))
        }
        _ => RPCError::Unreachable(Unreachable::new(error)),
    }
}

fn unexpected(response: PeerResponse) -> io::Error {
    match response {
        PeerResponse::Failed(why) => io::Error::other(why),
        PeerResponse::Unknown { kind, version } => {
            let why = format!("unknown request (kind {kind}), that member speaks version {version}");
            io::Error::new(io::ErrorKind::Unsupported, why)
        }
        other => io::Error::new(io::ErrorKind::InvalidData, format!("unexpected answer {other:?}")),
    }
}

/// Sends an AppendEntries with the reading of the clock at once and gives a future of the answer.
fn append(
    connection: &Connection,
    request: PeerRequest,
    limit: Duration,
    appends: AppendStatistics,
) -> impl Future<Output = Result<AppendEntriesResponse<TypeConfig>, RpcError>> + Send + use<> {
    let began = Instant::now();
    let sent = connection.send(&request);
    let (term, prev, last) = place(&request);
    async move {
        let sent = sent.inspect_err(|_| appends.unreached());
        let (bytes, answer) = sent.map_err(|e| unreachable(&e))?;
        appends.statistics.sent(bytes);
        let answer = match tokio::time::timeout(limit, answer).await {
            Ok(Ok(PeerResponse::Append(answer))) => appends.judge(answer, term, prev, last),
            Ok(Ok(other)) => Err(unreachable(&unexpected(other))),
            Ok(Err(error)) => Err(unreachable(&error)),
            Err(_) => Err(unreachable(&io::ErrorKind::TimedOut.into())),
        };
        appends.answered(began, answer.is_ok());
        answer
    }
}

/// The leader's term in an AppendEntries, and the indexes of the entry before the first and of the last entry.
fn place(request: &PeerRequest) -> (u64, Option<u64>, Option<u64>) {
    let PeerRequest::Append { entries, .. } = request else { return (0, None, None) };
    let prev = entries.prev_log_id.map(|id| id.index);
    (entries.vote.leader_id.term, prev, entries.entries.last().map(|entry| entry.log_id.index).or(prev))
}

/// What a member that is too slow needs is not kept for it.
fn behind() -> io::Error {
    io::Error::other("it is so far behind that it needs a snapshot")
}

impl Link {
    async fn vote_on(
        &self,
        request: PeerRequest,
        limit: Duration,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        match self.channel.call(&request, limit).await {
            Ok(PeerResponse::Vote(answer)) => Ok(answer),
            Ok(other) => Err(unreachable(&unexpected(other))),
            Err(error) => Err(unreachable(&error)),
        }
    }

    async fn send_file(
        &self,
        vote: RaftVote,
        file: &SnapshotFile,
    ) -> io::Result<SnapshotResponse<TypeConfig>> {
        let sending = self.state.folder().send(&file.0);
        tokio::select! {
            () = sending.stopped() => Err(io::Error::other("its disk needs the room of the snapshot")),
            sent = self.send_open_file(vote, file) => sent,
        }
    }

    async fn send_open_file(
        &self,
        vote: RaftVote,
        file: &SnapshotFile,
    ) -> io::Result<SnapshotResponse<TypeConfig>> {
        let mut source = tokio::fs::File::open(&file.0).await?;
        let id = crate::raft::unique()?;
        let mut offset = 0;
        loop {
            let mut data = Vec::with_capacity(CHUNK_BYTES);
            let read = (&mut source).take(CHUNK_BYTES as u64).read_to_end(&mut data).await?;
            if read == 0 {
                break;
            }
            let request = PeerRequest::Chunk { id, offset, data: data.into() };
            match self.channel.call(&request, CHUNK_TIMEOUT).await? {
                PeerResponse::Chunk => offset += read as u64,
                other => return Err(unexpected(other)),
            }
        }
        tracing::info!(target = format!("{:x}", self.target), bytes = offset, "snapshot sent");
        match self.channel.call(&PeerRequest::Install { id, vote, length: offset }, INSTALL_TIMEOUT).await? {
            PeerResponse::Installed(answer) => Ok(answer),
            other => Err(unexpected(other)),
        }
    }
}

impl RaftNetworkV2<TypeConfig> for Link {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RpcError> {
        let connecting = tokio::time::timeout(option.hard_ttl(), self.channel.connection());
        let connection = connecting.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let connection = connection.inspect_err(|_| self.appends.unreached()).map_err(|e| unreachable(&e))?;
        let request = PeerRequest::Append { clock: self.state.drive(), entries: request };
        append(&connection, request, option.hard_ttl(), self.appends.clone()).await
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RpcError>>, RpcError>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        Box::pin(async move {
            // Openraft's back-off delays the first request, so it is awaited before the connection is tried.
            let mut input = input;
            let Some(first) = input.next().await else { return Ok(stream::empty().boxed()) };
            let connection = self.channel.connection().await;
            let connection =
                connection.inspect_err(|_| self.appends.unreached()).map_err(|e| unreachable(&e))?;
            let input = stream::iter([first]).chain(input);
            let (appends, state, given_up) =
                (self.appends.clone(), self.state.clone(), self.given_up.clone());
            // The next request is taken when this one is answered. Openraft tells answers apart by the last entry alone, so
            // while two requests with the same last entry are open, the answer to the first counts as one to the
            // second: a leader that slept would take an old answer for news, and give a stale read. What comes
            // meanwhile goes into the next request together.
            let answers = input.then(move |request| {
                let prev = request.prev_log_id;
                let last = request.entries.last().map(|entry| entry.log_id).or(prev);
                let request = PeerRequest::Append { clock: state.drive(), entries: request };
                let answer = append(&connection, request, APPEND_TIMEOUT, appends.clone());
                let mut given_up = given_up.clone();
                async move {
                    let next = prev.map_or(0, |id| id.index + 1);
                    tokio::select! {
                        biased;
                        answer = answer => answer.map(|answer| answer.into_stream_result(prev, last)),
                        // Openraft keeps entries for as long as they are on their way. The error makes it send a snapshot.
                        Ok(_) = given_up.wait_for(|kept| *kept > next) => Err(unreachable(&behind())),
                    }
                }
            });
            Ok(answers.boxed())
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        self.vote_on(PeerRequest::Vote(request), option.hard_ttl()).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        self.vote_on(PeerRequest::PreVote(request), option.hard_ttl()).await
    }

    async fn full_snapshot(
        &mut self,
        vote: RaftVote,
        snapshot: openraft::alias::SnapshotOf<TypeConfig, SnapshotFile>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = self.send_file(vote, &snapshot.snapshot) => {
                sent.map_err(|e| StreamingError::Unreachable(Unreachable::new(&e)))
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RpcError> {
        match self.channel.call(&PeerRequest::Transfer(request), option.hard_ttl()).await {
            Ok(PeerResponse::Transfer(Ok(()))) => Ok(Ok(())),
            Ok(PeerResponse::Transfer(Err(why))) => Err(unreachable(&io::Error::other(why))),
            Ok(other) => Err(unreachable(&unexpected(other))),
            Err(error) => Err(unreachable(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, SinkExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::codec::{Framed, LengthDelimitedCodec};

    use super::super::card::Card;
    use super::super::hello::{Hello, PREFACE, Welcome};
    use super::super::wire;
    use super::*;
    use crate::format::CURRENT;
    use crate::keyspace::Memory;
    use crate::raft::identity::IdentityStore;
    use crate::raft::metrics::Metrics;
    use crate::raft::offline::folder::Nobody;
    use crate::raft::state::snapshot::Folder;
    use crate::raft::types::{CommittedLeader, RaftLogId};

    /// The other end of a link, which answers when it is told to.
    struct Follower(Framed<TcpStream, LengthDelimitedCodec>);

    impl Follower {
        async fn accept(listener: &TcpListener) -> Self {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_exact(&mut [0; PREFACE.len()]).await.unwrap();
            let mut frames = Framed::new(stream, wire::codec());
            let hello = frames.next().await.unwrap().unwrap();
            let hello = wire::decode::<Hello>(hello).unwrap().1.unwrap();
            let card = Card { member: hello.to, ..hello.card };
            let welcome = Welcome::Agreed { version: CURRENT, card };
            frames.send(wire::encode(0, &welcome, CURRENT).unwrap()).await.unwrap();
            Self(frames)
        }

        /// The number of the next request.
        async fn request(&mut self) -> u64 {
            wire::decode::<PeerRequest>(self.0.next().await.unwrap().unwrap()).unwrap().0
        }

        async fn agree(&mut self, number: u64) {
            let answer = PeerResponse::Append(AppendEntriesResponse::Success);
            self.0.send(wire::encode(number, &answer, CURRENT).unwrap()).await.unwrap();
        }
    }

    fn link(folder: &std::path::Path, listener: &TcpListener) -> Link {
        let metrics = Metrics::new().unwrap();
        let snapshots = Folder::open(folder.to_path_buf()).unwrap();
        let state =
            StateMachine::open(snapshots, Memory::from(10), Arc::new(Nobody), metrics.clone()).unwrap();
        let (_, given_up) = watch::channel(0);
        let store = IdentityStore::open(&folder.join("state")).unwrap();
        let card = Card { cluster: 1, member: 1, incarnation: 1, folder: 1, run: 1, previous: 0 };
        let gate = Gate::open(card, BTreeMap::new(), state.clone(), store).unwrap();
        let peers = Peers::new(Arc::new(gate), Arc::new(Statistics::new(metrics)), state, given_up);
        let url = format!("http://{}", listener.local_addr().unwrap());
        peers.link(2, &Peer { name: String::new(), peer_urls: vec![url] }, Lane::Log)
    }

    /// With the first one unanswered, its answer would count for the second one as well: both end with the same entry.
    #[tokio::test]
    async fn an_append_goes_out_only_when_the_one_before_is_answered() {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let mut link = link(folder.path(), &listener);
        let last = Some(RaftLogId::new(CommittedLeader::new(1), 7));
        let request = || AppendEntriesRequest {
            vote: RaftVote::new_committed(1, 1),
            prev_log_id: last,
            entries: Vec::new(),
            leader_commit: last,
        };
        let taken = Arc::new(Mutex::new(0));
        let counted = taken.clone();
        let input = stream::iter([request(), request()]).inspect(move |_| *counted.lock().unwrap() += 1);
        let streaming = link.stream_append(input, RPCOption::new(Duration::from_secs(9)));
        let (answers, mut follower) = tokio::join!(streaming, Follower::accept(&listener));
        let mut answers = answers.unwrap();

        // Asked for as often as openraft may do it.
        assert!(answers.next().now_or_never().is_none());
        let first = tokio::select! {
            first = follower.request() => first,
            _ = answers.next() => panic!("there is no answer yet"),
        };
        for _ in 0..10 {
            assert!(answers.next().now_or_never().is_none());
            tokio::task::yield_now().await;
        }
        assert_eq!(*taken.lock().unwrap(), 1);

        follower.agree(first).await;
        answers.next().await.unwrap().unwrap().unwrap();
        let (second, second_answer) = tokio::join!(
            async {
                let second = follower.request().await;
                follower.agree(second).await;
                second
            },
            answers.next()
        );
        second_answer.unwrap().unwrap().unwrap();
        assert!(second > first);
        assert_eq!(*taken.lock().unwrap(), 2);
    }
}
