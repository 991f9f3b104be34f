//! What a node keeps on disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use nix::sys::statvfs::statvfs;

use super::data_version;
use super::identity::{Identity, IdentityStore};
use super::log::store::{LogStore, SEGMENT_BYTES};
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

/// The name under which it is kept why the cluster has dismissed the member.
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
        // From here on the folder is this process's alone; before that nothing in it is touched.
        let identity_store = IdentityStore::open(&data_dir.join("state"))?;
        let folder = Folder::open(data_dir.join("snapshots"))?;
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
        room_for(self.folder.path(), self.log.segment_bytes() + self.folder.sizes()?.newest)
    }
}

/// Refuses to open a data folder on a disk on which not even the log's next segment has room: what is opened writes, and
/// would name nothing but the write that failed.
///
/// # Errors
/// `StorageFull`: it has not. Or it cannot be seen.
pub fn refuse_full_disk(data_dir: &Path) -> io::Result<()> {
    let there = data_dir.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
    room_for(there, SEGMENT_BYTES)
}

fn room_for(folder: &Path, needed: u64) -> io::Result<()> {
    let disk = statvfs(folder)?;
    let free = disk.blocks_available().saturating_mul(disk.fragment_size());
    // Some file systems do not tell.
    if disk.blocks() > 0 && free < needed {
        let [free, needed] = [free, needed].map(|bytes| bytes.div_ceil(1 << 20));
        let what = format!(
            "No space left on device: {free} MiB are free, but the next segment of the log and the next snapshot take \
             {needed} MiB; make room and start again"
        );
        return Err(io::Error::new(io::ErrorKind::StorageFull, what));
    }
    Ok(())
}

/// Makes the data folder, so that its name outlives a loss of power, and so do those of the folders above that are made
/// for it. What is made in it becomes durable when the log is opened.
///
/// # Errors
/// It cannot be made, or the disk fails.
pub(super) fn make_durably(data_dir: &Path) -> io::Result<()> {
    let missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.is_dir();
    let made = data_dir.ancestors().take_while(missing).count();
    std::fs::create_dir_all(data_dir)?;
    // An earlier start that made it may have ended before this.
    for folder in data_dir.ancestors().take(made.max(1)) {
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
        match File::open(parent.unwrap_or(Path::new("."))) {
            // Whoever may not look into the folder above has not made this one.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && made == 0 => {}
            opened => opened?.sync_all()?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::node_test::alone;
    use crate::raft::offline::folder::Nobody;

    #[tokio::test]
    async fn whoever_finds_the_folder_in_use_leaves_it_as_it_is() {
        let root = tempfile::tempdir().unwrap();
        let node = alone(root.path(), Arc::new(Nobody)).await;
        let unfinished = root.path().join("snapshots/incoming-1.part");
        std::fs::write(&unfinished, "half").unwrap();
        let refused = Storage::open(root.path()).err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock, "{refused}");
        assert!(unfinished.exists(), "the node that runs was about to finish it");
        node.stop().await;
    }

    #[test]
    fn a_data_folder_is_made_with_those_above_it_and_a_folder_that_is_there_will_do() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a/b/c");
        for _ in 0..2 {
            make_durably(&folder).unwrap();
            assert!(folder.is_dir());
        }
        std::fs::write(root.path().join("file"), "").unwrap();
        assert!(make_durably(&root.path().join("file")).is_err());
        assert!(make_durably(&root.path().join("file/below")).is_err());
    }
}
