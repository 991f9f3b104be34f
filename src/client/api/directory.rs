//! Keys below any URL of one server: what a node needs that knows of its cluster nothing but a discovery URL.

use std::time::Duration;

use reqwest::{Method, Proxy};
use url::Url;

use crate::client::request::{Problem, Reply, Request};
use crate::client::{Answer, CONNECT_TIMEOUT, ClientError, Event, KEEPALIVE, UNACKNOWLEDGED};

/// Time limit of one request, as in etcd's client; a wait has none.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The parameters that etcd's own client sends with every read.
const PLAIN: &str = "quorum=false&recursive=false&sorted=false";

/// A directory of a v2 store, wherever its URL lies. `below` in its methods is a path such as `_config/size`, or empty
/// for the directory itself; its components must need no escapes.
#[derive(Clone, Debug)]
pub struct Directory {
    http: reqwest::Client,
    url: Url,
}

impl Directory {
    /// Prepares a client; connects to nothing yet.
    ///
    /// # Errors
    /// [`ClientError::Setup`] when the HTTP library cannot be set up.
    pub fn new(url: Url, proxy: Option<&Url>) -> Result<Self, ClientError> {
        let setup = |error: reqwest::Error| ClientError::Setup { problem: error.to_string() };
        let builder = reqwest::Client::builder()
            .user_agent(concat!("muster/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT.max(TIMEOUT / 2))
            .tcp_keepalive(KEEPALIVE)
            .tcp_keepalive_interval(KEEPALIVE)
            .tcp_keepalive_retries(3)
            .tcp_user_timeout(UNACKNOWLEDGED);
        let builder = match proxy {
            Some(proxy) => builder.proxy(Proxy::http(proxy.as_str()).map_err(setup)?),
            None => builder,
        };
        Ok(Self { http: builder.build().map_err(setup)?, url })
    }

    /// Where it is.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// A key, or the directory with its visible children.
    ///
    /// # Errors
    /// [`ClientError::Refused`], [`ClientError::Unavailable`], [`ClientError::Malformed`].
    pub async fn get(&self, below: &str) -> Result<Answer, ClientError> {
        let reply = self.exchange(self.request(Method::GET, below, PLAIN, None)).await?;
        self.answer(&reply)
    }

    /// Makes a key that must not exist.
    ///
    /// # Errors
    /// [`ClientError::Refused`] (105 when it exists); [`ClientError::Unavailable`], after which it may exist all the
    /// same; [`ClientError::Malformed`].
    pub async fn create(&self, below: &str, value: &str) -> Result<Answer, ClientError> {
        self.put(below, "prevExist=false", value).await
    }

    /// Writes a key, whatever was there.
    ///
    /// # Errors
    /// As [`Directory::create`], without 105.
    pub async fn set(&self, below: &str, value: &str) -> Result<Answer, ClientError> {
        self.put(below, "", value).await
    }

    async fn put(&self, below: &str, query: &str, value: &str) -> Result<Answer, ClientError> {
        let form = crate::client::options::form(Some(value), None);
        let reply = self.exchange(self.request(Method::PUT, below, query, Some(form))).await?;
        self.answer(&reply)
    }

    /// Waits for the first change at or after `index` of the key, or of anything below when `recursive`: as long as
    /// it takes, over polls that end without an event.
    ///
    /// # Errors
    /// [`ClientError::Cleared`] when so old a change is no longer kept; [`ClientError::Unavailable`] when the
    /// connection is lost; [`ClientError::Refused`], [`ClientError::Malformed`].
    pub async fn wait(&self, below: &str, recursive: bool, index: u64) -> Result<Event, ClientError> {
        let query = format!("recursive={recursive}&wait=true&waitIndex={index}");
        let request = self.request(Method::GET, below, &query, None);
        loop {
            let whole = async { Reply::read(request.send(&self.http, &self.url).await?).await };
            let reply = whole.await.map_err(|problem| self.unavailable(problem))?;
            if reply.status >= 500 {
                return Err(self.unavailable(reply.problem()));
            }
            if !reply.body.iter().all(u8::is_ascii_whitespace) {
                return reply.parse(&self.url);
            }
            // Something between here and there ends polls that are silent for long. It must not be asked in a rush.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn request(&self, method: Method, below: &str, query: &str, form: Option<String>) -> Request {
        let path = if below.is_empty() { String::new() } else { format!("/{below}") };
        Request { method, path, query: query.into(), form, json: None, octets: None }
    }

    async fn exchange(&self, request: Request) -> Result<Reply, ClientError> {
        request.exchange(&self.http, &self.url, TIMEOUT).await.map_err(|problem| self.unavailable(problem))
    }

    fn unavailable(&self, problem: Problem) -> ClientError {
        ClientError::Unavailable { attempts: vec![problem.at(&self.url)] }
    }

    fn answer(&self, reply: &Reply) -> Result<Answer, ClientError> {
        let Event { action, node, prev_node, .. } = reply.parse(&self.url)?;
        let (index, raft_index, raft_term) =
            (reply.number("x-etcd-index"), reply.number("x-raft-index"), reply.number("x-raft-term"));
        Ok(Answer { action, node, prev_node, index, raft_index, raft_term })
    }
}
