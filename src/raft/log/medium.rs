//! What the log asks of a disk: a narrow seam, so that tests can stand in for the disk, note each step, and lose what
//! was not flushed.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::OFlag;

/// A folder of files and one more level of folders; names are paths below it, the empty name is the folder itself.
///
/// Nothing is durable before the file is flushed that it was written to, and no name (nor its end) before the folder is
/// flushed that it stands in.
pub trait Medium: Send + Sync {
    /// Where `name` lies, for people.
    fn path(&self, name: &str) -> PathBuf;

    /// Whether there is something called `name`.
    ///
    /// # Errors
    /// The disk fails.
    fn exists(&self, name: &str) -> io::Result<bool>;

    /// Makes a folder, and does nothing when it is there.
    ///
    /// # Errors
    /// The disk fails.
    fn make_folder(&self, name: &str) -> io::Result<()>;

    /// The names of the files in a folder, without the folder's, in any order.
    ///
    /// # Errors
    /// The disk fails, or a name is no text.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;

    /// Makes an empty file, for reading and writing.
    ///
    /// # Errors
    /// It is there already, or the disk fails.
    fn create(&self, name: &str) -> io::Result<Handle>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// It is not there, or the disk fails.
    fn open(&self, name: &str) -> io::Result<Handle>;

    /// Opens a file for reading and writing past the system's cache; `None` where there is no such way.
    ///
    /// # Errors
    /// It is not there, or the disk fails.
    fn open_direct(&self, name: &str) -> io::Result<Option<Handle>>;

    /// Gives a file another name, in place of whatever has it.
    ///
    /// # Errors
    /// The disk fails.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// It is not there, or the disk fails.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes durable which names stand in a folder.
    ///
    /// # Errors
    /// The disk fails.
    fn sync_folder(&self, name: &str) -> io::Result<()>;
}

/// An open file.
pub type Handle = Arc<dyn Opened>;

/// What can be done with an open file.
pub trait Opened: Send + Sync {
    /// Reads exactly as much as `bytes` takes, from `offset` on.
    ///
    /// # Errors
    /// The file ends before that, or the disk fails.
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// The disk fails. `InvalidInput`: not in this place, or not from there in memory, past the system's cache.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// The file's length in bytes.
    ///
    /// # Errors
    /// The disk fails.
    fn length(&self) -> io::Result<u64>;

    /// Makes the content durable.
    ///
    /// # Errors
    /// The disk fails.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes the content and all about the file durable, but not its name.
    ///
    /// # Errors
    /// The disk fails.
    fn sync_all(&self) -> io::Result<()>;
}

/// All of a file's content.
///
/// # Errors
/// It is not there, or the disk fails.
pub fn read(medium: &dyn Medium, name: &str) -> io::Result<Vec<u8>> {
    let file = medium.open(name)?;
    let mut bytes = vec![0; usize::try_from(file.length()?).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// A folder of the system's; its errors say which file they are about.
pub struct Directory(PathBuf);

impl Directory {
    /// The folder at `path`, which must be there.
    pub fn new(path: &Path) -> Self {
        Self(path.to_path_buf())
    }

    fn opened(&self, name: &str, options: &OpenOptions) -> io::Result<Handle> {
        let path = self.0.join(name);
        let file = options.open(&path).map_err(|e| named(&path, &e))?;
        Ok(Arc::new(SystemFile { path, file }))
    }
}

struct SystemFile {
    path: PathBuf,
    file: File,
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

impl Medium for Directory {
    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.0.clone() } else { self.0.join(name) }
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        let path = self.path(name);
        path.try_exists().map_err(|e| named(&path, &e))
    }

    fn make_folder(&self, name: &str) -> io::Result<()> {
        let path = self.path(name);
        std::fs::create_dir_all(&path).map_err(|e| named(&path, &e))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let path = self.path(folder);
        let name = |entry: io::Result<std::fs::DirEntry>| {
            let name = entry?.file_name();
            let unread =
                |name: std::ffi::OsString| io::Error::other(format!("{} is no text", name.display()));
            name.into_string().map_err(unread)
        };
        let entries = std::fs::read_dir(&path).map_err(|e| named(&path, &e))?;
        entries.map(name).collect::<io::Result<_>>().map_err(|e| named(&path, &e))
    }

    fn create(&self, name: &str) -> io::Result<Handle> {
        self.opened(name, OpenOptions::new().read(true).write(true).create_new(true))
    }

    fn open(&self, name: &str) -> io::Result<Handle> {
        self.opened(name, OpenOptions::new().read(true).write(true))
    }

    fn open_direct(&self, name: &str) -> io::Result<Option<Handle>> {
        let flags = OFlag::O_DIRECT.bits();
        match self.opened(name, OpenOptions::new().read(true).write(true).custom_flags(flags)) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(None),
            opened => opened.map(Some),
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let to = self.path(to);
        std::fs::rename(self.path(from), &to).map_err(|e| named(&to, &e))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.path(name);
        std::fs::remove_file(&path).map_err(|e| named(&path, &e))
    }

    fn sync_folder(&self, name: &str) -> io::Result<()> {
        let path = self.path(name);
        File::open(&path).and_then(|folder| folder.sync_all()).map_err(|e| named(&path, &e))
    }
}

impl Opened for SystemFile {
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset).map_err(|e| named(&self.path, &e))
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset).map_err(|e| named(&self.path, &e))
    }

    fn length(&self) -> io::Result<u64> {
        self.file.metadata().map(|meta| meta.len()).map_err(|e| named(&self.path, &e))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data().map_err(|e| named(&self.path, &e))
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all().map_err(|e| named(&self.path, &e))
    }
}
