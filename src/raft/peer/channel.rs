//! One connection to another member: made when first needed, made anew when it broke, many requests open at a time.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::{mpsc, oneshot};
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};
use tokio_util::task::AbortOnDropHandle;

use super::card::{Card, Dismissal, Refusal};
use super::gate::Gate;
use super::hello;
use super::hello::{Hello, PREFACE, Refused, Welcome};
use super::wire;
use super::wire::{PeerRequest, PeerResponse};
use crate::format::{LOWEST, Version};
use crate::raft::versions::Versions;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long sent data may stay unacknowledged by the other machine's TCP (tcp(7), TCP_USER_TIMEOUT).
const UNACKNOWLEDGED_LIMIT: Duration = Duration::from_secs(3);

/// After so long a silence the system asks whether the other machine is still there, and how often it asks. When it does
/// not answer for [`UNACKNOWLEDGED_LIMIT`], the connection ends.
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(1);

/// A way to one member. Clones share the connection.
#[derive(Clone)]
pub struct Channel(Arc<Inner>);

struct Inner {
    hello: Hello,
    /// Whom this member has to do with; a stranger has none.
    gate: Option<Arc<Gate>>,
    versions: Versions,
    /// `host:port` of the member, tried in turn.
    addresses: Mutex<Vec<String>>,
    open: tokio::sync::Mutex<Option<Connection>>,
}

/// An open connection.
#[derive(Clone)]
pub struct Connection(Arc<Open>);

struct Open {
    /// Hears of refusals; a stranger has none.
    gate: Option<Arc<Gate>>,
    frames: mpsc::UnboundedSender<Bytes>,
    /// What both sides have agreed on.
    version: Version,
    waiting: Arc<Mutex<Waiting>>,
    _tasks: [AbortOnDropHandle<()>; 2],
}

/// Requests without an answer yet.
#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    closed: bool,
    requests: HashMap<u64, oneshot::Sender<PeerResponse>>,
}

impl Channel {
    /// A way to the member `to`, at any of `addresses`, in one of `versions`, if `gate` has to do with who answers there.
    pub fn new(to: u64, gate: Arc<Gate>, addresses: Vec<String>, versions: Versions) -> Self {
        let hello = Hello::new(gate.card().clone(), to);
        let (addresses, open) = (Mutex::new(addresses), tokio::sync::Mutex::new(None));
        Self(Arc::new(Inner { hello, gate: Some(gate), versions, addresses, open }))
    }

    /// A way for somebody who says `hello` and has to do with whoever answers.
    #[cfg(test)]
    pub fn saying(hello: Hello, addresses: Vec<String>, versions: Versions) -> Self {
        let (addresses, open) = (Mutex::new(addresses), tokio::sync::Mutex::new(None));
        Self(Arc::new(Inner { hello, gate: None, versions, addresses, open }))
    }

    /// New connections go to `addresses`.
    pub fn readdress(&self, addresses: Vec<String>) {
        *self.0.addresses.lock().expect("peer addresses lock poisoned") = addresses;
    }

    /// The open connection, made now if there is none.
    ///
    /// # Errors
    /// No address could be reached in time, or one of the two ends refuses the other ([`dismissed`]).
    pub async fn connection(&self) -> io::Result<Connection> {
        if self.0.gate.as_ref().is_some_and(|gate| gate.has_lost(self.0.hello.to)) {
            let what = format!("member {:x} is not spoken to: {}", self.0.hello.to, Refusal::LostEntries);
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
        }
        let mut open = self.0.open.lock().await;
        if let Some(connection) = open.as_ref().filter(|c| !c.is_closed()) {
            return Ok(connection.clone());
        }
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the member has no address");
        let addresses = self.0.addresses.lock().expect("peer addresses lock poisoned").clone();
        for address in &addresses {
            match tokio::time::timeout(CONNECT_TIMEOUT, self.connect(address)).await {
                Ok(Ok(connection)) => {
                    *open = Some(connection.clone());
                    return Ok(connection);
                }
                Ok(Err(error)) => last = io::Error::new(error.kind(), format!("{address}: {error}")),
                Err(_) => {
                    last =
                        io::Error::new(io::ErrorKind::TimedOut, format!("{address}: no connection in time"))
                }
            }
        }
        Err(last)
    }

    async fn connect(&self, address: &str) -> io::Result<Connection> {
        let Inner { hello, gate, versions, .. } = &*self.0;
        let stream = TcpStream::connect(address).await?;
        let (connection, card) = Connection::open(stream, hello, versions, gate.clone()).await?;
        let Some(gate) = gate else { return Ok(connection) };
        let judged = if card.member == hello.to {
            gate.admit(&card).await
        } else {
            Err(Refusal::OtherMember(hello.to))
        };
        if let Err(refusal) = judged {
            gate.say(hello.to, refusal, "this member has nothing to do with another one");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, refusal));
        }
        gate.was_taken(card.member);
        Ok(connection)
    }

    /// Sends a request and waits for its answer for at most `limit`.
    ///
    /// # Errors
    /// No connection, it broke, no answer in time, or a refusal ([`dismissed`]).
    pub async fn call(&self, request: &PeerRequest, limit: Duration) -> io::Result<PeerResponse> {
        let work = async { self.connection().await?.send(request)?.1.await };
        match tokio::time::timeout(limit, work).await {
            Ok(result) => result,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")),
        }
    }
}

/// Sends small messages at once, and gives a connection up whose data nobody acknowledges: after a partition, TCP
/// alone would wait for its own next try, which may be far away. An idle one whose other end is gone ends as well.
pub fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    let limit = u32::try_from(UNACKNOWLEDGED_LIMIT.as_millis()).unwrap_or(u32::MAX);
    setsockopt(stream, sockopt::TcpUserTimeout, &limit)?;
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &seconds(KEEP_ALIVE_IDLE))?;
    setsockopt(stream, sockopt::TcpKeepInterval, &seconds(KEEP_ALIVE_INTERVAL))?;
    Ok(())
}

/// The refusal that an error stands for, if it is one.
pub fn dismissed(error: &io::Error) -> Option<Dismissal> {
    error.get_ref()?.downcast_ref::<Dismissal>().copied()
}

/// Takes note of a refusal, and gives it as an error. That another member answers says something of the place that was
/// called, and nothing of who called.
fn note(gate: Option<&Arc<Gate>>, dismissal: Dismissal) -> io::Error {
    match (gate, dismissal.refusal) {
        (Some(gate), refusal @ Refusal::OtherMember(_)) => {
            gate.say(dismissal.by, refusal, "another member answers where one is looked for");
        }
        (Some(gate), _) => gate.was_told(dismissal),
        (None, _) => {}
    }
    io::Error::new(io::ErrorKind::PermissionDenied, dismissal)
}

/// Passes an answer on, unless it is a refusal, which is noted.
fn heed(gate: Option<&Arc<Gate>>, response: PeerResponse) -> io::Result<PeerResponse> {
    match response {
        PeerResponse::Dismissed(dismissal) => Err(note(gate, dismissal)),
        response => Ok(response),
    }
}

async fn write(
    mut queue: mpsc::UnboundedReceiver<Bytes>,
    mut sink: FramedWrite<OwnedWriteHalf, LengthDelimitedCodec>,
) {
    while let Some(frame) = queue.recv().await {
        if sink.feed(frame).await.is_err() {
            return;
        }
        while let Ok(frame) = queue.try_recv() {
            if sink.feed(frame).await.is_err() {
                return;
            }
        }
        if SinkExt::<Bytes>::flush(&mut sink).await.is_err() {
            return;
        }
    }
}

/// Ends every wait: a dropped sender is an error on the waiting side.
fn close(waiting: &Mutex<Waiting>) {
    let mut waiting = waiting.lock().expect("open requests lock poisoned");
    waiting.closed = true;
    waiting.requests.clear();
}

impl Connection {
    /// Says `hello` on a new connection, and waits until the other has said who it is and both agree on a version.
    ///
    /// # Errors
    /// The connection breaks, or the other refuses.
    pub async fn open(
        stream: TcpStream,
        hello: &Hello,
        versions: &Versions,
        gate: Option<Arc<Gate>>,
    ) -> io::Result<(Self, Card)> {
        tune(&stream)?;
        let (read, mut write_half) = stream.into_split();
        write_half.write_all(PREFACE).await?;
        let mut sink = FramedWrite::new(write_half, wire::codec());
        let mut source = FramedRead::new(read, wire::greeting_codec());
        // Of no version yet: both sides must understand these two.
        sink.send(wire::encode(0, &hello.speaking(versions), LOWEST)?).await?;
        let welcome = source.next().await.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))?;
        let unreadable = |error| Refused { why: format!("its answer cannot be read: {error}"), needed: None };
        let welcome = wire::decode::<Welcome>(welcome)?.1.map_err(unreadable)?;
        let card = match &welcome {
            Welcome::Agreed { card, .. } => card.clone(),
            Welcome::Refused { .. } => Card::default(),
            Welcome::Unwelcome(dismissal) => return Err(note(gate.as_ref(), *dismissal)),
        };
        let version = hello::accept(welcome, versions)?;
        source.decoder_mut().set_max_frame_length(wire::FRAME_LIMIT);

        let (frames, queue) = mpsc::unbounded_channel::<Bytes>();
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let told = waiting.clone();
        let writer = tokio::spawn(async move {
            write(queue, sink).await;
            close(&told);
        });
        let told = waiting.clone();
        let reader = tokio::spawn(async move {
            while let Some(Ok(frame)) = source.next().await {
                let Ok((number, response)) = wire::decode::<PeerResponse>(frame) else { break };
                let response = response.unwrap_or_else(|error| {
                    PeerResponse::Failed(format!("the answer cannot be read: {error}"))
                });
                let waiter = told.lock().expect("open requests lock poisoned").requests.remove(&number);
                if let Some(waiter) = waiter {
                    // The caller may have given up; then nobody needs the answer.
                    let _ = waiter.send(response);
                }
            }
            close(&told);
        });
        let tasks = [AbortOnDropHandle::new(writer), AbortOnDropHandle::new(reader)];
        Ok((Self(Arc::new(Open { gate, frames, version, waiting, _tasks: tasks })), card))
    }

    fn is_closed(&self) -> bool {
        self.0.waiting.lock().expect("open requests lock poisoned").closed
    }

    /// Queues a request at once, so that calls keep their order, and gives its length in bytes and a future of the
    /// answer.
    ///
    /// # Errors
    /// The request cannot be encoded or the connection is closed.
    pub fn send(
        &self,
        request: &PeerRequest,
    ) -> io::Result<(usize, impl Future<Output = io::Result<PeerResponse>> + Send + use<>)> {
        let (tell, told) = oneshot::channel();
        let number = {
            let mut waiting = self.0.waiting.lock().expect("open requests lock poisoned");
            if waiting.closed {
                return Err(io::Error::new(io::ErrorKind::NotConnected, "the connection is closed"));
            }
            waiting.next += 1;
            let number = waiting.next;
            waiting.requests.insert(number, tell);
            number
        };
        let queued = wire::encode(number, request, self.0.version).and_then(|frame| {
            let length = frame.len();
            self.0
                .frames
                .send(frame)
                .map(|()| length)
                .map_err(|_| io::Error::new(io::ErrorKind::NotConnected, "the connection is closed"))
        });
        let length = match queued {
            Ok(length) => length,
            Err(error) => {
                self.0.waiting.lock().expect("open requests lock poisoned").requests.remove(&number);
                return Err(error);
            }
        };
        // The handle keeps the connection's tasks alive until the answer is there.
        let connection = self.clone();
        let answer = async move {
            let answer = told.await;
            let answer =
                answer.map_err(|_| io::Error::new(io::ErrorKind::ConnectionReset, "the connection broke"))?;
            heed(connection.0.gate.as_ref(), answer)
        };
        Ok((length, answer))
    }
}
