//! A watch whose headers have been sent: events are written to the socket as they come, without a buffer of its own
//! while it is idle. A client that goes is noticed, and one that does not read is closed.

use std::io::{self, IoSlice, Write};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::framing::Framing;
use crate::keyspace::Event;
use crate::store::http::guard::Pass;
use crate::store::limits::PIECE_BYTES;
use crate::store::{End, Line, Store, Subscription, Told};

/// A reader whose socket takes nothing for this long is closed.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of further requests that are taken in before the watch is over.
const AHEAD_BYTES: usize = 4 << 10;

/// An accepted watch.
pub struct Watch {
    /// Where the events come from.
    pub subscription: Subscription,
    /// It goes on as long as this is valid.
    pub pass: Pass,
    /// How they are written.
    pub framing: Framing,
}

/// Writes events until the watch is over, and then waits for the next request. Gives the connection and what the client
/// has sent of that, or `None` when it is to be closed.
pub async fn keep(
    stream: TcpStream,
    peer: SocketAddr,
    watch: Watch,
    mut rest: Vec<u8>,
    store: Arc<Store>,
    stop: CancellationToken,
) -> Option<(TcpStream, Bytes)> {
    let Watch { mut subscription, mut pass, framing } = watch;
    let mut cancelled = pin!(stop.cancelled());
    let ended = loop {
        if subscription.is_behind() && store.advance(&mut subscription).is_err() {
            // Without an end of the body, so that the client notices.
            report(&store, peer, &subscription);
            return None;
        }
        tokio::select! {
            biased;
            // First, because changes of users and roles are told before later events.
            () = pass.shaken() => {
                // On the heap, because this is rare.
                if Box::pin(pass.renew()).await.is_err() {
                    break false;
                }
            }
            () = &mut cancelled => {
                // The client may have gone, and the node goes as well.
                let _ = finish(&stream, framing).await;
                return None;
            }
            told = subscription.next() => match told {
                Ok(told) => {
                    let last = !subscription.is_stream();
                    if let Err(error) = send(&stream, framing, &told, last).await {
                        give_up(&stream, &store, peer, &subscription, &error);
                        return None;
                    }
                    if last {
                        break true;
                    }
                }
                Err(End::Done | End::Closed) => break false,
                // Too much waits for it, or the node has a new state: it goes on from the history.
                Err(End::Moved(_)) => {}
            },
            here = listen(&stream, &mut rest), if rest.len() < AHEAD_BYTES => if !here { return None },
        }
    };
    drop((subscription, pass));
    if !ended {
        finish(&stream, framing).await.ok()?;
    }
    if !framing.keep_alive {
        return None;
    }
    // The next request is waited for here: to hand thousands of connections back at once would hold up the last of
    // those that have yet to be told.
    if rest.is_empty() {
        tokio::select! {
            () = cancelled => return None,
            here = listen(&stream, &mut rest) => if !here { return None },
        }
    }
    Some((stream, rest.into()))
}

/// Ends the body without an event.
async fn finish(stream: &TcpStream, framing: Framing) -> io::Result<()> {
    if framing.chunked {
        write(stream, &mut [IoSlice::new(b"0\r\n\r\n")]).await?;
    }
    Ok(())
}

/// One event, and the end of the body when it is the `last`.
async fn send(stream: &TcpStream, framing: Framing, told: &Told, last: bool) -> io::Result<()> {
    let end: &[u8] = if last { b"\r\n0\r\n\r\n" } else { b"\r\n" };
    match &told.line {
        Line::Unwritten(event) => send_large(stream, framing, event, end).await,
        Line::Written(text) if framing.chunked => {
            let mut size = [0; 20];
            let left = {
                let mut room = &mut size[..];
                write!(room, "{:x}\r\n", text.len())?;
                room.len()
            };
            let size = &size[..20 - left];
            write(stream, &mut [IoSlice::new(size), IoSlice::new(text), IoSlice::new(end)]).await
        }
        Line::Written(text) => write(stream, &mut [IoSlice::new(text)]).await,
    }
}

/// One event that is in memory as it is only. It is one chunk like any other, so its length is found first, by writing it
/// to nobody.
async fn send_large(stream: &TcpStream, framing: Framing, event: &Event, end: &[u8]) -> io::Result<()> {
    if framing.chunked {
        let (mut trial, mut length) = (event.outline(), 0);
        while !trial.is_empty() {
            length += trial.next_piece(PIECE_BYTES).len();
            tokio::task::yield_now().await;
        }
        write(stream, &mut [IoSlice::new(format!("{length:x}\r\n").as_bytes())]).await?;
    }
    let mut outline = event.outline();
    while !outline.is_empty() {
        write(stream, &mut [IoSlice::new(&outline.next_piece(PIECE_BYTES))]).await?;
    }
    if framing.chunked {
        write(stream, &mut [IoSlice::new(end)]).await?;
    }
    Ok(())
}

/// Writes everything. `TimedOut` when the socket takes nothing for too long.
async fn write(stream: &TcpStream, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !parts.is_empty() {
        match stream.try_write_vectored(parts) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut parts, written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::timeout(STALL_TIMEOUT, stream.writable()).await??;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Waits for the client to say something. `false` when it has gone.
async fn listen(stream: &TcpStream, rest: &mut Vec<u8>) -> bool {
    loop {
        if stream.readable().await.is_err() {
            return false;
        }
        let mut bytes = [0; 512];
        match stream.try_read(&mut bytes) {
            Ok(0) => return false,
            Ok(count) => {
                rest.extend_from_slice(&bytes[..count]);
                return true;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
    }
}

/// Says why a watch is closed that its client would have gone on with.
fn report(store: &Store, peer: SocketAddr, subscription: &Subscription) {
    let why = match subscription.missed_while_away() {
        true => "this node was away, and what happened meanwhile is forgotten",
        false => "its reader is so slow that what it has not heard is forgotten",
    };
    store.metrics().cleared.inc();
    tracing::warn!(%peer, key = %key(subscription), why, "watch closed");
}

fn give_up(
    stream: &TcpStream,
    store: &Store,
    peer: SocketAddr,
    subscription: &Subscription,
    error: &io::Error,
) {
    if error.kind() != io::ErrorKind::TimedOut {
        tracing::debug!(%peer, %error, "the client of a watch has gone");
        return;
    }
    store.metrics().stalled.inc();
    tracing::warn!(%peer, key = %key(subscription), why = "its reader takes no bytes", "watch closed");
    // Frees what the system still keeps for a reader that does not read.
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%peer, %error, "the connection cannot be reset");
    }
}

fn key(subscription: &Subscription) -> String {
    format!("/{}", String::from_utf8_lossy(subscription.path()).trim_start_matches('/'))
}
