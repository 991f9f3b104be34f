//! `[client]`: how helpers and commands reach the store.

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::store::urls::presentable;
use super::{ConfigError, Section, Span};

/// Where a store listens when nobody says otherwise.
pub const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:2379";

/// What one source says of the client.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientFragment {
    /// Client URLs of store nodes.
    pub endpoints: Option<Vec<String>>,
    /// Time limit of one request.
    pub request_timeout: Option<Span>,
    /// Whom requests are made by, where the store controls access.
    pub username: Option<String>,
    /// That user's password.
    pub password: Option<String>,
}

impl Section for ClientFragment {
    const NAME: &'static str = "client";
    const ALIASES: &'static [(&'static str, &'static str)] = &[("MUSTER_PASSWORD", "password")];
}

/// Checked settings of the client.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// Client URLs of store nodes; never empty.
    pub endpoints: Vec<Url>,
    /// Time limit of one request to one endpoint.
    pub request_timeout: Duration,
    /// Whom requests are made by; nobody in particular when absent.
    pub credentials: Option<Credentials>,
}

/// A user of a store that controls access.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name; holds no colon.
    pub username: String,
    /// The user's password.
    pub password: String,
}

/// Without the password.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

impl TryFrom<ClientFragment> for ClientSettings {
    type Error = ConfigError;

    fn try_from(fragment: ClientFragment) -> Result<Self, ConfigError> {
        let texts = fragment.endpoints.unwrap_or_else(|| vec![DEFAULT_ENDPOINT.into()]);
        let endpoints = texts.iter().map(|text| endpoint(text)).collect::<Result<Vec<_>, _>>()?;
        if endpoints.is_empty() {
            return Err(ConfigError::key("client", "endpoints", "at least one URL is needed"));
        }
        let request_timeout = fragment.request_timeout.map_or(Duration::from_secs(5), |s| s.0);
        if request_timeout.is_zero() {
            return Err(ConfigError::key("client", "request_timeout", "must be longer than nothing"));
        }
        let credentials = match (fragment.username, fragment.password) {
            (None, _) => None,
            (Some(username), _) if username.is_empty() || username.contains(':') => {
                return Err(ConfigError::key("client", "username", "must be a name without a colon"));
            }
            (Some(username), password) => {
                Some(Credentials { username, password: password.unwrap_or_default() })
            }
        };
        Ok(Self { endpoints, request_timeout, credentials })
    }
}

/// Parses one endpoint; `host:port` without a scheme means plain HTTP.
fn endpoint(text: &str) -> Result<Url, ConfigError> {
    let bad = |why: &dyn std::fmt::Display| {
        ConfigError::key(
            "client",
            "endpoints",
            format!("\"{}\" is not an endpoint such as {DEFAULT_ENDPOINT}: {why}", presentable(text)),
        )
    };
    let full = if text.contains("://") { text.to_string() } else { format!("http://{text}") };
    let url = Url::parse(&full).map_err(|e| bad(&e))?;
    if url.scheme() != "http" {
        return Err(bad(&"the scheme must be http"));
    }
    if url.host().is_none() {
        return Err(bad(&"it names no host"));
    }
    Ok(url)
}
