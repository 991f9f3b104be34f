//! Reading a request's body up to its limit, and what becomes of a body that nobody wanted.

use std::convert::Infallible;
use std::error::Error;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::future::Ready;
use futures_util::{Stream, StreamExt, stream};
use hyper::body::{Body, Frame, Incoming};
use tokio::time::{Instant, Sleep};
use warp::http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HeaderValue};
use warp::http::{HeaderMap, StatusCode};
use warp::reply::Response;

use super::answer::ApiError;
use crate::store::limits::{Limits, Room, SMALL_BODY_BYTES};
use crate::store::pace::Pace;

/// Go's limit for forms: this many bytes pass, one more does not.
pub const LIMIT_BYTES: usize = 10 << 20;

/// Up to so many unread bytes are read and forgotten so that the connection can go on, as in Go's server.
const FORGET_BYTES: usize = 256 << 10;

/// How long a client that sends a body may be waited for before it counts that it is slower than the least speed.
const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// The room that a large body takes at first. It takes more as it comes, about twice of what has come.
const FIRST_ROOM_BYTES: usize = 64 << 10;

/// A request's body, piece by piece.
pub trait Pieces: Stream<Item = Result<Self::Piece, Self::Fault>> + Send {
    /// Some of its bytes.
    type Piece: Buf + Send;
    /// Why there are no more.
    type Fault: Error + Send + 'static;
}

impl<S, B: Buf + Send, E: Error + Send + 'static> Pieces for S
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
    B::Error: Error + Send + 'static,
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
#[derive(Debug, Default)]
pub struct Whole {
    /// The body.
    pub bytes: Vec<u8>,
    room: Option<Room>,
}

/// Why a body was not read whole.
#[derive(Debug, PartialEq, Eq)]
pub enum Broken {
    /// It has more bytes than it may have.
    TooLarge,
    /// It broke off.
    Cut,
    /// It took too long.
    Late,
    /// Too much is under way.
    Busy,
}

impl Broken {
    /// The status that says so, where etcd has no other, and the words for what is not the fault of the request.
    pub fn status(&self) -> (StatusCode, Option<&'static str>) {
        match self {
            Self::TooLarge | Self::Cut => (StatusCode::BAD_REQUEST, None),
            Self::Late => (StatusCode::REQUEST_TIMEOUT, Some("the body of the request took too long")),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, Some("too many large requests are under way")),
        }
    }
}

/// Why a body was not read whole, or is not wanted.
enum Stop<D> {
    Broken(Broken),
    /// Who sends it may not.
    Denied(D),
}

impl<D> From<Broken> for Stop<D> {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// The whole body, of up to [`LIMIT_BYTES`].
///
/// # Errors
/// See [`Broken`].
pub async fn read(body: impl Pieces, headers: &HeaderMap, limits: &Limits) -> Result<Whole, Broken> {
    up_to(body, LIMIT_BYTES, headers, limits).await
}

/// The whole body, of up to [`LIMIT_BYTES`]. Before room is taken for a large one, `admit` says whether it is
/// wanted; of a small one that is never asked.
///
/// # Errors
/// 210 when it is too large, breaks off or takes too long, 300 when too many large ones are under way, and what `admit`
/// says.
pub async fn read_if(
    body: impl Pieces,
    headers: &HeaderMap,
    limits: &Limits,
    admit: impl Future<Output = Result<(), ApiError>> + Send,
) -> Result<Whole, ApiError> {
    let room = Some((announced(headers, LIMIT_BYTES), limits));
    take(body, LIMIT_BYTES, room, Some(admit)).await.map_err(|stop| match stop {
        Stop::Broken(Broken::TooLarge) => ApiError::request(210, "http: POST too large"),
        Stop::Broken(Broken::Cut | Broken::Late) => ApiError::request(210, "unexpected EOF"),
        Stop::Broken(Broken::Busy) => ApiError::busy(),
        Stop::Denied(why) => why,
    })
}

/// The whole body, of `limit` bytes at most.
///
/// # Errors
/// See [`Broken`].
pub async fn up_to(
    body: impl Pieces,
    limit: usize,
    headers: &HeaderMap,
    limits: &Limits,
) -> Result<Whole, Broken> {
    checked(take(body, limit, Some((announced(headers, limit), limits)), CHECKED).await)
}

/// How many bytes a body will have at most, as far as its head says.
fn announced(headers: &HeaderMap, limit: usize) -> usize {
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    length.unwrap_or(limit).min(limit)
}

/// Whoever sends the body may: that has been checked.
const CHECKED: Option<Ready<Result<(), Infallible>>> = None;

fn checked(result: Result<Whole, Stop<Infallible>>) -> Result<Whole, Broken> {
    result.map_err(|stop| match stop {
        Stop::Broken(broken) => broken,
        Stop::Denied(never) => match never {},
    })
}

/// The whole body of a request that is always small.
///
/// # Errors
/// It has more than `limit` bytes, breaks off, or takes too long.
pub async fn read_up_to(body: impl Pieces, limit: usize) -> Result<Vec<u8>, Broken> {
    checked(take(body, limit, None, CHECKED).await).map(|whole| whole.bytes)
}

/// Reads the body. What is not taken is passed over up to [`LIMIT_BYTES`], because a client that is still sending does
/// not look for an answer.
async fn take<D>(
    body: impl Pieces,
    limit: usize,
    room: Option<(usize, &Limits)>,
    admit: Option<impl Future<Output = Result<(), D>> + Send>,
) -> Result<Whole, Stop<D>> {
    let mut body = std::pin::pin!(body);
    let result = gather(&mut body, limit, room, admit).await;
    if !matches!(result, Ok(_) | Err(Stop::Broken(Broken::Cut | Broken::Late))) {
        let mut passed = 0;
        while passed < LIMIT_BYTES
            && let Some(Ok(piece)) = body.next().await
        {
            passed += piece.remaining();
        }
    }
    result
}

/// Room is taken as the body comes: one that is announced and does not come keeps none from others. It is waited for at
/// first, by who has none; who has some is told that there is no more, because it could wait for ever for another that
/// waits as well.
async fn gather<D>(
    body: &mut (impl Pieces + Unpin),
    limit: usize,
    room: Option<(usize, &Limits)>,
    admit: Option<impl Future<Output = Result<(), D>> + Send>,
) -> Result<Whole, Stop<D>> {
    let mut whole = Whole::default();
    let (mut admit, mut held) = (admit, 0);
    while let Some(piece) = body.next().await {
        let mut piece = piece.map_err(|fault| if is_late(&fault) { Broken::Late } else { Broken::Cut })?;
        let size = whole.bytes.len() + piece.remaining();
        if size > limit {
            return Err(Broken::TooLarge.into());
        }
        if let Some((length, limits)) = room
            && size > SMALL_BODY_BYTES.max(held)
        {
            let wanted = FIRST_ROOM_BYTES.max(2 * held).min(length).max(size);
            match &mut whole.room {
                Some(room) => room.add(limits.more_of_body(wanted - held).ok_or(Broken::Busy)?),
                None => {
                    if let Some(admit) = admit.take() {
                        admit.await.map_err(Stop::Denied)?;
                    }
                    whole.room = Some(limits.body(wanted).await.ok_or(Broken::Busy)?);
                }
            }
            held = wanted;
            whole.bytes.reserve_exact(wanted - whole.bytes.len());
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
    watch: Stopwatch,
}

/// How fast a body comes.
struct Stopwatch {
    pace: Pace,
    /// Runs while the client is waited for, and since when: most bodies have come already, and need none.
    timer: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Stopwatch {
    fn new() -> Self {
        Self { pace: Pace::new(BODY_PATIENCE), timer: None }
    }

    /// So many bytes have come.
    fn note(&mut self, bytes: usize) {
        if let Some((since, _)) = self.timer.take() {
            self.pace.waited(since.elapsed());
        }
        self.pace.took(bytes);
    }

    /// Nothing is there: ready when it was waited for too long.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let begin = || (Instant::now(), Box::pin(tokio::time::sleep(self.pace.left())));
        let (_, timer) = self.timer.get_or_insert_with(begin);
        timer.as_mut().poll(context)
    }
}

/// Why a body has no more pieces.
#[derive(Debug, thiserror::Error)]
pub enum Fault<E> {
    /// It broke off.
    #[error("the body of a request broke off")]
    Broken(#[source] E),
    /// It took too long.
    #[error("the body of a request did not come")]
    Late(#[source] Late),
}

/// A body took too long.
#[derive(Debug, thiserror::Error)]
#[error("the body of a request took too long")]
pub struct Late;

/// Whether that is why, however often it was wrapped on the way.
fn is_late(fault: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(fault), |fault: &&(dyn Error + 'static)| (*fault).source())
        .any(|fault| fault.is::<Late>())
}

impl<'a, S> Unread<'a, S> {
    /// A body that nobody has read from yet.
    pub fn new(stream: Pin<&'a mut S>) -> Self {
        Self { stream, begun: false, ended: false, watch: Stopwatch::new() }
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
            self.watch.note(came);
            return Poll::Ready(next.map(|piece| piece.map_err(Fault::Broken)));
        }
        ready!(self.watch.poll_late(context));
        Poll::Ready(Some(Err(Fault::Late(Late))))
    }
}

/// Whether the connection can be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Nothing of the request is left.
    Gone,
    /// The connection ends with the answer.
    Left,
}

impl Rest {
    /// Has an answer say so.
    pub fn mark(self, response: &mut Response) {
        if self == Self::Left {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

impl<S: Pieces> Unread<'_, S> {
    /// Reads what is left unread. It is left when that is too much or takes too long, or when the client still waits to
    /// be asked for it.
    pub async fn forget(&mut self, headers: &HeaderMap) -> Rest {
        let empty = headers.get(CONTENT_LENGTH).is_some_and(|length| length == "0");
        let waits = !self.begun && !empty && headers.contains_key(EXPECT);
        let mut left = FORGET_BYTES;
        while !waits && left > 0 {
            match self.next().await {
                None => return Rest::Gone,
                Some(Ok(piece)) => left = left.saturating_sub(piece.remaining()),
                Some(Err(_)) => break,
            }
        }
        Rest::Left
    }
}

/// A body that is lent to a page which must own it; what the page leaves of it is still here afterwards.
#[derive(Clone)]
pub struct Lent(Arc<Mutex<LentBody>>);

struct LentBody {
    body: Incoming,
    begun: bool,
    ended: bool,
    watch: Stopwatch,
}

impl Lent {
    /// Lends `body` to whoever gets a clone.
    pub fn new(body: Incoming) -> Self {
        Self(Arc::new(Mutex::new(LentBody { body, begun: false, ended: false, watch: Stopwatch::new() })))
    }

    /// As [`Unread::forget`], after the page has answered.
    pub async fn forget(self, headers: &HeaderMap, response: &mut Response) {
        let (begun, ended) = {
            let lent = self.0.lock().expect("lent body lock poisoned");
            (lent.begun, lent.ended)
        };
        let mut rest = pin!(pieces(self));
        let mut rest = Unread { stream: rest.as_mut(), begun, ended, watch: Stopwatch::new() };
        rest.forget(headers).await.mark(response);
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
            lent.watch.note(came);
            return Poll::Ready(next.map(|frame| frame.map_err(Fault::Broken)));
        }
        ready!(lent.watch.poll_late(context));
        Poll::Ready(Some(Err(Fault::Late(Late))))
    }
}

#[cfg(test)]
#[path = "body_test.rs"]
mod tests;
