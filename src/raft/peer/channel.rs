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
use tokio::sync::{mpsc, oneshot};
use tokio_util::codec::{FramedRead, FramedWrite};
use tokio_util::task::AbortOnDropHandle;

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
#[derive(Clone, Debug)]
pub struct Channel(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    hello: Hello,
    versions: Versions,
    /// `host:port` of the member, tried in turn.
    addresses: Mutex<Vec<String>>,
    open: tokio::sync::Mutex<Option<Connection>>,
}

/// An open connection.
#[derive(Clone, Debug)]
pub struct Connection(Arc<Open>);

#[derive(Debug)]
struct Open {
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
    /// A way to the member that `hello` names, at any of `addresses`, in one of `versions`.
    pub fn new(hello: Hello, addresses: Vec<String>, versions: Versions) -> Self {
        let (addresses, open) = (Mutex::new(addresses), tokio::sync::Mutex::new(None));
        Self(Arc::new(Inner { hello, versions, addresses, open }))
    }

    /// New connections go to `addresses`.
    pub fn readdress(&self, addresses: Vec<String>) {
        *self.0.addresses.lock().expect("peer addresses lock poisoned") = addresses;
    }

    /// The open connection, made now if there is none.
    ///
    /// # Errors
    /// No address could be reached in time, or whoever is there refuses.
    pub async fn connection(&self) -> io::Result<Connection> {
        let mut open = self.0.open.lock().await;
        if let Some(connection) = open.as_ref().filter(|c| !c.is_closed()) {
            return Ok(connection.clone());
        }
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the member has no address");
        let addresses = self.0.addresses.lock().expect("peer addresses lock poisoned").clone();
        for address in &addresses {
            match tokio::time::timeout(CONNECT_TIMEOUT, connect(address, &self.0.hello, &self.0.versions))
                .await
            {
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

    /// Sends a request and waits for its answer for at most `limit`.
    ///
    /// # Errors
    /// No connection, it broke, or no answer in time.
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

async fn connect(address: &str, hello: &Hello, versions: &Versions) -> io::Result<Connection> {
    let stream = TcpStream::connect(address).await?;
    tune(&stream)?;
    let (read, mut write) = stream.into_split();
    write.write_all(PREFACE).await?;
    let mut sink = FramedWrite::new(write, wire::codec());
    let mut source = FramedRead::new(read, wire::greeting_codec());
    // Of no version yet: both sides must understand these two.
    sink.send(wire::encode(0, &hello.speaking(versions), LOWEST)?).await?;
    let welcome = source.next().await.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))?;
    let unreadable = |error| Refused { why: format!("its answer cannot be read: {error}"), needed: None };
    let welcome = wire::decode::<Welcome>(welcome)?.1.map_err(unreadable)?;
    let version = hello::accept(welcome, versions)?;
    source.decoder_mut().set_max_frame_length(wire::FRAME_LIMIT);

    let (frames, mut queue) = mpsc::unbounded_channel::<Bytes>();
    let waiting = Arc::new(Mutex::new(Waiting::default()));
    let told = waiting.clone();
    let writer = tokio::spawn(async move {
        while let Some(frame) = queue.recv().await {
            if sink.feed(frame).await.is_err() {
                break;
            }
            while let Ok(frame) = queue.try_recv() {
                if sink.feed(frame).await.is_err() {
                    break;
                }
            }
            if SinkExt::<Bytes>::flush(&mut sink).await.is_err() {
                break;
            }
        }
        close(&told);
    });
    let told = waiting.clone();
    let reader = tokio::spawn(async move {
        while let Some(Ok(frame)) = source.next().await {
            let Ok((number, response)) = wire::decode::<PeerResponse>(frame) else { break };
            let response = response
                .unwrap_or_else(|error| PeerResponse::Failed(format!("the answer cannot be read: {error}")));
            let waiter = told.lock().expect("open requests lock poisoned").requests.remove(&number);
            if let Some(waiter) = waiter {
                // The caller may have given up; then nobody needs the answer.
                let _ = waiter.send(response);
            }
        }
        close(&told);
    });
    let tasks = [AbortOnDropHandle::new(writer), AbortOnDropHandle::new(reader)];
    Ok(Connection(Arc::new(Open { frames, version, waiting, _tasks: tasks })))
}

/// Ends every wait: a dropped sender is an error on the waiting side.
fn close(waiting: &Mutex<Waiting>) {
    let mut waiting = waiting.lock().expect("open requests lock poisoned");
    waiting.closed = true;
    waiting.requests.clear();
}

impl Connection {
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
            drop(connection);
            answer.map_err(|_| io::Error::new(io::ErrorKind::ConnectionReset, "the connection broke"))
        };
        Ok((length, answer))
    }
}
