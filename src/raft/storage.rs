//! What a node keeps on disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use nix::sys::statvfs::statvfs;

use super::data_version;
use super::identity::{Identity, IdentityStore};
use super::log::store::LogStore;
use super::membership::admission;
use super::membership::admission::Admission;
use super::metrics::Metrics;
use super::peer::card::Refusal;
use super::state::snapshot;
use super::state::snapshot::Folder;
use super::types::Peer;
use crate::format::Version;

/// The name under which the identity is kept.
pub(super) const IDENTITY: &str = "identity";

/// The name under which is kept for what the cluster has dismissed the member.
pub(super) const DISMISSED: &str = "dismissed";

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
    /// The number of this data folder.
    pub folder_id: u64,
    /// That the member may take part in raft; `None` before that.
    pub admission: Option<Admission>,
    /// This run of the node: higher than any before.
    pub run: u64,
    /// The run before, 0 if there was none.
    pub(super) previous: u64,
    /// Why the member must not take part any more.
    pub dismissed: Option<Refusal>,
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
        let admission = admission::read(&identity_store)?;
        if admission.is_none() && log.has_vote() {
            let what =
                format!("damaged {}/state: it does not say who founded the cluster", data_dir.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let folder_id = admission::folder(&identity_store)?;
        let previous = identity_store.last_run()?;
        let sessions = newest.map(|path| snapshot::read_meta(&path)).transpose()?.map(|meta| meta.sessions);
        let applied = identity.as_ref().zip(sessions).map_or(0, |(id, sessions)| sessions.newest(id.member));
        let run = identity_store.next_run(applied)?;
        let dismissed = identity_store.read::<Option<Refusal>>(DISMISSED)?.flatten();
        Ok(Self {
            log,
            identity_store,
            folder,
            metrics,
            version,
            identity,
            folder_id,
            admission,
            run,
            previous,
            dismissed,
        })
    }

    /// The members in the newest snapshot: of a folder that was made from a backup, the first ones.
    ///
    /// # Errors
    /// The snapshot cannot be read.
    pub fn members(&self) -> io::Result<BTreeMap<u64, Peer>> {
        let Some(path) = self.folder.newest()? else { return Ok(BTreeMap::new()) };
        let meta = snapshot::read_meta(&path)?;
        Ok(meta.membership.membership().nodes().map(|(id, peer)| (*id, peer.clone())).collect())
    }

    /// Lets the member take part in raft from now on; durable when this returns.
    ///
    /// # Errors
    /// The disk fails.
    pub fn admit(&mut self, admission: Admission) -> io::Result<()> {
        admission::write(&self.identity_store, &admission)?;
        self.admission = Some(admission);
        Ok(())
    }

    /// Refuses to go on where the disk has no room for the next segment of the log and the next snapshot, without which a
    /// node ends at some write soon.
    ///
    /// # Errors
    /// `StorageFull`: it has not. Or it cannot be seen.
    pub(super) fn refuse_full_disk(&self) -> io::Result<()> {
        let disk = statvfs(self.folder.path())?;
        let free = disk.blocks_available().saturating_mul(disk.fragment_size());
        let needed = self.log.segment_bytes() + self.folder.sizes()?.newest;
        // Some file systems do not tell.
        if disk.blocks() > 0 && free < needed {
            let [free, needed] = [free, needed].map(|bytes| bytes.div_ceil(1 << 20));
            let what = format!(
                "No space left on device: {free} MiB are free, but the next segment of the log and the next snapshot \
                 take {needed} MiB; make room and start again"
            );
            return Err(io::Error::new(io::ErrorKind::StorageFull, what));
        }
        Ok(())
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
