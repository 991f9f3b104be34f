//! The replicated state machine: a tree of keys as etcd's v2 store has it.
//!
//! Pure and deterministic: the same commands with the same stamps give the same state, events and errors on every
//! node. No clock, no randomness, no I/O and no hash order in here.

pub mod auth;
pub mod backup;
pub mod batch;
mod command;
mod counters;
mod error;
mod event;
mod frozen;
mod history;
mod json;
mod listing;
mod members;
mod mismatch;
mod ops;
mod outline;
mod overwritten;
mod record;
mod tree;

pub use backup::{Check, Counts, Misplaced, Restore, RestoreError, Restored, Staged};
pub use command::{Command, Compare, Content};
pub use counters::{Counters, Tally};
pub use error::{KeyError, Refusal};
pub use event::{Action, Change, Event};
pub use frozen::Frozen;
pub use history::{History, Memory};
pub use json::{string as json_string, timestamp};
pub use listing::Listing;
pub use members::{Attributes, MemberError, Members, PEER_URLS_BYTES, Roster, Seat};
pub use mismatch::Mismatch;
pub use outline::Outline;
pub use record::{Past, Record};
pub use tree::{Blob, Deadline, Extent, Key, Kind, Node, Tree, Ttl, View};

use std::sync::Arc;

use crate::clock::Stamp;
use crate::format::{LOWEST, Version};
use auth::{Auth, AuthCommand, AuthError, Reply};
use backup::{Outdated, Staging};
use overwritten::Overwritten;
use tree::Deadlines;

/// Up to so many nodes a debug build compares tree and deadlines after every command.
const CHECKED_NODES: usize = 1000;

/// Keys that run out at a time before [`Command::Expire`], which is proposed again as long as there are more: one entry of
/// the log takes no longer than that needs, however many keys were given the same lifetime.
const EXPIRED_AT_ONCE: usize = 8192;

/// The same before any other command, of which an entry may have hundreds.
const EXPIRED_BESIDE: usize = 512;

/// Digits of the name of a key that is made in order.
pub const IN_ORDER_DIGITS: usize = 20;

/// The tree, its history and what belongs to them.
#[derive(Debug)]
pub struct Keyspace {
    tree: Tree,
    deadlines: Deadlines,
    history: History,
    members: Members,
    auth: Arc<Auth>,
    counters: Counters,
    roster: Roster,
    index: u64,
    now: Stamp,
    staging: Option<Staging>,
    restored: Option<Restored>,
    /// What the cluster clock read when the lifetimes were written down; the next entry sets them going again.
    base: Option<i64>,
    version: Version,
    /// What was replaced, until somebody takes it.
    outdated: Outdated,
    overwritten: Overwritten,
}

/// What a command that was not refused did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The change, for commands that make one.
    pub event: Option<Arc<Event>>,
    /// The store's index afterwards.
    pub index: u64,
    /// What came of a change of users and roles.
    pub auth: Option<Box<Result<Reply, AuthError>>>,
}

impl Keyspace {
    /// An empty keyspace that remembers as many changes as `history` says; a number is one of indexes.
    pub fn new(history: impl Into<Memory>) -> Self {
        Self {
            tree: Tree::default(),
            deadlines: Deadlines::default(),
            history: History::new(history.into()),
            members: Members::default(),
            auth: Arc::default(),
            counters: Counters::default(),
            roster: Roster::default(),
            index: 0,
            now: Stamp::default(),
            staging: None,
            restored: None,
            base: None,
            version: LOWEST,
            outdated: Outdated::default(),
            overwritten: Overwritten::default(),
        }
    }

    /// The index of the last change.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The newest stamp seen.
    pub fn now(&self) -> Stamp {
        self.now
    }

    /// The cluster's version: all members can do it, and nothing newer is written.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The version that the cluster may be raised to: the lowest that all members have said they can do, if it is
    /// higher than the one that is reached. A member that was never started has said nothing.
    pub fn next_version(&self) -> Option<Version> {
        let members = self.roster.members().keys();
        let can = members.map(|id| self.members.get(*id).map(|attributes| attributes.version));
        let lowest = can.min().flatten()?;
        (lowest > self.version).then_some(lowest)
    }

    /// Names and client URLs of the members.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Users, roles and whether they matter. Another `Arc` after each change.
    pub fn auth(&self) -> &Arc<Auth> {
        &self.auth
    }

    /// How many operations were applied.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Who belongs to the cluster.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Takes over the members of raft's membership when no list of members is known yet.
    pub fn seed_roster(&mut self, members: impl IntoIterator<Item = (u64, Vec<String>)>) {
        if self.roster.members().is_empty() {
            self.roster.seed(members);
        }
    }

    /// The recent changes.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// When the next key runs out or something staged is given up, in nanoseconds on the cluster clock.
    pub fn next_expiry(&self) -> Option<i64> {
        let staging = self.staging.as_ref().map(Staging::limit);
        self.deadlines.soonest().into_iter().chain(staging).min()
    }

    /// How many files and directories there are.
    pub fn len(&self) -> usize {
        self.tree.len()
    }

    /// How many of them are directories, and how many bytes the keys and values take.
    pub fn extent(&self) -> Extent {
        self.tree.extent()
    }

    /// About how many bytes were replaced or removed that somebody may have who [keeps](Self::keep) a listing. By how much
    /// this has grown since one was made is at most what that one and all later ones have in memory alone, together.
    pub fn overwritten(&self) -> u64 {
        self.overwritten.bytes()
    }

    /// Somebody keeps a listing of everything as it was at `index`.
    pub fn keep(&self, index: u64) {
        self.overwritten.copied(index);
    }

    /// How many keys have a lifetime.
    pub fn mortal(&self) -> usize {
        self.deadlines.count()
    }

    /// Whether there is nothing but the root.
    pub fn is_empty(&self) -> bool {
        self.tree.is_empty()
    }

    /// What was replaced as a whole since this was asked last, if anything was: to drop it takes long, and is best done
    /// elsewhere.
    pub fn take_outdated(&mut self) -> Option<Outdated> {
        Some(std::mem::take(&mut self.outdated)).filter(|outdated| !outdated.is_empty())
    }

    /// Applies one committed command at the leader's stamp. What was due by then runs out first, but no more than some
    /// hundreds of keys at a time. Every change, the expiries included, is added to `changes` in order.
    ///
    /// # Errors
    /// The command's refusal. What ran out before it has run out all the same.
    pub fn apply(
        &mut self,
        command: &Command,
        at: Stamp,
        changes: &mut Vec<Change>,
    ) -> Result<Applied, Refusal> {
        let before = self.index;
        self.now = Stamp { clock: at.clock.max(self.now.clock), wall: at.wall };
        self.settle();
        let most = if matches!(command, Command::Expire) { EXPIRED_AT_ONCE } else { EXPIRED_BESIDE };
        self.expire(most, changes);
        let (told, reached) = (changes.len(), self.index);
        let result = self.run(command, changes);
        debug_assert!(result.is_ok() || changes.len() == told, "{command:?} is refused and told of");
        debug_assert!(result.is_ok() || self.index == reached, "{command:?} is refused and takes an index");
        self.counters.note(command, &result);
        debug_assert!(
            self.tree.len() > CHECKED_NODES
                || self.deadlines.count() == self.tree.iter().filter(|n| n.deadline.is_some()).count(),
            "deadlines and tree disagree after {command:?}"
        );
        assert!(self.index >= before, "the index went from {before} to {} by {command:?}", self.index);
        result.map_err(|error| Refusal { error, index: self.index })
    }

    fn run(&mut self, command: &Command, changes: &mut Vec<Change>) -> Result<Applied, KeyError> {
        let change = match command {
            Command::Expire => return Ok(self.applied(None)),
            Command::Publish { .. }
            | Command::AddMember { .. }
            | Command::UpdateMember { .. }
            | Command::RemoveMember { .. }
            | Command::PromoteMember { .. }
            | Command::KeepOnlyMember { .. }
            | Command::Found { .. }
            | Command::Introduce { .. } => {
                self.index += self.change_members(command)?;
                return Ok(self.applied(None));
            }
            Command::Restore(step) => return Ok(self.run_restore(step)?),
            Command::RaiseVersion { version } => {
                self.raise_version(*version);
                return Ok(self.applied(None));
            }
            #[cfg(debug_assertions)]
            Command::Remark { id, text } => {
                self.members.remark(*id, text);
                return Ok(self.applied(None));
            }
            Command::Set { key, dir, content } => self.set(key, *dir, content)?,
            Command::Create { key, dir, content } => self.create(key, *dir, content)?,
            Command::CreateInOrder { dir_key, dir, content } => {
                let key = dir_key.child(&format!("{:0IN_ORDER_DIGITS$}", self.index + 1));
                self.create(&key, *dir, content)?
            }
            Command::Update { key, content } => self.update(key, content)?,
            Command::CompareAndSwap { key, compare, content } => {
                self.compare_and_swap(key, compare, content)?
            }
            Command::Delete { key, dir, recursive } => self.delete(key, *dir || *recursive, *recursive)?,
            Command::CompareAndDelete { key, compare } => self.compare_and_delete(key, compare)?,
            Command::Auth(command) => {
                let result = self.change_auth(command);
                return Ok(Applied { auth: Some(Box::new(result)), ..self.applied(None) });
            }
        };
        let event = change.event.clone();
        self.record(change, changes);
        Ok(self.applied(Some(event)))
    }

    /// Raises the version, but to none that a member cannot do: one may have gone back since it was proposed.
    fn raise_version(&mut self, version: Version) {
        if self.next_version().is_some_and(|next| version <= next) {
            self.version = self.version.max(version);
        }
    }

    fn applied(&self, event: Option<Arc<Event>>) -> Applied {
        Applied { event, index: self.index, auth: None }
    }

    /// Changes users or roles. A refusal may have taken indexes all the same, when it was the first command of all.
    fn change_auth(&mut self, command: &AuthCommand) -> Result<Reply, AuthError> {
        let before = self.auth.clone();
        let outcome = Arc::make_mut(&mut self.auth).apply(command, &mut self.counters);
        if outcome.steps == 0 {
            self.auth = before;
        }
        self.index += outcome.steps;
        outcome.result
    }

    /// Carries out a command about members; by how much it raises the index, as in etcd, which keeps its members in
    /// the same store.
    fn change_members(&mut self, command: &Command) -> Result<u64, KeyError> {
        self.counters.note_roster_lookup(command, self.roster.has_removed());
        match command {
            Command::Publish { id, .. } if self.roster.is_removed(*id) => return Ok(0),
            Command::Publish {
                id,
                name,
                client_urls,
                version,
                #[cfg(debug_assertions)]
                remark,
            } => {
                self.counters.note_member(self.members.get(*id).is_none(), self.members.is_empty());
                let (name, client_urls) = (name.clone(), client_urls.clone());
                let attributes = Attributes {
                    name,
                    client_urls,
                    version: *version,
                    #[cfg(debug_assertions)]
                    remark: remark.clone(),
                };
                self.members.publish(*id, attributes);
            }
            Command::AddMember { id, peer_urls, replica } => self.roster.add(*id, peer_urls, *replica)?,
            Command::UpdateMember { id, peer_urls } => self.roster.update(*id, peer_urls)?,
            Command::PromoteMember { id } => self.roster.promote(*id)?,
            Command::RemoveMember { id, seen } => {
                self.roster.remove(*id, *seen)?;
                self.members.forget(*id);
                return Ok(2);
            }
            Command::KeepOnlyMember { id, peer_urls } => {
                let gone = self.roster.keep_only(*id, peer_urls);
                gone.iter().for_each(|id| self.members.forget(*id));
                return Ok(2 * gone.len() as u64);
            }
            Command::Found { incarnation, folders } => {
                self.roster.found(*incarnation, folders);
                return Ok(0);
            }
            Command::Introduce { id, folder, run } => {
                self.roster.introduce(*id, *folder, *run)?;
                return Ok(0);
            }
            _ => return Ok(0),
        }
        Ok(1)
    }

    /// Lets what is due run out, the earliest first and each at an index of its own.
    fn expire(&mut self, most: usize, changes: &mut Vec<Change>) {
        for _ in 0..most {
            let Some(key) = self.deadlines.due(self.now.clock).cloned() else { return };
            let change = self.remove(&key, Action::Expire);
            self.counters.expired += 1;
            self.record(change, changes);
        }
    }

    fn record(&mut self, change: Change, changes: &mut Vec<Change>) {
        assert_eq!(change.event.index, self.index + 1, "a change must take the next index");
        self.index = change.event.index;
        self.history.push(change.event.clone());
        changes.push(change);
    }

    /// The answer to a get of `key` when the cluster clock reads `clock`, as everything is now: what is applied later
    /// does not change it, and rendering it needs nothing of the keyspace.
    ///
    /// # Errors
    /// `NotFound` or `NotDirectory`, with the store's index.
    pub fn listing(&self, key: &Key, recursive: bool, clock: i64) -> Result<Listing, Refusal> {
        let node = if key.is_root() { None } else { Some(self.find(key)?.clone()) };
        Ok(Listing::new(&self.tree, node, recursive, clock.max(self.now.clock)))
    }

    /// The node at `key`, which must not be the root.
    ///
    /// # Errors
    /// `NotFound` or `NotDirectory`, with the store's index.
    pub fn find(&self, key: &Key) -> Result<&Arc<Node>, Refusal> {
        self.tree.find(key).map_err(|error| Refusal { error, index: self.index })
    }
}

#[cfg(test)]
mod edges_test;
#[cfg(test)]
mod json_test;
#[cfg(test)]
mod matrix_test;
#[cfg(test)]
mod members_test;
#[cfg(test)]
mod naive_test;
#[cfg(test)]
mod tests;
