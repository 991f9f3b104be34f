//! The store's HTTP API: etcd's v2, over warp.

mod answer;
mod auth;
mod backup;
mod body;
mod discovery;
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
mod watch;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use futures_util::Stream;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warp::http::{HeaderMap, Method, Uri};
use warp::path::FullPath;
use warp::reply::Response;
use warp::{Filter, Reply};

pub use info::ETCD_SERVER as ETCD_VERSION;

use super::Store;
use answer::{method_not_allowed, not_found, with_cors};

/// What every route works with.
struct Api {
    store: Arc<Store>,
    /// Ends what would otherwise last for ever: watches.
    stop: CancellationToken,
}

/// Serves `listener` until `stop`; connections are tracked in `connections`, and finish the request at hand.
pub async fn serve(
    store: Arc<Store>,
    listener: TcpListener,
    stop: CancellationToken,
    connections: TaskTracker,
) {
    let api = Arc::new(Api { store, stop: stop.clone() });
    let service = warp::service(routes(api));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(converse(stream, service.clone(), stop.clone()));
            }
            Err(error) => {
                // Out of file descriptors, most likely: existing connections go on, new ones wait a little.
                tracing::warn!(%error, "cannot accept a client connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse<S>(stream: TcpStream, service: S, stop: CancellationToken)
where
    S: tower_service::Service<hyper::Request<hyper::body::Incoming>, Response = Response, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "client connection lost early");
        return;
    }
    let service = TowerToHyperService::new(service);
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        // `CONNECT host:port` has no path, and warp panics without one.
        if request.uri().path_and_query().is_none() {
            *request.uri_mut() = Uri::from_static("/");
        }
        service.call(request)
    });
    // Some clients of etcd look for the names as Go writes them.
    let connection = http1::Builder::new()
        .pipeline_flush(true)
        .title_case_headers(true)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "client connection ended");
    }
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
        return auth::answer(api, method, rest, query, headers, body).await;
    }
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
        b"/v2/stats/self" | b"/v2/stats/leader" | b"/v2/stats/store" | b"/version" | b"/health" => {
            method_not_allowed("GET")
        }
        b"/new" => discovery::new_registry(api, method, query, headers).await,
        _ => not_found(),
    }
}
