//! HTTP client of any server that speaks the etcd v2 API.
//!
//! A [`Client`] knows several endpoints and asks the one that answered last. When that one is gone, the next is
//! asked: see `failover` for what may be asked twice. A [`Watch`] goes on over lost connections and lost
//! endpoints without missing or repeating a change.
//!
//! The only place that names the HTTP library, and that of DNS. No proxy settings of the environment apply.

mod answer;
mod api;
#[cfg(test)]
mod canned;
mod endpoints;
mod error;
mod options;
mod request;
#[cfg(test)]
mod tests;
mod watch;

pub use answer::{Answer, Event, Member, MemberStatus, MemberStatuses, Node, Role};
pub use api::auth::{AuthRole, Right, Rights, User};
pub use api::backup::{Download, TransferError, Upload};
pub use api::directory::Directory;
pub use endpoints::srv;
pub use error::{ApiError, Attempt, ClientError};
pub use options::{DeleteOptions, GetOptions, PutOptions};
pub use watch::{Mirror, Watch, tree};

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, redirect};
use url::Url;

use crate::config::{ClientSettings, Credentials};
use endpoints::Endpoints;
use request::{Reply, Request};

/// Target of the log messages that show each request as a curl command.
pub const CURL: &str = "muster::client::curl";
/// How long a connection may take to be made before the endpoint counts as gone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection on which nothing happens is probed this often, three times, before it counts as dead.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// Sent bytes that nobody acknowledges for so long end the connection.
const UNACKNOWLEDGED: Duration = Duration::from_secs(15);
/// How often a request may be sent on elsewhere (servers before 2.0 point to their leader).
const REDIRECTS: usize = 3;

/// A handle on the store; cheap to clone, and clones share connections and what is known of the endpoints.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    endpoints: Arc<Endpoints>,
    /// Time limit of a request over all endpoints it is tried on.
    timeout: Duration,
    /// Time limit of a request to one endpoint.
    attempt: Duration,
    /// How long a watch's poll may be silent before it is replaced; at least half of it.
    renewal: Duration,
}

impl Client {
    /// Prepares a client; connects to nothing yet.
    ///
    /// # Errors
    /// [`ClientError::Setup`] when the HTTP library cannot be set up.
    pub fn new(settings: &ClientSettings) -> Result<Self, ClientError> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("muster/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers(settings.credentials.as_ref())?)
            .no_proxy()
            .redirect(redirect::Policy::custom(follow))
            .connect_timeout(CONNECT_TIMEOUT.min(settings.request_timeout))
            .tcp_keepalive(KEEPALIVE)
            .tcp_keepalive_interval(KEEPALIVE)
            .tcp_keepalive_retries(3)
            .tcp_user_timeout(UNACKNOWLEDGED)
            .build()
            .map_err(|error| ClientError::Setup { problem: error.to_string() })?;
        if settings.endpoints.is_empty() {
            return Err(ClientError::Setup { problem: "no endpoint is known".into() });
        }
        let endpoints = Arc::new(Endpoints::new(settings.endpoints.clone()));
        Ok(Self {
            http,
            endpoints,
            timeout: settings.request_timeout,
            attempt: settings.request_timeout,
            renewal: watch::RENEWAL,
        })
    }

    /// The same client with a shorter limit for each endpoint that a request is tried on.
    pub fn with_attempt_limit(self, attempt: Duration) -> Self {
        Self { attempt, ..self }
    }

    /// Reads a key. Keys may hold any character; a leading slash may be left out.
    ///
    /// # Errors
    /// [`ClientError::Refused`] (100 for a missing key), [`ClientError::Unavailable`], [`ClientError::Malformed`].
    pub async fn get(&self, key: &str, options: &GetOptions) -> Result<Answer, ClientError> {
        self.answer(Request::key(Method::GET, key, options.query(), None), true).await
    }

    /// Writes a key, if the conditions hold.
    ///
    /// # Errors
    /// [`ClientError::Refused`]: 101 a condition does not hold, 105 the key exists, 100 it does not, 102 it is a
    /// directory; [`ClientError::UnknownOutcome`] (not for a refresh, which is repeated);
    /// [`ClientError::Unavailable`]; [`ClientError::Malformed`].
    pub async fn put(&self, key: &str, options: &PutOptions) -> Result<Answer, ClientError> {
        let request = Request::key(Method::PUT, key, options.query(), Some(options.form()));
        self.answer(request, options.repeatable()).await
    }

    /// Creates a key below `dir` whose name is the index of its creation, 20 digits: they sort in order of creation.
    ///
    /// # Errors
    /// As [`Client::put`]; 104 when `dir` is a file.
    pub async fn post(&self, dir: &str, value: &str, ttl: Option<u64>) -> Result<Answer, ClientError> {
        let form = options::form(Some(value), ttl);
        self.answer(Request::key(Method::POST, dir, String::new(), Some(form)), false).await
    }

    /// Removes a key, if the conditions hold.
    ///
    /// # Errors
    /// As [`Client::put`]; 108 when a directory is not empty.
    pub async fn delete(&self, key: &str, options: &DeleteOptions) -> Result<Answer, ClientError> {
        self.answer(Request::key(Method::DELETE, key, options.query(), None), false).await
    }

    /// Watches a key, with `recursive` everything below it as well: the events after index `after`, or those after
    /// the first call of [`Watch::next`]. Use the `index` of an [`Answer`] to go on from what was read.
    pub fn watch(&self, key: &str, recursive: bool, after: Option<u64>) -> Watch {
        Watch::new(self.clone(), key, recursive, after)
    }

    /// Status and body of `GET path` from this one endpoint, whatever it answers: health, statistics, version.
    ///
    /// # Errors
    /// [`ClientError::Unavailable`] when the endpoint does not answer.
    pub async fn get_raw(&self, endpoint: &Url, path: &str) -> Result<(u16, String), ClientError> {
        let request = Request::get(path);
        let whole = async { Reply::read(request.send(&self.http, endpoint).await?).await };
        let reply = tokio::time::timeout(self.timeout, whole)
            .await
            .unwrap_or_else(|_| Err(request::Problem::silence(self.timeout)))
            .map_err(|problem| ClientError::Unavailable { attempts: vec![problem.at(endpoint)] })?;
        Ok((reply.status, String::from_utf8_lossy(&reply.body).into_owned()))
    }

    /// The endpoints it was made with, in that order.
    pub fn endpoints(&self) -> Vec<Url> {
        self.endpoints.urls().to_vec()
    }

    async fn answer(&self, request: Request, repeatable: bool) -> Result<Answer, ClientError> {
        let (reply, from) = if repeatable { self.ask(&request).await? } else { self.tell(&request).await? };
        let Event { action, node, prev_node, .. } = reply.parse(&from)?;
        let (index, raft_index, raft_term) =
            (reply.number("x-etcd-index"), reply.number("x-raft-index"), reply.number("x-raft-term"));
        Ok(Answer { action, node, prev_node, index, raft_index, raft_term })
    }
}

/// The headers of every request: who makes it (RFC 7617), if anybody in particular.
fn headers(credentials: Option<&Credentials>) -> Result<HeaderMap, ClientError> {
    let mut headers = HeaderMap::new();
    if let Some(Credentials { username, password }) = credentials {
        let text = format!("Basic {}", STANDARD.encode(format!("{username}:{password}")));
        let mut value = HeaderValue::from_str(&text)
            .map_err(|error| ClientError::Setup { problem: error.to_string() })?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

/// Follows only redirects that keep method and body.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let keeps = matches!(attempt.status().as_u16(), 307 | 308);
    if keeps && attempt.previous().len() <= REDIRECTS { attempt.follow() } else { attempt.stop() }
}
