//! Reading a request's body up to its limit, and what becomes of a body that nobody wanted.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Buf;
use futures_util::{Stream, StreamExt};
use warp::http::HeaderMap;
use warp::http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HeaderValue};
use warp::reply::Response;

use super::answer::ApiError;

/// Go's limit for forms: this many bytes pass, one more does not.
pub const LIMIT_BYTES: usize = 10 << 20;

/// Up to so many unread bytes are read and forgotten so that the connection can go on, as in Go's server.
const FORGET_BYTES: usize = 256 << 10;

/// The whole body.
///
/// # Errors
/// 210 when it is too large or breaks off.
pub async fn read<S, B>(body: S) -> Result<Vec<u8>, ApiError>
where
    S: Stream<Item = Result<B, warp::Error>> + Send,
    B: Buf,
{
    up_to(body, LIMIT_BYTES).await
}

/// The whole body, of `limit` bytes at most.
///
/// # Errors
/// As [`read`].
pub async fn up_to<S, B>(body: S, limit: usize) -> Result<Vec<u8>, ApiError>
where
    S: Stream<Item = Result<B, warp::Error>> + Send,
    B: Buf,
{
    let mut body = std::pin::pin!(body);
    let mut bytes = Vec::new();
    while let Some(piece) = body.next().await {
        let mut piece = piece.map_err(|_| ApiError::request(210, "unexpected EOF"))?;
        while piece.has_remaining() {
            let chunk = piece.chunk();
            bytes.extend_from_slice(chunk);
            let length = chunk.len();
            piece.advance(length);
        }
        if bytes.len() > limit {
            return Err(ApiError::request(210, "http: POST too large"));
        }
    }
    Ok(bytes)
}

/// A request's body that knows how far it has been read.
pub struct Unread<'a, S> {
    stream: Pin<&'a mut S>,
    begun: bool,
    ended: bool,
}

impl<'a, S> Unread<'a, S> {
    /// A body that nobody has read from yet.
    pub fn new(stream: Pin<&'a mut S>) -> Self {
        Self { stream, begun: false, ended: false }
    }
}

impl<S, B> Stream for Unread<'_, S>
where
    S: Stream<Item = Result<B, warp::Error>>,
{
    type Item = Result<B, warp::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.begun = true;
        let polled = self.stream.as_mut().poll_next(context);
        self.ended = matches!(polled, Poll::Ready(None | Some(Err(_))));
        polled
    }
}

impl<S, B> Unread<'_, S>
where
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
{
    /// Reads what the page left unread. When that is too much, or the client still waits to be asked for it, `response`
    /// says that the connection ends.
    pub async fn forget(mut self, headers: &HeaderMap, response: &mut Response) {
        let empty = headers.get(CONTENT_LENGTH).is_some_and(|length| length == "0");
        let waits = !self.begun && !empty && headers.contains_key(EXPECT);
        let mut left = FORGET_BYTES;
        while !waits && left > 0 {
            match self.next().await {
                None => return,
                Some(Ok(piece)) => left = left.saturating_sub(piece.remaining()),
                Some(Err(_)) => break,
            }
        }
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use futures_util::stream;
    use warp::Reply;

    async fn left_open(pieces: usize, expect: bool, read_all: bool) -> bool {
        let body = stream::iter((0..pieces).map(|_| Ok(Bytes::from(vec![0; 1 << 10]))));
        let mut body = std::pin::pin!(body);
        let mut body = Unread::new(body.as_mut());
        if read_all {
            read(&mut body).await.unwrap();
        }
        let headers =
            HeaderMap::from_iter(expect.then(|| (EXPECT, HeaderValue::from_static("100-continue"))));
        let mut response = warp::reply().into_response();
        body.forget(&headers, &mut response).await;
        !response.headers().contains_key(CONNECTION)
    }

    #[tokio::test]
    async fn a_connection_goes_on_behind_a_body_that_was_read_or_is_small() {
        assert!(left_open(0, false, false).await);
        assert!(left_open(200, false, false).await);
        assert!(left_open(1000, true, true).await);
        assert!(!left_open(300, false, false).await, "too much to read for nothing");
        assert!(!left_open(1, true, false).await, "the client does not send it unless it is asked");
    }
}
