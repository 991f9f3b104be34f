//! A large body, rendered while it is sent: a piece is made when the socket has room for it, so that a slow reader keeps
//! one piece and a place. One that is slower than a least speed is closed, because what it reads stays in memory until
//! it has it.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::net::TcpStream;

use super::framing::Framing;
use crate::store::{LargeAnswer, Store};

/// The least speed of a reader of a large answer, in bytes a second, after [`PATIENCE`].
const LEAST_SPEED: u32 = 64 << 10;

/// How long a reader may take nothing, or be slower than [`LEAST_SPEED`], before that counts.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is always left of the patience with a reader that has just taken something: that may have been noticed late.
const LEAST_PATIENCE: Duration = Duration::from_millis(100);

/// Bytes that the system keeps for a socket before they can be sent (tcp(7), TCP_NOTSENT_LOWAT). What is under way on
/// the network does not count, so this does not limit the speed.
const UNSENT_BYTES: u32 = 128 << 10;

/// How long a reader may still take to be ready for more.
struct Pace {
    left: Duration,
}

impl Pace {
    fn new() -> Self {
        Self { left: PATIENCE }
    }

    /// The reader took some bytes.
    fn took(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let earned = Duration::from_secs(1) * bytes / LEAST_SPEED;
        self.left = (self.left + earned).min(PATIENCE);
    }

    /// The reader was waited for, and is ready.
    fn waited(&mut self, time: Duration) {
        self.left = self.left.saturating_sub(time).max(LEAST_PATIENCE);
    }
}

/// Sends the body that goes with a head that is sent already. Gives the connection back if it goes on.
pub async fn send(
    stream: TcpStream,
    peer: SocketAddr,
    mut answer: Box<LargeAnswer>,
    framing: Framing,
    store: Arc<Store>,
) -> Option<TcpStream> {
    keep_unsent(&stream, peer, UNSENT_BYTES);
    match write_body(&stream, &mut answer, framing).await {
        // The system's own setting.
        Ok(()) => keep_unsent(&stream, peer, 0),
        Err(error) => {
            give_up(&stream, peer, &answer, &store, &error);
            return None;
        }
    }
    framing.keep_alive.then_some(stream)
}

fn keep_unsent(stream: &TcpStream, peer: SocketAddr, bytes: u32) {
    if let Err(error) = SockRef::from(stream).set_tcp_notsent_lowat(bytes) {
        tracing::debug!(%peer, %error, "the system keeps as much as it likes for this connection");
    }
}

async fn write_body(stream: &TcpStream, answer: &mut LargeAnswer, framing: Framing) -> io::Result<()> {
    let mut pace = Pace::new();
    loop {
        wait(stream, &mut pace).await?;
        let Some(piece) = answer.next_piece() else { break };
        if !piece.is_empty() {
            let size = format!("{:x}\r\n", piece.len());
            match framing.chunked {
                true => {
                    write(stream, &mut [size.as_bytes(), &piece, b"\r\n"].map(IoSlice::new), &mut pace)
                        .await?
                }
                false => write(stream, &mut [IoSlice::new(&piece)], &mut pace).await?,
            }
        }
        drop(piece);
        // Other answers have their turn.
        tokio::task::yield_now().await;
    }
    if framing.chunked {
        write(stream, &mut [IoSlice::new(b"0\r\n\r\n")], &mut pace).await?;
    }
    Ok(())
}

/// Waits until the reader takes more. `TimedOut` when it is too slow.
async fn wait(stream: &TcpStream, pace: &mut Pace) -> io::Result<()> {
    let began = Instant::now();
    tokio::time::timeout(pace.left, stream.writable()).await??;
    pace.waited(began.elapsed());
    Ok(())
}

async fn write(stream: &TcpStream, mut parts: &mut [IoSlice<'_>], pace: &mut Pace) -> io::Result<()> {
    while !parts.is_empty() {
        match stream.try_write_vectored(parts) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                pace.took(written);
                IoSlice::advance_slices(&mut parts, written);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait(stream, pace).await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn give_up(stream: &TcpStream, peer: SocketAddr, answer: &LargeAnswer, store: &Store, error: &io::Error) {
    if error.kind() != io::ErrorKind::TimedOut {
        tracing::debug!(%peer, %error, "the client has gone before it had its answer");
        return;
    }
    store.metrics().http.slow_readers.inc();
    let key = format!("/{}", String::from_utf8_lossy(answer.key().as_bytes()).trim_start_matches('/'));
    let why = format!("its reader takes less than {} KiB/s", LEAST_SPEED >> 10);
    tracing::warn!(%peer, key, why, "large answer broken off");
    // Frees what the system still keeps for it, and tells it that this was not the end.
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%peer, %error, "the connection cannot be reset");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_reader_at_the_least_speed_may_go_on_and_a_slower_one_may_not() {
        let mut pace = Pace::new();
        for _ in 0..100 {
            pace.waited(SECOND);
            pace.took(LEAST_SPEED as usize);
        }
        assert_eq!(pace.left, PATIENCE);
        let mut waits = 0;
        while pace.left > 2 * SECOND {
            pace.waited(2 * SECOND);
            pace.took(LEAST_SPEED as usize);
            waits += 1;
        }
        assert_eq!(waits, 8);
    }

    #[test]
    fn fast_reading_earns_no_more_than_the_patience() {
        let mut pace = Pace::new();
        pace.took(100 << 20);
        assert_eq!(pace.left, PATIENCE);
        pace.waited(PATIENCE * 2);
        assert_eq!(pace.left, LEAST_PATIENCE, "it is ready, whenever that was noticed");
    }
}
