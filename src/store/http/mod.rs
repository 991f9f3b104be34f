//! The store's HTTP API: etcd's v2, over warp.

mod admin;
mod answer;
mod auth;
mod backup;
mod body;
mod conversation;
mod discovery;
mod exchange;
mod figures;
mod form;
mod go;
mod guard;
mod info;
mod json;
mod keys;
mod machines;
mod media;
mod members;
mod params;
mod path;
mod statistics;
mod vigil;
mod watch;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use futures_util::Stream;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;
use warp::http::{HeaderMap, Method, Uri};
use warp::path::FullPath;
use warp::reply::Response;
use warp::{Filter, Reply};

pub use figures::Figures;
pub use info::ETCD_SERVER as ETCD_VERSION;

use super::Store;
use super::limits::Room;
use conversation::converse;
use exchange::Routes;

use answer::{method_not_allowed, not_found, with_cors};

/// What every route works with.
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

/// Serves `listener` until `stop`; connections are tracked in `connections`, and finish the request at hand.
pub async fn serve(
    store: Arc<Store>,
    listener: TcpListener,
    stop: CancellationToken,
    connections: TaskTracker,
) {
    let routes = pages(Arc::new(Api { store: store.clone(), stop: stop.clone() }));
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
                let Some(room) = store.limits().connection() else {
                    store.metrics().http.refused.inc();
                    if let Some(room) = store.limits().refusal() {
                        connections.spawn(refuse(stream, room));
                    }
                    continue;
                };
                let (routes, store, stop) = (routes.clone(), store.clone(), stop.clone());
                connections.spawn(converse(stream, peer, room, routes, store, stop));
            }
            Err(error) => {
                // Out of file descriptors, most likely: existing connections go on, new ones wait a little.
                tracing::warn!(%error, "cannot accept a client connection");
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
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    // Whoever does not read it in time goes without.
    let _ = tokio::time::timeout(REFUSAL_LIMIT, farewell).await;
}

/// The pages as each connection calls them.
fn pages(api: Arc<Api>) -> Routes {
    let service = warp::service(routes(api));
    Arc::new(move |mut request| {
        // `CONNECT host:port` has no path, and warp panics without one.
        if request.uri().path_and_query().is_none() {
            *request.uri_mut() = Uri::from_static("/");
        }
        let mut service = service.clone();
        Box::pin(async move {
            match service.call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        })
    })
}

fn routes(
    api: Arc<Api>,
) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + 'static {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::any()
        .map(move || api.clone())
        .and(warp::method())
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(answer_request)
        .recover(|_| async { Ok::<_, Infallible>(not_found()) })
        .map(warp::Reply::into_response)
}

async fn answer_request<S, B>(
    api: Arc<Api>,
    method: Method,
    path: FullPath,
    query: String,
    headers: HeaderMap,
    body: S,
) -> Response
where
    S: Stream<Item = Result<B, warp::Error>> + Send + Sync,
    B: Buf + Send,
{
    // `OPTIONS *` is answered by Go's server itself.
    let whole_server = path.as_str() == "*";
    let Some(path) = path::percent_decode(path.as_str().as_bytes()) else { return path::broken() };
    let mut body = std::pin::pin!(body);
    let mut body = body::Unread::new(body.as_mut());
    let mut response = if method == Method::OPTIONS {
        warp::reply().into_response()
    } else {
        match path::clean(path, &query, &method) {
            Ok(path) => page(&api, &method, &path, &query, &headers, &mut body).await,
            Err(answer) => *answer,
        }
    };
    body.forget(&headers, &mut response).await;
    if whole_server { response } else { with_cors(response) }
}

/// The answer of the page at a clean path.
async fn page<S, B>(
    api: &Api,
    method: &Method,
    path: &[u8],
    query: &str,
    headers: &HeaderMap,
    body: S,
) -> Response
where
    S: Stream<Item = Result<B, warp::Error>> + Send + Sync,
    B: Buf + Send,
{
    if let Some(key) = path::below(path, b"/v2/keys") {
        return keys::answer(api, method, key, query, headers, body).await;
    }
    if let Some(rest) = path::below(path, b"/v2/auth") {
        return Box::pin(auth::answer(api, method, rest, query, headers, body)).await;
    }
    // On the heap, so that requests for keys need not carry the room that other pages take.
    Box::pin(other_page(api, method, path, query, headers, body)).await
}

/// The answer of any page but those of keys and of users and roles.
async fn other_page<S, B>(
    api: &Api,
    method: &Method,
    path: &[u8],
    query: &str,
    headers: &HeaderMap,
    body: S,
) -> Response
where
    S: Stream<Item = Result<B, warp::Error>> + Send + Sync,
    B: Buf + Send,
{
    if let Some(rest) = path::below(path, b"/v2/members") {
        let names_one = !matches!(rest, b"" | b"/");
        let changes = *method == Method::POST || names_one && matches!(*method, Method::PUT | Method::DELETE);
        if changes && let Err(denied) = guard::require_root(api, headers).await {
            return denied;
        }
        return members::answer(&api.store, method, rest, query, headers, body).await;
    }
    if let Some(page) = path::below(path, b"/muster/v1") {
        if *method != Method::GET
            && let Err(denied) = guard::require_root(api, headers).await
        {
            return denied;
        }
        return match page {
            b"/leader" => members::answer_own(&api.store, method, page, query).await,
            page if page.starts_with(b"/members") => {
                members::answer_own(&api.store, method, page, query).await
            }
            page => backup::answer(api, method, page, query, headers, body).await,
        };
    }
    let get = *method == Method::GET;
    match path {
        b"/v2/machines" if get || *method == Method::HEAD => info::machines(&api.store),
        b"/v2/machines" => method_not_allowed("GET,HEAD"),
        b"/v2/stats/self" if get => info::stats(&api.store),
        b"/v2/stats/store" if get => statistics::of_store(&api.store),
        b"/v2/stats/leader" if get => info::leader_stats(&api.store),
        b"/version" if get => info::version(),
        b"/health" if get => info::health(&api.store).await,
        b"/metrics" => admin::metrics(&api.store).await,
        b"/debug/vars" if get => admin::variables(&api.store),
        b"/config/local/log" if *method == Method::PUT => match guard::require_root(api, headers).await {
            Ok(()) => admin::set_level(body).await,
            Err(denied) => denied,
        },
        b"/config/local/log" => method_not_allowed("PUT"),
        b"/v2/stats/self" | b"/v2/stats/leader" | b"/v2/stats/store" => method_not_allowed("GET"),
        b"/version" | b"/health" | b"/debug/vars" => method_not_allowed("GET"),
        b"/new" => discovery::new_registry(api, method, query, headers).await,
        _ => not_found(),
    }
}
