//! Which page answers a request: what is the same for all of them, and where each is.

use std::pin::pin;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio_util::sync::CancellationToken;
use warp::Reply;
use warp::http::request::Parts;
use warp::http::{HeaderMap, Method, Uri};
use warp::reply::Response;

use super::answer::{not_found, with_cors};
use super::body::{Lent, Pieces, Unread, pieces};
use super::go::form::has_form_body;
use super::go::path;
use super::head::Head;
use super::pages::{auth, keys, members};
use super::routes::routes;
use super::{Api, guard};
use crate::store::Store;

/// All pages. Requests for keys, which are most, do without warp's filters and what those copy of each request.
pub struct Router {
    api: Arc<Api>,
    /// The pages that are filters.
    filters: Box<dyn Fn(Request<Lent>) -> BoxFuture<'static, Response> + Send + Sync>,
}

impl Router {
    /// The pages of `store`; what would last long ends with `stop`.
    pub fn new(store: Arc<Store>, stop: CancellationToken) -> Self {
        let api = Arc::new(Api { store, stop });
        let service = TowerToHyperService::new(warp::service(routes(&api)));
        let filters = move |request| -> BoxFuture<'static, Response> {
            let answer = service.call(request);
            Box::pin(async move {
                match answer.await {
                    Ok(response) => response,
                    Err(never) => match never {},
                }
            })
        };
        Self { api, filters: Box::new(filters) }
    }

    /// The store behind them.
    pub fn store(&self) -> &Arc<Store> {
        &self.api.store
    }

    /// The answer to `request`.
    pub async fn answer(&self, request: Request<Incoming>) -> Response {
        let (parts, body) = request.into_parts();
        // `CONNECT host:port` has no path.
        let raw = parts.uri.path_and_query().map_or("/", |_| parts.uri.path());
        // `OPTIONS *` is answered by Go's server itself.
        let whole_server = raw == "*";
        let Some(path) = path::percent_decode(raw.as_bytes()) else { return path::broken() };
        let path = if parts.method == Method::OPTIONS {
            Err(Box::new(warp::reply().into_response()))
        } else {
            path::clean(path, parts.uri.query().unwrap_or_default(), &parts.method)
        };
        let response = match path {
            Ok(path) if !is_direct(&path) => Box::pin(self.answer_filtered(parts, &path, body)).await,
            path => self.answer_directly(&parts, path, body).await,
        };
        if whole_server { response } else { with_cors(response) }
    }

    /// The answer of a page that is no filter, or the one that is known already.
    async fn answer_directly(
        &self,
        parts: &Parts,
        path: Result<Vec<u8>, Box<Response>>,
        body: Incoming,
    ) -> Response {
        let mut body = pin!(pieces(body));
        let mut body = Unread::new(body.as_mut());
        let (headers, mut rest) = (&parts.headers, None);
        let mut response = match path {
            Ok(path) => {
                if !is_read(&parts.method, &path, headers) {
                    // Before the page is made, which may hold something that others wait for.
                    rest = Some(body.forget(headers).await);
                }
                let query = parts.uri.query().unwrap_or_default();
                let head = Head { method: &parts.method, path: &path, query, headers };
                direct_page(&self.api, head, &mut body).await
            }
            Err(answer) => *answer,
        };
        let rest = match rest {
            Some(rest) => rest,
            None => body.forget(headers).await,
        };
        rest.mark(&mut response);
        response
    }

    /// The answer of warp's filters.
    async fn answer_filtered(&self, mut parts: Parts, path: &[u8], body: Incoming) -> Response {
        let body = Lent::new(body);
        let headers = parts.headers.clone();
        let mut response = match plain(&parts.uri, path) {
            Some(uri) => {
                parts.uri = uri;
                (self.filters)(Request::from_parts(parts, body.clone())).await
            }
            // Longer than any page's.
            None => not_found(),
        };
        body.forget(&headers, &mut response).await;
        response
    }
}

/// `uri` with `path`, which is what its own comes to, written without needless escapes. `None` when that is too long.
fn plain(uri: &Uri, path: &[u8]) -> Option<Uri> {
    if uri.path_and_query().is_some() && uri.path().as_bytes() == path {
        return Some(uri.clone());
    }
    let path = path::percent_encode(path);
    uri.query().map_or(path.clone(), |query| format!("{path}?{query}")).parse().ok()
}

/// Whether a page is asked for that is no filter.
fn is_direct(path: &[u8]) -> bool {
    let begins =
        |prefix: &[u8]| path.strip_prefix(prefix).is_some_and(|rest| matches!(rest, [] | [b'/', ..]));
    [&b"/v2/keys"[..], b"/v2/auth", b"/v2/members"].into_iter().any(begins)
}

/// Whether a page that is no filter looks at the body of such a request.
fn is_read(method: &Method, path: &[u8], headers: &HeaderMap) -> bool {
    match *method {
        Method::GET | Method::HEAD | Method::DELETE => false,
        _ => !path.starts_with(b"/v2/keys") || has_form_body(method, headers).0,
    }
}

/// The answer of a page that is no filter, at a clean path.
async fn direct_page(api: &Api, head: Head<'_>, body: impl Pieces) -> Response {
    if let Some(key) = head.below(b"/v2/keys") {
        return keys::answer(api, key, body).await;
    }
    // On the heap, so that requests for keys need not carry the room that other pages take.
    if let Some(rest) = head.below(b"/v2/auth") {
        return Box::pin(auth::answer(api, rest, body)).await;
    }
    match head.below(b"/v2/members") {
        Some(rest) => Box::pin(answer_members(api, rest, body)).await,
        None => not_found(),
    }
}

/// Who changes members must be root; as in etcd that is looked at before anything else.
async fn answer_members(api: &Api, head: Head<'_>, body: impl Pieces) -> Response {
    let changes = matches!(*head.method, Method::POST | Method::PUT | Method::DELETE);
    if changes && let Err(denied) = guard::require_root(api, head.headers).await {
        return denied;
    }
    members::answer(&api.store, head, body).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_given_paths_without_needless_escapes() {
        let plain = |uri: &str, path: &[u8]| plain(&uri.parse().unwrap(), path).map(|uri| uri.to_string());
        assert_eq!(plain("/version?a=%62", b"/version").unwrap(), "/version?a=%62");
        assert_eq!(plain("/%76ersion?a=%62", b"/version").unwrap(), "/version?a=%62");
        assert_eq!(plain("/a%2520", b"/a%20").unwrap(), "/a%2520");
        assert_eq!(plain("host:80", b"/").unwrap(), "/");
        assert_eq!(plain("/x", &[b'\xff'; 60_000]), None);
    }

    #[test]
    fn prefixes_of_direct_pages_end_at_a_slash() {
        for path in ["/v2/keys", "/v2/keys/a", "/v2/auth/users", "/v2/members/"] {
            assert!(is_direct(path.as_bytes()), "{path}");
        }
        for path in ["/v2/keysX", "/v2", "/v2/machines", "/version", "/"] {
            assert!(!is_direct(path.as_bytes()), "{path}");
        }
    }
}
