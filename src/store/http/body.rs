//! Reading a request's body up to its limit.

use std::time::Duration;

use bytes::Buf;
use futures_util::{Stream, StreamExt};
use warp::http::HeaderMap;
use warp::http::header::CONTENT_LENGTH;

use super::answer::ApiError;
use crate::store::limits::{Limits, Room, SMALL_BODY_BYTES};

/// Go's limit for forms: this many bytes pass, one more does not.
pub const LIMIT_BYTES: usize = 10 << 20;

/// How long the next piece of a body may take.
const PIECE_TIMEOUT: Duration = Duration::from_secs(30);

/// A body and the room that it takes; keep both until the body is no longer needed.
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

/// The whole body of a form.
///
/// # Errors
/// 210 when it is too large or breaks off, 300 when too many large ones are under way.
pub async fn read<S, B>(body: S, headers: &HeaderMap, limits: &Limits) -> Result<Whole, ApiError>
where
    S: Stream<Item = Result<B, warp::Error>> + Send,
    B: Buf,
{
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let length = length.unwrap_or(LIMIT_BYTES).min(LIMIT_BYTES);
    take(body, LIMIT_BYTES, Some((length, limits))).await.map_err(|broken| match broken {
        Broken::TooLarge => ApiError::request(210, "http: POST too large"),
        Broken::Cut => ApiError::request(210, "unexpected EOF"),
        Broken::Busy => ApiError::busy(),
    })
}

/// The whole body of a request that is always small.
///
/// # Errors
/// It has more than `limit` bytes, or breaks off.
pub async fn read_up_to<S, B>(body: S, limit: usize) -> Result<Vec<u8>, Broken>
where
    S: Stream<Item = Result<B, warp::Error>> + Send,
    B: Buf,
{
    take(body, limit, None).await.map(|whole| whole.bytes)
}

/// Reads the body. What is not taken is passed over up to [`LIMIT_BYTES`], because a client that is still sending does
/// not look for an answer.
async fn take<S, B>(body: S, limit: usize, room: Option<(usize, &Limits)>) -> Result<Whole, Broken>
where
    S: Stream<Item = Result<B, warp::Error>> + Send,
    B: Buf,
{
    let mut body = std::pin::pin!(body);
    let result = gather(&mut body, limit, room).await;
    if matches!(result, Err(Broken::TooLarge | Broken::Busy)) {
        let mut passed = 0;
        while passed < LIMIT_BYTES
            && let Ok(Some(Ok(piece))) = tokio::time::timeout(PIECE_TIMEOUT, body.next()).await
        {
            passed += piece.remaining();
        }
    }
    result
}

/// Room is asked for once, for the length that was announced: who holds some and waits for more could wait for ever.
async fn gather<S, B>(body: &mut S, limit: usize, room: Option<(usize, &Limits)>) -> Result<Whole, Broken>
where
    S: Stream<Item = Result<B, warp::Error>> + Send + Unpin,
    B: Buf,
{
    let mut whole = Whole { bytes: Vec::new(), _room: None };
    while let Some(piece) = tokio::time::timeout(PIECE_TIMEOUT, body.next()).await.map_err(|_| Broken::Cut)? {
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
