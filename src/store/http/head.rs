//! What a request says before its body.

use warp::http::{HeaderMap, Method};

/// A request without its body.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    /// What is to be done.
    pub method: &'a Method,
    /// With what; decoded, clean, and without the prefix of the pages that it was handed on to.
    pub path: &'a [u8],
    /// What follows the question mark, encoded.
    pub query: &'a str,
    /// Its headers.
    pub headers: &'a HeaderMap,
}

impl Head<'_> {
    /// The same with what follows `prefix`, when its path is that or below it.
    pub fn below(self, prefix: &[u8]) -> Option<Self> {
        let path = self.path.strip_prefix(prefix)?;
        (path.is_empty() || path.starts_with(b"/")).then_some(Self { path, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_end_at_a_slash() {
        let headers = HeaderMap::new();
        let head = |path| Head { method: &Method::GET, path, query: "", headers: &headers };
        let below = |path| head(path).below(b"/v2/keys").map(|head| head.path);
        assert_eq!(below(b"/v2/keys"), Some(&b""[..]));
        assert_eq!(below(b"/v2/keys/a"), Some(&b"/a"[..]));
        assert_eq!(below(b"/v2/keysX"), None);
    }
}
