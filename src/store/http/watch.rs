//! `GET …?wait=true`: the headers at once, then one event, or with `stream=true` one after another.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tokio_util::sync::CancellationToken;
use warp::Reply;
use warp::reply::Response;

use super::Api;
use super::answer::{self, ApiError, Indexes};
use super::params::Params;
use crate::keyspace::Key;
use crate::store::{Interest, Subscription};

/// Accepts the watch, or refuses it when its past is gone.
pub fn answer(api: &Api, key: Key, params: &Params) -> Result<Response, ApiError> {
    let interest = Interest {
        path: key.as_bytes().to_vec(),
        recursive: params.recursive,
        stream: params.stream,
        since: Some(params.wait_index),
    };
    let subscription = api.store.watch(interest)?;
    let (term, raft) = api.store.node().progress();
    let indexes = Indexes { etcd: subscription.index, raft, term };
    let body = events(subscription, params.stream, api.stop.clone());
    let mut response = warp::reply::stream(body).into_response();
    answer::keys_headers(response.headers_mut(), api.store.node().identity().cluster, indexes);
    Ok(response)
}

/// The events as lines; ends after one unless `many`, and when the node stops.
fn events(
    subscription: Subscription,
    many: bool,
    stop: CancellationToken,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + Sync + 'static {
    let lines = stream::unfold(subscription, |mut subscription| async move {
        let event = subscription.events.recv().await?;
        Some((Ok(event.encoded()), subscription))
    });
    lines.take(if many { usize::MAX } else { 1 }).take_until(stop.cancelled_owned())
}
