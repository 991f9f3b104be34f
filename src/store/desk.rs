//! Where requests meet their results: batches that this node proposed wait here until they are applied, and watchers
//! are told.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::StoreError;
use super::fanout::Fanout;
use super::hub::Hub;
use super::metrics::Metrics;
use crate::keyspace::Event;
use crate::raft::{Observer, Outcome, Replica, Ticket};

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
}

/// Who waits for the result of one command.
pub type Waiter = oneshot::Sender<Result<Done, StoreError>>;

/// The waiting batches and the hub.
#[derive(Debug)]
pub struct Desk {
    node: u64,
    session: u64,
    waiting: Mutex<HashMap<u64, Vec<Waiter>>>,
    /// The watchers.
    pub hub: Arc<Hub>,
    fanout: Fanout,
    /// What is told to Prometheus.
    pub metrics: Arc<Metrics>,
}

impl Desk {
    /// A desk for this run of member `node`, at which up to `watchers` may wait.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn new(node: u64, watchers: u64, metrics: Arc<Metrics>) -> io::Result<Self> {
        let hub = Arc::new(Hub::new(watchers));
        let fanout = Fanout::start(hub.clone(), metrics.clone())?;
        let session = crate::raft::unique();
        Ok(Self { node, session, waiting: Mutex::default(), hub, fanout, metrics })
    }

    /// Opens a batch whose commands `waiters` wait for.
    pub fn open(&self, seq: u64, waiters: Vec<Waiter>) -> Ticket {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(seq, waiters);
        Ticket { node: self.node, session: self.session, seq }
    }

    /// Gives up a batch. Its waiters are told when it was `leaderless`, and so never proposed; else they are dropped,
    /// which they read as an unknown outcome.
    pub fn give_up(&self, ticket: Ticket, leaderless: bool) {
        for waiter in self.take(ticket).into_iter().filter(|_| leaderless) {
            // The client may have gone.
            let _ = waiter.send(Err(StoreError::NoLeader));
        }
    }

    fn take(&self, ticket: Ticket) -> Vec<Waiter> {
        if (ticket.node, ticket.session) != (self.node, self.session) {
            return Vec::new();
        }
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&ticket.seq).unwrap_or_default()
    }
}

impl Observer for Desk {
    fn applied(&self, outcome: Outcome) {
        let good = outcome.results.iter().map(Result::is_ok);
        self.metrics.applied(outcome.commands.iter().zip(good), &outcome.changes);
        self.fanout.tell(outcome.changes);
        let waiters = self.take(outcome.ticket);
        let (raft_index, raft_term) = (outcome.log_id.index, **outcome.log_id.committed_leader_id());
        for (waiter, result) in waiters.into_iter().zip(outcome.results) {
            let result = result.map_err(StoreError::Refused).map(|a| Done {
                event: a.event,
                index: a.index,
                raft_index,
                raft_term,
            });
            // The client may have gone.
            let _ = waiter.send(result);
        }
    }

    fn replaced(&self, replica: &Replica) {
        self.hub.replaced(replica.keyspace.index());
    }
}
