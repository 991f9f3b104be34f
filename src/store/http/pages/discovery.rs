//! Being a discovery service: `GET /new?size=N` prepares a registry and answers with its URL, as discovery.etcd.io does
//! for clusters of etcd. The rest of the protocol is nothing but keys.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use warp::http::header::HOST;
use warp::http::{Method, StatusCode};
use warp::reply::Response;

use super::keys;
use crate::store::http::Api;
use crate::store::http::answer::{method_not_allowed, typed};
use crate::store::http::body::Pieces;
use crate::store::http::go::form::{Field, Form};
use crate::store::http::head::Head;

/// Where registries lie, as etcd's own documents have it.
const REGISTRIES: &str = "/_etcd/registry";

/// How many members a cluster gets when nobody says.
const DEFAULT_SIZE: u64 = 3;

/// Most members of a registry: more voters would only slow each write down.
const LARGEST_SIZE: u64 = 50;

/// Answers `/new`.
pub async fn new_registry(api: &Api, head: Head<'_>) -> Response {
    let Head { method, query, headers, .. } = head;
    if !matches!(*method, Method::GET | Method::PUT) {
        return method_not_allowed("GET,PUT");
    }
    let refused = |text: String| typed(StatusCode::BAD_REQUEST, PLAIN, text.into());
    let size = match size(query) {
        Ok(size) => size,
        Err(text) => return refused(text),
    };
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()).filter(|host| !host.is_empty())
    else {
        return refused("the request has no Host header, so the registry's URL is not known\n".into());
    };
    let Some(token) = token() else {
        let text = Bytes::from_static(b"this machine has no random numbers at hand\n");
        return typed(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, text);
    };
    let key = format!("{REGISTRIES}/{token}/_config/size");
    let parameters = format!("prevExist=false&value={size}");
    // As if the caller had put the key: the same rights, the same refusals.
    let put = Head { method: &Method::PUT, path: key.as_bytes(), query: &parameters, headers };
    let made = keys::answer(api, put, no_body()).await;
    if made.status() != StatusCode::CREATED {
        return made;
    }
    tracing::info!(token, size, "prepared a registry for discovery");
    let url = format!("http://{host}/v2/keys{REGISTRIES}/{token}");
    typed(StatusCode::OK, PLAIN, url.into())
}

const PLAIN: &str = "text/plain; charset=utf-8";

fn no_body() -> impl Pieces {
    stream::empty::<Result<Bytes, Infallible>>()
}

/// The number of members that is asked for.
fn size(query: &str) -> Result<u64, String> {
    let wrong =
        || format!("size must be a number from 1 to {LARGEST_SIZE}, as in /new?size={DEFAULT_SIZE}\n");
    let form = Form::parse(None, query).map_err(|_| wrong())?;
    let Some(text) = form.get(Field::SIZE) else { return Ok(DEFAULT_SIZE) };
    let digits = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    let size = digits.and_then(|text| text.parse().ok());
    size.filter(|size| (1..=LARGEST_SIZE).contains(size)).ok_or_else(wrong)
}

/// 32 random hex digits: nobody can guess another cluster's registry.
fn token() -> Option<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_small_number() {
        assert_eq!(size(""), Ok(3));
        assert_eq!(size("size=5&x=y"), Ok(5));
        for bad in ["size=0", "size=", "size=51", "size=-1", "size=+1", "size=a", "size=%zz", "size=1.5"] {
            assert!(size(bad).is_err_and(|text| text.contains("1 to 50")), "{bad} was taken");
        }
    }

    #[test]
    fn tokens_are_long_and_differ() {
        let (one, other) = (token().unwrap(), token().unwrap());
        assert!(one.len() == 32 && one.bytes().all(|b| b.is_ascii_hexdigit()) && one != other);
    }
}
