//! Data folders of nodes that do not run: made from a keyspace, and read back to one.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use openraft::storage::RaftLogStorage;
use openraft::{EntryPayload, Membership, RaftLogReader};

use crate::keyspace::auth::Auth;
use crate::keyspace::{Frozen, Keyspace};
use crate::raft::identity::Identity;
use crate::raft::state::machine::{Observer, Outcome, StateMachine};
use crate::raft::state::sessions::Sessions;
use crate::raft::state::snapshot;
use crate::raft::state::snapshot::Meta;
use crate::raft::storage::{IDENTITY, Storage, make_durably};
use crate::raft::types::{CommittedLeader, Peer, RaftLogId, RaftMembership};

/// Makes the data folder of one of the first `members` of a new cluster that starts with this keyspace. All of them
/// must get the same.
///
/// # Errors
/// The folder holds something already, or cannot be written.
pub fn found(
    data_dir: &Path,
    identity: &Identity,
    members: BTreeMap<u64, Peer>,
    keyspace: &Keyspace,
) -> io::Result<()> {
    make_durably(data_dir)?;
    if std::fs::read_dir(data_dir)?.next().is_some() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is not empty"));
    }
    // Where raft would stand after its first entry, the membership.
    let last = RaftLogId::new(CommittedLeader::new(0), 0);
    let voters: BTreeSet<u64> = members.keys().copied().collect();
    let membership = Membership::new(vec![voters], members).map_err(io::Error::other)?;
    let membership = RaftMembership::new(Some(last), membership);
    let meta = Meta { last: Some(last), membership, sessions: Sessions::default() };
    // The snapshot comes last: without it, no node starts from a folder that was left half made.
    let Storage { identity_store, folder, .. } = Storage::open(data_dir)?;
    folder.prepare(keyspace.version())?;
    identity_store.write(IDENTITY, identity)?;
    snapshot::write(&folder.place(meta.last), &meta, &keyspace.freeze())
}

/// What the data folder of a node that does not run holds: its newest snapshot and all of its log behind it, also what
/// no majority may have had yet.
///
/// # Errors
/// It holds no node's data, a node is using it, or it cannot be read.
pub async fn read(data_dir: &Path) -> io::Result<(Identity, Frozen)> {
    if !data_dir.join("log").is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "it holds no data of a node"));
    }
    let Storage { mut log, folder, metrics, identity, .. } = Storage::open(data_dir)?;
    let identity = identity.ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, "the node that it belongs to never started")
    })?;
    let state = StateMachine::open(folder, u64::MAX.into(), Arc::new(Nobody), metrics)?;
    let mut next = state.read().applied.map_or(0, |id| id.index + 1);
    let last = log.get_log_state().await?.last_log_id.map_or(0, |id| id.index + 1);
    while next < last {
        let entries = log.limited_get_log_entries(next, last).await?;
        if entries.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("log entry {next} is missing")));
        }
        for entry in entries {
            next = entry.log_id.index + 1;
            if let EntryPayload::Normal(proposal) = entry.payload {
                state.apply_batch(entry.log_id, &proposal)?;
            }
        }
    }
    let frozen = state.read().keyspace.freeze();
    Ok((identity, frozen))
}

/// Nobody waits for what is applied to a node that does not run.
pub(in crate::raft) struct Nobody;

impl Observer for Nobody {
    fn applied(&self, _: Outcome) {}

    fn replaced(&self, _: Arc<Auth>, _: u64) {}
}
