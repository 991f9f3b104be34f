//! Which page answers a request.

use std::convert::Infallible;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use hyper::Request;
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;
use tower_service::Service;
use warp::http::{HeaderMap, Method, Uri};
use warp::path::FullPath;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::answer::{method_not_allowed, not_found, with_cors};
use super::body::{Pieces, Unread, pieces};
use super::go::path;
use super::head::Head;
use super::pages::{admin, auth, backup, discovery, info, keys, members, statistics};
use super::{Api, guard};
use crate::store::Store;

/// All pages. Requests for keys, which are most, do without warp's filters and what those copy of each request;
/// whichever way one comes, it is answered alike.
pub struct Router {
    api: Arc<Api>,
    others: Box<dyn Fn(Request<Incoming>) -> BoxFuture<'static, Response> + Send + Sync>,
}

impl Router {
    /// The pages of `store`; what would last long ends with `stop`.
    pub fn new(store: Arc<Store>, stop: CancellationToken) -> Self {
        let api = Arc::new(Api { store, stop });
        let service = warp::service(routes(api.clone()));
        let others = move |mut request: Request<Incoming>| -> BoxFuture<'static, Response> {
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
        };
        Self { api, others: Box::new(others) }
    }

    /// The store behind them.
    pub fn store(&self) -> &Arc<Store> {
        &self.api.store
    }

    /// The answer to `request`.
    pub async fn answer(&self, request: Request<Incoming>) -> Response {
        if !request.uri().path().starts_with("/v2/keys") {
            return (self.others)(request).await;
        }
        let (head, body) = request.into_parts();
        let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
        answer_request(&self.api, &head.method, path, query, &head.headers, pieces(body)).await
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
        .then(
            async |api: Arc<Api>, method: Method, path: FullPath, query: String, headers: HeaderMap, body| {
                answer_request(&api, &method, path.as_str(), &query, &headers, body).await
            },
        )
        .recover(|_| async { Ok::<_, Infallible>(not_found()) })
        .map(warp::Reply::into_response)
}

/// The answer to a request as it came.
async fn answer_request(
    api: &Api,
    method: &Method,
    path: &str,
    query: &str,
    headers: &HeaderMap,
    body: impl Pieces,
) -> Response {
    // `OPTIONS *` is answered by Go's server itself.
    let whole_server = path == "*";
    let Some(path) = path::percent_decode(path.as_bytes()) else { return path::broken() };
    let mut body = std::pin::pin!(body);
    let mut body = Unread::new(body.as_mut());
    let mut response = if *method == Method::OPTIONS {
        warp::reply().into_response()
    } else {
        match path::clean(path, query, method) {
            Ok(path) => page(api, Head { method, path: &path, query, headers }, &mut body).await,
            Err(answer) => *answer,
        }
    };
    body.forget(headers, &mut response).await;
    if whole_server { response } else { with_cors(response) }
}

/// The answer of the page at a clean path.
async fn page(api: &Api, head: Head<'_>, body: impl Pieces) -> Response {
    if let Some(key) = head.below(b"/v2/keys") {
        return keys::answer(api, key, body).await;
    }
    if let Some(rest) = head.below(b"/v2/auth") {
        return Box::pin(auth::answer(api, rest, body)).await;
    }
    // On the heap, so that requests for keys need not carry the room that other pages take.
    Box::pin(other_page(api, head, body)).await
}

/// The answer of any page but those of keys and of users and roles.
async fn other_page(api: &Api, head: Head<'_>, body: impl Pieces) -> Response {
    let Head { method, path, headers, .. } = head;
    if let Some(rest) = head.below(b"/v2/members") {
        let names_one = !matches!(rest.path, b"" | b"/");
        let changes = *method == Method::POST || names_one && matches!(*method, Method::PUT | Method::DELETE);
        if changes && let Err(denied) = guard::require_root(api, headers).await {
            return denied;
        }
        return members::answer(&api.store, rest, body).await;
    }
    if let Some(page) = head.below(b"/muster/v1") {
        if *method != Method::GET
            && let Err(denied) = guard::require_root(api, headers).await
        {
            return denied;
        }
        let of_members =
            page.path == b"/leader" || page.path == b"/version" || page.path.starts_with(b"/members");
        return match of_members {
            true => members::answer_own(&api.store, page).await,
            false => backup::answer(api, page, body).await,
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
        b"/new" => discovery::new_registry(api, head).await,
        _ => not_found(),
    }
}
