//! Where a backup is written to: a file that is there as a whole or not at all, or standard output.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::super::Failure;

/// Only its owner may read a backup: it holds everything that the store holds.
const MODE: u32 = 0o600;

/// A backup that is being written.
pub struct Target {
    path: PathBuf,
    part: PathBuf,
    force: bool,
    /// `None` for standard output.
    file: Option<File>,
    written: u64,
}

impl Target {
    /// Opens it.
    ///
    /// # Errors
    /// It exists and must not be replaced (status 64), or cannot be written.
    pub fn open(path: &Path, force: bool) -> Result<Self, Failure> {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let mut target = Self { path: path.into(), part: part.into(), force, file: None, written: 0 };
        if path != Path::new("-") {
            target.refuse_to_overwrite()?;
            let file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(&target.part);
            target.file = Some(file.map_err(|e| target.failed(&e))?);
        }
        Ok(target)
    }

    /// Whether it goes to standard output.
    pub fn is_stdout(&self) -> bool {
        self.file.is_none()
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.written += bytes.len() as u64;
        let result = match &mut self.file {
            Some(file) => file.write_all(bytes),
            None => io::stdout().write_all(bytes),
        };
        result.map_err(|e| self.failed(&e))
    }

    /// Forgets what was written; `false` when that cannot be taken back.
    ///
    /// # Errors
    /// The file cannot be cut.
    pub fn start_over(&mut self) -> Result<bool, Failure> {
        let result = match &mut self.file {
            Some(file) => file.set_len(0).and_then(|()| file.rewind()).map(|()| true),
            None => Ok(self.written == 0),
        };
        self.written = 0;
        result.map_err(|e| self.failed(&e))
    }

    /// Makes it durable and gives it its name.
    ///
    /// # Errors
    /// The disk fails, or the file exists by now and must not be replaced.
    pub fn finish(self) -> Result<(), Failure> {
        let Some(file) = &self.file else {
            return io::stdout().flush().map_err(|e| self.failed(&e));
        };
        self.refuse_to_overwrite().inspect_err(|_| self.discard())?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        file.sync_all()
            .and_then(|()| std::fs::rename(&self.part, &self.path))
            .and_then(|()| File::open(folder.unwrap_or(Path::new(".")))?.sync_all())
            .map_err(|e| self.failed(&e))
    }

    /// Removes what there is of it.
    pub fn discard(&self) {
        if self.file.is_some()
            && let Err(error) = std::fs::remove_file(&self.part)
        {
            eprintln!("muster: cannot remove {}: {error}", self.part.display());
        }
    }

    fn refuse_to_overwrite(&self) -> Result<(), Failure> {
        if self.force || !self.path.exists() {
            return Ok(());
        }
        Err(Failure::usage(format!("{} exists: name another file, or use --force", self.path.display())))
    }

    fn failed(&self, error: &io::Error) -> Failure {
        Failure::new(format!("cannot write {}: {error}", name(&self.path)))
    }
}

/// A file as messages name it.
pub fn name(path: &Path) -> String {
    if path == Path::new("-") { "standard output".into() } else { path.display().to_string() }
}

/// Opens a backup for reading.
///
/// # Errors
/// It is no file, or cannot be read.
pub fn open(path: &Path) -> Result<File, Failure> {
    let failed = |e: io::Error| Failure::new(format!("cannot read {}: {e}", path.display()));
    let file = File::open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(Failure::usage(format!("{} is not a file", path.display())));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_name_only_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b");
        let mut target = Target::open(&path, false).unwrap();
        target.write(b"half").unwrap();
        assert!(!path.exists());
        assert!(target.start_over().unwrap());
        target.write(b"all").unwrap();
        target.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"all");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_exists_is_replaced_only_by_force() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b");
        let slow = Target::open(&path, false).unwrap();
        std::fs::write(&path, "old").unwrap();
        assert_eq!(Target::open(&path, false).err().unwrap().code, 64);
        assert_eq!(slow.finish().unwrap_err().code, 64);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        Target::open(&path, true).unwrap().finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"");
    }
}
