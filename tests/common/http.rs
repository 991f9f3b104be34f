//! Raw HTTP/1.1 over a kept connection: what goes over the wire is what a test wrote, and what comes back is whole.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// An answer as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// In the order in which they came, names as they were written.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("no JSON ({e}): {}", self.text()))
    }

    /// `X-Etcd-Index`.
    pub fn index(&self) -> u64 {
        self.header("x-etcd-index").and_then(|text| text.parse().ok()).expect("an X-Etcd-Index")
    }
}

/// A connection to one server.
pub struct Connection {
    stream: BufReader<TcpStream>,
    host: String,
}

impl Connection {
    /// Connects to `http://host:port`.
    pub fn open(url: &str) -> io::Result<Self> {
        let host = url.trim_start_matches("http://").trim_end_matches('/').to_string();
        let stream = TcpStream::connect(&host)?;
        Self::with(stream, host, Duration::from_secs(15))
    }

    /// Connects to `http://address:port`; neither that nor any answer may take longer than `limit`.
    pub fn open_within(url: &str, limit: Duration) -> io::Result<Self> {
        let host = url.trim_start_matches("http://").trim_end_matches('/').to_string();
        let address = host.parse().map_err(io::Error::other)?;
        let stream = TcpStream::connect_timeout(&address, limit)?;
        Self::with(stream, host, limit)
    }

    fn with(stream: TcpStream, host: String, limit: Duration) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(limit))?;
        Ok(Self { stream: BufReader::new(stream), host })
    }

    /// Sends a request; a body is a form.
    pub fn request(&mut self, method: &str, target: &str, form: Option<&str>) -> io::Result<Answer> {
        self.send(method, target, form)?;
        let head = self.read_head()?;
        self.read_body(method, head)
    }

    pub fn send(&mut self, method: &str, target: &str, form: Option<&str>) -> io::Result<()> {
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n", self.host);
        if let Some(form) = form {
            text += "Content-Type: application/x-www-form-urlencoded\r\n";
            text += &format!("Content-Length: {}\r\n", form.len());
        }
        text += "\r\n";
        text += form.unwrap_or_default();
        self.stream.get_mut().write_all(text.as_bytes())
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Status and headers; the body is still to come.
    pub fn read_head(&mut self) -> io::Result<Answer> {
        let broken = || io::Error::new(io::ErrorKind::UnexpectedEof, "no whole answer");
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(broken)?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(Answer { status, headers, body: Vec::new() });
            }
            let (name, value) = line.split_once(':').ok_or_else(broken)?;
            headers.push((name.to_string(), value.trim().to_string()));
        }
    }

    /// The body that belongs to a head.
    pub fn read_body(&mut self, method: &str, mut answer: Answer) -> io::Result<Answer> {
        if method == "HEAD" || answer.status == 204 || answer.status < 200 {
            return Ok(answer);
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk()? {
                answer.body.extend(chunk);
            }
        } else if let Some(length) = answer.header("content-length") {
            let mut body = vec![0; length.parse().map_err(io::Error::other)?];
            self.stream.read_exact(&mut body)?;
            answer.body = body;
        } else {
            self.stream.read_to_end(&mut answer.body)?;
        }
        Ok(answer)
    }

    /// How long to wait for bytes.
    pub fn set_patience(&mut self, patience: Duration) -> io::Result<()> {
        self.stream.get_ref().set_read_timeout(Some(patience))
    }

    /// The host as the server is addressed.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The next chunk of a chunked body; `None` at its end.
    pub fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let size = usize::from_str_radix(&self.line()?, 16).map_err(io::Error::other)?;
        let mut chunk = vec![0; size + 2];
        self.stream.read_exact(&mut chunk)?;
        chunk.truncate(size);
        Ok((size > 0).then_some(chunk))
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_string())
    }
}

/// One request on a connection of its own.
pub fn request(url: &str, method: &str, target: &str, form: Option<&str>) -> io::Result<Answer> {
    Connection::open(url)?.request(method, target, form)
}
