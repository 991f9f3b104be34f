//! `GET …?wait=true`: accepted or refused here; the events are written by the `watch_stream` module.

use bytes::Bytes;
use warp::reply::Response;

use super::params::Params;
use crate::keyspace::Key;
use crate::store::Interest;
use crate::store::http::Api;
use crate::store::http::answer;
use crate::store::http::answer::{ApiError, Indexes};
use crate::store::http::guard::Pass;
use crate::store::http::handed_over::{HandedOver, Work};

/// Accepts the watch, or refuses it when its past is gone. The answer has headers and no body yet. It ends when `pass`
/// does.
pub fn answer(api: &Api, key: Key, params: &Params, pass: Pass) -> Result<Response, ApiError> {
    let interest = Interest {
        path: key.as_bytes().to_vec(),
        recursive: params.recursive,
        stream: params.stream,
        since: Some(params.wait_index),
    };
    let subscription = api.store.watch(interest)?;
    let (term, raft) = api.store.node().progress();
    let indexes = Indexes { etcd: subscription.index, raft, term };
    let mut response = Response::new(Bytes::new().into());
    answer::keys_headers(response.headers_mut(), api.store.node().identity().cluster, indexes);
    response.extensions_mut().insert(HandedOver::new(Work::Watch(subscription, pass)));
    Ok(response)
}
