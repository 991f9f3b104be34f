//! `/v2/keys`: which operation a request is, and its answer.

use bytes::Bytes;
use warp::http::{Method, StatusCode};
use warp::reply::Response;

use super::params::Params;
use super::{machines, watch};
use crate::keyspace::{Action, Command, Compare, Content, IN_ORDER_DIGITS, Key};
use crate::store::http::answer;
use crate::store::http::answer::{ApiError, Indexes, method_not_allowed};
use crate::store::http::body::Pieces;
use crate::store::http::go::form::{Form, has_form_body};
use crate::store::http::guard::Pass;
use crate::store::http::handed_over::{HandedOver, Work};
use crate::store::http::head::Head;
use crate::store::http::{Api, body, guard};
use crate::store::{Body, Consistency, Done, LargeAnswer, StoreError};

/// The longest key, in bytes: twice what etcd's request line has room for.
const KEY_BYTES: usize = 8 << 10;

/// The answer to a change with values of fewer bytes is made in one piece.
const SMALL_VALUE_BYTES: usize = 8 << 10;

/// The most components of a key: what etcd's request line has room for.
const KEY_DEPTH: usize = 2048;

/// Answers a request for a key.
pub async fn answer(api: &Api, head: Head<'_>, body: impl Pieces) -> Response {
    let Head { method, path, query, headers } = head;
    if !matches!(*method, Method::HEAD | Method::GET | Method::PUT | Method::POST | Method::DELETE) {
        return method_not_allowed("HEAD,GET,PUT,POST,DELETE");
    }
    let cluster = api.store.node().identity().cluster;
    let done = async {
        let limits = api.store.limits();
        let (form, checked) = has_form_body(method, headers);
        let mut early = None;
        let body = match form {
            true => {
                // As late as in etcd, but before others have to make room for it.
                let admit = async {
                    early = Some(guard::admit_early(api, headers, path).await?);
                    Ok(())
                };
                Some(body::read_if(body, headers, limits, admit).await?)
            }
            false => None,
        };
        checked?;
        let form = Form::parse(body.as_ref().map(|body| body.bytes.as_slice()), query)?;
        let params = Params::parse(&form, method)?;
        drop(form);
        drop(body);
        // A clean path has no dots left, so it always is a key.
        let key = Key::parse(path).ok_or_else(|| ApiError::request(209, "invalid key"))?;
        let write_wanted = !matches!(*method, Method::GET | Method::HEAD);
        let pass = match early {
            Some(early) => early.settle(params.recursive).await?,
            None => guard::admit(api, headers, path, params.recursive, write_wanted).await?,
        };
        check_size(&key, *method == Method::POST)?;
        match *method {
            _ if machines::has(&key) => Box::pin(machines::answer(api, method, &key, &params)).await,
            Method::GET if params.wait && params.quorum != Some(true) => {
                watch::answer(api, key, &params, pass)
            }
            Method::GET | Method::HEAD => get(api, &key, &params, pass).await,
            _ => write(api, method, key, params).await,
        }
    };
    match done.await {
        Ok(response) => response,
        Err(error) => refuse(api, error, cluster).await,
    }
}

/// The answer that says why not. A large one takes its turn, and may find that there is no room for it.
async fn refuse(api: &Api, error: ApiError, cluster: u64) -> Response {
    let (outline, key) = error.outline();
    let body = match key {
        Some(key) => api.store.answer(key, outline).await,
        None => Some(Body::Small(outline.into_whole())),
    };
    if error.is_busy() || body.is_none() {
        api.store.metrics().http.busy.inc();
    }
    match body {
        Some(Body::Small(json)) => error.response(cluster, json.into()),
        Some(Body::Large(large)) => handing_over(error.response(cluster, Bytes::new()), large),
        None => {
            let busy = ApiError::busy();
            busy.response(cluster, busy.outline().0.into_whole().into())
        }
    }
}

/// An answer whose body is sent by others.
fn handing_over(mut response: Response, large: Box<LargeAnswer>) -> Response {
    response.extensions_mut().insert(HandedOver::new(Work::Answer(large)));
    response
}

fn with_body(status: StatusCode, body: Body, cluster: u64, indexes: Indexes) -> Response {
    match body {
        Body::Small(json) => answer::keys(status, json.into(), cluster, indexes),
        Body::Large(large) => handing_over(answer::keys(status, Bytes::new(), cluster, indexes), large),
    }
}

async fn get(api: &Api, key: &Key, params: &Params, mut pass: Pass) -> Result<Response, ApiError> {
    let consistency = match params.quorum {
        Some(false) => Consistency::Local,
        None | Some(true) => Consistency::Linearizable,
    };
    api.store.wait_for(consistency).await?;
    // What is read may be newer than what the check knew of.
    pass.confirm().await?;
    let found = api.store.get(key, params.recursive, Consistency::Local).await;
    // It may have waited for room meanwhile.
    pass.confirm().await?;
    let found = found?;
    let indexes = Indexes { etcd: found.index, raft: found.raft_index, term: found.raft_term };
    Ok(with_body(StatusCode::OK, found.body, api.store.node().identity().cluster, indexes))
}

/// Each directory above a key holds its own path, so what a key takes grows with its depth times its length.
/// A key `in_order` is the directory of the one to be made, which is longer by a slash and a number.
fn check_size(key: &Key, in_order: bool) -> Result<(), ApiError> {
    let bytes = key.as_bytes();
    let (more_bytes, more_components) = if in_order { (1 + IN_ORDER_DIGITS, 1) } else { (0, 0) };
    if bytes.len() + more_bytes > KEY_BYTES {
        return Err(ApiError::request(209, format!("the key has more than {KEY_BYTES} bytes")));
    }
    if bytes.iter().filter(|byte| **byte == b'/').count() + more_components > KEY_DEPTH {
        return Err(ApiError::request(209, format!("the key has more than {KEY_DEPTH} components")));
    }
    Ok(())
}

async fn write(api: &Api, method: &Method, key: Key, params: Params) -> Result<Response, ApiError> {
    let brief = params.no_value;
    let done = api.store.propose(command(method, key, params)).await?;
    let Done { event, index, raft_index, raft_term, .. } = done;
    let Some(event) = event else { return Err(StoreError::Stopping.into()) };
    let created = event.action == Action::Create || event.action == Action::Set && event.prev.is_none();
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let body = if brief && !event.action.removes() {
        Body::Small(format!("{{\"action\":\"{}\"}}\n", event.action.as_str()).into_bytes())
    } else if event.value_bytes() < SMALL_VALUE_BYTES {
        Body::Small(event.encoded())
    } else {
        // It is done: that there is no room to say what came of it is no reason to say that it is not.
        api.store.answer(event.key(), event.outline()).await.ok_or(StoreError::TimedOut)?
    };
    let indexes = Indexes { etcd: index, raft: raft_index, term: raft_term };
    Ok(with_body(status, body, api.store.node().identity().cluster, indexes))
}

/// The operation that a PUT, POST or DELETE is: the first of etcd's conditions that holds.
fn command(method: &Method, key: Key, params: Params) -> Command {
    let Params { value, dir, ttl, prev_exist, prev_value, prev_index, refresh, recursive, .. } = params;
    let compare =
        Compare { value: prev_value.map(Into::into), index: (prev_index > 0).then_some(prev_index) };
    let compares = compare.value.is_some() || compare.index.is_some();
    let content = Content { value: value.into(), ttl, refresh };
    match *method {
        Method::DELETE if compares => Command::CompareAndDelete { key, compare },
        Method::DELETE => Command::Delete { key, dir, recursive },
        Method::POST => Command::CreateInOrder { dir_key: key, dir, content },
        _ => match prev_exist {
            Some(false) => Command::Create { key, dir, content },
            Some(true) if !compares => Command::Update { key, content },
            _ if compares => Command::CompareAndSwap { key, compare, content },
            _ => Command::Set { key, dir, content },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: Method, query: &str) -> Command {
        let params = Params::parse(&Form::parse(None, query).unwrap(), &method).unwrap();
        command(&method, Key::parse(b"/k").unwrap(), params)
    }

    #[test]
    fn requests_become_etcds_operations() {
        use Command::*;
        assert!(matches!(of(Method::PUT, "value=x"), Set { dir: false, .. }));
        assert!(matches!(of(Method::PUT, "prevExist=true"), Update { .. }));
        assert!(matches!(of(Method::PUT, "prevExist=true&prevIndex=1"), CompareAndSwap { .. }));
        assert!(matches!(of(Method::PUT, "prevExist=false&prevIndex=1"), Create { .. }));
        assert!(matches!(of(Method::PUT, "prevValue=x"), CompareAndSwap { .. }));
        assert!(matches!(of(Method::PUT, "prevIndex=0"), Set { .. }));
        assert!(matches!(of(Method::POST, "prevExist=true"), CreateInOrder { .. }));
        assert!(matches!(of(Method::DELETE, "recursive=true"), Delete { recursive: true, .. }));
        assert!(matches!(of(Method::DELETE, "prevIndex=1&dir=true"), CompareAndDelete { .. }));
    }
}
