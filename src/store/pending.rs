//! Where requests meet their results: batches that this node proposed wait here until they are applied, and watchers
//! are told.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};

use tokio::sync::{oneshot, watch};

use super::StoreError;
use super::metrics::counters::Metrics;
use super::watch::fanout::{Batch, Fanout};
use super::watch::hub::Hub;
use crate::keyspace::auth::{Auth, AuthError, Reply};
use crate::keyspace::{Applied, Event};
use crate::raft::{Observer, Outcome, Ticket};

/// What a client is told about a command that was applied.
#[derive(Clone, Debug)]
pub struct Done {
    /// The change, for commands that make one.
    pub event: Option<Arc<Event>>,
    /// The store's index afterwards.
    pub index: u64,
    /// Where in raft's log it stands.
    pub raft_index: u64,
    /// Raft's term.
    pub raft_term: u64,
    /// What came of a change of users and roles.
    pub auth: Option<Box<Result<Reply, AuthError>>>,
}

/// What came of a batch: of each of its commands, in order.
pub type Results = Result<Vec<Result<Done, StoreError>>, Leaderless>;

/// There was no leader, and the batch was never proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaderless;

/// The waiting batches and the hub.
#[derive(Debug)]
pub struct Pending {
    node: u64,
    session: u64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Results>>>,
    /// The watchers.
    pub hub: Arc<Hub>,
    /// Users and roles as applied here. Whoever is told of a change has been told of earlier changes of these.
    pub auth: watch::Sender<Arc<Auth>>,
    fanout: Fanout,
    /// What is told to Prometheus.
    pub metrics: Arc<Metrics>,
}

impl Pending {
    /// Nothing is pending yet in run `session` of member `node`, at which up to `watchers` may wait.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn new(node: u64, session: u64, watchers: u64, metrics: Arc<Metrics>) -> io::Result<Self> {
        let hub = Arc::new(Hub::new(watchers));
        let fanout = Fanout::start(hub.clone(), metrics.clone())?;
        Ok(Self {
            node,
            session,
            waiting: Mutex::default(),
            hub,
            auth: watch::Sender::default(),
            fanout,
            metrics,
        })
    }

    /// Opens a batch whose results go to `waiter`.
    pub fn open(&self, seq: u64, waiter: oneshot::Sender<Results>) -> Ticket {
        self.waiting.lock().expect("pending batches lock poisoned").insert(seq, waiter);
        Ticket { node: self.node, session: self.session, seq }
    }

    /// Gives up a batch. The waiter is told when it was `leaderless`, and so never proposed; else it is dropped, which
    /// it reads as an unknown outcome.
    pub fn give_up(&self, ticket: Ticket, leaderless: bool) {
        if let Some(waiter) = self.take(ticket)
            && leaderless
        {
            // It may have gone.
            let _ = waiter.send(Err(Leaderless));
        }
    }

    fn take(&self, ticket: Ticket) -> Option<oneshot::Sender<Results>> {
        if (ticket.node, ticket.session) != (self.node, self.session) {
            return None;
        }
        self.waiting.lock().expect("pending batches lock poisoned").remove(&ticket.seq)
    }
}

impl Observer for Pending {
    fn applied(&self, outcome: Outcome) {
        let good = outcome.results.iter().map(Result::is_ok);
        self.metrics.applied(outcome.commands.iter().zip(good), &outcome.changes);
        // Before the changes that follow, so that nobody hears of what he may no longer see.
        if let Some(auth) = outcome.auth {
            self.auth.send_replace(auth);
        }
        self.fanout.tell(Batch { changes: outcome.changes, replaced_after: outcome.replaced_after });
        let Some(waiter) = self.take(outcome.ticket) else { return };
        let (raft_index, raft_term) = (outcome.log_id.index, **outcome.log_id.committed_leader_id());
        let results = outcome.results.into_iter().map(|result| {
            result.map_err(StoreError::Refused).map(|applied| {
                let Applied { event, index, auth } = applied;
                Done { event, index, raft_index, raft_term, auth }
            })
        });
        // The batch may have been given up.
        let _ = waiter.send(Ok(results.collect()));
    }

    fn replaced(&self, auth: Arc<Auth>, index: u64) {
        self.auth.send_replace(auth);
        self.fanout.replaced(index);
    }
}
