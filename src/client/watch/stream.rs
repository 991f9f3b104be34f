//! Watching keys without missing or repeating a change.
//!
//! A watch is a chain of long polls. Each asks for the first event at or after an index (`waitIndex`), so whatever
//! happens between two polls, or while no endpoint is reachable, is read from the server's history afterwards.
//!
//! The history is finite. A watch that hears nothing for long while other keys change would fall out of it at the next
//! lost connection. So a silent poll is replaced every now and then by one that starts further on. How far is safe?
//! The answer's head tells the index at which the server began to wait, and whatever its history held before that
//! follows the head at once. A poll that stayed open and silent for [`RENEWAL`] after its head therefore had nothing
//! to tell up to that index; and the old poll is kept until the new one has been accepted, so both the
//! server and the way to it were alive after that silence.

use std::pin::Pin;
use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::{Method, Response};
use tokio::time::{Instant, sleep};
use url::Url;

use crate::client::Client;
use crate::client::answer::Event;
use crate::client::endpoints::backoff::{Backoff, jitter};
use crate::client::error::{ApiError, CLEARED, ClientError};
use crate::client::options::GetOptions;
use crate::client::request::{Problem, Reply, Request, number};

/// How long a poll may be silent before it is replaced.
pub const RENEWAL: Duration = Duration::from_secs(60);
/// A connection that was lost sooner than this after the poll was accepted counts as one more failure in a row.
const SETTLED: Duration = Duration::from_secs(1);

/// A watch on a key; made by [`Client::watch`].
pub struct Watch {
    spec: Spec,
    place: Place,
    /// A poll that was accepted and not waited for yet.
    begun: Option<Poll>,
    /// The poll under way. Kept here so that a caller who stops waiting for [`Watch::next`] loses nothing.
    pending: Option<BoxFuture<'static, (Place, Result<Event, ClientError>)>>,
}

/// What is watched.
#[derive(Clone)]
struct Spec {
    client: Client,
    key: String,
    recursive: bool,
}

/// How far a watch has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Place {
    /// Everything up to this index was reported or is of no concern.
    after: Option<u64>,
    /// The cluster that index belongs to, once known.
    cluster: Option<String>,
}

impl Watch {
    pub(in crate::client) fn new(client: Client, key: &str, recursive: bool, after: Option<u64>) -> Self {
        let spec = Spec { client, key: key.into(), recursive };
        Self { spec, place: Place { after, cluster: None }, begun: None, pending: None }
    }

    /// Begins now: asks each endpoint once, until one accepts to tell. From then on nothing is missed. Without this,
    /// [`Watch::next`] begins by itself and tries for ever.
    ///
    /// # Errors
    /// [`ClientError::Unavailable`] when no endpoint answers; else as [`Watch::next`].
    pub async fn begin(&mut self) -> Result<(), ClientError> {
        let endpoints = self.spec.client.endpoints.clone();
        let mut attempts = Vec::new();
        for position in endpoints.order() {
            let endpoint = endpoints.url(position);
            match self.spec.open(self.place.after, &mut self.place.cluster, position).await {
                Ok(poll) => {
                    endpoints.answered(position);
                    self.place.after = self.place.after.or(Some(poll.accepted_at));
                    self.begun = Some(poll);
                    return Ok(());
                }
                Err(Setback::Refusal(error)) => return Err(error),
                Err(Setback::Trouble(problem)) => {
                    endpoints.failed(position);
                    attempts.push(problem.at(endpoint));
                }
            }
        }
        Err(ClientError::Unavailable { attempts })
    }

    /// Waits for the next event. May be dropped at any time, as `tokio::select!` does, and called again: nothing is
    /// lost. While no endpoint answers it goes on trying for ever.
    ///
    /// # Errors
    /// [`ClientError::Cleared`]: events were missed beyond recall, because the server no longer keeps them or because
    /// it belongs to another cluster than before. Read the keys anew and make a new watch from that answer's index.
    /// [`ClientError::Refused`] and [`ClientError::Malformed`]: the server will not serve this watch.
    pub async fn next(&mut self) -> Result<Event, ClientError> {
        let (spec, place, begun) = (&self.spec, &self.place, &mut self.begun);
        let pending = self
            .pending
            .get_or_insert_with(|| Box::pin(next_event(spec.clone(), place.clone(), begun.take())));
        let (place, outcome) = Pin::new(pending).await;
        (self.pending, self.place) = (None, place);
        outcome
    }

    /// The index of the last event reported, or at first the one it was to start after: what lies at or before it has
    /// been reported. `None` for a watch from now on that has reported nothing.
    pub fn index(&self) -> Option<u64> {
        self.place.after
    }
}

/// Why a poll brought no event.
enum Setback {
    /// Trouble on the way: go on elsewhere, from the same place.
    Trouble(Problem),
    /// The server said no, or is none.
    Refusal(ClientError),
}

impl From<Problem> for Setback {
    fn from(problem: Problem) -> Self {
        Self::Trouble(problem)
    }
}

impl From<ClientError> for Setback {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Unavailable { .. } | ClientError::UnknownOutcome { .. } => {
                Self::Trouble(Problem { text: error.to_string(), sent: false, disconnected: false })
            }
            ClientError::Refused(_)
            | ClientError::Cleared { .. }
            | ClientError::Malformed { .. }
            | ClientError::Declined { .. }
            | ClientError::Setup { .. } => Self::Refusal(error),
        }
    }
}

/// Polls endpoint after endpoint until one tells of an event or refuses.
async fn next_event(
    spec: Spec,
    mut place: Place,
    mut begun: Option<Poll>,
) -> (Place, Result<Event, ClientError>) {
    let endpoints = &spec.client.endpoints;
    let mut backoff = Backoff::default();
    let mut position = begun.as_ref().map_or_else(|| endpoints.preferred(), |poll| poll.position);
    let mut failed_in_a_row = 0;
    loop {
        let since = Instant::now();
        match spec.poll(&mut place, position, begun.take()).await {
            Ok(event) => {
                place.after = place.after.max(Some(event.node.modified_index));
                return (place, Ok(event));
            }
            Err(Setback::Refusal(error)) => return (place, Err(error)),
            Err(Setback::Trouble(problem)) => {
                tracing::debug!(key = spec.key, endpoint = %endpoints.url(position), after = place.after,
                    "watch interrupted: {}", problem.text);
                if since.elapsed() >= SETTLED {
                    backoff.reset();
                    failed_in_a_row = 0;
                }
                failed_in_a_row += 1;
                // Every endpoint gets its chance before the first pause.
                if failed_in_a_row % endpoints.urls().len() == 0 {
                    sleep(backoff.pause()).await;
                }
                position = (position + 1) % endpoints.urls().len();
            }
        }
    }
}

/// A poll that a server has accepted.
struct Poll {
    response: Response,
    /// Which endpoint it is.
    position: usize,
    /// The server's index when it began to wait.
    accepted_at: u64,
}

impl Spec {
    /// Polls one endpoint until it tells of an event, refuses, or fails. `place` moves on as far as is safe.
    async fn poll(&self, place: &mut Place, position: usize, begun: Option<Poll>) -> Result<Event, Setback> {
        let endpoint = self.client.endpoints.url(position);
        let mut failures = self.client.endpoints.failures(position);
        let mut after = match place.after {
            Some(after) => after,
            None => self.index_now().await?,
        };
        place.after = Some(after);
        let mut poll = match begun {
            Some(poll) => poll,
            None => self.open(Some(after), &mut place.cluster, position).await?,
        };
        loop {
            let accepted_at = poll.accepted_at;
            let mut told = Box::pin(event_of(poll.response, endpoint));
            poll = loop {
                tokio::select! {
                    outcome = &mut told => return outcome,
                    // Other requests found this endpoint in trouble: do not wait for what it may never hear of.
                    _ = failures.changed() => return Err(Problem::abandoned().into()),
                    () = sleep(jitter(self.client.renewal)) => {}
                }
                let further = after.max(accepted_at);
                let renewed = tokio::select! {
                    biased;
                    outcome = &mut told => return outcome,
                    renewed = self.open(Some(further), &mut place.cluster, position) => renewed,
                };
                match renewed {
                    Ok(renewed) => {
                        after = further;
                        place.after = Some(after);
                        break renewed;
                    }
                    // The history is shorter than the silence: the poll that waits is the better one.
                    Err(Setback::Refusal(ClientError::Cleared { .. })) => {}
                    Err(setback) => return Err(setback),
                }
            };
        }
    }

    /// The store's index, all writes that ended before included.
    async fn index_now(&self) -> Result<u64, Setback> {
        match self.client.get(&self.key, &GetOptions::linearizable()).await {
            Ok(answer) => Ok(answer.index),
            Err(error) => match error.api() {
                Some(api) if error.is_not_found() => Ok(api.index),
                _ => Err(error.into()),
            },
        }
    }

    /// Asks an endpoint for the first event after `after`, or from now on, and waits until it has accepted to tell.
    async fn open(
        &self,
        after: Option<u64>,
        cluster: &mut Option<String>,
        position: usize,
    ) -> Result<Poll, Setback> {
        let endpoint = self.client.endpoints.url(position);
        let from = after.map_or(0, |after| after.saturating_add(1));
        let query = format!("recursive={}&wait=true&waitIndex={from}", self.recursive);
        let request = Request::key(Method::GET, &self.key, query, None);
        let limit = self.client.timeout;
        let response = tokio::time::timeout(limit, request.send(&self.client.http, endpoint))
            .await
            .unwrap_or_else(|_| Err(Problem::silence(limit)))?;
        if !response.status().is_success() {
            let reply = Reply::read(response).await?;
            return Err(if reply.status >= 500 {
                reply.problem().into()
            } else {
                reply.refusal(endpoint).into()
            });
        }
        let accepted_at = number(response.headers(), "x-etcd-index");
        let id =
            response.headers().get("x-etcd-cluster-id").and_then(|id| id.to_str().ok()).map(str::to_string);
        if let (Some(known), Some(id)) = (&cluster, &id)
            && known != id
        {
            return Err(cleared(format!("cluster {id} answers instead of {known}"), accepted_at));
        }
        *cluster = id.or(cluster.take());
        // A server behind may still catch up. If all of them are, the store was set up anew and the index will come
        // round a second time: waiting for it would miss everything until then.
        if let Some(after) = after
            && accepted_at < after
            && self.index_now().await? < after
        {
            return Err(cleared(
                format!("the store's index went back from {after} to {accepted_at}"),
                accepted_at,
            ));
        }
        Ok(Poll { response, position, accepted_at })
    }
}

/// The same answer as for a history that is too short: the events in between cannot be had.
fn cleared(cause: String, index: u64) -> Setback {
    let message = "The event in requested index is outdated and cleared".into();
    Setback::Refusal(ClientError::Cleared { refusal: ApiError { code: CLEARED, message, cause, index } })
}

/// Waits for the event that a poll tells of.
async fn event_of(response: Response, endpoint: &Url) -> Result<Event, Setback> {
    let index = number(response.headers(), "x-etcd-index");
    let reply = Reply::read(response).await?;
    if reply.body.iter().all(u8::is_ascii_whitespace) {
        // A server that shuts down ends its polls so.
        return Err(Problem::abandoned().into());
    }
    let event: Event = reply.parse(endpoint)?;
    Ok(Event { index, ..event })
}
