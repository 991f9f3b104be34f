//! The path of a request: decoded, and redirected when it is not clean, as Go's multiplexer does.

use bytes::Bytes;
use warp::http::header::{CONNECTION, HeaderValue, LOCATION};
use warp::http::{Method, StatusCode};
use warp::reply::Response;

use crate::store::http::answer::typed;

/// The decoded path, or the answer that leads to the clean one.
pub fn clean(path: Vec<u8>, query: &str, method: &Method) -> Result<Vec<u8>, Box<Response>> {
    if is_clean(&path) {
        return Ok(path);
    }
    let cleaned = cleaned(&path);
    if cleaned == path {
        return Ok(path);
    }
    let mut location = percent_encode(&cleaned);
    if !query.is_empty() {
        location = format!("{location}?{query}");
    }
    Err(Box::new(redirect(&location, method)))
}

/// The answer to a path with a broken escape: Go refuses it before anything else, and closes.
pub fn broken() -> Response {
    let text = Bytes::from_static(b"400 Bad Request");
    let mut response = typed(StatusCode::BAD_REQUEST, "text/plain; charset=utf-8", text);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// GET and HEAD are told in HTML as well.
fn redirect(location: &str, method: &Method) -> Response {
    let mut response = if matches!(*method, Method::GET | Method::HEAD) {
        let body = format!("<a href=\"{}\">Moved Permanently</a>.\n\n", html(location));
        typed(StatusCode::MOVED_PERMANENTLY, "text/html; charset=utf-8", body.into())
    } else {
        let mut response = Response::new(Bytes::new().into());
        *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
        response
    };
    if let Ok(value) = HeaderValue::from_str(location) {
        response.headers_mut().insert(LOCATION, value);
    }
    response
}

fn html(text: &str) -> String {
    let escapes = [('&', "&amp;"), ('<', "&lt;"), ('>', "&gt;"), ('"', "&#34;"), ('\'', "&#39;")];
    escapes.iter().fold(text.to_string(), |text, (char, escape)| text.replace(*char, escape))
}

/// Whether nothing is to be done for sure: no component is empty or begins with a dot.
fn is_clean(path: &[u8]) -> bool {
    path.starts_with(b"/") && !path.windows(2).any(|pair| matches!(pair, b"//" | b"/."))
}

/// `path` without empty components and with `.` and `..` carried out; a slash at the end stays.
fn cleaned(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let mut out = vec![b'/'];
    out.extend(parts.join(&b'/'));
    if path.ends_with(b"/") && out.len() > 1 {
        out.push(b'/');
    }
    out
}

/// `None` for a broken escape.
pub fn percent_decode(raw: &[u8]) -> Option<Vec<u8>> {
    if !raw.contains(&b'%') {
        return Some(raw.to_vec());
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let (digits, after) = after.split_at_checked(2)?;
            let text =
                std::str::from_utf8(digits).ok().filter(|t| t.bytes().all(|b| b.is_ascii_hexdigit()))?;
            out.push(u8::from_str_radix(text, 16).ok()?);
            rest = after;
        } else {
            out.push(*first);
            rest = after;
        }
    }
    Some(out)
}

/// Escapes what Go's `URL.EscapedPath` escapes in a path.
pub fn percent_encode(path: &[u8]) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(char::from(*byte)),
            b'-' | b'_' | b'.' | b'~' | b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'@' => {
                out.push(char::from(*byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean_of(path: &str) -> String {
        String::from_utf8(cleaned(path.as_bytes())).unwrap()
    }

    #[test]
    fn paths_are_cleaned_as_in_go() {
        for (raw, want) in [
            ("/", "/"),
            ("/v2/keys/a", "/v2/keys/a"),
            ("/v2/keys/a/", "/v2/keys/a/"),
            ("/v2/keys//a", "/v2/keys/a"),
            ("/v2/keys/./a/../b", "/v2/keys/b"),
            ("/..", "/"),
            ("/a/...", "/a/..."),
        ] {
            assert_eq!(clean_of(raw), want, "{raw}");
        }
    }

    #[test]
    fn escapes_are_decoded_and_broken_ones_noticed() {
        assert_eq!(percent_decode(b"/a%2Fb+%ff").unwrap(), b"/a/b+\xff");
        assert_eq!(percent_decode(b"/a%zz"), None);
        assert_eq!(percent_decode(b"/a%2"), None);
        assert_eq!(percent_decode(b"/a%+2"), None);
        assert_eq!(percent_encode(b"/a b\xff?"), "/a%20b%FF%3F");
    }

    #[test]
    fn redirects_are_told_in_html_to_those_who_read() {
        let of = |method| redirect("/a?b='<", &method);
        assert_eq!(html("/a?b='<&\">"), "/a?b=&#39;&lt;&amp;&#34;&gt;");
        assert!(of(Method::GET).headers().contains_key("content-type"));
        assert!(!of(Method::PUT).headers().contains_key("content-type"));
        assert_eq!(of(Method::PUT).headers()[LOCATION], "/a?b='<");
    }
}
