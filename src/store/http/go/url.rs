//! URLs of members, read and refused as Go's `net/url` and etcd's `pkg/types` do, whose words clients are shown.

/// A character as Go's `strconv.Quote` writes it.
pub fn escape(char: char) -> String {
    match char {
        '\\' => "\\\\".into(),
        '"' => "\\\"".into(),
        '\u{7}' => "\\a".into(),
        '\u{8}' => "\\b".into(),
        '\u{c}' => "\\f".into(),
        '\n' => "\\n".into(),
        '\r' => "\\r".into(),
        '\t' => "\\t".into(),
        '\u{b}' => "\\v".into(),
        '\0'..' ' | '\u{7f}' => format!("\\x{:02x}", u32::from(char)),
        '\u{80}'..='\u{a0}' | '\u{ad}' => format!("\\u{:04x}", u32::from(char)),
        char => char.to_string(),
    }
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.chars().map(escape).collect::<String>())
}

/// The peer URLs that a request names, sorted as etcd sorts them.
///
/// # Errors
/// etcd's words for the first URL that will not do.
pub fn peer_urls(texts: &[String]) -> Result<Vec<String>, String> {
    if texts.is_empty() {
        return Err("no valid URLs given".into());
    }
    let mut urls = texts.iter().map(|text| peer_url(text.trim())).collect::<Result<Vec<_>, _>>()?;
    urls.sort();
    Ok(urls)
}

fn peer_url(text: &str) -> Result<String, String> {
    let url = parse(text)?;
    if !["http", "https", "unix", "unixs"].contains(&url.scheme.as_str()) {
        return Err(format!("URL scheme must be http, https, unix, or unixs: {text}"));
    }
    if !splits_into_host_and_port(url.host) {
        return Err(format!("URL address does not have the form \"host:port\": {text}"));
    }
    if !url.path.is_empty() {
        return Err(format!("URL must not contain a path: {text}"));
    }
    let rest = text.get(url.scheme.len()..).unwrap_or_default();
    Ok(format!("{}{}", url.scheme, rest.strip_suffix('#').unwrap_or(rest)))
}

struct Parts<'a> {
    /// In lower case.
    scheme: String,
    /// With the port.
    host: &'a str,
    path: &'a str,
}

fn parse(text: &str) -> Result<Parts<'_>, String> {
    let (front, fragment) = text.split_once('#').unwrap_or((text, ""));
    let parts = parse_front(front).map_err(|why| format!("parse {}: {why}", quote(front)))?;
    unescape(fragment, false).map_err(|why| format!("parse {}: {why}", quote(text)))?;
    Ok(parts)
}

fn parse_front(text: &str) -> Result<Parts<'_>, String> {
    if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return Err("net/url: invalid control character in URL".into());
    }
    let (scheme, rest) = split_scheme(text)?;
    let (rest, _query) = rest.split_once('?').unwrap_or((rest, ""));
    let scheme = scheme.to_lowercase();
    if !rest.starts_with('/') {
        if !scheme.is_empty() {
            return Ok(Parts { scheme, host: "", path: "" });
        }
        if rest.split('/').next().is_some_and(|first| first.contains(':')) {
            return Err("first path segment in URL cannot contain colon".into());
        }
    }
    let mut parts = Parts { scheme, host: "", path: rest };
    let authority = rest.strip_prefix("//");
    if let Some(authority) = authority.filter(|_| !parts.scheme.is_empty() || !rest.starts_with("///")) {
        let (authority, path) = authority.split_at(authority.find('/').unwrap_or(authority.len()));
        parts.host = authority_host(authority)?;
        parts.path = path;
    }
    unescape(parts.path, false)?;
    Ok(parts)
}

fn split_scheme(text: &str) -> Result<(&str, &str), String> {
    for (at, char) in text.char_indices() {
        match char {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme".into()),
            ':' => return Ok((&text[..at], &text[at + 1..])),
            _ => break,
        }
    }
    Ok(("", text))
}

fn authority_host(authority: &str) -> Result<&str, String> {
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    check_host(host)?;
    if let Some(user) = user {
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte);
        if !user.bytes().all(fine) {
            return Err("net/url: invalid userinfo".into());
        }
        unescape(user, false)?;
    }
    Ok(host)
}

fn check_host(host: &str) -> Result<(), String> {
    let port = if host.starts_with('[') {
        let end = host.rfind(']').ok_or("missing ']' in host")?;
        &host[end + 1..]
    } else {
        host.rfind(':').map_or("", |at| &host[at..])
    };
    let digits = port.strip_prefix(':');
    if !port.is_empty() && !digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(format!("invalid port {} after host", quote(port)));
    }
    unescape(host, true)
}

/// Checks escapes and, in a host, characters.
fn unescape(text: &str, host: bool) -> Result<(), String> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let step = if *byte == b'%' { 3 } else { 1 };
        let end = (at + step).min(bytes.len());
        let piece = &bytes[at..end];
        let shown = || quote(&String::from_utf8_lossy(piece));
        if *byte == b'%' {
            let whole = piece.len() == 3 && piece[1..].iter().all(u8::is_ascii_hexdigit);
            // A host may spell out only what is no ASCII, and the mark of a zone.
            if !whole || host && piece[1] < b'8' && piece != b"%25" {
                return Err(format!("invalid URL escape {}", shown()));
            }
        } else if host && byte.is_ascii() && !is_host_byte(*byte) {
            return Err(format!("invalid character {} in host name", shown()));
        }
        at = end;
    }
    Ok(())
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!$&'()*+,;=:[]<>\"-_.~".contains(&byte)
}

/// Whether Go's `net.SplitHostPort` would take it.
fn splits_into_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let brackets = ['[', ']'];
    match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']').is_some_and(|inner| !inner.contains(brackets)),
        None => !host.contains(':') && !host.contains(brackets) && !port.contains(brackets),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        peer_urls(&[text.to_string()]).expect_err("it is refused")
    }

    #[test]
    fn urls_are_trimmed_sorted_and_kept_as_they_are() {
        let given = ["http://127.0.0.1:9", " http://127.0.0.1:8?a=b#c ", "https://u:p@H:1", "HTTP://[::1]:1"];
        let urls = peer_urls(&given.map(String::from)).unwrap();
        assert_eq!(
            urls,
            ["http://127.0.0.1:8?a=b#c", "http://127.0.0.1:9", "http://[::1]:1", "https://u:p@H:1"]
        );
        assert_eq!(peer_urls(&["http://h:".to_string()]).unwrap(), ["http://h:"]);
        assert_eq!(peer_urls(&[]).unwrap_err(), "no valid URLs given");
    }

    #[test]
    fn refusals_have_etcds_words() {
        for text in ["h:1", "ftp://h:1", "", "localhost:2380", "/x"] {
            let words = format!("URL scheme must be http, https, unix, or unixs: {text}");
            assert_eq!(refusal(text), words);
        }
        for text in ["http://h", "http:h:1", "http://h:1:2"] {
            assert_eq!(refusal(text), format!("URL address does not have the form \"host:port\": {text}"));
        }
        for text in ["http://h:1/x", "http://h:1/", "http://[::1]:1/p", "http://u:p@h:1/x"] {
            assert_eq!(refusal(text), format!("URL must not contain a path: {text}"));
        }
    }

    #[test]
    fn what_is_no_url_is_refused_in_gos_words() {
        for (text, words) in [
            ("http://h:x", "invalid port \":x\" after host"),
            ("://", "missing protocol scheme"),
            ("http://a b:1", "invalid character \" \" in host name"),
            ("http://a%zz:1", "invalid URL escape \"%zz\""),
            ("http://[::1:1", "missing ']' in host"),
            ("127.0.0.1:2380", "first path segment in URL cannot contain colon"),
            ("1http://h:1", "first path segment in URL cannot contain colon"),
        ] {
            assert_eq!(refusal(text), format!("parse \"{text}\": {words}"));
        }
        assert_eq!(
            refusal("http://h:1\u{1}"),
            "parse \"http://h:1\\x01\": net/url: invalid control character in URL"
        );
    }
}
