//! What a member must never forget and that is not in the log: who it is, and which run of it this is, in sled.

use std::fs::File;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::clock::wall_nanos;
use crate::format;

/// The first byte of each value: the number of its form. Behind it are its fields (see [`crate::format`]), written as
/// the lowest version that is spoken has them.
const FORM: u8 = 1;

/// The name under which the number of the newest run is kept.
const RUN: &str = "run";

/// Who this data folder belongs to; written once. New fields go to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The member's id.
    pub member: u64,
    /// The cluster's id.
    pub cluster: u64,
}

/// How far apart two runs are at most that wall time does not set apart, in the nanoseconds that they count.
const RUN_SPREAD: u64 = 1 << 20;

/// Small durable values by name. Clones share them.
#[derive(Clone)]
pub struct IdentityStore {
    db: sled::Db,
    file: std::sync::Arc<File>,
}

impl IdentityStore {
    /// Opens or makes the values in `folder`.
    ///
    /// # Errors
    /// The folder cannot be used, another process holds it, or it is damaged; the error names it.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let open = || {
            let config = sled::Config::new().path(folder).flush_every_ms(None).cache_capacity(1 << 20);
            config.mode(sled::Mode::LowSpace).open()
        };
        // At some damages sled panics.
        let opened = panic::catch_unwind(AssertUnwindSafe(open)).unwrap_or_else(|payload| {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or_default();
            Err(sled::Error::ReportableBug(text.to_string()))
        });
        let db = opened.map_err(|error| unopened(folder, error))?;
        // sled's flush writes to the file and waits for that (sync_file_range(2)), which a loss of power may undo.
        let file = File::open(folder.join("db"))?.into();
        Ok(Self { db, file })
    }

    /// A number for this run, above that of any earlier one, durably: batches of an earlier run that are still under
    /// way somewhere must not be taken for new ones. `applied` is the newest run that the state knows of; wall time
    /// sees to it after a data folder was replaced.
    ///
    /// # Errors
    /// The disk fails.
    pub fn next_run(&self, applied: u64) -> io::Result<u64> {
        let earlier = self.last_run()?.max(applied);
        // Where wall time does not help, chance keeps the runs of two copies of the folder apart.
        let next = earlier + 1 + crate::raft::unique()? % RUN_SPREAD;
        let run = u64::try_from(wall_nanos()).unwrap_or_default().max(next);
        self.write(RUN, &run)?;
        Ok(run)
    }

    /// The newest run of this data folder, 0 if it had none.
    ///
    /// # Errors
    /// The disk fails.
    pub fn last_run(&self) -> io::Result<u64> {
        Ok(self.read(RUN)?.unwrap_or_default())
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// The disk fails, or the value cannot be read as `T`.
    pub fn read<T: DeserializeOwned>(&self, key: &str) -> io::Result<Option<T>> {
        let Some(bytes) = self.db.get(key)? else { return Ok(None) };
        let unusable =
            |what| io::Error::new(io::ErrorKind::InvalidData, format!("{key} beside the log: {what}"));
        let Some((&FORM, fields)) = bytes.split_first() else {
            let form = bytes.first().copied().unwrap_or_default();
            return Err(unusable(format!("damaged: its form is {form}, and this one reads form {FORM}")));
        };
        format::decode(fields).map(Some).map_err(|error| unusable(format!("damaged: {error}")))
    }

    /// Writes a value; durable when this returns. Blocks on the disk.
    ///
    /// # Errors
    /// The disk fails.
    pub fn write<T: Serialize>(&self, key: &str, value: &T) -> io::Result<()> {
        let value = postcard::to_extend(value, vec![FORM]).map_err(io::Error::other)?;
        self.db.insert(key, value)?;
        self.db.flush()?;
        self.file.sync_all()
    }
}

/// Says in plain words why the folder cannot be opened; sled itself prints the system's errors as structures.
fn unopened(folder: &Path, error: sled::Error) -> io::Error {
    let folder = folder.display();
    match error {
        sled::Error::Io(error) if error.to_string().contains("could not acquire lock") => {
            io::Error::new(io::ErrorKind::WouldBlock, format!("{folder}: another process is using it"))
        }
        sled::Error::Io(error) => io::Error::new(error.kind(), format!("{folder}: {error}")),
        other => io::Error::new(
            io::ErrorKind::InvalidData,
            format!("damaged {folder}: sled cannot read it: {other}"),
        ),
    }
}
