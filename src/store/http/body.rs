//! Reading a request's body up to its limit, and what becomes of a body that nobody wanted.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::{FutureExt, Stream, StreamExt, stream};
use hyper::body::{Body, Frame, Incoming};
use tokio::time::error::Elapsed;
use warp::http::HeaderMap;
use warp::http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HeaderValue};
use warp::reply::Response;

use super::answer::ApiError;
use crate::store::limits::{Limits, Room, SMALL_BODY_BYTES};

/// Go's limit for forms: this many bytes pass, one more does not.
pub const LIMIT_BYTES: usize = 10 << 20;

/// Up to so many unread bytes are read and forgotten so that the connection can go on, as in Go's server.
const FORGET_BYTES: usize = 256 << 10;

/// How long the next piece of a body may take.
const PIECE_TIMEOUT: Duration = Duration::from_secs(30);

/// A request's body, piece by piece.
pub trait Pieces: Stream<Item = Result<Self::Piece, Self::Fault>> + Send {
    /// Some of its bytes.
    type Piece: Buf + Send;
    /// Why there are no more.
    type Fault: Send;
}

impl<S, B: Buf + Send, E: Send> Pieces for S
where
    S: Stream<Item = Result<B, E>> + Send,
{
    type Piece = B;
    type Fault = E;
}

/// The pieces of a body as hyper has it.
pub fn pieces<B>(mut body: B) -> impl Pieces + Unpin
where
    B: Body<Data = Bytes> + Send + Unpin,
    B::Error: Send,
{
    stream::poll_fn(move |context| {
        loop {
            let frame = ready!(Pin::new(&mut body).poll_frame(context));
            // What is no data are trailers, which mean nothing here.
            match frame.map(|frame| frame.map(|frame| frame.into_data())) {
                None => return Poll::Ready(None),
                Some(Err(fault)) => return Poll::Ready(Some(Err(fault))),
                Some(Ok(Ok(piece))) => return Poll::Ready(Some(Ok(piece))),
                Some(Ok(Err(_))) => {}
            }
        }
    })
}

/// The next piece; most have come already, and then no timer is set.
async fn next<S: Pieces + Unpin>(body: &mut S) -> Result<Option<S::Item>, Elapsed> {
    match body.next().now_or_never() {
        Some(next) => Ok(next),
        None => tokio::time::timeout(PIECE_TIMEOUT, body.next()).await,
    }
}

/// A body and the room that it takes; keep both until the body is no longer needed.
#[derive(Debug)]
pub struct Whole {
    /// The body.
    pub bytes: Vec<u8>,
    _room: Option<Room>,
}

/// Why a body was not read whole.
#[derive(Debug)]
pub enum Broken {
    /// It has more bytes than it may have.
    TooLarge,
    /// It broke off or did not go on.
    Cut,
    /// Too much is under way.
    Busy,
}

/// The whole body, of up to [`LIMIT_BYTES`].
///
/// # Errors
/// 210 when it is too large or breaks off, 300 when too many large ones are under way.
pub async fn read(body: impl Pieces, headers: &HeaderMap, limits: &Limits) -> Result<Whole, ApiError> {
    up_to(body, LIMIT_BYTES, headers, limits).await
}

/// The whole body, of `limit` bytes at most.
///
/// # Errors
/// As [`read`].
pub async fn up_to(
    body: impl Pieces,
    limit: usize,
    headers: &HeaderMap,
    limits: &Limits,
) -> Result<Whole, ApiError> {
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let length = length.unwrap_or(limit).min(limit);
    take(body, limit, Some((length, limits))).await.map_err(|broken| match broken {
        Broken::TooLarge => ApiError::request(210, "http: POST too large"),
        Broken::Cut => ApiError::request(210, "unexpected EOF"),
        Broken::Busy => ApiError::busy(),
    })
}

/// The whole body of a request that is always small.
///
/// # Errors
/// It has more than `limit` bytes, or breaks off.
pub async fn read_up_to(body: impl Pieces, limit: usize) -> Result<Vec<u8>, Broken> {
    take(body, limit, None).await.map(|whole| whole.bytes)
}

/// Reads the body. What is not taken is passed over up to [`LIMIT_BYTES`], because a client that is still sending does
/// not look for an answer.
async fn take(body: impl Pieces, limit: usize, room: Option<(usize, &Limits)>) -> Result<Whole, Broken> {
    let mut body = std::pin::pin!(body);
    let result = gather(&mut body, limit, room).await;
    if matches!(result, Err(Broken::TooLarge | Broken::Busy)) {
        let mut passed = 0;
        while passed < LIMIT_BYTES
            && let Ok(Some(Ok(piece))) = next(&mut body).await
        {
            passed += piece.remaining();
        }
    }
    result
}

/// Room is asked for once, for the length that was announced: who holds some and waits for more could wait for ever.
async fn gather(
    body: &mut (impl Pieces + Unpin),
    limit: usize,
    room: Option<(usize, &Limits)>,
) -> Result<Whole, Broken> {
    let mut whole = Whole { bytes: Vec::new(), _room: None };
    while let Some(piece) = next(body).await.map_err(|_| Broken::Cut)? {
        let mut piece = piece.map_err(|_| Broken::Cut)?;
        let size = whole.bytes.len() + piece.remaining();
        if size > limit {
            return Err(Broken::TooLarge);
        }
        if let Some((length, limits)) = room
            && whole._room.is_none()
            && size > SMALL_BODY_BYTES
        {
            whole._room = Some(limits.body(length).await.ok_or(Broken::Busy)?);
            whole.bytes.reserve_exact(length.saturating_sub(whole.bytes.len()));
        }
        while piece.has_remaining() {
            let chunk = piece.chunk();
            whole.bytes.extend_from_slice(chunk);
            let length = chunk.len();
            piece.advance(length);
        }
    }
    Ok(whole)
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

impl<S: Pieces> Stream for Unread<'_, S> {
    type Item = Result<S::Piece, S::Fault>;

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

impl<S: Pieces> Unread<'_, S> {
    /// Reads what the page left unread. When that is too much, or the client still waits to be asked for it, `response`
    /// says that the connection ends.
    pub async fn forget(mut self, headers: &HeaderMap, response: &mut Response) {
        let empty = headers.get(CONTENT_LENGTH).is_some_and(|length| length == "0");
        let waits = !self.begun && !empty && headers.contains_key(EXPECT);
        let mut left = FORGET_BYTES;
        while !waits && left > 0 {
            match next(&mut self).await {
                Ok(None) => return,
                Ok(Some(Ok(piece))) => left = left.saturating_sub(piece.remaining()),
                Ok(Some(Err(_))) | Err(_) => break,
            }
        }
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// A body that is lent to a page which must own it; what the page leaves of it is still here afterwards.
#[derive(Clone)]
pub struct Lent(Arc<Mutex<LentBody>>);

struct LentBody {
    body: Incoming,
    begun: bool,
    ended: bool,
}

impl Lent {
    /// Lends `body` to whoever gets a clone.
    pub fn new(body: Incoming) -> Self {
        Self(Arc::new(Mutex::new(LentBody { body, begun: false, ended: false })))
    }

    /// As [`Unread::forget`]; the page must have answered.
    pub async fn forget(self, headers: &HeaderMap, response: &mut Response) {
        let (begun, ended) = {
            let lent = self.0.lock().expect("lent body lock poisoned");
            (lent.begun, lent.ended)
        };
        let mut rest = pin!(pieces(self));
        Unread { stream: rest.as_mut(), begun, ended }.forget(headers, response).await;
    }
}

impl Body for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut lent = self.0.lock().expect("lent body lock poisoned");
        if lent.ended {
            return Poll::Ready(None);
        }
        lent.begun = true;
        let polled = Pin::new(&mut lent.body).poll_frame(context);
        lent.ended = matches!(polled, Poll::Ready(None | Some(Err(_))));
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use warp::Reply;

    async fn left_open(pieces: usize, expect: bool, read_all: bool) -> bool {
        let body = stream::iter((0..pieces).map(|_| Ok::<_, Infallible>(Bytes::from(vec![0; 1 << 10]))));
        let mut body = std::pin::pin!(body);
        let mut body = Unread::new(body.as_mut());
        if read_all {
            read(&mut body, &HeaderMap::new(), &Limits::new(1000, 1).unwrap()).await.unwrap();
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
