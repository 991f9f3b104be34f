//! Answers and their headers.

use bytes::Bytes;
use warp::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW,
    CONTENT_TYPE, HeaderName, HeaderValue,
};
use warp::http::{HeaderMap, StatusCode};
use warp::reply::Response;

use crate::keyspace::{Key, KeyError, Mismatch, Outline, Refusal, json_string};
use crate::store::StoreError;

/// Etcd's words for a server that has too much to do.
const BUSY: &str = "etcdserver: too many requests";

/// Headers that an answer may get on its way, so that their place is taken once.
const MOST_HEADERS: usize = 12;

// On every answer, so not looked through each time.
static JSON: HeaderValue = HeaderValue::from_static("application/json");
static CLUSTER_ID: HeaderName = HeaderName::from_static("x-etcd-cluster-id");
static ETCD_INDEX: HeaderName = HeaderName::from_static("x-etcd-index");
static RAFT_INDEX: HeaderName = HeaderName::from_static("x-raft-index");
static RAFT_TERM: HeaderName = HeaderName::from_static("x-raft-term");
static CORS_METHODS: HeaderValue = HeaderValue::from_static("POST, GET, OPTIONS, PUT, DELETE");
static CORS_ORIGIN: HeaderValue = HeaderValue::from_static("*");
static CORS_HEADERS: HeaderValue = HeaderValue::from_static("accept, content-type, authorization");

/// A refusal in etcd's form: number, message, cause, and the store's index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    code: u16,
    cause: Cause,
    index: u64,
}

/// What a refusal is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Cause {
    /// A key, mostly.
    Words(Vec<u8>),
    /// A comparison that failed, in whose words whole values stand.
    Compared(Box<Mismatch>),
}

impl ApiError {
    /// A request that is wrong in itself: its index is 0.
    pub fn request(code: u16, cause: impl Into<Vec<u8>>) -> Self {
        Self { code, cause: Cause::Words(cause.into()), index: 0 }
    }

    /// Nothing was done because too much is under way.
    pub fn busy() -> Self {
        Self::request(300, BUSY)
    }

    /// Whether it is that.
    pub fn is_busy(&self) -> bool {
        matches!(&self.cause, Cause::Words(words) if words == BUSY.as_bytes())
    }

    /// The number's message and status (etcd `error/error.go`).
    fn meaning(&self) -> (StatusCode, &'static str) {
        match self.code {
            100 => (StatusCode::NOT_FOUND, "Key not found"),
            101 => (StatusCode::PRECONDITION_FAILED, "Compare failed"),
            102 => (StatusCode::FORBIDDEN, "Not a file"),
            104 => (StatusCode::BAD_REQUEST, "Not a directory"),
            105 => (StatusCode::PRECONDITION_FAILED, "Key already exists"),
            107 => (StatusCode::BAD_REQUEST, "Root is read only"),
            108 => (StatusCode::FORBIDDEN, "Directory not empty"),
            110 => (StatusCode::UNAUTHORIZED, "The request requires user authentication"),
            201 => (StatusCode::BAD_REQUEST, "PrevValue is Required in POST form"),
            202 => (StatusCode::BAD_REQUEST, "The given TTL in POST form is not a number"),
            203 => (StatusCode::BAD_REQUEST, "The given index in POST form is not a number"),
            209 => (StatusCode::BAD_REQUEST, "Invalid field"),
            210 => (StatusCode::BAD_REQUEST, "Invalid POST form"),
            211 => (StatusCode::BAD_REQUEST, "Value provided on refresh"),
            212 => (StatusCode::BAD_REQUEST, "A TTL must be provided on refresh"),
            401 => (StatusCode::BAD_REQUEST, "The event in requested index is outdated and cleared"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "Raft Internal Error"),
        }
    }

    /// The body, and where the values are from that make it long.
    pub fn outline(&self) -> (Outline, Option<&Key>) {
        let mut body = Outline::default();
        body.push(format!("{{\"errorCode\":{},\"message\":\"{}\"", self.code, self.meaning().1).as_bytes());
        let key = match &self.cause {
            Cause::Words(words) => {
                if !words.is_empty() {
                    let mut cause = b",\"cause\":".to_vec();
                    json_string(&mut cause, words);
                    body.push(&cause);
                }
                None
            }
            Cause::Compared(mismatch) => {
                body.push(b",\"cause\":");
                body.push_mismatch(mismatch);
                Some(mismatch.key())
            }
        };
        body.push(format!(",\"index\":{}}}\n", self.index).as_bytes());
        (body, key)
    }

    /// The answer with this body.
    pub fn response(&self, cluster: u64, body: Bytes) -> Response {
        let mut response = json(self.meaning().0, body);
        cluster_header(response.headers_mut(), cluster);
        response.headers_mut().insert(ETCD_INDEX.clone(), self.index.into());
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(Refusal { error, index }) => {
                let code = error.code();
                let cause = match error {
                    KeyError::CompareFailed(mismatch) => Cause::Compared(mismatch),
                    error => Cause::Words(error.cause()),
                };
                Self { code, cause, index }
            }
            StoreError::TimedOut => Self::request(300, "etcdserver: request timed out"),
            StoreError::Unwilling(why) => Self::request(300, why),
            StoreError::NoLeader => Self::request(300, "etcdserver: no leader"),
            StoreError::Busy => Self::busy(),
            error @ StoreError::TooManyWatches(_) => Self::request(300, format!("etcdserver: {error}")),
            StoreError::Stopping => Self::request(300, "etcdserver: server stopped"),
        }
    }
}

/// The indexes that a successful keys answer carries.
#[derive(Clone, Copy, Debug)]
pub struct Indexes {
    /// `X-Etcd-Index`.
    pub etcd: u64,
    /// `X-Raft-Index`.
    pub raft: u64,
    /// `X-Raft-Term`.
    pub term: u64,
}

/// A JSON body.
pub fn json(status: StatusCode, body: Bytes) -> Response {
    typed(status, "application/json", body)
}

fn untyped(status: StatusCode, body: Bytes) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    *response.headers_mut() = HeaderMap::with_capacity(MOST_HEADERS);
    response
}

/// A body of a given type.
pub fn typed(status: StatusCode, content_type: &'static str, body: Bytes) -> Response {
    let mut response = untyped(status, body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// `{"message":…}` without a line feed, as the pages beside keys refuse.
pub fn message(status: StatusCode, text: &[u8]) -> Response {
    let mut body = b"{\"message\":".to_vec();
    json_string(&mut body, text);
    body.push(b'}');
    json(status, body.into())
}

/// A successful keys answer.
pub fn keys(status: StatusCode, body: Bytes, cluster: u64, indexes: Indexes) -> Response {
    let mut response = untyped(status, body);
    keys_headers(response.headers_mut(), cluster, indexes);
    response
}

/// The headers of a successful keys answer.
pub fn keys_headers(headers: &mut HeaderMap, cluster: u64, indexes: Indexes) {
    headers.insert(CONTENT_TYPE, JSON.clone());
    cluster_header(headers, cluster);
    headers.insert(ETCD_INDEX.clone(), indexes.etcd.into());
    headers.insert(RAFT_INDEX.clone(), indexes.raft.into());
    headers.insert(RAFT_TERM.clone(), indexes.term.into());
}

/// `X-Etcd-Cluster-Id`, in hex without leading zeros.
pub fn cluster_header(headers: &mut HeaderMap, cluster: u64) {
    if let Ok(value) = HeaderValue::from_str(&format!("{cluster:x}")) {
        headers.insert(CLUSTER_ID.clone(), value);
    }
}

/// A line of text as Go's `http.Error` sends it.
pub fn text_error(status: StatusCode, text: &'static str) -> Response {
    let mut response = typed(status, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()));
    response
        .headers_mut()
        .insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    response
}

/// No such page.
pub fn not_found() -> Response {
    text_error(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// The page has other methods.
pub fn method_not_allowed(allowed: &'static str) -> Response {
    let mut response = text_error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// The headers by which a page of another origin may call the API, on every answer as in etcd 3.
pub fn with_cors(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, CORS_METHODS.clone());
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, CORS_ORIGIN.clone());
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, CORS_HEADERS.clone());
    response
}
