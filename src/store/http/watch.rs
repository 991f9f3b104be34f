//! `GET …?wait=true`: the headers at once, then one event, or with `stream=true` one after another.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tokio_util::sync::CancellationToken;
use warp::Reply;
use warp::reply::Response;

use super::Api;
use super::answer::{self, ApiError, Indexes};
use super::guard::Pass;
use super::params::Params;
use crate::keyspace::Key;
use crate::store::{Interest, Subscription};

/// Accepts the watch, or refuses it when its past is gone.
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
    let body = events(subscription, pass, params.stream, api.stop.clone());
    let mut response = warp::reply::stream(body).into_response();
    answer::keys_headers(response.headers_mut(), api.store.node().identity().cluster, indexes);
    Ok(response)
}

/// The events as lines; ends after one unless `many`, when it is no longer allowed, and when the node stops.
fn events(
    subscription: Subscription,
    pass: Pass,
    many: bool,
    stop: CancellationToken,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + Sync + 'static {
    let lines = stream::unfold((subscription, pass), |(mut subscription, mut pass)| async move {
        loop {
            tokio::select! {
                // First, because changes of users and roles are told before later events.
                biased;
                () = pass.shaken() => pass.renew().await.ok()?,
                event = subscription.events.recv() => return Some((Ok(event?.encoded()), (subscription, pass))),
            }
        }
    });
    lines.take(if many { usize::MAX } else { 1 }).take_until(stop.cancelled_owned())
}
