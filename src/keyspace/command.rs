//! What the log can say: the replicated commands. Their binary form is the log's schema (see [`crate::format`] and
//! [`super::batch`]).
//!
//! A new command goes to the end of the enum and says in [`Command::since`] which version brings it; a new field goes
//! to the end of its command. Structs inside of commands stay as they are: what they lack becomes a field of the
//! command. What has users and roles or a restore in it grows as those enums do.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::auth::AuthCommand;
use super::{Blob, Key, Restore, Ttl};
use crate::format::{LOWEST, Version};

/// Conditions on the node as it is; all that are given must hold. Stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compare {
    /// The value the node must have.
    pub value: Option<Blob>,
    /// The modified index the node must have.
    pub index: Option<u64>,
}

/// What a write does about a value and a lifetime. Stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The new value; ignored when `refresh` is set.
    pub value: Blob,
    /// The new lifetime; `None` makes the key permanent.
    pub ttl: Option<Ttl>,
    /// Keep the value and tell no watcher.
    pub refresh: bool,
}

/// One change of the keyspace. The names are those of etcd's v2 store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Write a file or make a directory, whatever was there.
    Set {
        /// The key that is written.
        key: Key,
        /// Make a directory.
        dir: bool,
        /// Value and lifetime.
        content: Content,
    },
    /// Make a file or directory that must not exist.
    Create {
        /// The key that is written.
        key: Key,
        /// Make a directory.
        dir: bool,
        /// Value and lifetime.
        content: Content,
    },
    /// Make a file or directory below `dir_key` whose name is the index of the change, so that names come in order.
    CreateInOrder {
        /// Below what.
        dir_key: Key,
        /// Make a directory.
        dir: bool,
        /// Value and lifetime.
        content: Content,
    },
    /// Change a node that must exist.
    Update {
        /// The key of the node.
        key: Key,
        /// Value and lifetime.
        content: Content,
    },
    /// Change a file if it is as expected.
    CompareAndSwap {
        /// The key of the node.
        key: Key,
        /// What it must be.
        compare: Compare,
        /// Value and lifetime.
        content: Content,
    },
    /// Remove a node.
    Delete {
        /// The key of the node.
        key: Key,
        /// It may be an empty directory.
        dir: bool,
        /// It may be a directory with all that is below.
        recursive: bool,
    },
    /// Remove a file if it is as expected.
    CompareAndDelete {
        /// The key of the node.
        key: Key,
        /// What it must be.
        compare: Compare,
    },
    /// Remove what is due at the entry's stamp, up to some thousands of keys. Every command does that first, up to some
    /// hundreds; this one does nothing else.
    Expire,
    /// A member says its name and where clients reach it.
    Publish {
        /// The member.
        id: u64,
        /// The name of the member.
        name: String,
        /// Its client URLs.
        client_urls: Vec<String>,
        /// The highest version that it can do.
        version: Version,
        /// A remark, in the next version.
        #[cfg(debug_assertions)]
        #[serde(default, skip_serializing_if = "crate::format::is_before_next")]
        remark: Option<String>,
    },
    /// Change users, roles or whether they matter.
    Auth(Box<AuthCommand>),
    /// A new member; raises the index by 1.
    AddMember {
        /// Its id, never used before.
        id: u64,
        /// Where other members will reach it.
        peer_urls: Vec<String>,
        /// It shall never vote.
        replica: bool,
    },
    /// A member has other addresses; raises the index by 1.
    UpdateMember {
        /// The id of the member.
        id: u64,
        /// Where other members reach it.
        peer_urls: Vec<String>,
    },
    /// A member leaves for good; raises the index by 2, as etcd writes two records for it.
    RemoveMember {
        /// The id of the member.
        id: u64,
        /// The version of the roster that the decision rests on.
        seen: Option<u64>,
    },
    /// A read replica shall vote; raises the index by 1.
    PromoteMember {
        /// The id of the member.
        id: u64,
    },
    /// Disaster recovery: all members but one are gone for good. Raises the index by 2 for each of them.
    KeepOnlyMember {
        /// The one that is left.
        id: u64,
        /// Where it is reached.
        peer_urls: Vec<String>,
    },
    /// A step of replacing everything by a backup.
    Restore(Restore),
    /// The cluster was founded, or founded anew from what one member had; comes first after that. Takes no index.
    Found {
        /// The number drawn at this founding, never 0.
        incarnation: u64,
        /// Who took part, and by which data folder.
        folders: BTreeMap<u64, u64>,
    },
    /// A member starts: it says which data folder it has, and which run of it this is. Takes no index.
    Introduce {
        /// The member.
        id: u64,
        /// The number of its data folder, never 0.
        folder: u64,
        /// Its run, higher at each start of the same folder.
        run: u64,
    },
    /// The cluster reaches a version that all its members can do. Takes no index.
    RaiseVersion {
        /// The version.
        version: Version,
    },
    /// A member remarks something: a command of the next version, which stays the last one here.
    #[cfg(debug_assertions)]
    Remark {
        /// The member.
        id: u64,
        /// What it says.
        text: String,
    },
}

impl Command {
    /// The version that the command came with: it is not proposed before the cluster has reached it.
    pub fn since(&self) -> Version {
        match self {
            #[cfg(debug_assertions)]
            Self::Remark { .. } => crate::format::NEXT,
            _ => LOWEST,
        }
    }
}
