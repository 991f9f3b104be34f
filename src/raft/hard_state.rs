//! What a member must never forget and that is not an entry of the log: who it is and whom it voted for, in sled.

use std::fs::File;
use std::io;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Small durable values by name. Clones share them.
#[derive(Clone)]
pub struct HardState {
    db: sled::Db,
    file: std::sync::Arc<File>,
}

impl HardState {
    /// Opens or makes the values in `folder`.
    ///
    /// # Errors
    /// The folder cannot be used, or another process holds it.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let db = sled::Config::new()
            .path(folder)
            .flush_every_ms(None)
            .cache_capacity(1 << 20)
            .mode(sled::Mode::LowSpace)
            .open()
            .map_err(|error| in_use(error.into()))?;
        // sled's flush writes to the file and waits for that (sync_file_range(2)), which a loss of power may undo.
        let file = File::open(folder.join("db"))?.into();
        Ok(Self { db, file })
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// The disk fails, or the value cannot be read as `T`.
    pub fn read<T: DeserializeOwned>(&self, key: &str) -> io::Result<Option<T>> {
        let Some(bytes) = self.db.get(key)? else { return Ok(None) };
        postcard::from_bytes(&bytes).map(Some).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("damaged {key} beside the log: {error}"))
        })
    }

    /// Writes a value; durable when this returns. Blocks on the disk.
    ///
    /// # Errors
    /// The disk fails.
    pub fn write<T: Serialize>(&self, key: &str, value: &T) -> io::Result<()> {
        self.db.insert(key, postcard::to_allocvec(value).map_err(io::Error::other)?)?;
        self.db.flush()?;
        self.file.sync_all()
    }
}

/// Says in plain words that another process holds the folder; sled itself prints the system's error as a structure.
fn in_use(error: io::Error) -> io::Error {
    if error.to_string().contains("could not acquire lock") {
        return io::Error::new(io::ErrorKind::WouldBlock, "another process is using it");
    }
    error
}
