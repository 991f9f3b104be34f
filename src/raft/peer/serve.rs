//! The peer port: takes what other members ask for and hands it to openraft.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{SinkExt, StreamExt};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::{FramedRead, FramedWrite};
use tokio_util::sync::CancellationToken;

use super::channel::tune;
use super::hello::{self, Hello, PREFACE, Refused, Welcome};
use super::wire;
use super::wire::{PeerRequest, PeerResponse};
use crate::format::{LOWEST, Version};
use crate::raft::node::Node;
use crate::raft::state::machine::SnapshotFile;
use crate::raft::state::snapshot;
use crate::raft::types::{RaftVote, TypeConfig};
use openraft::alias::SnapshotOf;
use openraft::raft::AppendEntriesResponse;

/// How long a new connection may take to say who it is.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// Requests of one connection that are worked on at a time.
const OPEN_REQUESTS: usize = 128;

/// Serves `listener` until `stop`.
pub async fn serve(node: Arc<Node>, listener: TcpListener, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                let (node, stop) = (node.clone(), stop.clone());
                tokio::spawn(async move {
                    let talk = stop.run_until_cancelled(converse(node, stream));
                    if let Some(Err(error)) = talk.await {
                        tracing::debug!(%from, %error, "peer connection ended");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a peer connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Reads the first line, which must be that of a peer.
async fn greet(stream: &mut TcpStream) -> io::Result<()> {
    tune(stream)?;
    let greeting = async {
        let mut preface = [0; PREFACE.len()];
        stream.read_exact(&mut preface).await?;
        hello::check_preface(&preface).inspect_err(|error| {
            if preface.starts_with(b"MUSTER-PEER/") {
                tracing::warn!(%error, "peer refused");
            }
        })
    };
    tokio::time::timeout(HELLO_TIMEOUT, greeting).await?
}

async fn converse(node: Arc<Node>, mut stream: TcpStream) -> io::Result<()> {
    greet(&mut stream).await?;
    let (read, write) = stream.into_split();
    let mut source = FramedRead::new(read, wire::codec());
    let mut sink = FramedWrite::new(write, wire::codec());
    let hello = tokio::time::timeout(HELLO_TIMEOUT, source.next()).await?;
    let Some(hello) = hello else { return Ok(()) };
    let hello = wire::decode::<Hello>(hello?)?.1.map_err(io::Error::other)?;
    let (welcome, version) = welcome(&node, &hello);
    sink.send(wire::encode(0, &welcome, LOWEST)?).await?;
    let version = version?;
    let encode = |number: u64, response: &PeerResponse| wire::encode(number, response, version);

    let mut transfers = Transfers { node: node.clone(), open: HashMap::new() };
    // New futures are polled in the order in which they are pushed, and openraft takes a request at the first poll:
    // that keeps appends in order while many are open.
    let mut open = FuturesUnordered::new();
    loop {
        tokio::select! {
            frame = source.next(), if open.len() < OPEN_REQUESTS => {
                let Some(frame) = frame else { return Ok(()) };
                let frame = frame?;
                let bytes = frame.len();
                let (number, request) = wire::decode::<PeerRequest>(frame)?;
                let request = match request {
                    Ok(request) => request,
                    Err(error) => {
                        tracing::debug!(from = format!("{:x}", hello.from), %error, "unknown request");
                        sink.send(encode(number, &wire::not_understood(&error))?).await?;
                        continue;
                    }
                };
                if let Some(refusal) = refuse(&node, &hello, &request) {
                    sink.send(encode(number, &refusal)?).await?;
                    continue;
                }
                if matches!(request, PeerRequest::Append { .. }) {
                    node.statistics().received(bytes);
                }
                match request {
                    PeerRequest::Chunk { id, offset, data } => {
                        let response = match transfers.chunk(id, offset, &data).await {
                            Ok(()) => PeerResponse::Chunk,
                            Err(error) => PeerResponse::Failed(error.to_string()),
                        };
                        sink.send(encode(number, &response)?).await?;
                    }
                    PeerRequest::Install { id, vote, length } => {
                        let response = match transfers.finish(id, length).await {
                            Ok(file) => install(&node, vote, file).await,
                            Err(error) => PeerResponse::Failed(error.to_string()),
                        };
                        sink.send(encode(number, &response)?).await?;
                    }
                    request => {
                        let node = node.clone();
                        open.push(async move { (number, answer(&node, request).await) });
                    }
                }
            }
            Some((number, response)) = open.next() => {
                sink.feed(encode(number, &response)?).await?;
                while let Some(Some((number, response))) = futures_util::FutureExt::now_or_never(open.next()) {
                    sink.feed(encode(number, &response)?).await?;
                }
                SinkExt::<Bytes>::flush(&mut sink).await?;
            }
        }
    }
}

/// The answer to a hello, and the version to speak in.
fn welcome(node: &Node, hello: &Hello) -> (Welcome, Result<Version, Refused>) {
    match node.admit(hello) {
        Ok(version) => (Welcome::Agreed { version }, Ok(version)),
        Err(refused) => {
            let Refused { why, needed } = refused.clone();
            tracing::warn!(from = format!("{:x}", hello.from), why, "peer refused");
            (Welcome::Refused { why, needed }, Err(refused))
        }
    }
}

/// The answer to those that have no business here: strangers may only introduce themselves, and those that were removed
/// are told so.
fn refuse(node: &Node, hello: &Hello, request: &PeerRequest) -> Option<PeerResponse> {
    if hello.is_of_stranger() {
        let allowed = matches!(request, PeerRequest::Introduce { .. });
        return (!allowed).then(|| PeerResponse::Failed("introduce yourself first".into()));
    }
    node.has_dropped(hello.from).then_some(PeerResponse::Removed)
}

async fn answer(node: &Node, request: PeerRequest) -> PeerResponse {
    let failed = |error: &dyn std::fmt::Display| PeerResponse::Failed(error.to_string());
    match request {
        PeerRequest::Append { clock, entries } => {
            let term = entries.vote.leader_id.term;
            let answer = node.raft().append_entries(entries).await;
            if matches!(&answer, Ok(answer) if answer.is_success()) {
                node.statistics().heard();
            }
            if answer.as_ref().is_ok_and(tells_the_time) {
                node.state().follow(term, clock);
            }
            answer.map_or_else(|e| failed(&e), PeerResponse::Append)
        }
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
        PeerRequest::Belong => PeerResponse::Belongs,
        PeerRequest::Progress => node.tell_progress(),
        PeerRequest::MoveLeader { to } => node.move_leader_here(to).await,
        PeerRequest::Chunk { .. } | PeerRequest::Install { .. } => {
            failed(&"snapshots have a connection of their own")
        }
    }
}

/// Whether an AppendEntries that was answered so came from the leader to follow. Its clock counts even when its entries
/// do not fit yet: this node may have led, counted on while it was cut off, and get a snapshot next.
fn tells_the_time(answer: &AppendEntriesResponse<TypeConfig>) -> bool {
    !matches!(answer, AppendEntriesResponse::HigherVote(_))
}

async fn install(node: &Node, vote: RaftVote, file: PathBuf) -> PeerResponse {
    let response = install_from(node, vote, file.clone()).await;
    // It has another name now, unless it is damaged, was not needed any more or came from a deposed leader.
    if let Err(error) = tokio::fs::remove_file(&file).await
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, file = %file.display(), "cannot remove a snapshot that is not needed");
    }
    response
}

async fn install_from(node: &Node, vote: RaftVote, file: PathBuf) -> PeerResponse {
    // Openraft stops a node whose snapshot cannot be installed; what another member's disk has damaged is no reason.
    let received = file.clone();
    let checked = tokio::task::spawn_blocking(move || snapshot::check(&received)).await;
    let meta = match checked.map_err(io::Error::other).and_then(|checked| checked) {
        Ok(meta) => crate::raft::state::machine::to_openraft(&meta),
        Err(error) => {
            tracing::warn!(%error, "a snapshot from the leader is not installed");
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

/// Snapshots that are being received on one connection.
struct Transfers {
    node: Arc<Node>,
    open: HashMap<u64, (PathBuf, File, u64)>,
}

impl Transfers {
    async fn chunk(&mut self, id: u64, offset: u64, data: &[u8]) -> io::Result<()> {
        if offset == 0 {
            let path = self.node.state().folder().incoming(crate::raft::unique()?);
            let file = File::create(&path).await?;
            self.open.insert(id, (path, file, 0));
        }
        let (_, file, length) = self.open.get_mut(&id).ok_or_else(|| io::Error::other("unknown transfer"))?;
        if offset != *length {
            return Err(io::Error::other("a piece of the snapshot is missing"));
        }
        file.seek(io::SeekFrom::Start(offset)).await?;
        file.write_all(data).await?;
        *length += data.len() as u64;
        Ok(())
    }

    /// The complete and durable file.
    async fn finish(&mut self, id: u64, length: u64) -> io::Result<PathBuf> {
        let (path, file, have) = self.open.remove(&id).ok_or_else(|| io::Error::other("unknown transfer"))?;
        if have != length {
            return Err(io::Error::other("the snapshot is not complete"));
        }
        file.sync_all().await?;
        Ok(path)
    }
}

impl Drop for Transfers {
    fn drop(&mut self) {
        for (path, _, _) in self.open.values() {
            // What stays is removed at the next start.
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_whose_entries_do_not_fit_yet_tells_the_time_and_a_deposed_one_does_not() {
        assert!(tells_the_time(&AppendEntriesResponse::Success));
        assert!(tells_the_time(&AppendEntriesResponse::Conflict));
        assert!(!tells_the_time(&AppendEntriesResponse::HigherVote(RaftVote::new(2, 1))));
    }
}
