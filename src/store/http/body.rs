//! Reading a request's body up to its limit.

use bytes::Buf;
use futures_util::{Stream, StreamExt};

use super::answer::ApiError;

/// Go's limit for forms: this many bytes pass, one more does not.
pub const LIMIT_BYTES: usize = 10 << 20;

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
