//! Moving backups between a file and the store. Only Muster has the pages for that.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Method, Response};
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use crate::client::Client;
use crate::client::error::{Attempt, ClientError};
use crate::client::request::{Problem, Reply, Request};

/// How long a download may bring nothing.
const STALL_LIMIT: Duration = Duration::from_secs(30);

/// How long a step of a restore is tried again while nobody can carry it out, for example during an election.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(200);

/// Why a backup could not be moved.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TransferError {
    /// Nobody answered as hoped.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The server said no.
    #[error("{0}")]
    Refused(String),
    /// The server has no such page.
    #[error("{0} can neither hand out nor take a backup: it is not Muster, or an older one")]
    NoSuchPage(Url),
    /// The connection was lost before the end.
    #[error("the backup broke off: {0}")]
    BrokeOff(Attempt),
}

/// A backup that is being received.
#[derive(Debug)]
pub struct Download {
    response: Response,
    client: Client,
    position: usize,
}

/// A restore that is being sent. Each step may be repeated, so one that brings no answer is asked of other endpoints.
#[derive(Debug)]
pub struct Upload {
    client: Client,
    id: u64,
    sent: u64,
}

impl Client {
    /// Asks one endpoint after the other for a backup of everything.
    ///
    /// # Errors
    /// All but `BrokeOff`.
    pub async fn download_backup(&self) -> Result<Download, TransferError> {
        let request = Request::get("/muster/v1/backup");
        let mut attempts = Vec::new();
        for position in self.endpoints.order() {
            let endpoint = self.endpoints.url(position);
            let head = tokio::time::timeout(self.timeout, request.send(&self.http, endpoint)).await;
            let problem = match head.unwrap_or_else(|_| Err(Problem::silence(self.timeout))) {
                Ok(response) if response.status() == 200 => {
                    self.endpoints.answered(position);
                    return Ok(Download { response, client: self.clone(), position });
                }
                Ok(response) => match Reply::read(response).await {
                    Ok(reply) if reply.status >= 500 => words(&reply).map_or_else(
                        || reply.problem(),
                        |words| Problem { text: words, sent: true, disconnected: false },
                    ),
                    Ok(reply) => return Err(refused(&reply, endpoint)),
                    Err(problem) => problem,
                },
                Err(problem) => problem,
            };
            self.endpoints.failed(position);
            attempts.push(problem.at(endpoint));
        }
        Err(ClientError::Unavailable { attempts }.into())
    }

    /// Prepares a restore; nothing is sent yet.
    pub fn restore(&self) -> Upload {
        // By the seed that the standard library draws for each hasher: no other restore has this name.
        let id = RandomState::new().build_hasher().finish();
        Upload { client: self.clone(), id, sent: 0 }
    }
}

impl Download {
    /// Who sends it.
    pub fn endpoint(&self) -> &Url {
        self.client.endpoints.url(self.position)
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// `BrokeOff`; the client will ask another endpoint first from now on.
    pub async fn next(&mut self) -> Result<Option<Bytes>, TransferError> {
        let problem = match tokio::time::timeout(STALL_LIMIT, self.response.chunk()).await {
            Ok(Ok(bytes)) => return Ok(bytes),
            Ok(Err(error)) => Problem::from_http(error),
            Err(_) => Problem::silence(STALL_LIMIT),
        };
        self.client.endpoints.failed(self.position);
        Err(TransferError::BrokeOff(problem.at(self.endpoint())))
    }

    /// Says that what came was of no use: another endpoint is asked first from now on.
    pub fn reject(&self) {
        self.client.endpoints.failed(self.position);
    }
}

impl Upload {
    /// Begins with a backup that needs `version`, such as `0.1`, to be read. Another restore that is under way is given up by that.
    ///
    /// # Errors
    /// `Client` when nobody answers for a minute, `Refused`, `NoSuchPage`.
    pub async fn begin(&self, version: &str) -> Result<(), TransferError> {
        self.step(Method::POST, "", format!("version={version}"), None).await.map(drop)
    }

    /// Sends the next chunk of records.
    ///
    /// # Errors
    /// As [`Upload::begin`]. Nothing has changed.
    pub async fn chunk(&mut self, records: Bytes) -> Result<(), TransferError> {
        let path = format!("/{}", self.sent);
        self.step(Method::PUT, &path, String::new(), Some(records)).await?;
        self.sent += 1;
        Ok(())
    }

    /// Replaces everything by what was sent, if its checksum is `chain`. Returns the store's index afterwards.
    ///
    /// # Errors
    /// `Refused`: nothing has changed. Otherwise it may have been done.
    pub async fn commit(&self, chain: &[u8; 32]) -> Result<u64, TransferError> {
        let chain: String = chain.iter().map(|byte| format!("{byte:02x}")).collect();
        let query = format!("chunks={}&chain={chain}", self.sent);
        self.step(Method::POST, "/commit", query, None).await
    }

    /// Gives the restore up, as far as a server can be told.
    pub async fn abort(&self) {
        // What is staged is dropped in a minute all the same.
        let request = Request { method: Method::DELETE, ..self.request("") };
        let _ = self.client.ask(&request).await;
    }

    fn request(&self, path: &str) -> Request {
        Request::get(&format!("/muster/v1/restore/{:x}{path}", self.id))
    }

    /// Has a step carried out; returns the store's index.
    async fn step(
        &self,
        method: Method,
        path: &str,
        query: String,
        body: Option<Bytes>,
    ) -> Result<u64, TransferError> {
        #[derive(Deserialize)]
        struct Page {
            index: u64,
        }
        let request = Request { method, query, octets: body, ..self.request(path) };
        let until = Instant::now() + PATIENCE;
        loop {
            match self.client.ask(&request).await {
                Ok((reply, _)) if reply.status == 200 => {
                    let page: Result<Page, _> = serde_json::from_slice(&reply.body);
                    return page.map(|page| page.index).map_err(|e| TransferError::Refused(e.to_string()));
                }
                Ok((reply, from)) => return Err(refused(&reply, &from)),
                Err(error) if Instant::now() >= until => return Err(error.into()),
                Err(error) => tracing::debug!(%error, "a step of the restore is tried again"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// The `message` of an answer that has one.
fn words(reply: &Reply) -> Option<String> {
    #[derive(Deserialize)]
    struct Words {
        message: String,
    }
    serde_json::from_slice::<Words>(&reply.body).ok().map(|words| words.message)
}

fn refused(reply: &Reply, from: &Url) -> TransferError {
    match words(reply) {
        Some(words) => TransferError::Refused(words),
        None if reply.status == 404 => TransferError::NoSuchPage(from.clone()),
        None => TransferError::Client(reply.refusal(from)),
    }
}
