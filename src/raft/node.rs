//! A running raft member: starts openraft, proposes through whoever leads, and finds out how far a read must wait.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use openraft::ReadPolicy;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, LinearizableReadError, RaftError};

use super::identity::{Identity, IdentityStore};
use super::log::compaction;
use super::log::store::LogStore;
use super::membership::admission::Admission;
use super::metrics::Metrics;
use super::peer::callers::Callers;
use super::peer::card::{Card, Refusal};
use super::peer::channel::dismissed;
use super::peer::gate::Gate;
use super::peer::network::{Lane, Peers};
use super::peer::wire::{PeerRequest, PeerResponse};
use super::state::machine::{Observer, Raft, StateMachine};
use super::statistics;
use super::statistics::Statistics;
use super::storage::{IDENTITY, Storage};
use super::tasks::Tasks;
use super::tuning::Tuning;
use super::types::{Peer, Proposal, Ticket};
use crate::clock::{ClusterClock, Stamp, wall_nanos};

/// Pause before something is tried again that failed at once, such as a proposal while there is no leader.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// How long a proposal waits for room in the leader's log.
const ROOM_PATIENCE: Duration = Duration::from_secs(5);

/// A running member.
pub struct Node {
    pub(super) identity: Identity,
    pub(super) admission: Admission,
    raft: Raft,
    state: StateMachine,
    pub(super) log: LogStore,
    pub(super) identity_store: IdentityStore,
    pub(super) peers: Peers,
    pub(super) callers: Callers,
    statistics: Arc<Statistics>,
    pub(super) election: Duration,
    pub(super) tasks: Tasks,
}

/// Why a proposal or a read did not come about.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// No leader was found or reached, or it got no quorum, before the deadline. A proposal may still take effect.
    #[error("no leader with a quorum answered in time")]
    TimedOut,
    /// Nobody that leads was known or reached all the time, or whoever led had no quorum: nothing was proposed.
    #[error("no leader")]
    NoLeader,
    /// The leader that this node knows of cannot be reached; it was not asked.
    #[error("the leader cannot be reached: {0}")]
    Unreached(io::Error),
    /// This node has stopped.
    #[error("this node has stopped: {0}")]
    Stopped(String),
    /// The leader will not do it.
    #[error("{0}")]
    Unwilling(String),
}

impl Node {
    /// Starts openraft with what is on disk; see [`Node::start`], which calls it.
    ///
    /// # Errors
    /// Those of [`Node::start`].
    pub(super) async fn open(
        storage: Storage,
        tuning: &Tuning,
        observer: Arc<dyn Observer>,
    ) -> io::Result<Arc<Self>> {
        storage.refuse_full_disk()?;
        let Storage {
            log, identity_store, folder, metrics, identity: known, folder_id, run, previous, ..
        } = storage;
        let Some(admission) = storage.admission else {
            return Err(io::Error::other("the member was not admitted to a cluster"));
        };
        let identity = admission.identity.clone();
        if known.is_none() {
            identity_store.write(IDENTITY, &identity)?;
        }
        let (history, noted) = (tuning.history, metrics.clone());
        let open = move || StateMachine::open(folder, history, observer, noted);
        let state = tokio::task::spawn_blocking(open).await.map_err(io::Error::other)??;
        // Entries that are neither in the log nor in the snapshot are lost; an empty state in their place is not.
        let applied = state.read().applied;
        if log.purged() > applied {
            let what =
                "damaged: the log begins behind the newest snapshot; a snapshot is missing in snapshots/";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let statistics = Arc::new(Statistics::new(metrics));
        let card = Card {
            cluster: identity.cluster,
            member: identity.member,
            incarnation: admission.incarnation,
            folder: folder_id,
            run,
            previous,
        };
        let gate = Gate::open(card, admission.folders.clone(), state.clone(), identity_store.clone())?;
        let peers = Peers::new(Arc::new(gate), statistics.clone(), state.clone(), log.given_up());
        let config = tuning.config().map_err(io::Error::other)?;
        let raft = Raft::new(identity.member, config, peers.clone(), log.clone(), state.clone())
            .await
            .map_err(io::Error::other)?;
        if !admission.founders.is_empty() && !raft.is_initialized().await.map_err(io::Error::other)? {
            raft.initialize(admission.founders.clone()).await.map_err(io::Error::other)?;
        }
        let (tasks, alarm) = (Tasks::default(), state.alarm().clone());
        tasks.spawn(
            &alarm,
            "the look-out for leaders",
            statistics::follow_leader(raft.clone(), statistics.clone()),
        );
        tasks.spawn(
            &alarm,
            "compaction of the log",
            compaction::run(raft.clone(), log.clone(), state.clone()),
        );
        Ok(Arc::new(Self {
            identity,
            admission,
            raft,
            state,
            log,
            identity_store,
            peers,
            callers: Callers::default(),
            statistics,
            election: tuning.election,
            tasks,
        }))
    }

    /// This member and its cluster.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The number of this node's data folder.
    pub fn folder(&self) -> u64 {
        self.peers.gate().card().folder
    }

    /// The replicated state.
    pub fn state(&self) -> &StateMachine {
        &self.state
    }

    pub(super) fn raft(&self) -> &Raft {
        &self.raft
    }

    /// The current term and the last log index of this node.
    pub fn progress(&self) -> (u64, u64) {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        (metrics.current_term, metrics.last_log_index.unwrap_or_default())
    }

    /// The members of the effective membership, voters and learners.
    pub fn members(&self) -> BTreeMap<u64, Peer> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.membership().nodes().map(|(id, peer)| (*id, peer.clone())).collect()
    }

    /// Who votes in the effective membership.
    pub fn voters(&self) -> BTreeSet<u64> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.membership().voter_ids().collect()
    }

    /// Bytes of the log on disk.
    pub fn log_size(&self) -> u64 {
        self.log.size_on_disk()
    }

    /// What is told to Prometheus.
    pub fn metrics(&self) -> &Metrics {
        self.statistics.metrics()
    }

    /// What the node noted of its own running.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    fn clock(&self) -> MutexGuard<'_, ClusterClock> {
        self.state.clock().lock().expect("cluster clock lock poisoned")
    }

    /// The leader's reading of the cluster clock, in nanoseconds; lets it run up to now. Call it at least every
    /// [`LONGEST_STEP`](crate::clock::LONGEST_STEP) while leading, or time is lost.
    pub fn drive_clock(&self) -> i64 {
        self.state.drive()
    }

    /// This node's reading of the cluster clock, in nanoseconds.
    pub fn read_clock(&self) -> i64 {
        self.clock().peek(Instant::now())
    }

    /// Has `commands` committed, through whoever leads. Tried again until `deadline`; the ticket sees to it that they
    /// are applied once. The results come out of this node's own state machine.
    ///
    /// # Errors
    /// `TimedOut`: the outcome is unknown. `NoLeader` and `Stopped`: they were not proposed here.
    pub async fn propose(&self, ticket: Ticket, commands: Bytes, deadline: Instant) -> Result<(), NodeError> {
        let mut asked = false;
        loop {
            let known = self.leader();
            let request = || PeerRequest::Propose { ticket, commands: commands.clone() };
            match self.ask_leader(request, deadline).await {
                Ok(PeerResponse::Proposed) => return Ok(()),
                refused @ (Ok(PeerResponse::NoQuorum) | Err(NodeError::Unreached(_))) => {
                    tracing::debug!(?refused, "not proposed");
                    if self.pause(known, deadline).await.is_err() {
                        return Err(if asked { NodeError::TimedOut } else { NodeError::NoLeader });
                    }
                    continue;
                }
                Ok(other) => tracing::debug!(answer = ?other, "proposal not taken"),
                Err(NodeError::NoLeader) if asked => return Err(NodeError::TimedOut),
                Err(error) => return Err(error),
            }
            asked = true;
            self.pause(known, deadline).await?;
        }
    }

    /// Waits until this node has applied everything that was acknowledged anywhere before the call.
    ///
    /// # Errors
    /// `TimedOut` or `Stopped`: nothing may be read.
    pub async fn read_barrier(&self, deadline: Instant) -> Result<(), NodeError> {
        let index = loop {
            let known = self.leader();
            match self.ask_leader(|| PeerRequest::ReadIndex, deadline).await {
                Ok(PeerResponse::ReadIndex(index)) => break index,
                Err(NodeError::Unreached(error)) => tracing::debug!(%error, "leader not reached"),
                Ok(other) => tracing::debug!(answer = ?other, "no read index"),
                Err(error) => return Err(error),
            }
            self.pause(known, deadline).await?;
        };
        let mut applied = self.state.applied();
        match tokio::time::timeout_at(deadline.into(), applied.wait_for(|applied| *applied >= index)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(NodeError::Stopped("its state machine is gone".into())),
            Err(_) => Err(NodeError::TimedOut),
        }
    }

    /// Puts a request to the leader, which may be this node; waits for one to be known. When another takes over while
    /// the answer is awaited, that one is asked: the old one may be cut off and never answer. `NoLeader` when nobody
    /// was asked until the deadline.
    pub(super) async fn ask_leader(
        &self,
        request: impl Fn() -> PeerRequest,
        deadline: Instant,
    ) -> Result<PeerResponse, NodeError> {
        let mut asked = false;
        loop {
            let now = Instant::now();
            let left = deadline.saturating_duration_since(now);
            if left.is_zero() {
                return Err(if asked { NodeError::TimedOut } else { NodeError::NoLeader });
            }
            let earlier = asked;
            match self.leader() {
                Some(leader) if leader == self.identity.member => {
                    let answer = tokio::time::timeout(left, self.answer_here(request())).await;
                    return answer.map(|answer| answered(earlier, answer)).map_err(|_| NodeError::TimedOut);
                }
                Some(leader) => {
                    let Some(peer) = self.members().remove(&leader) else {
                        self.leader_other_than(Some(leader), left.min(RETRY_PAUSE)).await;
                        continue;
                    };
                    let channel = self.peers.channel(leader, &peer, Lane::Control);
                    let request = request();
                    let answer = async {
                        // Before it is sent the leader cannot have taken it.
                        let connected = tokio::time::timeout(left, channel.connection()).await;
                        let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
                        if let Err(error) = connected {
                            return unreached(asked, error);
                        }
                        asked = true;
                        let answer = channel.call(&request, left).await;
                        let refusal = answer.as_ref().err().and_then(dismissed).map(|told| told.refusal);
                        if refusal == Some(Refusal::Removed) {
                            return Err(NodeError::Stopped("it was removed from its cluster".into()));
                        }
                        let failed = |error: io::Error| PeerResponse::Failed(error.to_string());
                        Ok(answered(earlier, answer.unwrap_or_else(failed)))
                    };
                    tokio::select! {
                        answer = answer => return answer,
                        () = self.leader_other_than(Some(leader), left) => {}
                    }
                }
                None => {
                    if let Err(fatal) = &self.raft.metrics().borrow_watched().running_state {
                        return Err(NodeError::Stopped(fatal.to_string()));
                    }
                    self.leader_other_than(None, left).await;
                }
            }
        }
    }

    async fn answer_here(&self, request: PeerRequest) -> PeerResponse {
        match request {
            PeerRequest::Propose { ticket, commands } => self.propose_here(ticket, commands).await,
            PeerRequest::ReadIndex => self.read_index_here().await,
            PeerRequest::Progress => self.tell_progress(),
            _ => PeerResponse::Failed("not a request for the leader".into()),
        }
    }

    /// Waits before something is tried again that failed while `known` led, but no longer than until another leads.
    pub(super) async fn pause(&self, known: Option<u64>, deadline: Instant) -> Result<(), NodeError> {
        if Instant::now() + RETRY_PAUSE >= deadline {
            return Err(NodeError::TimedOut);
        }
        let mut metrics = self.raft.server_metrics();
        let another = async {
            while metrics.borrow_watched().current_leader.is_none_or(|leader| Some(leader) == known) {
                if metrics.changed().await.is_err() {
                    // Raft has ended, and nobody else will be heard of.
                    std::future::pending().await
                }
            }
        };
        // Both outcomes are fine: it is tried again.
        let _ = tokio::time::timeout(RETRY_PAUSE, another).await;
        Ok(())
    }

    /// As the leader: stamps and proposes a batch, and answers when it has been applied here.
    pub(super) async fn propose_here(&self, ticket: Ticket, commands: Bytes) -> PeerResponse {
        // Nothing could be committed, and nothing of it could be taken out of the log again.
        if self.has_lost_quorum() {
            return PeerResponse::NoQuorum;
        }
        if tokio::time::timeout(ROOM_PATIENCE, self.log.room().wait()).await.is_err() {
            return PeerResponse::Failed("the leader's log has no room until a snapshot is finished".into());
        }
        // Another may have been asked by mistake; it must not count time that the leader may not count.
        let clock = if self.is_leader() { self.drive_clock() } else { self.read_clock() };
        let at = Stamp { clock, wall: wall_nanos() };
        match self.raft.client_write(Proposal { at, ticket, commands }).await {
            Ok(_) => PeerResponse::Proposed,
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to))) => {
                PeerResponse::NotLeader(to.leader_id)
            }
            Err(error) => PeerResponse::Failed(error.to_string()),
        }
    }

    /// As the leader: the index up to which must be applied to see everything acknowledged so far.
    pub(super) async fn read_index_here(&self) -> PeerResponse {
        match self.raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
            Ok(linearizer) => PeerResponse::ReadIndex(linearizer.read_log_id().index()),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(to))) => {
                PeerResponse::NotLeader(to.leader_id)
            }
            Err(error) => PeerResponse::Failed(error.to_string()),
        }
    }

    /// Resolves when the node cannot go on, with the reason: a failed disk, for example, or a panic in what keeps the
    /// replica.
    pub async fn failed(&self) -> String {
        tokio::select! {
            biased;
            // First, because a panic is also why raft stops then.
            what = self.state.alarm().raised() => format!("a panic ended {what}"),
            reason = self.raft_failed() => reason,
        }
    }

    async fn raft_failed(&self) -> String {
        let mut metrics = self.raft.metrics();
        loop {
            if let Err(fatal) = &metrics.borrow_watched().running_state {
                return fatal.to_string();
            }
            if metrics.changed().await.is_err() {
                return "raft has stopped".into();
            }
        }
    }

    /// Stops raft and the node's tasks, and waits until they have ended. What was acknowledged is on disk already.
    pub async fn stop(&self) {
        self.tasks.end().await;
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "raft did not stop cleanly");
        }
    }
}

/// What became of a request that a leader has answered: when it will not propose it, an `earlier` one that was asked may
/// have taken it all the same.
fn answered(earlier: bool, answer: PeerResponse) -> PeerResponse {
    match answer {
        PeerResponse::NoQuorum if earlier => PeerResponse::Failed("the leader has lost its quorum".into()),
        answer => answer,
    }
}

/// What became of a request whose leader cannot be reached: an earlier leader may have taken it all the same if one was
/// `asked`.
fn unreached(asked: bool, error: io::Error) -> Result<PeerResponse, NodeError> {
    if asked {
        return Ok(PeerResponse::Failed(format!("the leader cannot be reached: {error}")));
    }
    Err(NodeError::Unreached(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::LOWEST;
    use crate::keyspace::auth::Auth;
    use crate::keyspace::{Command, batch};
    use crate::raft::node_test::alone;
    use crate::raft::offline::folder::Nobody;
    use crate::raft::state::machine::Outcome;

    /// Panics when a batch has been applied, in the task that applies.
    struct Clumsy;

    impl Observer for Clumsy {
        fn applied(&self, _: Outcome) {
            panic!("on purpose");
        }

        fn replaced(&self, _: Arc<Auth>, _: u64) {}
    }

    async fn expire(node: &Node, limit: Duration) -> Result<(), NodeError> {
        let commands = batch::encode(&[Command::Expire], LOWEST).unwrap();
        let ticket = Ticket { node: 1, session: 1, seq: 1 };
        node.propose(ticket, commands.into(), Instant::now() + limit).await
    }

    #[tokio::test]
    async fn nothing_outlives_a_node_that_was_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let node = alone(folder.path(), Arc::new(Nobody)).await;
        expire(&node, Duration::from_secs(30)).await.unwrap();
        let raft = node.raft().clone();
        node.stop().await;
        assert_eq!(Arc::strong_count(&node), 1, "a task has the node still");
        drop(node);
        // The folder is free again, which it would not be if anything had its files.
        drop(raft);
        let again = alone(folder.path(), Arc::new(Nobody)).await;
        again.stop().await;
    }

    #[tokio::test]
    async fn a_replica_that_panicked_stops_its_node() {
        let folder = tempfile::tempdir().unwrap();
        let node = alone(folder.path(), Arc::new(Clumsy)).await;
        let (reason, proposed) = tokio::join!(node.failed(), expire(&node, Duration::from_secs(1)));
        assert_eq!(reason, "a panic ended the application of entries");
        assert!(proposed.is_err(), "nothing is acknowledged that was not told");
        node.stop().await;
    }

    #[test]
    fn what_an_earlier_leader_may_have_taken_is_not_said_to_be_unproposed_when_the_next_one_cannot_take_it() {
        let refused = || io::ErrorKind::ConnectionRefused.into();
        assert!(matches!(unreached(false, refused()), Err(NodeError::Unreached(_))));
        assert!(matches!(unreached(true, refused()), Ok(PeerResponse::Failed(_))));
        assert!(matches!(answered(false, PeerResponse::NoQuorum), PeerResponse::NoQuorum));
        assert!(matches!(answered(true, PeerResponse::NoQuorum), PeerResponse::Failed(_)));
    }
}
