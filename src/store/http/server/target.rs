//! Request targets as Go's server takes them. Hyper refuses a few bytes that Go takes as they are, and leaves out what
//! stands behind `#`: those bytes are percent-encoded before hyper sees them, which changes nothing of what they name.
//!
//! Nothing but the target is ever touched. Where a head begins is therefore known, not guessed: bytes are counted out
//! up to the end of a head, then what hyper says of its body's length is skipped. A body in chunks ends where only hyper
//! knows; behind one, all bytes of the connection stay as they are.

/// How many bytes the body has whose head has been handed on; `None` when only its end tells.
pub type BodyLength = Option<u64>;

/// Follows the requests of one connection through its bytes.
#[derive(Debug, Default)]
pub struct Targets(Place);

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// The request line or an empty line before it, which is passed over.
    #[default]
    Start,
    Method,
    Target,
    Version,
    /// The first byte of a header line, or of the empty one that ends the head.
    LineStart,
    /// The carriage return of a line that may be the empty one has been seen.
    EmptyLine,
    Line,
    /// A head is complete; whoever reads it says how long its body is.
    HeadEnd,
    /// So many bytes of a body.
    Body(u64),
    /// Somewhere behind a body of unknown length.
    Unknown,
}

/// What became of bytes that were read.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken {
    /// So many of them may be handed on now. The others must wait until those have been read, and be given again.
    pub length: usize,
    /// What to hand on in place of these, if they must be changed.
    pub changed: Option<Vec<u8>>,
}

impl Targets {
    /// Takes bytes in the order in which they came, at least one. `body` says how long the body is that belongs to the
    /// last head, once that has been read.
    pub fn take(&mut self, bytes: &[u8], body: impl FnOnce() -> Option<BodyLength>) -> Taken {
        if self.0 == Place::HeadEnd {
            self.0 = match body() {
                Some(Some(0)) => Place::Start,
                Some(Some(length)) => Place::Body(length),
                Some(None) | None => Place::Unknown,
            };
        }
        match self.0 {
            Place::Unknown => Taken { length: bytes.len(), changed: None },
            Place::Body(left) => {
                let length = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
                let left = left - length as u64;
                self.0 = if left == 0 { Place::Start } else { Place::Body(left) };
                Taken { length, changed: None }
            }
            _ => self.head(bytes),
        }
    }

    fn head(&mut self, bytes: &[u8]) -> Taken {
        let mut changed: Option<Vec<u8>> = None;
        for (at, byte) in bytes.iter().enumerate() {
            if self.0 == Place::Target && must_be_encoded(*byte) {
                let changed = changed.get_or_insert_with(|| bytes[..at].to_vec());
                changed.extend_from_slice(&encoded(*byte));
                continue;
            }
            if let Some(changed) = &mut changed {
                changed.push(*byte);
            }
            self.0 = self.0.behind(*byte);
            if self.0 == Place::HeadEnd {
                return Taken { length: at + 1, changed };
            }
        }
        Taken { length: bytes.len(), changed }
    }
}

impl Place {
    /// Where in a head one is behind `byte`.
    fn behind(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Start, b'\r' | b'\n') => Self::Start,
            (Self::Start | Self::Method, b' ') => Self::Target,
            (Self::Target, b' ') => Self::Version,
            (Self::Method | Self::Target | Self::Version | Self::Line, b'\n') => Self::LineStart,
            (Self::LineStart, b'\r') => Self::EmptyLine,
            (Self::LineStart | Self::EmptyLine, b'\n') => Self::HeadEnd,
            (Self::LineStart | Self::EmptyLine, _) => Self::Line,
            (Self::Start, _) => Self::Method,
            (place, _) => place,
        }
    }
}

/// Whether Go takes `byte` in a target and hyper does not, or takes it for something else.
fn must_be_encoded(byte: u8) -> bool {
    matches!(byte, b'"' | b'#' | b'<' | b'>' | b'`' | 0x80..)
}

fn encoded(byte: u8) -> [u8; 3] {
    let digit = |value: u8| b"0123456789ABCDEF"[usize::from(value & 15)];
    [b'%', digit(byte >> 4), digit(byte)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What hyper gets when the bytes come in pieces of `size`, with bodies of these lengths behind the heads.
    fn pass(bytes: &[u8], size: usize, bodies: &[BodyLength]) -> Vec<u8> {
        let (mut targets, mut out, mut rest) = (Targets::default(), Vec::new(), bytes);
        let mut bodies = bodies.iter().copied();
        while !rest.is_empty() {
            let piece = &rest[..size.min(rest.len())];
            let Taken { length, changed } = targets.take(piece, || bodies.next());
            assert!(length > 0, "{rest:?}");
            out.extend(changed.unwrap_or_else(|| piece[..length].to_vec()));
            rest = &rest[length..];
        }
        out
    }

    #[test]
    fn only_targets_change_however_the_bytes_are_cut() {
        let odd = b"PUT /v2/keys/<a>?x=\"`#\xff\xc3\xa4{|}^ HTTP/1.1\r\nA: <#>\r\n\r\nvalue=<#>GET /< HTTP/1.1\r\nB: <\r\n\r\n";
        let good = b"PUT /v2/keys/%3Ca%3E?x=%22%60%23%FF%C3%A4{|}^ HTTP/1.1\r\nA: <#>\r\n\r\nvalue=<#>GET /%3C HTTP/1.1\r\nB: <\r\n\r\n";
        for size in 1..=odd.len() {
            assert_eq!(pass(odd, size, &[Some(9), Some(0)]), good, "in pieces of {size}");
        }
    }

    #[test]
    fn a_body_that_looks_like_a_request_stays_as_it_is() {
        let bytes = b"PUT / HTTP/1.1\n\nGET /< HTTP/1.1\r\n\r\n";
        for size in [1, 7, bytes.len()] {
            assert_eq!(pass(bytes, size, &[Some(19)]), bytes);
            // In chunks: nobody knows where the next head begins.
            assert_eq!(pass(bytes, size, &[None]), bytes);
        }
    }

    #[test]
    fn empty_lines_before_a_request_are_passed_over() {
        assert_eq!(pass(b"\r\n\nGET /# HTTP/1.0\n\n", 4, &[]), b"\r\n\nGET /%23 HTTP/1.0\n\n");
    }

    #[test]
    fn a_usual_head_is_handed_on_as_it_is() {
        let head = b"GET /v2/keys/a?recursive=true HTTP/1.1\r\nHost: h\r\n\r\n";
        let taken = Targets::default().take(head, || None);
        assert_eq!(taken, Taken { length: head.len(), changed: None });
    }
}
