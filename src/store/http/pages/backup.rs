//! Muster's own pages for backups: `GET /muster/v1/backup` hands out a copy of everything, the pages below
//! `/muster/v1/restore/ID` replace everything by one, chunk by chunk. Each request of a restore may be repeated, at
//! any node.

use futures_util::stream;
use warp::Reply;
use warp::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use warp::http::{HeaderMap, Method, StatusCode};
use warp::reply::Response;

use crate::format::{LOWEST, Version};
use crate::keyspace::backup::{Digest, FRAME_LIMIT};
use crate::keyspace::{KeyError, Refusal, Restore, RestoreError};
use crate::store::StoreError;
use crate::store::backup::live::{BrokenOff, CopyError};
use crate::store::http::answer::{cluster_header, json, message, method_not_allowed, not_found};
use crate::store::http::body::Pieces;
use crate::store::http::go::form::{Field, Form};
use crate::store::http::head::Head;
use crate::store::http::{Api, body, guard};

/// Answers a request for a page below `/muster/v1`. Whoever may use these pages may read and replace everything.
pub async fn answer(api: &Api, head: Head<'_>, body: impl Pieces) -> Response {
    let Head { method, path, query, headers } = head;
    let Ok(path) = std::str::from_utf8(path) else { return not_found() };
    if let Err(denied) = guard::require_root(api, headers).await {
        return denied;
    }
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let step = match parts.as_slice() {
        ["backup"] if *method == Method::GET => return copy(api).await,
        ["backup"] => return method_not_allowed("GET"),
        ["restore", id] => begin_or_abort(method, id, query),
        ["restore", id, "commit"] => commit(method, id, query),
        ["restore", id, number] => chunk(api, method, id, number, headers, body).await,
        _ => return not_found(),
    };
    match step {
        Ok(step) => answer_step(api, step).await,
        Err(answer) => *answer,
    }
}

/// A step, or the answer to what is none.
type Step = Result<Restore, Box<Response>>;

async fn copy(api: &Api) -> Response {
    let copy = match api.store.copy().await {
        Ok(copy) => copy,
        Err(error @ CopyError::Busy) => return refusal(StatusCode::SERVICE_UNAVAILABLE, &error),
        Err(CopyError::Store(error)) => return store_error(&error),
    };
    let index = copy.index();
    let stop = api.stop.clone();
    // What is not whole ends with an error, so that it does not look ended.
    let pieces = stream::unfold(Some((copy.write(), stop)), |state| async move {
        let (mut pieces, stop) = state?;
        let next = stop.run_until_cancelled(pieces.next()).await.unwrap_or(Some(Err(BrokenOff)))?;
        let state = next.is_ok().then_some((pieces, stop));
        Some((next, state))
    });
    let mut response = warp::reply::stream(pieces).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(HeaderName::from_static("x-etcd-index"), index.into());
    cluster_header(headers, api.store.node().identity().cluster);
    response
}

fn begin_or_abort(method: &Method, id: &str, query: &str) -> Step {
    let id = name(id)?;
    match *method {
        Method::POST => {
            let form = Form::parse(None, query).map_err(|_| bad("the query cannot be read"))?;
            let version =
                form.get(Field::VERSION).map(|text| std::str::from_utf8(text).ok().and_then(Version::parse));
            let version = version.unwrap_or(Some(LOWEST)).ok_or_else(|| bad("version must be like 0.1"))?;
            Ok(Restore::Begin { id, version })
        }
        Method::DELETE => Ok(Restore::Abort { id }),
        _ => Err(Box::new(method_not_allowed("POST,DELETE"))),
    }
}

async fn chunk(
    api: &Api,
    method: &Method,
    id: &str,
    number: &str,
    headers: &HeaderMap,
    body: impl Pieces,
) -> Step {
    let (id, number) = (name(id)?, decimal(Some(number), "the number of the chunk")?);
    if *method != Method::PUT {
        return Err(Box::new(method_not_allowed("PUT")));
    }
    let read = body::up_to(body, FRAME_LIMIT, headers, api.store.limits()).await;
    let records = read.map_err(|broken| {
        let (status, words) = broken.status();
        Box::new(refusal(status, &words.unwrap_or("the chunk is too large or broke off")))
    })?;
    let records = records.bytes.into();
    Ok(Restore::Chunk { id, number, records })
}

fn commit(method: &Method, id: &str, query: &str) -> Step {
    let id = name(id)?;
    if *method != Method::POST {
        return Err(Box::new(method_not_allowed("POST")));
    }
    let form = Form::parse(None, query).map_err(|_| bad("the query cannot be read"))?;
    let field = |field| form.get(field).and_then(|value| std::str::from_utf8(value).ok());
    let chunks = decimal(field(Field::CHUNKS), "chunks")?;
    let chain = field(Field::CHAIN).and_then(digest);
    let chain = chain.ok_or_else(|| bad("chain must be 64 hexadecimal digits"))?;
    Ok(Restore::Commit { id, chunks, chain })
}

async fn answer_step(api: &Api, step: Restore) -> Response {
    match api.store.restore(step).await {
        Ok(index) => json(StatusCode::OK, format!("{{\"index\":{index}}}\n").into()),
        Err(error) => store_error(&error),
    }
}

fn store_error(error: &StoreError) -> Response {
    let status = match error {
        StoreError::Refused(Refusal { error: KeyError::Restore(error), .. }) => match error {
            RestoreError::Gone | RestoreError::Order { .. } | RestoreError::TooEarly { .. } => {
                StatusCode::CONFLICT
            }
            RestoreError::Damaged { .. } => StatusCode::BAD_REQUEST,
            RestoreError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        },
        StoreError::Refused(_) => StatusCode::BAD_REQUEST,
        StoreError::Unwilling(_) => StatusCode::CONFLICT,
        StoreError::TimedOut
        | StoreError::NoLeader
        | StoreError::Busy
        | StoreError::TooManyWatches(_)
        | StoreError::Stopping => StatusCode::SERVICE_UNAVAILABLE,
    };
    refusal(status, error)
}

/// The name of a restore: 64 bits in hexadecimal.
fn name(text: &str) -> Result<u64, Box<Response>> {
    u64::from_str_radix(text, 16).map_err(|_| bad("a restore is named by up to 16 hexadecimal digits"))
}

fn decimal(text: Option<&str>, what: &str) -> Result<u64, Box<Response>> {
    text.and_then(|text| text.parse().ok()).ok_or_else(|| bad(&format!("{what} must be a decimal number")))
}

/// 32 bytes in hexadecimal.
fn digest(text: &str) -> Option<Digest> {
    let mut digest = Digest::default();
    if text.len() != 2 * digest.len() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, at) in digest.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(digest)
}

fn bad(why: &str) -> Box<Response> {
    Box::new(refusal(StatusCode::BAD_REQUEST, &why))
}

fn refusal(status: StatusCode, why: &dyn std::fmt::Display) -> Response {
    message(status, why.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_from_hexadecimal_and_from_nothing_else() {
        let text = "00ff".repeat(16);
        assert_eq!(digest(&text).map(|d| (d[0], d[1], d[31])), Some((0, 0xff, 0xff)));
        for wrong in ["", "00", &"+f".repeat(32), &"é".repeat(32)] {
            assert_eq!(digest(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_commit_says_how_much_must_be_there() {
        let chain = "ab".repeat(32);
        let step = commit(&Method::POST, "ff", &format!("chunks=3&chain={chain}")).unwrap();
        assert_eq!(step, Restore::Commit { id: 255, chunks: 3, chain: [0xab; 32] });
        for query in ["chunks=3", "chain=ab", "chunks=-1&chain=ab", "chunks=%zz"] {
            assert!(commit(&Method::POST, "ff", query).is_err(), "{query}");
        }
    }
}
