//! What a data folder keeps of how its member came to take part, and the steps that lead there.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};

use super::founding::Charter;
use crate::raft::identity::{Identity, IdentityStore};
use crate::raft::types::Peer;

/// The name under which the number of the data folder is kept.
const FOLDER: &str = "folder";

/// The name under which a charter is kept that was accepted.
const BOUND: &str = "charter";

/// The name under which the admission is kept.
const ADMISSION: &str = "admission";

/// That a member may take part in raft; written before it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// Who it is.
    pub identity: Identity,
    /// The number of the founding that it belongs to.
    pub incarnation: u64,
    /// Who else took part by then, and by which data folder. The log knows more, but a newcomer has not read it yet.
    pub folders: BTreeMap<u64, u64>,
    /// It is one of those who founded the cluster.
    pub founds: bool,
    /// The first members, for raft's first membership; none when that is there already.
    pub founders: BTreeMap<u64, Peer>,
}

/// The number of this data folder, drawn now if it has none yet; durable when this returns.
///
/// # Errors
/// The disk fails, or the system gives no randomness.
pub fn folder(store: &IdentityStore) -> io::Result<u64> {
    if let Some(folder) = store.read(FOLDER)? {
        return Ok(folder);
    }
    let folder = crate::raft::unique()?;
    store.write(FOLDER, &folder)?;
    Ok(folder)
}

/// The charter that was accepted, if there is one.
///
/// # Errors
/// The disk fails, or it cannot be read.
pub fn bound(store: &IdentityStore) -> io::Result<Option<Charter>> {
    Ok(store.read::<Option<Charter>>(BOUND)?.flatten())
}

/// Accepts a charter, or gives it up; durable when this returns.
///
/// # Errors
/// The disk fails.
pub fn bind(store: &IdentityStore, charter: Option<&Charter>) -> io::Result<()> {
    store.write(BOUND, &charter)
}

/// The admission, if there is one.
///
/// # Errors
/// The disk fails, or it cannot be read.
pub fn read(store: &IdentityStore) -> io::Result<Option<Admission>> {
    store.read(ADMISSION)
}

/// Lets the member take part from now on; durable when this returns.
///
/// # Errors
/// The disk fails.
pub fn write(store: &IdentityStore, admission: &Admission) -> io::Result<()> {
    store.write(ADMISSION, admission)
}
