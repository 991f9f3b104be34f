//! A client of single requests, which understands of an answer only its status and its length.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The longest that an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A kept connection that waits for its answers.
pub struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
    /// What of `read` belongs to answers that were given out.
    used: usize,
}

/// An answer; lives until the next request.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    pub status: u16,
    pub body: &'a [u8],
}

impl Connection {
    /// Connects to a server on this machine.
    pub fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, read: Vec::with_capacity(4096), used: 0 })
    }

    /// Sends a request and waits for its answer.
    pub fn ask(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        self.stream.write_all(request)?;
        self.read.drain(..self.used);
        loop {
            if let Some(whole) = Whole::find(&self.read) {
                self.used = whole.end;
                return Ok(Answer { status: whole.status, body: &self.read[whole.head..whole.end] });
            }
            let mut piece = [0; 4096];
            let count = self.stream.read(&mut piece)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.read.extend_from_slice(&piece[..count]);
        }
    }
}

/// Where an answer ends, once all of it is there.
pub struct Whole {
    pub status: u16,
    head: usize,
    pub end: usize,
}

impl Whole {
    /// Looks at the beginning of `bytes`. Chunked answers end with their last chunk.
    pub fn find(bytes: &[u8]) -> Option<Self> {
        let head = position(bytes, b"\r\n\r\n")? + 4;
        let text = std::str::from_utf8(&bytes[..head]).ok()?;
        let status = text.get(9..12)?.parse().ok()?;
        let length = text.split("\r\n").find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().ok())?
        });
        let end = match length {
            Some(length) => head + length,
            None => head + position(&bytes[head..], b"0\r\n\r\n")? + 5,
        };
        (bytes.len() >= end).then_some(Self { status, head, end })
    }
}

fn position(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// A PUT of a form.
pub fn put(path: &str, form: &str) -> Vec<u8> {
    let kind = "Content-Type: application/x-www-form-urlencoded";
    format!("PUT {path} HTTP/1.1\r\nHost: h\r\n{kind}\r\nContent-Length: {}\r\n\r\n{form}", form.len())
        .into_bytes()
}
