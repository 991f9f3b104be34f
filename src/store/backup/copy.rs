//! `backup` of etcdctl: the data of a node that does not run, copied for a new cluster.

use std::io;
use std::path::{Path, PathBuf};

use crate::raft;

/// Why a data folder was not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// It is a data folder of etcd.
    #[error("{0} holds data of etcd: copy it with etcd's own etcdctl")]
    Etcd(PathBuf),
    /// Something cannot be read or written, or a node is using it.
    #[error("cannot copy {from}: {cause}")]
    Failed {
        /// The data folder.
        from: PathBuf,
        /// What is wrong.
        cause: io::Error,
    },
}

/// Copies the data folder of a node that does not run to `to`, which must be new or empty. The copy has new ids and no
/// other members: the first node of a new cluster starts from it with `--force-new-cluster`, and others are added then.
///
/// # Errors
/// See [`CopyError`].
pub async fn copy(from: &Path, to: &Path) -> Result<(), CopyError> {
    if from.join("member").join("wal").is_dir() {
        return Err(CopyError::Etcd(from.into()));
    }
    let failed = |cause| CopyError::Failed { from: from.into(), cause };
    raft::copy_alone(from, to).await.map(drop).map_err(failed)
}
