//! etcd's JSON, byte for byte: the order and omission of members, and the escapes of Go's encoder.

use std::io::Write;

use super::{Blob, Event, Kind, Node, View};

/// Where JSON is written to.
pub(super) trait Sink {
    /// What is written as it is goes behind this.
    fn text(&mut self) -> &mut Vec<u8>;

    /// Writes a string of any bytes.
    fn value(&mut self, value: &Blob);
}

impl Sink for Vec<u8> {
    fn text(&mut self) -> &mut Vec<u8> {
        self
    }

    fn value(&mut self, value: &Blob) {
        string(self, value);
    }
}

impl Event {
    /// The answer to the caller and the line for watchers: JSON and a line feed. Made anew at each call: kept with the
    /// event, it would take more memory than the event as long as history remembers it.
    pub fn encoded(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256 + self.value_bytes());
        event(&mut out, self);
        out
    }

    /// How many bytes the values have that it shows.
    pub fn value_bytes(&self) -> usize {
        self.node.node.value().len() + self.prev.as_ref().map_or(0, |prev| prev.node.value().len())
    }
}

/// `{"action":…,"node":…,"prevNode":…}` and a line feed.
pub(super) fn event(out: &mut impl Sink, event: &Event) {
    out.text().extend_from_slice(b"{\"action\":\"");
    out.text().extend_from_slice(event.action.as_str().as_bytes());
    out.text().extend_from_slice(b"\",\"node\":{");
    members(out, &event.node);
    out.text().push(b'}');
    if let Some(prev) = &event.prev {
        out.text().extend_from_slice(b",\"prevNode\":{");
        members(out, prev);
        out.text().push(b'}');
    }
    out.text().extend_from_slice(b"}\n");
}

/// A node's members in etcd's order.
fn members(out: &mut impl Sink, view: &View) {
    head(out, &view.node, view.ttl);
    tail(out.text(), &view.node);
}

/// The members before `nodes`; `ttl` is what is left of the lifetime, in seconds.
pub(super) fn head(out: &mut impl Sink, node: &Node, ttl: i64) {
    key(out.text(), node);
    match &node.kind {
        Kind::File(value) => {
            out.text().extend_from_slice(b",\"value\":");
            out.value(value);
        }
        Kind::Dir | Kind::GoneDir => out.text().extend_from_slice(b",\"dir\":true"),
        Kind::GoneFile => {}
    }
    lifetime(out.text(), node, ttl);
}

/// The first member.
pub(super) fn key(out: &mut Vec<u8>, node: &Node) {
    out.extend_from_slice(b"\"key\":");
    string(out, node.key.as_bytes());
}

/// The members about a lifetime, if the node has one.
pub(super) fn lifetime(out: &mut Vec<u8>, node: &Node, ttl: i64) {
    if let Some(deadline) = &node.deadline {
        out.extend_from_slice(b",\"expiration\":\"");
        out.extend_from_slice(timestamp(deadline.wall).as_bytes());
        out.push(b'"');
        if ttl != 0 {
            let _ = write!(out, ",\"ttl\":{ttl}");
        }
    }
}

/// The members behind `nodes`.
pub(super) fn tail(out: &mut Vec<u8>, node: &Node) {
    let _ = write!(out, ",\"modifiedIndex\":{},\"createdIndex\":{}", node.modified, node.created);
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
    escaped(out, bytes);
    out.push(b'"');
}

/// What stands between the quotes of [`string`]. Parts that were cut at a [`boundary`] give what the whole gives.
pub(super) fn escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.iter().all(|byte| is_plain(*byte)) {
        out.extend_from_slice(bytes);
        return;
    }
    for chunk in bytes.utf8_chunks() {
        escape(out, chunk.valid());
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

/// The last place up to `at`, and at most three bytes before it, that is inside of no character.
pub(super) fn boundary(bytes: &[u8], at: usize) -> usize {
    let continues = |place: usize| bytes.get(place).is_some_and(|byte| (0x80..0xc0).contains(byte));
    // Where four bytes continue a character, the last of them belongs to none: it has three at most.
    let at = at.min(bytes.len());
    (at.saturating_sub(3)..=at).rev().find(|place| !continues(*place)).unwrap_or(at)
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

    fn quoted(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        string(&mut out, bytes);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn escapes_are_those_of_go() {
        assert_eq!(
            quoted(b"<a&b>\"\\\n\r\t\x08\x7f"),
            r#""\u003ca\u0026b\u003e\"\\\n\r\t\u0008"#.to_string() + "\x7f\""
        );
        assert_eq!(quoted("ä\u{2028}\u{2029}€\u{fffd}".as_bytes()), "\"ä\\u2028\\u2029€\u{fffd}\"");
        assert_eq!(quoted(b"a\xff\xfeb"), r#""a\ufffd\ufffdb""#);
        assert_eq!(quoted(b"\xe2\x80"), r#""\ufffd\ufffd""#);
    }

    #[test]
    fn timestamps_trim_zeros() {
        assert_eq!(timestamp(1_500_000_000), "1970-01-01T00:00:01.5Z");
        assert_eq!(timestamp(2_000_000_000), "1970-01-01T00:00:02Z");
        assert_eq!(timestamp(123_456_789), "1970-01-01T00:00:00.123456789Z");
    }
}
