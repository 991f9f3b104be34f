//! The replicated state of a node as openraft drives it: entries go in, results and changes come out.

use std::io;
use std::mem;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use futures_util::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, RaftSnapshotBuilder};
use tokio::sync::watch;

use super::background;
use super::sessions::Sessions;
use super::snapshot;
use super::snapshot::{Folder, Meta};
use crate::clock::{ClusterClock, Stamp};
use crate::keyspace::auth::Auth;
use crate::keyspace::{Applied, Change, Command, Frozen, Keyspace, Memory, Refusal, batch};
use crate::raft::log::budget::Budget;
use crate::raft::log::faults;
use crate::raft::metrics::{Counted, Metrics, observe};
use crate::raft::tasks::Alarm;
use crate::raft::types::{Proposal, RaftLogId, RaftMembership, Ticket, TypeConfig};
use crate::raft::versions::Versions;

/// The openraft instance of a node.
pub type Raft = openraft::Raft<TypeConfig, StateMachine>;

type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
type Snapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotFile>;

/// Everything that entries change, under one lock, so that a snapshot's data and its place in the log always agree.
#[derive(Debug)]
pub struct Replica {
    /// The keys.
    pub keyspace: Keyspace,
    /// The last entry applied.
    pub applied: Option<RaftLogId>,
    /// The last membership applied.
    pub membership: RaftMembership,
    sessions: Sessions,
}

/// What came of one batch.
#[derive(Debug)]
pub struct Outcome {
    /// Whose batch it was.
    pub ticket: Ticket,
    /// The leader's stamp.
    pub at: Stamp,
    /// Where in the log it stands.
    pub log_id: RaftLogId,
    /// The commands.
    pub commands: Vec<Command>,
    /// One result a command, in order; empty for a batch that was applied before.
    pub results: Vec<Result<Applied, Refusal>>,
    /// Every change in order.
    pub changes: Vec<Change>,
    /// Users and roles afterwards, when they changed.
    pub auth: Option<Arc<Auth>>,
    /// Everything was replaced after so many of the changes: nobody can be told what happened.
    pub replaced_after: Option<usize>,
}

/// Who wants to know what was applied. Called in the order of the log and without the replica's lock, which an observer
/// may therefore take under a lock of its own: the other way round two threads could wait for each other. On raft's thread:
/// must not wait for anything.
pub trait Observer: Send + Sync + 'static {
    /// A batch was applied.
    fn applied(&self, outcome: Outcome);
    /// The whole state was replaced by that of a snapshot, with these users and roles and this store's index.
    fn replaced(&self, auth: Arc<Auth>, index: u64);
}

/// The node's state machine. Clones share it.
#[derive(Clone)]
pub struct StateMachine(Arc<Inner>);

struct Inner {
    replica: RwLock<Replica>,
    folder: Folder,
    history: Memory,
    metrics: Arc<Metrics>,
    observer: Arc<dyn Observer>,
    applied: watch::Sender<u64>,
    clock: Mutex<ClusterClock>,
    alarm: Alarm,
    versions: Versions,
    /// Whether snapshots must not take their time.
    hurry: Arc<AtomicBool>,
}

/// A whole snapshot on disk.
#[derive(Clone, Debug)]
pub struct SnapshotFile(pub PathBuf);

impl StateMachine {
    /// The state of the newest snapshot in `folder`, or an empty one. Remembers as much as `history` says.
    ///
    /// # Errors
    /// The snapshot cannot be read whole; the error names it.
    pub fn open(
        folder: Folder,
        history: Memory,
        observer: Arc<dyn Observer>,
        metrics: Arc<Metrics>,
    ) -> io::Result<Self> {
        let (meta, keyspace) = match folder.newest()? {
            Some(path) => {
                folder.keep_newest()?;
                snapshot::load(&path, history)?
            }
            None => {
                let sessions = Sessions::default();
                let meta = Meta { last: None, membership: RaftMembership::default(), sessions };
                (meta, Keyspace::new(history))
            }
        };
        let Meta { last, membership, sessions } = meta;
        let reading = keyspace.now().clock;
        let versions = Versions::new(keyspace.version());
        let mut replica = Replica { keyspace, applied: last, membership, sessions };
        replica.seed_roster();
        let replica = RwLock::new(replica);
        let applied = watch::Sender::new(last.map_or(0, |id| id.index));
        let clock = Mutex::new(ClusterClock::new(reading, Instant::now()));
        let alarm = Alarm::default();
        Ok(Self(Arc::new(Inner {
            replica,
            folder,
            history,
            metrics,
            observer,
            applied,
            clock,
            alarm,
            versions,
            hurry: Arc::default(),
        })))
    }

    /// The state, for reading. Hold it shortly: applying waits meanwhile.
    pub fn read(&self) -> RwLockReadGuard<'_, Replica> {
        self.0.replica.read().expect("replica lock poisoned")
    }

    /// Follows the index of the last entry applied.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.0.applied.subscribe()
    }

    /// The cluster's version as far as it was applied here.
    pub fn versions(&self) -> &Versions {
        &self.0.versions
    }

    /// This node's reading of the cluster clock; stamps in the log set it.
    pub fn clock(&self) -> &Mutex<ClusterClock> {
        &self.0.clock
    }

    /// Takes over the reading of the cluster clock that the leader of `term` told.
    pub fn follow(&self, term: u64, reading: i64) {
        self.0.clock.lock().expect("cluster clock lock poisoned").follow(term, reading, Instant::now());
    }

    /// As the leader: lets the cluster clock run up to now and reads it, in nanoseconds.
    pub fn drive(&self) -> i64 {
        self.0.clock.lock().expect("cluster clock lock poisoned").drive(Instant::now())
    }

    fn observe(&self, stamp: i64) {
        self.0.clock.lock().expect("cluster clock lock poisoned").observe(stamp, Instant::now());
    }

    /// Raised by a panic while entries are applied or a snapshot takes the place of the replica: what is in memory may
    /// be half changed then, so nothing is read any more, and the node must stop.
    pub fn alarm(&self) -> &Alarm {
        &self.0.alarm
    }

    /// Whether a snapshot that is being written must not take its time.
    pub fn hurry(&self, hurry: bool) {
        self.0.hurry.store(hurry, Ordering::Release);
    }

    /// Where snapshots lie.
    pub fn folder(&self) -> &Folder {
        &self.0.folder
    }

    fn write(&self) -> RwLockWriteGuard<'_, Replica> {
        self.0.replica.write().expect("replica lock poisoned")
    }

    pub(in crate::raft) fn apply_batch(&self, log_id: RaftLogId, proposal: &Proposal) -> io::Result<Outcome> {
        // All of it is understood before any of it takes effect.
        let commands = batch::decode(&proposal.commands)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("log entry {log_id}: {e}")))?;
        self.observe(proposal.at.clock);
        self.0.metrics.batch_commands.observe(commands.len() as f64);
        let mut changes = Vec::with_capacity(commands.len());
        let mut replica = self.write();
        let before = replica.keyspace.auth().clone();
        let members = replica.keyspace.roster().version();
        // Nobody waits any more for what a removed member proposed, and its session is gone: it could come twice.
        let removed = replica.keyspace.roster().is_removed(proposal.ticket.node);
        let mut results = Vec::new();
        let mut replaced_after = None;
        if !removed && replica.sessions.admit(proposal.ticket) {
            let mut restored = replica.keyspace.restored();
            for command in &commands {
                results.push(replica.keyspace.apply(command, proposal.at, &mut changes));
                if replica.keyspace.restored() != restored {
                    restored = replica.keyspace.restored();
                    replaced_after = Some(changes.len());
                }
            }
        }
        if replica.keyspace.roster().version() != members {
            let Replica { sessions, keyspace, .. } = &mut *replica;
            sessions.retain(|node| !keyspace.roster().is_removed(node));
        }
        replica.applied = Some(log_id);
        self.0.versions.reach(replica.keyspace.version());
        let auth = replica.keyspace.auth();
        let auth = (!Arc::ptr_eq(auth, &before)).then(|| auth.clone());
        let outdated = replica.keyspace.take_outdated();
        drop(replica);
        if let Some(outdated) = outdated {
            background::discard(outdated);
        }
        Ok(Outcome {
            ticket: proposal.ticket,
            at: proposal.at,
            log_id,
            commands,
            results,
            changes,
            auth,
            replaced_after,
        })
    }
}

impl Replica {
    /// Whether `id` belongs to the applied membership of raft, as a voter or not.
    pub fn has_member(&self, id: u64) -> bool {
        self.membership.membership().get_node(&id).is_some()
    }

    /// The name of a member: the one it has published, or that the first members were told it has; empty if neither.
    pub fn name_of(&self, id: u64) -> String {
        let published = self.keyspace.members().get(id).map(|attributes| attributes.name.clone());
        let told = || self.membership.membership().get_node(&id).map(|peer| peer.name.clone());
        published.or_else(told).unwrap_or_default()
    }

    /// The first members stand in raft's membership alone, and so do those of older data.
    fn seed_roster(&mut self) {
        let nodes = self.membership.membership().nodes();
        let members: Vec<_> = nodes.map(|(id, peer)| (*id, peer.peer_urls.clone())).collect();
        if !members.is_empty() {
            self.keyspace.seed_roster(members);
        }
    }

    fn freeze(&self) -> (Meta, Frozen) {
        let meta =
            Meta { last: self.applied, membership: self.membership.clone(), sessions: self.sessions.clone() };
        (meta, self.keyspace.freeze())
    }
}

pub(in crate::raft) fn to_openraft(meta: &Meta) -> SnapshotMeta {
    SnapshotMeta { last_log_id: meta.last, last_membership: meta.membership.clone() }
}

/// Builds a snapshot of a state that was frozen when the builder was asked for.
pub struct Builder {
    meta: Meta,
    frozen: Option<Frozen>,
    folder: Folder,
    hurry: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
}

impl Drop for Builder {
    fn drop(&mut self) {
        if let Some(unused) = self.frozen.take() {
            background::discard(unused);
        }
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let path = self.folder.place(self.meta.last);
        if let Some(mut frozen) = self.frozen.take() {
            let began = Instant::now();
            let (meta, folder, target) = (self.meta.clone(), self.folder.clone(), path.clone());
            let hurry = self.hurry.clone();
            let work = move || {
                faults::hold_snapshots();
                frozen.shorten_history(Budget::default().history());
                snapshot::write_in_parts(&target, &meta, &frozen, |part| background::gently(&hurry, part))?;
                folder.keep_newest()
            };
            background::run("snapshot", work).await?;
            observe(&self.metrics.snapshot_save, began.elapsed());
        }
        tracing::info!(file = %path.display(), "snapshot written");
        Ok(Snapshot { meta: to_openraft(&self.meta), snapshot: SnapshotFile(path) })
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<RaftLogId>, RaftMembership)> {
        let replica = self.read();
        Ok((replica.applied, replica.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + Send,
    {
        let _guard = self.0.alarm.guard("the application of entries");
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            let log_id = entry.log_id;
            match entry.payload {
                EntryPayload::Blank => self.write().applied = Some(log_id),
                EntryPayload::Normal(proposal) => {
                    let outcome = self.apply_batch(log_id, &proposal)?;
                    self.0.observer.applied(outcome);
                }
                EntryPayload::Membership(membership) => {
                    let mut replica = self.write();
                    replica.membership = RaftMembership::new(Some(log_id), membership);
                    replica.applied = Some(log_id);
                    replica.seed_roster();
                }
            }
            self.0.applied.send_replace(log_id.index);
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let (meta, frozen) = self.read().freeze();
        let (folder, hurry, metrics) = (self.0.folder.clone(), self.0.hurry.clone(), self.0.metrics.clone());
        Builder { meta, frozen: Some(frozen), folder, hurry, metrics }
    }

    async fn install_snapshot(&mut self, _: &SnapshotMeta, received: SnapshotFile) -> io::Result<()> {
        let _guard = self.0.alarm.guard("the installation of a snapshot");
        let (folder, history) = (self.0.folder.clone(), self.0.history);
        let work = move || {
            let (meta, keyspace) = snapshot::load(&received.0, history)?;
            folder.prepare(keyspace.version())?;
            let path = folder.place(meta.last);
            snapshot::publish(&received.0, &path)?;
            folder.keep_newest()?;
            io::Result::Ok((meta, keyspace))
        };
        let began = Instant::now();
        let installing = Counted::new(&self.0.metrics.installing);
        let (meta, keyspace) = tokio::task::spawn_blocking(work).await.map_err(io::Error::other)??;
        drop(installing);
        observe(&self.0.metrics.snapshot_install, began.elapsed());
        let Meta { last, membership, sessions } = meta;
        self.observe(keyspace.now().clock);
        let mut replica = Replica { keyspace, applied: last, membership, sessions };
        replica.seed_roster();
        let (auth, index) = (replica.keyspace.auth().clone(), replica.keyspace.index());
        self.0.versions.reach(replica.keyspace.version());
        let old = mem::replace(&mut *self.write(), replica);
        background::discard(old);
        self.0.observer.replaced(auth, index);
        self.0.applied.send_replace(last.map_or(0, |id| id.index));
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let folder = self.0.folder.clone();
        let look = move || {
            let Some(path) = folder.newest()? else { return Ok(None) };
            let meta = snapshot::read_meta(&path)?;
            Ok(Some(Snapshot { meta: to_openraft(&meta), snapshot: SnapshotFile(path) }))
        };
        tokio::task::spawn_blocking(look).await.map_err(io::Error::other)?
    }
}

#[cfg(test)]
mod tests {
    use openraft::Membership;

    use super::*;
    use crate::format::CURRENT;
    use crate::raft::offline::folder::Nobody;
    use crate::raft::types::CommittedLeader;

    #[tokio::test]
    async fn a_snapshot_that_is_finished_after_a_newer_one_was_installed_leaves_that_alone() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path().to_path_buf()).unwrap();
        let memory = Memory::from(10);
        let metrics = Metrics::new().unwrap();
        let mut state = StateMachine::open(folder.clone(), memory, Arc::new(Nobody), metrics).unwrap();
        let mut late = state.get_snapshot_builder().await;

        let last = Some(RaftLogId::new(CommittedLeader::new(1), 500));
        let membership = RaftMembership::new(last, Membership::default());
        let meta = Meta { last, membership, sessions: Sessions::default() };
        let received = folder.incoming(1);
        snapshot::write(&received.with_extension("snap"), &meta, &Keyspace::new(memory).freeze()).unwrap();
        std::fs::rename(received.with_extension("snap"), &received).unwrap();
        state.install_snapshot(&to_openraft(&meta), SnapshotFile(received)).await.unwrap();

        late.build_snapshot().await.unwrap();
        assert_eq!(folder.newest().unwrap(), Some(folder.place(last)));
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn an_entry_that_is_not_understood_stops_the_node_before_any_of_it_takes_effect() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path().to_path_buf()).unwrap();
        let metrics = Metrics::new().unwrap();
        let mut state = StateMachine::open(folder, Memory::from(10), Arc::new(Nobody), metrics).unwrap();
        let key = crate::keyspace::Key::parse(b"/a").unwrap();
        let set = Command::Set { key, dir: false, content: crate::keyspace::Content::default() };
        let understood = batch::encode(&[set], CURRENT).unwrap();
        // A command of a kind that nobody knows behind one that everybody does; and a batch of a later version.
        let unknown = [&understood[..], &[2, 0, 0, 0, 0xff, 0x01]].concat();
        let later = [b"\x09\x09", &understood[2..]].concat();
        for (commands, why) in [(unknown, "kind 255 is not known"), (later, "needs Muster 9.9 or later")] {
            let log_id = RaftLogId::new(CommittedLeader::new(1), 1);
            let ticket = Ticket { node: 1, session: 1, seq: 1 };
            let proposal = Proposal { at: Stamp::default(), ticket, commands: commands.into() };
            let entry = crate::raft::types::RaftEntry { log_id, payload: EntryPayload::Normal(proposal) };
            let applied = state.apply(futures_util::stream::iter([Ok((entry, None))])).await;
            let error = applied.unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
            let replica = state.read();
            assert_eq!((replica.keyspace.index(), replica.keyspace.len(), replica.applied), (0, 0, None));
        }
    }

    /// Takes the replica's lock for writing whenever it is told of something, as a thread may that registers a watcher.
    #[derive(Default)]
    struct Intruder(std::sync::OnceLock<StateMachine>, Mutex<Vec<bool>>);

    impl Intruder {
        fn try_lock(&self) {
            let free = self.0.get().unwrap().0.replica.try_write().is_ok();
            self.1.lock().unwrap().push(free);
        }
    }

    impl Observer for Intruder {
        fn applied(&self, _: Outcome) {
            self.try_lock();
        }

        fn replaced(&self, _: Arc<Auth>, _: u64) {
            self.try_lock();
        }
    }

    #[tokio::test]
    async fn the_observer_is_told_without_the_replicas_lock() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path().to_path_buf()).unwrap();
        let observer = Arc::new(Intruder::default());
        let metrics = Metrics::new().unwrap();
        let mut state =
            StateMachine::open(folder.clone(), Memory::from(10), observer.clone(), metrics).unwrap();
        observer.0.set(state.clone()).ok().unwrap();

        let log_id = RaftLogId::new(CommittedLeader::new(1), 1);
        let commands = batch::encode(&[Command::Expire], CURRENT).unwrap().into();
        let ticket = Ticket { node: 1, session: 1, seq: 1 };
        let payload = EntryPayload::Normal(Proposal { at: Stamp::default(), ticket, commands });
        let entry = crate::raft::types::RaftEntry { log_id, payload };
        state.apply(futures_util::stream::iter([Ok((entry, None))])).await.unwrap();

        let meta = state.read().freeze().0;
        let received = folder.incoming(1);
        snapshot::write(&received.with_extension("snap"), &meta, &Keyspace::new(10).freeze()).unwrap();
        std::fs::rename(received.with_extension("snap"), &received).unwrap();
        state.install_snapshot(&to_openraft(&meta), SnapshotFile(received)).await.unwrap();
        assert_eq!(*observer.1.lock().unwrap(), [true, true]);
    }
}
