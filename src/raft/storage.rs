//! What a node keeps on disk.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::data_version;
use super::identity::IdentityStore;
use super::log::store::LogStore;
use super::metrics::Metrics;
use super::state::snapshot;
use super::state::snapshot::Folder;
use crate::format::Version;

/// The name under which the identity is kept.
pub(super) const IDENTITY: &str = "identity";

/// The name under which is kept that the member was removed.
pub(super) const REMOVED: &str = "removed";

/// Who this data folder belongs to; written once. New fields go to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The member's id.
    pub member: u64,
    /// The cluster's id.
    pub cluster: u64,
}

/// What a node keeps on disk.
pub struct Storage {
    pub(super) log: LogStore,
    pub(super) identity_store: IdentityStore,
    pub(super) folder: Folder,
    pub(super) metrics: Arc<Metrics>,
    /// What is needed to read it.
    pub(super) version: Version,
    /// Whose it is; `None` in a new data folder.
    pub identity: Option<Identity>,
    /// This run of the node: higher than any before.
    pub run: u64,
    /// The member was removed from its cluster for good.
    pub removed: bool,
}

impl Storage {
    /// What is told to Prometheus.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Opens or makes the data folder of a node.
    ///
    /// # Errors
    /// The folder cannot be used, another process uses it, or it does not hold all that was acknowledged.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        make_durably(data_dir)?;
        let version = data_version::open(data_dir)?;
        let folder = Folder::open(data_dir.join("snapshots"))?;
        let identity_store = IdentityStore::open(&data_dir.join("state"))?;
        let identity: Option<Identity> = identity_store.read(IDENTITY)?;
        let metrics = Metrics::new().map_err(io::Error::other)?;
        let log = LogStore::open(data_dir, identity.is_some(), metrics.clone())?;
        let newest = folder.newest()?;
        if identity.is_none() && (newest.is_some() || !log.is_untouched()) {
            let what = format!("damaged {}/state: it does not say whose the log is", data_dir.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let sessions = newest.map(|path| snapshot::read_meta(&path)).transpose()?.map(|meta| meta.sessions);
        let applied = identity.as_ref().zip(sessions).map_or(0, |(id, sessions)| sessions.newest(id.member));
        let run = identity_store.next_run(applied)?;
        let removed = identity_store.read(REMOVED)?.unwrap_or_default();
        Ok(Self { log, identity_store, folder, metrics, version, identity, run, removed })
    }

    /// Whether raft has never run with it, even if it is known already whose it is.
    pub fn is_blank(&self) -> bool {
        !self.log.has_vote()
    }
}

/// Makes the data folder, so that its name outlives a loss of power. What is made in it becomes durable when the log is
/// opened.
fn make_durably(data_dir: &Path) -> io::Result<()> {
    if data_dir.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(data_dir)?;
    let parent = data_dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
