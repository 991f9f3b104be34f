//! A copy of a node's data for a cluster of its own.

use std::io;
use std::path::Path;

use openraft::storage::RaftLogStorage;

use super::offline;
use super::sessions::Sessions;
use super::snapshot::{self, Meta};
use super::storage::{IDENTITY, Identity, Storage};
use super::types::{CommittedLeader, RaftLogId, RaftMembership};

/// Copies what a node that does not run holds into a new data folder, with ids of its own and without a membership in
/// raft: a node starts from it alone and with `force_new_cluster`. Keys, their times to live, index and history stay.
///
/// # Errors
/// As [`offline::read`]; the new folder holds something already or cannot be written.
pub async fn copy_alone(from: &Path, to: &Path) -> io::Result<Identity> {
    let (_, frozen) = offline::read(from).await?;
    let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", to.display()));
    let identity = Identity { member: super::unique(), cluster: super::unique() };
    std::fs::create_dir_all(to).map_err(named)?;
    if std::fs::read_dir(to).map_err(named)?.next().is_some() {
        return Err(named(io::Error::new(io::ErrorKind::AlreadyExists, "it is not empty")));
    }
    let last = RaftLogId::new(CommittedLeader::new(0), 0);
    let meta =
        Meta { last: Some(last), membership: RaftMembership::default(), sessions: Sessions::default() };
    // The snapshot comes last: without it, no node starts from a folder that was left half made.
    let Storage { mut log, hard_state, folder, .. } = Storage::open(to).map_err(named)?;
    // The log begins behind the snapshot.
    log.purge(last).await.map_err(named)?;
    hard_state.write(IDENTITY, &identity).map_err(named)?;
    snapshot::write(&folder.place(meta.last), &meta, &frozen).map_err(named)?;
    Ok(identity)
}
