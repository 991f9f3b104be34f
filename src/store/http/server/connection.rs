//! One client connection. Requests and answers are hyper's business; a watch that waits is not, nor a large body: once the
//! head of the answer is sent, hyper and its buffers go, and what stays is the socket with a mailbox, or with a place in
//! what is to be sent. When that is over, the next request begins anew.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::future::poll_fn;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::service::{PageService, Parked, Progress};
use super::target::Targets;
use super::{answer_stream, watch_stream};
use crate::store::Room;
use crate::store::http::handed_over::Work;
use crate::store::http::router::Router;

/// Bytes that the head of a request may have: its first line and its headers.
const HEAD_BYTES: usize = 32 << 10;

/// An answer of up to so many bytes is copied into one piece, which costs less than to have the system gather it.
const SMALL_BYTES: usize = 2 << 10;

/// How long a client may take for the head of a request, from its first byte. A connection that says nothing may
/// stay.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take for what comes before a watch or a large answer: the head of that, and small answers to
/// earlier requests. What is handed over waits in memory meanwhile.
const PARKED_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves one client, which takes up a `_room`, until it leaves, breaks a limit, or `stop` comes and nothing is under way any more.
pub async fn converse(
    mut stream: TcpStream,
    peer: SocketAddr,
    _room: Room,
    pages: Arc<Router>,
    stop: CancellationToken,
) {
    let mut begun = Bytes::new();
    loop {
        if begun.is_empty() {
            // Hyper and its buffers come with the first byte.
            tokio::select! {
                () = stop.cancelled() => return,
                ready = stream.readable() => if ready.is_err() { return },
            }
        }
        // On the heap, so that a waiting watch does not keep the place for it.
        let Some((parked, rest)) = Box::pin(talk(&mut stream, begun, &pages, &stop)).await else {
            return;
        };
        let (store, Parked { work, framing }) = (pages.store(), parked);
        let done = match work {
            Work::Watch(subscription, pass) => {
                let watch = watch_stream::Watch { subscription, pass, framing };
                let writing = watch_stream::keep(stream, peer, watch, rest, store.clone(), stop.clone());
                AbortOnDropHandle::new(store.threads().watchers.spawn(writing)).await
            }
            Work::Answer(answer) => {
                let sending = answer_stream::send(stream, peer, answer, framing, store.clone());
                let sent = AbortOnDropHandle::new(store.threads().answers.spawn(sending)).await;
                sent.map(|kept| kept.map(|stream| (stream, rest.into())))
            }
        };
        match done {
            Ok(Some((kept, rest))) => (stream, begun) = (kept, rest),
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(%peer, %error, "answer ended");
                return;
            }
        }
    }
}

/// Answers requests until the connection ends, or until something is left to do that is not hyper's business: that, and
/// what the client has sent since.
async fn talk(
    stream: &mut TcpStream,
    begun: Bytes,
    pages: &Arc<Router>,
    stop: &CancellationToken,
) -> Option<(Parked, Vec<u8>)> {
    let progress = Arc::new(Progress::default());
    let wire = Wire::new(stream, begun, progress.clone());
    let service = PageService::new(pages.clone(), progress.clone());
    // Some clients of etcd look for the names as Go writes them.
    let mut connection = http1::Builder::new()
        .title_case_headers(true)
        // A client may say that it sends no more and still wait for its answer, as etcd lets it.
        .half_close(true)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(wire), service);
    let mut cancelled = pin!(stop.cancelled());
    let mut stopping = false;
    let (mut head, mut parked) = (Countdown::default(), Countdown::default());
    let ended = poll_fn(|cx| {
        if !stopping && cancelled.as_mut().poll(cx).is_ready() {
            stopping = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        if let Poll::Ready(result) = Pin::new(&mut connection).poll(cx) {
            return Poll::Ready(Some(result));
        }
        if progress.is_handed_over() {
            return Poll::Ready(None);
        }
        if head.poll(progress.head_is_open(), HEAD_TIMEOUT, cx).is_ready() {
            pages.store().metrics().http.head_timeouts.inc();
            tracing::debug!("a client took too long for the head of a request");
            return Poll::Ready(Some(Ok(())));
        }
        if parked.poll(progress.is_parked(), PARKED_TIMEOUT, cx).is_ready() {
            pages.store().metrics().http.slow_readers.inc();
            tracing::debug!("a client took too long for the head of an answer");
            return Poll::Ready(Some(Ok(())));
        }
        Poll::Pending
    })
    .await;
    match ended {
        Some(Ok(())) => None,
        Some(Err(error)) => {
            tracing::debug!(%error, "client connection ended");
            None
        }
        None => {
            // Copied, because even an empty piece of hyper's buffer would keep all of it.
            let parts = connection.into_parts();
            let wire = parts.io.into_inner();
            let rest = [&*parts.read_buf, &*wire.ready, &*wire.raw].concat();
            progress.take_parked().map(|parked| (parked, rest))
        }
    }
}

/// Ends when something has lasted too long.
#[derive(Default)]
struct Countdown(Option<Pin<Box<tokio::time::Sleep>>>);

impl Countdown {
    /// Ready when what `lasts` has done so for the whole `limit`.
    fn poll(&mut self, lasts: bool, limit: Duration, cx: &mut Context<'_>) -> Poll<()> {
        if !lasts {
            self.0 = None;
            return Poll::Pending;
        }
        self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit))).as_mut().poll(cx)
    }
}

/// The socket as hyper sees it: what has been read already comes first, targets are as hyper takes them, and what
/// happens is noted.
struct Wire<'a> {
    stream: &'a mut TcpStream,
    /// Read from the socket, and not looked at yet.
    raw: Bytes,
    /// To be handed on.
    ready: Bytes,
    targets: Targets,
    progress: Arc<Progress>,
}

impl<'a> Wire<'a> {
    /// The socket behind the bytes that have been read from it already.
    fn new(stream: &'a mut TcpStream, begun: Bytes, progress: Arc<Progress>) -> Self {
        Self { stream, raw: begun, ready: Bytes::new(), targets: Targets::default(), progress }
    }

    /// Looks at what was just read, which is the end of `into` from `start` on: leaves there what may be handed on, and
    /// keeps the rest.
    fn sift(&mut self, into: &mut ReadBuf<'_>, start: usize) {
        let progress = &self.progress;
        let bytes = &into.filled()[start..];
        let taken = self.targets.take(bytes, || progress.take_body_length());
        if taken.length < bytes.len() {
            self.raw = [&bytes[taken.length..], &*self.raw].concat().into();
        }
        match taken.changed {
            Some(changed) => {
                self.ready = changed.into();
                into.set_filled(start);
                put(&mut self.ready, into);
            }
            None => into.set_filled(start + taken.length),
        }
    }
}

/// Moves as much as there is room for.
fn put(bytes: &mut Bytes, into: &mut ReadBuf<'_>) {
    let length = bytes.len().min(into.remaining());
    into.put_slice(&bytes[..length]);
    bytes.advance(length);
}

impl AsyncRead for Wire<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let start = into.filled().len();
        let this = &mut *self;
        if this.ready.is_empty() {
            if this.raw.is_empty() {
                ready!(Pin::new(&mut *this.stream).poll_read(cx, into))?;
            } else {
                put(&mut this.raw, into);
            }
            if into.filled().len() > start {
                this.sift(into, start);
            }
        } else {
            put(&mut this.ready, into);
        }
        if into.filled().len() > start {
            this.progress.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = parts.iter().map(|part| part.len()).sum();
        let mut small = [0; SMALL_BYTES];
        let Some(gathered) = small.get_mut(..length) else {
            return Pin::new(&mut *self.stream).poll_write_vectored(cx, parts);
        };
        let mut rest = &mut gathered[..];
        for part in parts {
            let (place, behind) = rest.split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = behind;
        }
        Pin::new(&mut *self.stream).poll_write(cx, gathered)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Hyper calls this once nothing is left in its own buffer.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut *self.stream).poll_flush(cx))?;
        self.progress.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_countdown_runs_while_something_lasts_and_begins_anew_with_the_next() {
        let (mut countdown, limit) = (Countdown::default(), Duration::from_millis(20));
        poll_fn(|cx| {
            assert!(countdown.poll(false, Duration::ZERO, cx).is_pending());
            assert!(countdown.poll(true, Duration::from_secs(3600), cx).is_pending());
            // It is over, and the next has its own limit.
            assert!(countdown.poll(false, limit, cx).is_pending());
            assert!(countdown.poll(true, limit, cx).is_pending());
            Poll::Ready(())
        })
        .await;
        poll_fn(|cx| countdown.poll(true, limit, cx)).await;
    }
}
