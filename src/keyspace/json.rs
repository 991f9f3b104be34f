//! etcd's JSON, byte for byte: the order and omission of members, and the escapes of Go's encoder.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;

use super::{Event, Kind, Node, Tree, View};

impl Event {
    /// The answer to the caller and the line for watchers: JSON and a line feed. Made anew at each call: kept with the
    /// event, it would take more memory than the event as long as history remembers it.
    pub fn encoded(&self) -> Bytes {
        event(self).into()
    }
}

/// `{"action":…,"node":…,"prevNode":…}` and a line feed.
fn event(event: &Event) -> Vec<u8> {
    let size = 256 + event.node.node.value().len() + event.prev.as_ref().map_or(0, |p| p.node.value().len());
    let mut out = Vec::with_capacity(size);
    out.extend_from_slice(b"{\"action\":\"");
    out.extend_from_slice(event.action.as_str().as_bytes());
    out.extend_from_slice(b"\",\"node\":{");
    members(&mut out, &event.node, |_| {});
    out.push(b'}');
    if let Some(prev) = &event.prev {
        out.extend_from_slice(b",\"prevNode\":{");
        members(&mut out, prev, |_| {});
        out.push(b'}');
    }
    out.extend_from_slice(b"}\n");
    out
}

/// The answer to a get of `node`, `None` being the root: a file, or a directory with its children, or with
/// everything below when `recursive`. Hidden nodes are left out of listings.
pub fn listing(tree: &Tree, node: Option<&Arc<Node>>, recursive: bool, clock: i64) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + node.map_or(0, |n| n.value().len()));
    out.extend_from_slice(b"{\"action\":\"get\",\"node\":{");
    match node {
        Some(node) if node.is_dir() => {
            let path = node.key.as_bytes();
            members(&mut out, &View::new(node.clone(), clock), |out| {
                children(out, tree, path, recursive, clock)
            });
        }
        Some(node) => members(&mut out, &View::new(node.clone(), clock), |_| {}),
        None => {
            out.extend_from_slice(b"\"dir\":true");
            children(&mut out, tree, b"", recursive, clock);
        }
    }
    out.extend_from_slice(b"}}\n");
    out
}

/// The `nodes` member, absent when nothing is visible. Walks without recursion, so depth costs no stack: an open
/// directory is on `open` together with what is written when it closes.
fn children(out: &mut Vec<u8>, tree: &Tree, dir: &[u8], recursive: bool, clock: i64) {
    let mut open: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut first = true;
    let mut next = tree.below(dir).next();
    let mut opened = false;
    while let Some(node) = next {
        let path = node.key.as_bytes();
        if !node.key.is_below(dir) {
            break;
        }
        while open.last().is_some_and(|(above, _)| !node.key.is_below(above)) {
            first = close(out, &mut open, first);
        }
        if node.key.is_hidden_from(parent(path)) {
            next = tree.behind(path);
            continue;
        }
        if first {
            out.extend_from_slice(b",\"nodes\":[");
        } else {
            out.push(b',');
        }
        opened |= open.is_empty();
        first = false;
        out.push(b'{');
        let view = View::new(node.clone(), clock);
        if node.is_dir() && recursive {
            head(out, &view);
            let mut rest = Vec::new();
            tail(&mut rest, &view);
            open.push((path.to_vec(), rest));
            first = true;
            next = tree.below(path).next().or_else(|| tree.behind(path));
        } else {
            members(out, &view, |_| {});
            out.push(b'}');
            next = tree.behind(path);
        }
    }
    while !open.is_empty() {
        first = close(out, &mut open, first);
    }
    if opened {
        out.push(b']');
    }
}

/// Ends the innermost open directory; the next node is then not the first of its list.
fn close(out: &mut Vec<u8>, open: &mut Vec<(Vec<u8>, Vec<u8>)>, empty: bool) -> bool {
    if !empty {
        out.push(b']');
    }
    if let Some((_, rest)) = open.pop() {
        out.extend_from_slice(&rest);
    }
    out.push(b'}');
    false
}

fn parent(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|b| *b == b'/').unwrap_or(0);
    &path[..end]
}

/// A node's members in etcd's order; `nodes` writes the children, with a comma before.
fn members(out: &mut Vec<u8>, view: &View, nodes: impl FnOnce(&mut Vec<u8>)) {
    head(out, view);
    nodes(out);
    tail(out, view);
}

/// The members before `nodes`.
fn head(out: &mut Vec<u8>, view: &View) {
    let node = &view.node;
    out.extend_from_slice(b"\"key\":");
    string(out, node.key.as_bytes());
    match &node.kind {
        Kind::File(value) => {
            out.extend_from_slice(b",\"value\":");
            string(out, value);
        }
        Kind::Dir | Kind::GoneDir => out.extend_from_slice(b",\"dir\":true"),
        Kind::GoneFile => {}
    }
    if let Some(deadline) = &node.deadline {
        out.extend_from_slice(b",\"expiration\":\"");
        out.extend_from_slice(timestamp(deadline.wall).as_bytes());
        out.push(b'"');
        if view.ttl != 0 {
            let _ = write!(out, ",\"ttl\":{}", view.ttl);
        }
    }
}

/// The members behind `nodes`.
fn tail(out: &mut Vec<u8>, view: &View) {
    let _ = write!(out, ",\"modifiedIndex\":{},\"createdIndex\":{}", view.node.modified, view.node.created);
}

/// RFC 3339 in UTC with up to nine fraction digits, trailing zeros trimmed.
pub fn timestamp(nanos: i64) -> String {
    match jiff::Timestamp::from_nanosecond(nanos.into()) {
        Ok(time) => time.to_string(),
        Err(_) => "0001-01-01T00:00:00Z".into(),
    }
}

/// A JSON string of any bytes with the escapes of Go's `encoding/json`: `<`, `>`, `&`, U+2028 and U+2029 as `\u…`,
/// control characters as `\n`, `\r`, `\t` or `\u00XX`, and each byte of invalid UTF-8 as `\ufffd`.
pub fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    if bytes.iter().all(|byte| is_plain(*byte)) {
        out.extend_from_slice(bytes);
        out.push(b'"');
        return;
    }
    for chunk in bytes.utf8_chunks() {
        escape(out, chunk.valid());
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
    out.push(b'"');
}

/// Whether a byte stands for itself, whatever is beside it.
fn is_plain(byte: u8) -> bool {
    (0x20..0x80).contains(&byte) && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&')
}

fn escape(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut plain = 0;
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        let width = match byte {
            b'"' | b'\\' | b'<' | b'>' | b'&' | 0..0x20 => 1,
            0xe2 if bytes[at..].starts_with("\u{2028}".as_bytes()) => 3,
            0xe2 if bytes[at..].starts_with("\u{2029}".as_bytes()) => 3,
            _ => {
                at += 1;
                continue;
            }
        };
        out.extend_from_slice(&bytes[plain..at]);
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0xe2 => out.extend_from_slice(if bytes[at + 2] == 0xa8 { b"\\u2028" } else { b"\\u2029" }),
            _ => {
                let _ = write!(out, "\\u{byte:04x}");
            }
        }
        at += width;
        plain = at;
    }
    out.extend_from_slice(&bytes[plain..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        string(&mut out, bytes);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn escapes_are_those_of_go() {
        assert_eq!(
            escaped(b"<a&b>\"\\\n\r\t\x08\x7f"),
            r#""\u003ca\u0026b\u003e\"\\\n\r\t\u0008"#.to_string() + "\x7f\""
        );
        assert_eq!(escaped("ä\u{2028}\u{2029}€\u{fffd}".as_bytes()), "\"ä\\u2028\\u2029€\u{fffd}\"");
        assert_eq!(escaped(b"a\xff\xfeb"), r#""a\ufffd\ufffdb""#);
        assert_eq!(escaped(b"\xe2\x80"), r#""\ufffd\ufffd""#);
    }

    #[test]
    fn timestamps_trim_zeros() {
        assert_eq!(timestamp(1_500_000_000), "1970-01-01T00:00:01.5Z");
        assert_eq!(timestamp(2_000_000_000), "1970-01-01T00:00:02Z");
        assert_eq!(timestamp(123_456_789), "1970-01-01T00:00:00.123456789Z");
    }
}
