//! The keyspace as it was at one moment, for snapshots: frozen at no cost while writes go on, told as a sequence of
//! records, and built up from them again.

use std::sync::Arc;

use super::auth::Auth;
use super::backup::BackupError;
use super::backup::Staging;
use super::{Blob, Counters, History, Keyspace, Members, Memory, Past, Record, Roster, Staged, Tree};
use crate::clock::Stamp;
use crate::format;
use crate::format::Version;

/// A keyspace that no longer changes.
#[derive(Clone, Debug)]
pub struct Frozen {
    tree: Tree,
    history: History,
    members: Members,
    auth: Arc<Auth>,
    counters: Counters,
    roster: Roster,
    index: u64,
    now: Stamp,
    past: Past,
    version: Version,
    staging: Option<(Staged, Option<Box<Frozen>>)>,
}

impl Frozen {
    /// Every record, the head first, then nodes with parents before children, users and roles, then changes, oldest
    /// first, then the rest.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        let past = Some(Record::Past(self.past.clone())).filter(|_| self.past != Past::default());
        let staging = self.staging.iter().flat_map(|(head, frozen)| {
            let head = Record::Staging(head.clone());
            let keys = frozen.iter().flat_map(|frozen| frozen.state(frozen.now));
            std::iter::once(head).chain(keys.map(|record| Record::Staged(encode(&record))))
        });
        self.state(self.now)
            .chain(past)
            .chain(self.history.iter().map(|event| Record::Event(event.clone())))
            .chain(std::iter::once(Record::Counters(self.counters)))
            .chain(std::iter::once(Record::Roster(self.roster.clone())))
            .chain(std::iter::once(Record::Version(self.version)))
            .chain(staging)
    }

    /// The records of a backup that is made when the cluster clock reads `clock`: without history and counters, and
    /// without what a restore that is under way has staged.
    pub fn backup(&self, clock: i64) -> impl Iterator<Item = Record> {
        self.state(Stamp { clock: clock.max(self.now.clock), wall: self.now.wall })
    }

    /// The version that is needed to read the records.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Leaves out the oldest changes, so that the others take at most about so many bytes. Whoever is built up from this
    /// knows that it does not remember them.
    pub fn shorten_history(&mut self, bytes: u64) {
        self.history.shorten(bytes);
        self.past.cleared = self.history.dropped();
    }

    /// The store's index.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// What a restore brings back.
    fn state(&self, now: Stamp) -> impl Iterator<Item = Record> {
        let head = Record::Head { index: self.index, now, members: self.members.clone() };
        std::iter::once(head)
            .chain(self.tree.iter().map(|node| Record::Node(node.clone())))
            .chain(self.auth.is_used().then(|| Record::Auth(self.auth.clone())))
    }
}

impl Keyspace {
    /// The keyspace as it is now.
    pub fn freeze(&self) -> Frozen {
        Frozen {
            history: self.history.clone(),
            past: Past { cleared: self.history.dropped(), restored: self.restored, base: self.base },
            staging: self
                .staging
                .as_ref()
                .map(|staging| (staging.head.clone(), staged(staging).map(Box::new))),
            ..self.freeze_keys()
        }
    }

    /// What a [backup](Frozen::backup) needs of it: it keeps neither changes that the history forgets nor what is staged.
    pub fn freeze_keys(&self) -> Frozen {
        Frozen {
            tree: self.tree.clone(),
            history: History::new(Memory::from(0)),
            members: self.members.clone(),
            auth: self.auth.clone(),
            counters: self.counters,
            roster: self.roster.clone(),
            index: self.index,
            now: self.now,
            past: Past::default(),
            version: self.version,
            staging: None,
        }
    }

    /// Takes in the next record of a frozen keyspace; starts with [`Keyspace::new`].
    ///
    /// # Errors
    /// What a restore had staged cannot be read.
    pub fn restore(&mut self, record: Record) -> Result<(), BackupError> {
        match record {
            Record::Head { index, now, members } => {
                self.index = index;
                self.now = now;
                self.members = members;
            }
            Record::Roster(roster) => self.roster = roster,
            Record::Node(node) => {
                self.deadlines.note(&node);
                self.tree.insert(node);
            }
            Record::Event(event) => {
                debug_assert!(event.index <= self.index, "{event:?} is newer than the index {}", self.index);
                if event.index >= self.history.oldest(self.index) {
                    self.history.push(event);
                }
            }
            Record::Auth(auth) => self.auth = auth,
            Record::Counters(counters) => self.counters = counters,
            Record::Past(Past { cleared, restored, base }) => {
                self.history.clear(cleared);
                self.restored = restored;
                self.base = base;
            }
            Record::Staging(head) => self.staging = Some(Staging::new(head)),
            Record::Staged(bytes) => {
                let damaged = |what: &dyn std::fmt::Display| BackupError::Damaged { what: what.to_string() };
                let record = format::decode(&bytes).map_err(|e| damaged(&e))?;
                let staging = self.staging.as_mut().ok_or_else(|| damaged(&"nothing is staged"))?;
                staging.take(record)?;
            }
            Record::Version(version) => self.version = version,
        }
        Ok(())
    }
}

/// The keys that are staged; `None` before the first of them.
fn staged(staging: &Staging) -> Option<Frozen> {
    staging.check.index().map(|_| staging.keyspace.freeze())
}

/// Encodes a record that is staged. What came out of the log as bytes always goes back into bytes.
fn encode(record: &Record) -> Blob {
    format::encode(record).unwrap_or_default().into()
}
