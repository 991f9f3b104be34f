//! Data folders and backups: the folders of a new cluster that starts with the keys of a backup, and a backup of what
//! is left in a folder.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::clock::wall_nanos;
use crate::config::StoreSettings;
use crate::keyspace::Keyspace;
use crate::keyspace::backup::{BackupError, Info, Reader, Summary, Writer};
use crate::raft;
use crate::raft::{Identity, Peer};
use crate::store::{cluster_id, member_id};

/// Read from a file at a time.
const READ_BYTES: usize = 1 << 20;

/// Why a backup could not be read or turned into a data folder.
#[derive(Debug, thiserror::Error)]
pub enum FoundError {
    /// It is damaged, or no backup.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Read(io::Error),
    /// A data folder cannot be read.
    #[error("cannot read the data folder {folder}: {cause}")]
    Unreadable {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        cause: io::Error,
    },
    /// The data folder cannot be made.
    #[error("cannot make the data folder {folder}: {cause}")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        cause: io::Error,
    },
}

/// Whose data folder was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founded {
    /// The member's id.
    pub member: u64,
    /// The cluster's id.
    pub cluster: u64,
    /// The store's index that the cluster starts with.
    pub index: u64,
}

/// Reads a backup to its end and hands out its chunks of records.
///
/// # Errors
/// `Read`, `Backup`: it is of no use, whatever was handed out; or what `each` says.
pub fn read_backup<E: From<FoundError>>(
    input: &mut impl Read,
    mut each: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<Summary, E> {
    let mut reader = Reader::default();
    let mut bytes = vec![0; READ_BYTES];
    loop {
        let length = match input.read(&mut bytes) {
            Ok(0) => return reader.finish().map_err(|e| FoundError::from(e).into()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(FoundError::Read(error).into()),
        };
        reader.push(&bytes[..length]);
        while let Some(chunk) = reader.chunk().map_err(FoundError::from)? {
            each(&chunk)?;
        }
    }
}

/// Writes what the data folder of a node that does not run holds as a backup; what no majority may have had yet is in
/// it as well.
///
/// # Errors
/// `Folder`: a node uses it, or it cannot be read. Or what `each` says.
pub async fn salvage<E: From<FoundError>>(
    data_dir: &Path,
    mut each: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let unreadable = |cause| FoundError::Unreadable { folder: data_dir.into(), cause };
    let (Identity { member, cluster }, frozen) = raft::read_folder(data_dir).await.map_err(unreadable)?;
    let info = Info { cluster, member, wall: wall_nanos(), version: env!("CARGO_PKG_VERSION").into() };
    let (mut writer, first) = Writer::begin(&info, frozen.version()).map_err(FoundError::from)?;
    each(&first)?;
    for record in frozen.backup(0) {
        if let Some(piece) = writer.push(&record).map_err(FoundError::from)? {
            each(&piece)?;
        }
    }
    each(&writer.end().map_err(FoundError::from)?)
}

/// Makes the data folder of one member of a new cluster, whose first members the settings list. Each of them must be
/// made from the same backup: its checksum goes into the ids, so that members of different backups, or of the cluster
/// that the backup is from, never take each other for their own. `whole` is what an earlier reading found.
///
/// # Errors
/// See [`FoundError`].
pub fn found(
    settings: &StoreSettings,
    whole: &Summary,
    input: &mut impl Read,
) -> Result<Founded, FoundError> {
    let sum: String = whole.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    let token = format!("{}/{sum}", settings.token);
    let mut members = BTreeMap::new();
    for (name, peer_urls) in &settings.initial_cluster {
        let peer = Peer { name: name.clone(), peer_urls: peer_urls.clone() };
        members.insert(member_id(peer_urls, &token), peer);
    }
    let member = member_id(&settings.initial_cluster[&settings.name], &token);
    let identity = Identity { member, cluster: cluster_id(members.keys()) };
    let keyspace = Keyspace::found::<FoundError>(settings.history_events, whole.needs, |take| {
        let read = read_backup(input, |chunk| take(chunk).map_err(FoundError::from))?;
        let changed = || BackupError::Damaged { what: "it changed while it was read".into() };
        (read == *whole).then_some(()).ok_or_else(|| changed().into())
    })?;
    let index = keyspace.index();
    raft::found(&settings.data_dir, &identity, members, &keyspace)
        .map_err(|cause| FoundError::Folder { folder: settings.data_dir.clone(), cause })?;
    Ok(Founded { member, cluster: identity.cluster, index })
}
