//! How a body of unknown length is written to a client.

use hyper::Request;
use warp::http::header::CONNECTION;
use warp::http::{HeaderMap, Version};

/// How the body of an answer of unknown length is written.
#[derive(Clone, Copy, Debug)]
pub struct Framing {
    /// In chunks; else its end is the connection's (HTTP/1.0).
    pub chunked: bool,
    /// The connection is used again.
    pub keep_alive: bool,
}

impl Framing {
    /// As the client can take it.
    pub fn of<B>(request: &Request<B>) -> Self {
        let chunked = request.version() >= Version::HTTP_11;
        let named = request.headers().get_all(CONNECTION).into_iter().filter_map(|value| value.to_str().ok());
        let closes =
            named.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case("close"));
        Self { chunked, keep_alive: chunked && !closes }
    }

    /// The same, when the answer's headers may say that the connection ends.
    pub fn under(self, headers: &HeaderMap) -> Self {
        Self { keep_alive: self.keep_alive && !headers.contains_key(CONNECTION), ..self }
    }
}
