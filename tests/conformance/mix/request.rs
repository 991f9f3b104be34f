//! A request as it goes over the wire, with places left open for what only the servers know.

use crate::conformance::names::Names;
use crate::conformance::pair::{Wire, fill};

const FORM: &str = "application/x-www-form-urlencoded";

/// A request. In target and body `{i}`, `{i+N}`, `{i-N}` stand for the index so far, `{o-N}` for the name that a
/// creation in order gave at that index, `{member}`, `{peer}` and `{client}` for the server's own id and URLs.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

/// How a body is sent.
#[derive(Clone, Debug)]
pub enum Body {
    None,
    /// With its length.
    Sized(Vec<u8>),
    /// Only when the server says so.
    Announced(Vec<u8>),
    /// In chunks of so many bytes.
    Chunked(Vec<u8>, usize),
}

impl Request {
    /// A request without headers and body. `~` at the start of the target stands for `/v2/keys`.
    pub fn new(method: &str, target: &str) -> Self {
        let target = target.strip_prefix('~').map_or(target.to_string(), |rest| format!("/v2/keys{rest}"));
        Self { method: method.into(), target, headers: Vec::new(), body: Body::None }
    }

    /// The same with a form as its body.
    pub fn form(self, form: &str) -> Self {
        self.typed(FORM, Body::Sized(form.into()))
    }

    /// The same with a JSON body.
    pub fn json(self, text: &str) -> Self {
        self.typed("application/json", Body::Sized(text.into()))
    }

    /// The same with a body of some type.
    pub fn typed(mut self, kind: &str, body: Body) -> Self {
        self.body = body;
        self.header("Content-Type", kind)
    }

    /// The same with one more header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The bytes for one of the servers.
    pub fn wire(&self, index: u64, names: &Names) -> Wire {
        let fill = |text: &[u8]| match std::str::from_utf8(text) {
            Ok(text) => names.fill(&fill(text, index)).into_bytes(),
            Err(_) => text.to_vec(),
        };
        let mut head = format!("{} ", self.method).into_bytes();
        head.extend(fill(self.target.as_bytes()));
        head.extend(b" HTTP/1.1\r\nHost: h\r\n");
        for (name, value) in &self.headers {
            head.extend(format!("{name}: {value}\r\n").bytes());
        }
        let (body, announced) = match &self.body {
            Body::None => (Vec::new(), false),
            Body::Sized(body) => (fill(body), false),
            Body::Announced(body) => (fill(body), true),
            Body::Chunked(body, size) => (chunks(&fill(body), *size), false),
        };
        match self.body {
            Body::None => {}
            Body::Chunked(..) => head.extend(b"Transfer-Encoding: chunked\r\n"),
            _ => head.extend(format!("Content-Length: {}\r\n", body.len()).bytes()),
        }
        if announced {
            head.extend(b"Expect: 100-continue\r\n");
        }
        head.extend(b"\r\n");
        Wire { method: self.method.clone(), head, body, announced }
    }
}

fn chunks(body: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in body.chunks(size) {
        out.extend(format!("{:x}\r\n", chunk.len()).bytes());
        out.extend(chunk);
        out.extend(b"\r\n");
    }
    out.extend(b"0\r\n\r\n");
    out
}

impl std::fmt::Display for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match self {
            Self::None => Ok(()),
            Self::Sized(body) => write!(f, "{}", text(body)),
            Self::Announced(body) => write!(f, "(announced) {}", text(body)),
            Self::Chunked(body, size) => write!(f, "(chunks of {size}) {}", text(body)),
        }
    }
}
