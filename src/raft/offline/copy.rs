//! A copy of a node's data for a cluster of its own.

use std::io;
use std::path::Path;

use openraft::storage::RaftLogStorage;

use super::folder;
use crate::raft::identity::Identity;
use crate::raft::state::sessions::Sessions;
use crate::raft::state::snapshot;
use crate::raft::state::snapshot::Meta;
use crate::raft::storage::{IDENTITY, Storage, make_durably};
use crate::raft::types::{CommittedLeader, RaftLogId, RaftMembership};

/// Copies what a node that does not run holds into a new data folder, with ids of its own and without a membership in
/// raft: a node starts from it alone and with `force_new_cluster`. Keys, their times to live, index and history stay.
///
/// # Errors
/// As [`folder::read`]; the new folder holds something already or cannot be written.
pub async fn copy_alone(from: &Path, to: &Path) -> io::Result<Identity> {
    let (_, frozen) = folder::read(from).await?;
    let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", to.display()));
    let identity = Identity { member: crate::raft::unique()?, cluster: crate::raft::unique()? };
    make_durably(to).map_err(named)?;
    if std::fs::read_dir(to).map_err(named)?.next().is_some() {
        return Err(named(io::Error::new(io::ErrorKind::AlreadyExists, "it is not empty")));
    }
    let last = RaftLogId::new(CommittedLeader::new(0), 0);
    let meta =
        Meta { last: Some(last), membership: RaftMembership::default(), sessions: Sessions::default() };
    // The snapshot comes last: without it, no node starts from a folder that was left half made.
    let Storage { mut log, identity_store, folder, .. } = Storage::open(to).map_err(named)?;
    // The log begins behind the snapshot.
    folder.prepare(frozen.version()).map_err(named)?;
    log.purge(last).await.map_err(named)?;
    identity_store.write(IDENTITY, &identity).map_err(named)?;
    snapshot::write(&folder.place(meta.last), &meta, &frozen).map_err(named)?;
    Ok(identity)
}
