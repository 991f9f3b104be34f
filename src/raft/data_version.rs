//! The file `version` in a data folder: the version that is needed to read what is in the folder. It is read before
//! anything else and written before what makes it necessary, so that a process that is too old for a folder finds that
//! out before it has changed anything.
//!
//! Two lines of text: a [`FirstLine`], and the CRC-32 of that in hexadecimal.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::format::{FirstLine, LOWEST, Unusable, Version};

/// The file's name.
const NAME: &str = "version";

/// What it is called in the first line.
const WHAT: &str = "data folder";

/// The number of the form: which files and folders there are. Each of them has one of its own.
const FORM: u16 = 1;

/// What to do about a data folder that is damaged.
pub const DAMAGE_ADVICE: &str =
    "remove this member from the cluster, empty its data folder and add it again, or restore a backup";

/// What lies in the folder of a node that has run.
const CONTENTS: [&str; 4] = ["log", "state", "snapshots", "watermark"];

/// Opens the data folder: the version that its contents need. A new one gets the file.
///
/// # Errors
/// It is of another version, or damaged; nothing has been changed then. Or the disk fails.
pub fn open(data_dir: &Path) -> io::Result<Version> {
    match read(data_dir)? {
        Some(version) => Ok(version),
        None if CONTENTS.iter().any(|name| data_dir.join(name).exists()) => {
            let path = data_dir.join(NAME);
            let what = format!(
                "{}: damaged: it is missing, though there is data; or a version before 0.1 wrote that, which is not \
                 read any more; {DAMAGE_ADVICE}",
                path.display()
            );
            Err(io::Error::new(io::ErrorKind::InvalidData, what))
        }
        None => {
            write(data_dir, LOWEST)?;
            Ok(LOWEST)
        }
    }
}

/// Takes note that the folder is about to hold something that needs `version`; durable when this returns.
///
/// # Errors
/// This process does not know that version itself, or the disk fails.
pub fn raise(data_dir: &Path, version: Version) -> io::Result<()> {
    Unusable::check(version).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    if version > LOWEST && read(data_dir)?.is_none_or(|noted| noted < version) {
        write(data_dir, version)?;
    }
    Ok(())
}

/// What the file says; `None` when there is none.
fn read(data_dir: &Path) -> io::Result<Option<Version>> {
    let path = data_dir.join(NAME);
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(named(error)),
    };
    parse(&bytes).map(Some).map_err(named)
}

fn parse(bytes: &[u8]) -> io::Result<Version> {
    let unusable =
        |what: &dyn std::fmt::Display| io::Error::new(io::ErrorKind::InvalidData, what.to_string());
    let line = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes, |end| &bytes[..=end]);
    let whole = bytes[line.len()..] == *checksum(line).as_bytes();
    match FirstLine::parse(WHAT, FORM, bytes) {
        // Only this form is known to have the checksum there.
        Err(error @ (Unusable::Older { .. } | Unusable::Newer { .. })) => Err(unusable(&error)),
        _ if !whole => Err(unusable(&"damaged: its checksum is wrong")),
        Ok(Some((line, _))) => Ok(line.version),
        Ok(None) => Err(unusable(&"damaged: it has no first line")),
        Err(error) => Err(unusable(&error)),
    }
}

fn checksum(line: &[u8]) -> String {
    format!("{:08x}\n", crc32fast::hash(line))
}

fn write(data_dir: &Path, version: Version) -> io::Result<()> {
    let (path, part): (PathBuf, PathBuf) = (data_dir.join(NAME), data_dir.join("version.part"));
    let line = FirstLine { what: WHAT, form: FORM, version }.to_bytes();
    let mut file = File::create(&part)?;
    file.write_all(&line)?;
    file.write_all(checksum(&line).as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&part, &path)?;
    File::open(data_dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(folder: &Path) -> String {
        open(folder).unwrap_err().to_string()
    }

    /// As a later version writes it.
    fn write_line(folder: &Path, line: &str) {
        std::fs::write(folder.join(NAME), format!("{line}{}", checksum(line.as_bytes()))).unwrap();
    }

    #[test]
    fn a_new_folder_gets_the_file_and_an_old_one_without_it_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(open(folder.path()).unwrap(), LOWEST);
        assert_eq!(open(folder.path()).unwrap(), LOWEST);
        std::fs::create_dir(folder.path().join("log")).unwrap();
        assert_eq!(open(folder.path()).unwrap(), LOWEST);
        std::fs::remove_file(folder.path().join(NAME)).unwrap();
        assert!(said(folder.path()).contains("before 0.1"), "{}", said(folder.path()));
        assert!(!folder.path().join(NAME).exists());
    }

    #[test]
    fn folders_of_other_versions_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write_line(folder, "muster data folder 1 9.9\n");
        assert!(said(folder).contains("needs Muster 9.9 or later"), "{}", said(folder));
        write_line(folder, "muster data folder 1 0.0\n");
        assert!(said(folder).contains("one version at a time"), "{}", said(folder));
        std::fs::write(folder.join(NAME), "muster data folder 2 whatever\n").unwrap();
        assert!(said(folder).contains("a later version"), "{}", said(folder));
        assert!(raise(folder, Version::new(9, 9)).is_err());
    }

    #[test]
    fn any_flipped_bit_and_any_missing_tail_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let (folder, path) = (folder.path(), folder.path().join(NAME));
        open(folder).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                std::fs::write(&path, &bytes).unwrap();
                assert!(said(folder).contains("/version: "), "byte {at}, bit {bit}");
            }
            std::fs::write(&path, &whole[..at]).unwrap();
            assert!(said(folder).contains("/version: "), "cut at {at}");
        }
    }
}
