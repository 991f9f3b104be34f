//! The pages that stand for themselves, as warp's filters: all but those of keys, of users and roles, and of members.
//! They are given paths that are clean and without needless escapes.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;

use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, Method};
use warp::path::FullPath;
use warp::reply::Response;
use warp::{Filter, Rejection};

use super::answer::{method_not_allowed, not_found};
use super::body::Pieces;
use super::go::path::percent_decode;
use super::head::Head;
use super::pages::{admin, backup, discovery, info, members, statistics};
use super::{Api, guard};

/// A page or several of them; whatever is none of them is rejected.
type Pages = BoxedFilter<(Response,)>;

/// All of them; what is none of them is not found.
pub fn routes(
    api: &Arc<Api>,
) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + 'static {
    let alone = machines(api)
        .or(stats(api))
        .unify()
        .or(condition(api))
        .unify()
        .or(log_level(api))
        .unify()
        .or(new_registry(api))
        .unify();
    let known = no_slash_at_the_end().and(alone).or(own(api)).unify();
    known.or(warp::any().map(not_found)).unify()
}

fn machines(api: &Arc<Api>) -> Pages {
    let page = with(api).map(|api: Arc<Api>| info::machines(&api.store));
    let read = warp::get().or(warp::head()).unify().and(page);
    warp::path!("v2" / "machines").and(read.or(refused("GET,HEAD")).unify()).boxed()
}

fn stats(api: &Arc<Api>) -> Pages {
    let node = with(api).map(|api: Arc<Api>| info::stats(&api.store));
    let store = with(api).map(|api: Arc<Api>| statistics::of_store(&api.store));
    let leader = with(api).map(|api: Arc<Api>| info::leader_stats(&api.store));
    let below = warp::path!("self")
        .and(get(node))
        .or(warp::path!("store").and(get(store)))
        .unify()
        .or(warp::path!("leader").and(get(leader)))
        .unify();
    warp::path("v2").and(warp::path("stats")).and(below).boxed()
}

/// How the node is, in etcd's words and for those who watch over it.
fn condition(api: &Arc<Api>) -> Pages {
    let version = warp::path!("version").and(get(warp::any().map(info::version)));
    let health = with(api).then(async |api: Arc<Api>| info::health(&api.store).await);
    let variables = with(api).map(|api: Arc<Api>| admin::variables(&api.store));
    // Go's handler for Prometheus minds no method.
    let metrics = with(api).then(async |api: Arc<Api>| admin::metrics(&api.store).await);
    version
        .or(warp::path!("health").and(get(health)))
        .unify()
        .or(warp::path!("debug" / "vars").and(get(variables)))
        .unify()
        .or(warp::path!("metrics").and(metrics))
        .unify()
        .boxed()
}

fn log_level(api: &Arc<Api>) -> Pages {
    let set =
        async |api: Arc<Api>, headers: HeaderMap, body| match guard::require_operator(&api, &headers).await {
            Ok(()) => admin::set_level(body).await,
            Err(denied) => denied,
        };
    let page =
        warp::put().and(with(api)).and(warp::header::headers_cloned()).and(warp::body::stream()).then(set);
    warp::path!("config" / "local" / "log").and(page.or(refused("PUT")).unify()).boxed()
}

fn new_registry(api: &Arc<Api>) -> Pages {
    let page = async |asked: Asked| discovery::new_registry(&asked.api, asked.head()).await;
    warp::path!("new").and(asked(api)).then(page).boxed()
}

/// What etcd does not have: below `/muster/v1`.
fn own(api: &Arc<Api>) -> Pages {
    let page = warp::path("muster").and(warp::path("v1")).and(asked(api)).and(warp::body::stream());
    page.then(async |asked: Asked, body| own_page(&asked, body).await).boxed()
}

async fn own_page(asked: &Asked, body: impl Pieces) -> Response {
    let (api, head) = (&asked.api, asked.head());
    let Some(head) = head.below(b"/muster/v1") else { return not_found() };
    if *head.method != Method::GET
        && let Err(denied) = guard::require_operator(api, head.headers).await
    {
        return denied;
    }
    if matches!(head.path, b"/leader" | b"/version") || head.path.starts_with(b"/members") {
        members::answer_own(&api.store, head).await
    } else {
        backup::answer(api, head, body).await
    }
}

/// A request for a page that looks at more of it than its path and its method.
struct Asked {
    api: Arc<Api>,
    method: Method,
    path: Vec<u8>,
    query: String,
    headers: HeaderMap,
}

impl Asked {
    fn head(&self) -> Head<'_> {
        Head { method: &self.method, path: &self.path, query: &self.query, headers: &self.headers }
    }
}

fn asked(
    api: &Arc<Api>,
) -> impl Filter<Extract = (Asked,), Error = Rejection> + Clone + Send + Sync + 'static {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let parts = with(api).and(warp::method()).and(warp::path::full()).and(query);
    parts.and(warp::header::headers_cloned()).and_then(|api, method, path: FullPath, query, headers| {
        let path = percent_decode(path.as_str().as_bytes()).ok_or_else(warp::reject);
        ready(path.map(|path| Asked { api, method, path, query, headers }))
    })
}

fn with(
    api: &Arc<Api>,
) -> impl Filter<Extract = (Arc<Api>,), Error = Infallible> + Clone + Send + Sync + 'static {
    let api = api.clone();
    warp::any().map(move || api.clone())
}

/// `page` for those who read; others are told that they cannot do anything else.
fn get<P>(page: P) -> Pages
where
    P: Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + 'static,
{
    warp::get().and(page).or(refused("GET")).unify().boxed()
}

fn refused(
    allowed: &'static str,
) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + 'static {
    warp::any().map(move || method_not_allowed(allowed))
}

/// warp does not mind a slash behind the last part of a path; Go's multiplexer does.
fn no_slash_at_the_end() -> impl Filter<Extract = (), Error = Rejection> + Clone + Send + Sync + 'static {
    let check =
        |path: FullPath| ready(if path.as_str().ends_with('/') { Err(warp::reject()) } else { Ok(()) });
    warp::path::full().and_then(check).untuple_one()
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use hyper::Request;
    use hyper::body::{Body, Frame};
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;
    use warp::http::StatusCode;

    use super::*;

    struct NoBody;

    impl Body for NoBody {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(None)
        }
    }

    async fn answer(method: &str, path: &str) -> (StatusCode, Option<String>) {
        let page = warp::any().map(|| Response::new("page".into()));
        let known = no_slash_at_the_end().and(warp::path!("a" / "b").and(get(page)));
        let pages = known.or(warp::any().map(not_found)).unify();
        let request = Request::builder().method(method).uri(path).body(NoBody).unwrap();
        let response = TowerToHyperService::new(warp::service(pages)).call(request).await.unwrap();
        let allowed = response.headers().get("allow").map(|allowed| allowed.to_str().unwrap().to_string());
        (response.status(), allowed)
    }

    #[tokio::test]
    async fn a_page_is_its_path_exactly_and_says_by_which_methods_it_is_read() {
        assert_eq!(answer("GET", "/a/b").await, (StatusCode::OK, None));
        assert_eq!(answer("GET", "/a/b?x=/").await, (StatusCode::OK, None));
        assert_eq!(answer("GET", "http://host/a/b").await, (StatusCode::OK, None));
        for method in ["POST", "PUT", "DELETE", "HEAD", "PATCH", "BREW"] {
            let refused = (StatusCode::METHOD_NOT_ALLOWED, Some("GET".to_string()));
            assert_eq!(answer(method, "/a/b").await, refused, "{method}");
        }
        for path in ["/", "/a", "/a/b/", "/a/b/c", "/a/bc", "/x/a/b", "/A/b"] {
            assert_eq!(answer("GET", path).await, (StatusCode::NOT_FOUND, None), "{path}");
        }
    }
}
