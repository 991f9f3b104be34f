//! URLs in `[store]`: read, compared and shown.

use url::Url;

use crate::config::ConfigError;

/// A key of `[store]` whose value cannot be used, and why.
pub(super) fn bad(key: &str, message: impl std::fmt::Display) -> ConfigError {
    ConfigError::key("store", key, message)
}

/// Reads URLs on which one listens or is reached: `http://host:port`, nothing behind it, at least one.
pub(super) fn parse_urls(key: &str, given: Vec<String>) -> Result<Vec<Url>, ConfigError> {
    let parse = |text: &String| {
        let shown = presentable(text);
        let url = Url::parse(text)
            .map_err(|e| bad(key, format!("\"{shown}\" is not a URL such as http://10.0.0.1:2379: {e}")))?;
        if url.scheme() != "http" {
            return Err(bad(key, format!("\"{shown}\" must start with http://")));
        }
        if url.host().is_none() || url.port_or_known_default().is_none() {
            return Err(bad(key, format!("\"{shown}\" must name a host and a port")));
        }
        if !matches!(url.path(), "" | "/") {
            return Err(bad(key, format!("\"{shown}\" must not contain a path")));
        }
        Ok(url)
    };
    let urls = given.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    if urls.is_empty() { Err(bad(key, "at least one URL is needed")) } else { Ok(urls) }
}

/// URLs as etcd writes them: without the slash that an empty path is.
pub(super) fn texts(urls: &[Url]) -> Vec<String> {
    urls.iter().map(|url| url.as_str().trim_end_matches('/').to_string()).collect()
}

/// A URL as it may be shown, though it cannot be read: nothing of what stands in front of an `@`.
pub fn presentable(text: &str) -> String {
    match text.rsplit_once('@') {
        None => text.into(),
        Some((before, after)) => {
            let scheme = before.split_once("://").map_or(String::new(), |(scheme, _)| format!("{scheme}://"));
            format!("{scheme}…@{after}")
        }
    }
}

/// Whether two lists hold the same URLs, in whatever order and with or without a slash at the end.
pub(super) fn same_urls(one: &[String], other: &[String]) -> bool {
    let sorted = |urls: &[String]| {
        let mut urls: Vec<String> = urls.iter().map(|url| url.trim_end_matches('/').to_string()).collect();
        urls.sort();
        urls
    };
    sorted(one) == sorted(other)
}
