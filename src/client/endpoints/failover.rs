//! Who is asked next when an endpoint does not answer.
//!
//! Reads, and writes that may be carried out twice, are asked of one endpoint after the other within the time limit of
//! the request. One that fails is followed by the next at once; one that is merely silent keeps its chance while the
//! next is asked as well, so a dead network costs a second and a slow server no answer. Other writes go on to the next
//! endpoint only when the last one has surely not begun to carry them out.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};
use url::Url;

use crate::client::Client;
use crate::client::error::{Attempt, ClientError};
use crate::client::request::{Problem, Reply, Request};

/// How long a silent endpoint is the only one asked.
const PATIENCE: Duration = Duration::from_secs(1);

impl Client {
    /// Sends a request that may be carried out any number of times. Returns who answered, too.
    pub(in crate::client) async fn ask(&self, request: &Request) -> Result<(Reply, Url), ClientError> {
        let deadline = Instant::now() + self.timeout;
        let mut waiting = self.endpoints.order().into_iter();
        let patience = PATIENCE.min(self.timeout / u32::try_from(waiting.len()).unwrap_or(u32::MAX));
        let try_at = |position: usize| async move {
            let left = deadline.saturating_duration_since(Instant::now());
            (
                position,
                request.exchange(&self.http, self.endpoints.url(position), left.min(self.attempt)).await,
            )
        };
        let mut asked = Vec::new();
        let mut running = FuturesUnordered::new();
        let mut attempts = Vec::new();
        loop {
            if let Some(position) = waiting.next() {
                asked.push(position);
                running.push(try_at(position));
            }
            let more_at = Instant::now() + patience;
            let finished = tokio::select! {
                finished = running.next() => finished,
                () = sleep_until(more_at), if waiting.len() > 0 => continue,
            };
            match finished {
                Some((position, Ok(reply))) => {
                    // Whoever was asked before and is silent still has lost the first place.
                    asked
                        .iter()
                        .take_while(|slow| **slow != position)
                        .for_each(|slow| self.endpoints.failed(*slow));
                    self.endpoints.answered(position);
                    return Ok((reply, self.endpoints.url(position).clone()));
                }
                Some((position, Err(problem))) => attempts.push(self.failed(position, problem)),
                None => return Err(ClientError::Unavailable { attempts }),
            }
        }
    }

    /// Sends a write that must not be carried out twice. Returns who answered, too.
    pub(in crate::client) async fn tell(&self, request: &Request) -> Result<(Reply, Url), ClientError> {
        let deadline = Instant::now() + self.timeout;
        let mut attempts = Vec::new();
        for position in self.endpoints.order() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let endpoint = self.endpoints.url(position);
            match request.exchange(&self.http, endpoint, left.min(self.attempt)).await {
                Ok(reply) => {
                    self.endpoints.answered(position);
                    return Ok((reply, endpoint.clone()));
                }
                Err(problem) if problem.sent => {
                    return Err(ClientError::UnknownOutcome { attempt: self.failed(position, problem) });
                }
                Err(problem) => attempts.push(self.failed(position, problem)),
            }
        }
        Err(ClientError::Unavailable { attempts })
    }

    fn failed(&self, position: usize, problem: Problem) -> Attempt {
        self.endpoints.failed(position);
        problem.at(self.endpoints.url(position))
    }
}
