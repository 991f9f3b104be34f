//! Reading a request's body up to its limit, and what becomes of a body that nobody wanted.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::future::Ready;
use futures_util::{Stream, StreamExt, stream};
use hyper::body::{Body, Frame, Incoming};
use tokio::time::{Instant, Sleep};
use warp::http::HeaderMap;
use warp::http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HeaderValue};
use warp::reply::Response;

use super::answer::ApiError;
use crate::store::limits::{Limits, Room, SMALL_BODY_BYTES};

/// Go's limit for forms: this many bytes pass, one more does not.
pub const LIMIT_BYTES: usize = 10 << 20;

/// Up to so many unread bytes are read and forgotten so that the connection can go on, as in Go's server.
const FORGET_BYTES: usize = 256 << 10;

/// How long a client may be waited for altogether until it has sent a whole body, and so much more for what it has sent
/// that [`LEAST_SPEED`] is enough: a large body keeps room from others meanwhile.
const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// The least speed of a client that sends a body, in bytes a second, after [`BODY_PATIENCE`].
const LEAST_SPEED: u32 = 64 << 10;

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
    /// It broke off or took too long.
    Cut,
    /// Who sends it may not.
    Denied(ApiError),
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

/// The whole body, of up to [`LIMIT_BYTES`]. Before room is taken for a large one, `admit` says whether it is
/// wanted; of a small one that is never asked.
///
/// # Errors
/// As [`read`], and what `admit` says.
pub async fn read_if(
    body: impl Pieces,
    headers: &HeaderMap,
    limits: &Limits,
    admit: impl Future<Output = Result<(), ApiError>> + Send,
) -> Result<Whole, ApiError> {
    let admit = Some(admit);
    take(body, LIMIT_BYTES, Some((announced(headers, LIMIT_BYTES), limits)), admit).await.map_err(refusal)
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
    take(body, limit, Some((announced(headers, limit), limits)), CHECKED).await.map_err(refusal)
}

/// How many bytes a body will have at most, as far as its head says.
fn announced(headers: &HeaderMap, limit: usize) -> usize {
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    length.unwrap_or(limit).min(limit)
}

fn refusal(broken: Broken) -> ApiError {
    match broken {
        Broken::TooLarge => ApiError::request(210, "http: POST too large"),
        Broken::Cut => ApiError::request(210, "unexpected EOF"),
        Broken::Busy => ApiError::busy(),
        Broken::Denied(why) => why,
    }
}

/// Whoever sends the body may: that has been checked.
const CHECKED: Option<Ready<Result<(), ApiError>>> = None;

/// The whole body of a request that is always small.
///
/// # Errors
/// It has more than `limit` bytes, or breaks off.
pub async fn read_up_to(body: impl Pieces, limit: usize) -> Result<Vec<u8>, Broken> {
    take(body, limit, None, CHECKED).await.map(|whole| whole.bytes)
}

/// Reads the body. What is not taken is passed over up to [`LIMIT_BYTES`], because a client that is still sending does
/// not look for an answer.
async fn take(
    body: impl Pieces,
    limit: usize,
    room: Option<(usize, &Limits)>,
    admit: Option<impl Future<Output = Result<(), ApiError>> + Send>,
) -> Result<Whole, Broken> {
    let mut body = std::pin::pin!(body);
    let result = gather(&mut body, limit, room, admit).await;
    if matches!(result, Err(Broken::TooLarge | Broken::Busy | Broken::Denied(_))) {
        let mut passed = 0;
        while passed < LIMIT_BYTES
            && let Some(Ok(piece)) = body.next().await
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
    admit: Option<impl Future<Output = Result<(), ApiError>> + Send>,
) -> Result<Whole, Broken> {
    let mut whole = Whole { bytes: Vec::new(), _room: None };
    let mut admit = admit;
    while let Some(piece) = body.next().await {
        let mut piece = piece.map_err(|_| Broken::Cut)?;
        let size = whole.bytes.len() + piece.remaining();
        if size > limit {
            return Err(Broken::TooLarge);
        }
        if let Some((length, limits)) = room
            && whole._room.is_none()
            && size > SMALL_BODY_BYTES
        {
            if let Some(admit) = admit.take() {
                admit.await.map_err(Broken::Denied)?;
            }
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

/// A request's body that knows how far it has been read, and ends when it takes too long.
pub struct Unread<'a, S> {
    stream: Pin<&'a mut S>,
    begun: bool,
    ended: bool,
    pace: Pace,
}

/// How fast a body comes.
#[derive(Default)]
struct Pace {
    /// Bytes that have come.
    came: usize,
    /// How long the client was waited for.
    waited: Duration,
    /// Runs while it is, and since when: most bodies have come already, and need none.
    timer: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Pace {
    /// So many bytes have come.
    fn note(&mut self, bytes: usize) {
        if let Some((since, _)) = self.timer.take() {
            self.waited += since.elapsed();
        }
        self.came += bytes;
    }

    /// Nothing is there: ready when it was waited for too long.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let left = patience(self.came).saturating_sub(self.waited);
        let begin = || (Instant::now(), Box::pin(tokio::time::sleep(left)));
        let (_, timer) = self.timer.get_or_insert_with(begin);
        timer.as_mut().poll(context)
    }
}

/// How long a client may be waited for that has sent so many bytes.
fn patience(came: usize) -> Duration {
    BODY_PATIENCE + Duration::from_secs(1) * u32::try_from(came).unwrap_or(u32::MAX) / LEAST_SPEED
}

/// Why a body has no more pieces.
#[derive(Debug, thiserror::Error)]
pub enum Fault<E> {
    /// It broke off.
    #[error("the body of a request broke off")]
    Broken(#[source] E),
    /// It took too long.
    #[error("the body of a request took too long")]
    Late,
}

impl<'a, S> Unread<'a, S> {
    /// A body that nobody has read from yet.
    pub fn new(stream: Pin<&'a mut S>) -> Self {
        Self { stream, begun: false, ended: false, pace: Pace::default() }
    }
}

impl<S: Pieces> Stream for Unread<'_, S> {
    type Item = Result<S::Piece, Fault<S::Fault>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.begun = true;
        if let Poll::Ready(next) = self.stream.as_mut().poll_next(context) {
            self.ended = matches!(next, None | Some(Err(_)));
            let came = next.as_ref().and_then(|piece| piece.as_ref().ok()).map_or(0, Buf::remaining);
            self.pace.note(came);
            return Poll::Ready(next.map(|piece| piece.map_err(Fault::Broken)));
        }
        ready!(self.pace.poll_late(context));
        Poll::Ready(Some(Err(Fault::Late)))
    }
}

impl<S: Pieces> Unread<'_, S> {
    /// Reads what the page left unread. When that is too much or takes too long, or the client still waits to be asked for
    /// it, `response` says that the connection ends.
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

/// A body that is lent to a page which must own it; what the page leaves of it is still here afterwards.
#[derive(Clone)]
pub struct Lent(Arc<Mutex<LentBody>>);

struct LentBody {
    body: Incoming,
    begun: bool,
    ended: bool,
    pace: Pace,
}

impl Lent {
    /// Lends `body` to whoever gets a clone.
    pub fn new(body: Incoming) -> Self {
        Self(Arc::new(Mutex::new(LentBody { body, begun: false, ended: false, pace: Pace::default() })))
    }

    /// As [`Unread::forget`]; the page must have answered.
    pub async fn forget(self, headers: &HeaderMap, response: &mut Response) {
        let (begun, ended) = {
            let lent = self.0.lock().expect("lent body lock poisoned");
            (lent.begun, lent.ended)
        };
        let mut rest = pin!(pieces(self));
        Unread { stream: rest.as_mut(), begun, ended, pace: Pace::default() }.forget(headers, response).await;
    }
}

impl Body for Lent {
    type Data = Bytes;
    type Error = Fault<hyper::Error>;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let mut lent = self.0.lock().expect("lent body lock poisoned");
        if lent.ended {
            return Poll::Ready(None);
        }
        lent.begun = true;
        if let Poll::Ready(next) = Pin::new(&mut lent.body).poll_frame(context) {
            lent.ended = matches!(next, None | Some(Err(_)));
            let data = next.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
            let came = data.map_or(0, Bytes::len);
            lent.pace.note(came);
            return Poll::Ready(next.map(|frame| frame.map_err(Fault::Broken)));
        }
        ready!(lent.pace.poll_late(context));
        Poll::Ready(Some(Err(Fault::Late)))
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

    #[test]
    fn a_client_that_drips_is_waited_for_as_one_that_sends_nothing_and_a_steady_one_longer() {
        assert_eq!(patience(0), BODY_PATIENCE);
        assert!(patience(1000) < BODY_PATIENCE + Duration::from_millis(20));
        for seconds in 1..200 {
            let came = LEAST_SPEED as usize * seconds as usize;
            assert_eq!(patience(came), BODY_PATIENCE + Duration::from_secs(seconds));
        }
    }
}
