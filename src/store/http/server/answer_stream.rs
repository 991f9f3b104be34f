//! A large body, rendered while it is sent: a piece is made when the socket has room for it, so that a slow reader keeps
//! one piece and a place. One that is slower than a least speed is closed, because what it reads stays in memory until
//! it has it; and so is one whose answer keeps too much there.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::net::TcpStream;

use super::framing::Framing;
use crate::store::pace::{LEAST_SPEED, Pace};
use crate::store::{LargeAnswer, Store};

/// How long a reader may take nothing, or be slower than the least speed, before that counts.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is always left of the patience with a reader that has just taken something: that may have been noticed late.
const LEAST_PATIENCE: Duration = Duration::from_millis(100);

/// How often it is looked whether an answer keeps too much.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Bytes that the system keeps for a socket before they can be sent (tcp(7), TCP_NOTSENT_LOWAT). What is under way on
/// the network does not count, so this does not limit the speed.
const UNSENT_BYTES: u32 = 128 << 10;

/// Why a body was not sent to its end.
#[derive(Debug)]
enum Broken {
    /// The client has gone.
    Gone(io::Error),
    /// Its reader is slower than the least speed.
    Slow,
    /// It keeps too much in memory.
    Heavy,
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

/// A connection on which a body is not at its end. Dropped as it is, it is reset: that frees what the system still keeps
/// for it, and tells the client, which may know of no other end of a body than the connection's, that this was not it.
struct Unfinished(Option<TcpStream>);

impl Unfinished {
    /// The body has come to its end.
    fn finish(mut self) -> Option<TcpStream> {
        self.0.take()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(stream) = &self.0
            && let Err(error) = stream.set_zero_linger()
        {
            tracing::debug!(%error, "the connection of an answer that was broken off cannot be reset");
        }
    }
}

/// Sends the body that goes with a head that is sent already. Gives the connection back if it goes on.
pub async fn send(
    stream: TcpStream,
    peer: SocketAddr,
    answer: Box<LargeAnswer>,
    framing: Framing,
    store: Arc<Store>,
) -> Option<TcpStream> {
    let unfinished = Unfinished(Some(stream));
    let stream = unfinished.0.as_ref()?;
    keep_unsent(stream, peer, UNSENT_BYTES);
    let (pace, looked) = (Pace::new(PATIENCE), Instant::now());
    let mut sender = Sender { stream, answer, pace, looked, store: &store };
    if let Err(broken) = sender.send_body(framing).await {
        say(&broken, peer, &sender.answer, &store);
        return None;
    }
    // The system's own setting.
    keep_unsent(stream, peer, 0);
    unfinished.finish().filter(|_| framing.keep_alive)
}

fn keep_unsent(stream: &TcpStream, peer: SocketAddr, bytes: u32) {
    if let Err(error) = SockRef::from(stream).set_tcp_notsent_lowat(bytes) {
        tracing::debug!(%peer, %error, "the system keeps as much as it likes for this connection");
    }
}

struct Sender<'a> {
    stream: &'a TcpStream,
    answer: Box<LargeAnswer>,
    pace: Pace,
    /// When it was looked last what the answer keeps.
    looked: Instant,
    store: &'a Store,
}

impl Sender<'_> {
    async fn send_body(&mut self, framing: Framing) -> Result<(), Broken> {
        loop {
            self.wait().await?;
            let Some(piece) = self.answer.next_piece() else { break };
            if !piece.is_empty() {
                let size = format!("{:x}\r\n", piece.len());
                match framing.chunked {
                    true => {
                        self.write(&mut [size.as_bytes(), &piece, b"\r\n"].map(IoSlice::new)).await?;
                    }
                    false => self.write(&mut [IoSlice::new(&piece)]).await?,
                }
            }
            drop(piece);
            // Other answers have their turn.
            tokio::task::yield_now().await;
        }
        if framing.chunked {
            self.write(&mut [IoSlice::new(b"0\r\n\r\n")]).await?;
        }
        Ok(())
    }

    /// Waits until the reader takes more.
    async fn wait(&mut self) -> Result<(), Broken> {
        let began = Instant::now();
        let patience = self.pace.left().max(LEAST_PATIENCE);
        loop {
            if self.looked.elapsed() >= LOOK_EVERY {
                self.looked = Instant::now();
                if self.store.keeps_too_much(&self.answer) {
                    return Err(Broken::Heavy);
                }
            }
            let left = patience.saturating_sub(began.elapsed());
            match tokio::time::timeout(left.min(LOOK_EVERY), self.stream.writable()).await {
                Ok(ready) => {
                    ready?;
                    break;
                }
                Err(_) if left <= LOOK_EVERY => return Err(Broken::Slow),
                Err(_) => {}
            }
        }
        self.pace.waited(began.elapsed());
        Ok(())
    }

    async fn write(&mut self, mut parts: &mut [IoSlice<'_>]) -> Result<(), Broken> {
        while !parts.is_empty() {
            match self.stream.try_write_vectored(parts) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(written) => {
                    self.pace.took(written);
                    IoSlice::advance_slices(&mut parts, written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait().await?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Says why an answer was broken off.
fn say(broken: &Broken, peer: SocketAddr, answer: &LargeAnswer, store: &Store) {
    let why = match broken {
        Broken::Gone(error) => {
            tracing::debug!(%peer, %error, "the client has gone before it had its answer");
            return;
        }
        Broken::Slow => format!("its reader takes less than {} KiB/s", LEAST_SPEED >> 10),
        Broken::Heavy => "too much was overwritten since it began".into(),
    };
    store.metrics().http.slow_readers.inc();
    let key = format!("/{}", String::from_utf8_lossy(answer.key().as_bytes()).trim_start_matches('/'));
    tracing::warn!(%peer, key, why, "large answer broken off");
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    async fn pair() -> (TcpStream, std::net::TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener.accept().await.unwrap().0, client)
    }

    #[tokio::test]
    async fn an_answer_that_is_dropped_before_its_end_does_not_look_ended() {
        for finished in [false, true] {
            let (stream, mut client) = pair().await;
            stream.writable().await.unwrap();
            assert_eq!(stream.try_write(b"begun").unwrap(), 5);
            let mut piece = [0; 5];
            client.read_exact(&mut piece).unwrap();
            let unfinished = Unfinished(Some(stream));
            if finished {
                drop(unfinished.finish());
            } else {
                drop(unfinished);
            }
            let ended = client.read(&mut piece).map_err(|error| error.kind());
            let expected = if finished { Ok(0) } else { Err(io::ErrorKind::ConnectionReset) };
            assert_eq!(ended, expected);
        }
    }
}
