//! The store's HTTP API: etcd's v2, over hyper and warp.

mod answer;
mod body;
mod go;
mod guard;
mod handed_over;
mod head;
mod metrics;
mod pages;
mod router;
mod routes;
mod server;

use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use metrics::HttpMetrics;
pub use pages::info::{ETCD_CAPABILITIES, ETCD_SERVER as ETCD_VERSION};

use super::Store;
use super::limits::{Place, Room};
use crate::repeats::Repeats;
use router::Router;
use server::connection::converse;

/// What every page works with.
struct Api {
    store: Arc<Store>,
    /// Ends what would otherwise last long: copies of everything.
    stop: CancellationToken,
}

/// How long data may stay unacknowledged by a client's machine, or not be taken by the client (tcp(7),
/// TCP_USER_TIMEOUT).
const UNACKNOWLEDGED_LIMIT: Duration = Duration::from_secs(30);

/// After so long a silence the system asks whether the client's machine is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// The answer on a connection too many.
const REFUSAL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: 71\r\n\
Connection: close\r\n\r\n{\"message\":\"too many client connections to this node: try another one\"}";

/// How long saying so may take.
const REFUSAL_LIMIT: Duration = Duration::from_secs(2);

/// How long a client that was told is given to send the rest of its request, and to close.
const REFUSAL_SILENCE: Duration = Duration::from_millis(500);

/// Why no connections can be accepted, by the system's number; said once a minute.
static UNACCEPTED: Repeats<Option<i32>> = Repeats::new();

/// Serves `listener` until `stop`; connections are tracked in `connections`, and finish the request at hand.
pub async fn serve(
    store: Arc<Store>,
    listener: TcpListener,
    stop: CancellationToken,
    connections: TaskTracker,
) {
    let pages = Arc::new(Router::new(store.clone(), stop.clone()));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Err(error) = tune(&stream) {
                    tracing::debug!(%error, "client connection lost early");
                    continue;
                }
                // Whoever comes next waits meanwhile where it need not be closed: in the system's queue.
                match stop.run_until_cancelled(store.limits().place()).await {
                    Some(Place::Client(room)) => {
                        connections.spawn(converse(stream, peer, room, pages.clone(), stop.clone()));
                    }
                    Some(Place::Refusal(room)) => {
                        store.metrics().http.refused.inc();
                        connections.spawn(refuse(stream, room));
                    }
                    None => return,
                }
            }
            Err(error) => {
                // Out of file descriptors, most likely: existing connections go on, new ones wait a little.
                if let Some(before) = UNACCEPTED.say(&error.raw_os_error()) {
                    tracing::warn!(%error, before, "cannot accept a client connection");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Settles how the system treats a client's connection: small answers go at once, one whose other end is gone is
/// noticed, and one that takes nothing of an answer is ended.
fn tune(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    let millis = u32::try_from(UNACKNOWLEDGED_LIMIT.as_millis()).unwrap_or(u32::MAX);
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &seconds(KEEP_ALIVE))?;
    setsockopt(stream, sockopt::TcpKeepInterval, &seconds(KEEP_ALIVE))?;
    setsockopt(stream, sockopt::TcpUserTimeout, &millis)?;
    Ok(())
}

/// Says that there are too many connections, and sees to it that the client can read it.
async fn refuse(mut stream: TcpStream, _room: Room) {
    let farewell = async {
        stream.write_all(REFUSAL).await?;
        stream.shutdown().await?;
        // Closing with its request unread would reset the connection and take the answer with it.
        let mut unread = [0; 4 << 10];
        while let Ok(read) = tokio::time::timeout(REFUSAL_SILENCE, stream.read(&mut unread)).await {
            if read? == 0 {
                break;
            }
        }
        std::io::Result::Ok(())
    };
    // Whoever does not read it in time goes without.
    let _ = tokio::time::timeout(REFUSAL_LIMIT, farewell).await;
}
