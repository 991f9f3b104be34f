//! One request: what is sent, what comes back, and what a failure says about whether it was carried out.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Method, Response};
use url::Url;

use super::error::{ApiError, Attempt, CLEARED, ClientError};

/// A request that any endpoint can be sent.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub method: Method,
    /// The absolute path, percent-encoded.
    pub path: String,
    /// The query without `?`; empty for none.
    pub query: String,
    /// The form body of a write.
    pub form: Option<String>,
    /// The JSON body of a change of members.
    pub json: Option<String>,
    /// A body of any bytes.
    pub octets: Option<Bytes>,
}

impl Request {
    pub fn key(method: Method, key: &str, query: String, form: Option<String>) -> Self {
        Self { query, form, ..Self::bare(method, &format!("/v2/keys{}", key_path(key))) }
    }

    pub fn get(path: &str) -> Self {
        Self::bare(Method::GET, path)
    }

    pub fn bare(method: Method, path: &str) -> Self {
        Self { method, path: path.into(), query: String::new(), form: None, json: None, octets: None }
    }

    pub fn json(method: Method, path: &str, json: String) -> Self {
        Self { json: Some(json), ..Self::bare(method, path) }
    }

    /// Sends it and waits for the head of the answer.
    pub async fn send(&self, http: &reqwest::Client, endpoint: &Url) -> Result<Response, Problem> {
        let mut url = endpoint.clone();
        url.set_path(&format!("{}{}", endpoint.path().trim_end_matches('/'), self.path));
        url.set_query(Some(self.query.as_str()).filter(|query| !query.is_empty()));
        self.trace(&url);
        let mut builder = http.request(self.method.clone(), url);
        if let Some(form) = &self.form {
            builder = builder.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.clone());
        }
        if let Some(json) = &self.json {
            builder = builder.header(CONTENT_TYPE, "application/json").body(json.clone());
        }
        if let Some(octets) = &self.octets {
            builder = builder.header(CONTENT_TYPE, "application/octet-stream").body(octets.clone());
        }
        builder.send().await.map_err(Problem::from_http)
    }

    /// Shows the request as a curl command to whoever listens to [`super::CURL`].
    fn trace(&self, url: &Url) {
        let body = self.form.as_ref().or(self.json.as_ref()).filter(|body| !body.is_empty());
        let data = body.map(|body| format!(" -d {body:?}")).unwrap_or_default();
        tracing::debug!(target: super::CURL, "cURL Command: curl -X {} {url}{data}", self.method);
    }

    /// Sends it and waits for the whole answer, `limit` at most. Answers by which a server says that it cannot
    /// serve at the moment are problems, too.
    pub async fn exchange(
        &self,
        http: &reqwest::Client,
        endpoint: &Url,
        limit: Duration,
    ) -> Result<Reply, Problem> {
        let whole = async {
            let reply = Reply::read(self.send(http, endpoint).await?).await?;
            if reply.status >= 500 { Err(reply.problem()) } else { Ok(reply) }
        };
        match tokio::time::timeout(limit, whole).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Problem::silence(limit)),
        }
    }
}

/// An endpoint did not serve a request.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    /// What happened, in a few words.
    pub text: String,
    /// Whether the request may have reached a server that acts on it.
    pub sent: bool,
    /// Whether the connection failed, rather than what came over it or did not come.
    pub disconnected: bool,
}

impl Problem {
    /// No answer within `limit`.
    pub fn silence(limit: Duration) -> Self {
        // What is left of a limit is not round; nobody needs its nanoseconds.
        let limit =
            Duration::from_millis(u64::try_from(limit.as_millis().next_multiple_of(10)).unwrap_or(u64::MAX));
        Self {
            text: format!("no answer within {}", humantime::format_duration(limit)),
            sent: true,
            disconnected: false,
        }
    }

    /// The server, or we, gave up waiting.
    pub fn abandoned() -> Self {
        Self { text: "the poll ended without an event".into(), sent: true, disconnected: false }
    }

    /// Only a connection that could not be made says for sure that nothing was sent.
    pub fn from_http(error: reqwest::Error) -> Self {
        let sent = !error.is_connect() && !error.is_builder();
        let disconnected = !error.is_builder() && !error.is_timeout();
        let error = error.without_url();
        let mut text = String::new();
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(next) = cause {
            text = next.to_string();
            cause = next.source();
        }
        Self { text, sent, disconnected }
    }

    pub fn at(self, endpoint: &Url) -> Attempt {
        let mut endpoint = endpoint.clone();
        // It will be shown, and a password may stand in it; what cannot have one has none.
        let _ = endpoint.set_username("").and_then(|()| endpoint.set_password(None));
        Attempt { endpoint, problem: self.text.into(), disconnected: self.disconnected }
    }
}

/// How members and users are refused: words without a number.
#[derive(serde::Deserialize)]
struct Words {
    message: String,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Reply {
    pub async fn read(response: Response) -> Result<Self, Problem> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.map_err(Problem::from_http)?.to_vec();
        Ok(Self { status, headers, body })
    }

    /// The body as JSON, if the server did what it was asked.
    pub fn parse<T: serde::de::DeserializeOwned>(&self, endpoint: &Url) -> Result<T, ClientError> {
        if !(200..300).contains(&self.status) {
            return Err(self.refusal(endpoint));
        }
        serde_json::from_slice(&self.body).map_err(|error| self.malformed(endpoint, &error.to_string()))
    }

    /// A number in a header; 0 when there is none.
    pub fn number(&self, header: &str) -> u64 {
        number(&self.headers, header)
    }

    /// A refusal in the server's words.
    pub fn refusal(&self, endpoint: &Url) -> ClientError {
        match serde_json::from_slice::<ApiError>(&self.body) {
            Ok(refusal) if refusal.code == CLEARED => ClientError::Cleared { refusal },
            Ok(refusal) => ClientError::Refused(refusal),
            Err(_) => match serde_json::from_slice::<Words>(&self.body) {
                Ok(Words { message }) => ClientError::Declined { status: self.status, message },
                Err(_) => self.malformed(endpoint, &format!("status {}", self.status)),
            },
        }
    }

    fn malformed(&self, endpoint: &Url, what: &str) -> ClientError {
        let problem = format!("{what}: {}", self.excerpt());
        ClientError::Malformed {
            attempt: Attempt { endpoint: endpoint.clone(), problem: problem.into(), disconnected: false },
        }
    }

    /// What a server error says: usually that there is no quorum or no leader.
    pub fn problem(&self) -> Problem {
        match serde_json::from_slice::<ApiError>(&self.body) {
            Ok(api) => Problem { text: api.to_string(), sent: !api.left_alone(), disconnected: false },
            Err(_) => Problem {
                text: format!("status {}: {}", self.status, self.excerpt()),
                sent: true,
                disconnected: false,
            },
        }
    }

    /// The body's start on one line.
    fn excerpt(&self) -> String {
        const LIMIT_CHARS: usize = 200;
        let text = String::from_utf8_lossy(&self.body);
        text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(LIMIT_CHARS).collect()
    }
}

/// A number in a header; 0 when there is none.
pub(super) fn number(headers: &HeaderMap, name: &str) -> u64 {
    headers.get(name).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The path of a key: starts with a slash, has no empty components, `.` or `..` (which no key can have: they are
/// resolved as in file names, as etcd's own client does), and every byte that is not plainly harmless escaped. A slash
/// at the end stays: it names the same key, but access control looks at the path as it was asked.
fn key_path(key: &str) -> String {
    let mut components: Vec<&str> = Vec::new();
    for component in key.split('/') {
        match component {
            "" | "." => {}
            ".." => {
                components.pop();
            }
            name => components.push(name),
        }
    }
    let mut path = String::new();
    for component in components {
        path.push('/');
        escape(component, &mut path);
    }
    if key.ends_with('/') {
        path.push('/');
    }
    path
}

/// A name as one component of a path.
pub(super) fn segment(name: &str) -> String {
    let mut path = String::new();
    escape(name, &mut path);
    path
}

/// RFC 3986: all but unreserved characters become `%XX`.
fn escape(text: &str, to: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => to.push(char::from(byte)),
            _ => to.push_str(&format!("%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_paths_with_every_odd_byte_escaped() {
        assert_eq!(key_path("/a/b"), "/a/b");
        assert_eq!(key_path("a/b/"), "/a/b/");
        assert_eq!(key_path("/"), "/");
        assert_eq!(key_path(""), "");
        assert_eq!(key_path("//a///b"), "/a/b");
        assert_eq!(key_path("/sp ace/?q#f%41+&;@:="), "/sp%20ace/%3Fq%23f%2541%2B%26%3B%40%3A%3D");
        assert_eq!(key_path("/gr\u{fc}n/\u{1F980}\n\0"), "/gr%C3%BCn/%F0%9F%A6%80%0A%00");
        assert_eq!(key_path("/.../a.b"), "/.../a.b");
    }

    #[test]
    fn dots_are_resolved_as_in_file_names() {
        assert_eq!(key_path("/a/./b/../c"), "/a/c");
        assert_eq!(key_path("/../../x"), "/x");
    }

    fn reply(status: u16, body: &str) -> Reply {
        Reply { status, headers: HeaderMap::new(), body: body.into() }
    }

    fn endpoint() -> Url {
        Url::parse("http://127.0.0.1:1").expect("a URL")
    }

    #[test]
    fn refusals_keep_the_servers_words() {
        let body = r#"{"errorCode":100,"message":"Key not found","cause":"/x","index":7}"#;
        let error = reply(404, body).parse::<serde_json::Value>(&endpoint()).expect_err("a refusal");
        assert!(error.is_not_found());
        assert_eq!(error.to_string(), "100: Key not found (/x) [7]");
    }

    #[test]
    fn cleared_history_is_told_apart_and_an_absent_cause_is_empty() {
        let body =
            r#"{"errorCode":401,"message":"The event in requested index is outdated and cleared","index":7}"#;
        let error = reply(400, body).parse::<serde_json::Value>(&endpoint()).expect_err("a refusal");
        assert!(
            matches!(&error, ClientError::Cleared { refusal } if refusal.cause.is_empty() && refusal.index == 7)
        );
    }

    #[test]
    fn pages_of_other_servers_are_named_as_such() {
        let error =
            reply(404, "<html>\n no  such page").parse::<serde_json::Value>(&endpoint()).expect_err("a page");
        assert_eq!(
            error.to_string(),
            "not an answer of the etcd v2 API: http://127.0.0.1:1: status 404: <html> no such page"
        );
    }

    #[test]
    fn a_server_without_a_leader_has_not_begun_a_write_but_one_that_timed_out_may_have() {
        let timed_out = r#"{"errorCode":300,"message":"Raft Internal Error","cause":"etcdserver: request timed out","index":0}"#;
        assert!(reply(500, timed_out).problem().sent);
        let no_leader =
            r#"{"errorCode":300,"message":"Raft Internal Error","cause":"etcdserver: no leader","index":0}"#;
        assert!(!reply(500, no_leader).problem().sent);
        let election = r#"{"errorCode":301,"message":"During Leader Election","index":0}"#;
        assert!(!reply(500, election).problem().sent);
        assert!(reply(502, "bad gateway").problem().sent);
    }
}
