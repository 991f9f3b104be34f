//! What the agent leaves on disk until the next boot: unit files, drop-ins, and what it has acted on. All of it lies
//! in memory file systems, so plain blocking calls do.
//!
//! A restarted agent finds here what it manages. After a boot it finds nothing, and starts everything anew.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::ids::UnitName;
use crate::model::unitfile;

use super::steps::Ticket;

/// Name of the drop-in that tells a unit its generation.
const DROP_IN: &str = "50-muster.conf";
/// How the first line of the drop-in begins; the generation follows.
const MARK: &str = "# placement generation ";

/// A file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{what} {}", path.display())]
pub struct FileError {
    /// What was tried, such as `cannot write`.
    pub what: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub cause: std::io::Error,
}

/// What is on disk for one unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnDisk {
    /// SHA-1 of the unit file's text.
    pub hash: String,
    /// The generation in the drop-in; `None` if the unit was not made known to systemd to the end.
    pub generation: Option<u64>,
    /// What was acted on.
    pub done: Option<Done>,
}

/// A request that was acted on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The request.
    pub ticket: Ticket,
    /// What went wrong, for people; empty if nothing did.
    #[serde(default)]
    pub problem: String,
}

/// The folders.
#[derive(Clone, Debug)]
pub struct Files {
    units: PathBuf,
    done: PathBuf,
    drop_ins: PathBuf,
}

impl Files {
    /// Opens the folders below `run`, making them if need be; drop-ins go below `systemd`.
    ///
    /// # Errors
    /// A folder cannot be made.
    pub fn open(run: &Path, systemd: &Path) -> Result<Self, FileError> {
        let files = Self { units: run.join("units"), done: run.join("acted"), drop_ins: systemd.into() };
        for path in [&files.units, &files.done] {
            std::fs::create_dir_all(path).map_err(failed("cannot make", path))?;
        }
        Ok(files)
    }

    /// Everything that is there.
    ///
    /// # Errors
    /// A folder or file cannot be read.
    pub fn scan(&self) -> Result<BTreeMap<UnitName, OnDisk>, FileError> {
        let mut found = BTreeMap::new();
        for entry in std::fs::read_dir(&self.units).map_err(failed("cannot read", &self.units))? {
            let path = entry.map_err(failed("cannot read", &self.units))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            // Half-written files begin with a dot, which no unit's name does.
            let Ok(unit) = name.parse::<UnitName>() else { continue };
            let text = std::fs::read_to_string(&path).map_err(failed("cannot read", &path))?;
            let drop_in = std::fs::read_to_string(self.drop_in(&unit)).ok();
            let generation = drop_in.and_then(|text| text.lines().next()?.strip_prefix(MARK)?.parse().ok());
            let done = std::fs::read_to_string(self.done(&unit)).ok();
            let done = done.and_then(|text| serde_json::from_str(&text).ok());
            found.insert(unit, OnDisk { hash: unitfile::hash(&text), generation, done });
        }
        Ok(found)
    }

    /// Where a unit's file lies.
    pub fn unit(&self, unit: &UnitName) -> PathBuf {
        self.units.join(unit.as_str())
    }

    fn done(&self, unit: &UnitName) -> PathBuf {
        self.done.join(format!("{unit}.json"))
    }

    fn drop_in(&self, unit: &UnitName) -> PathBuf {
        self.drop_ins.join(format!("{unit}.d")).join(DROP_IN)
    }

    /// The files of a unit's name, or of its template's, in `folders`, but for what the agent has put there.
    pub fn of_the_host(&self, unit: &UnitName, folders: &[PathBuf]) -> Vec<String> {
        let template = unit.template();
        let names: Vec<&UnitName> = std::iter::once(unit).chain(template.as_ref()).collect();
        let all = folders.iter().flat_map(|folder| names.iter().map(|name| folder.join(name.as_str())));
        // A link that leads nowhere is a name, too.
        let theirs = all.filter(|path| std::fs::symlink_metadata(path).is_ok() && !self.is_ours(path));
        theirs.map(|path| path.display().to_string()).collect()
    }

    /// Where systemd may say that it has a unit from which the agent has given it: the link, or what that leads to.
    pub fn places(&self, unit: &UnitName) -> [String; 2] {
        [self.drop_ins.join(unit.as_str()), self.unit(unit)].map(|path| path.display().to_string())
    }

    /// Whether a file is a link to one of the agent's.
    fn is_ours(&self, path: &Path) -> bool {
        std::fs::read_link(path).is_ok_and(|target| target.starts_with(&self.units))
    }

    /// Writes a unit's file.
    ///
    /// # Errors
    /// It cannot be written; what was there before is still there.
    pub fn write_unit(&self, unit: &UnitName, text: &str) -> Result<(), FileError> {
        write(&self.unit(unit), text)
    }

    /// Writes the drop-in that tells a unit its generation. To be done once systemd knows the file: it completes it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_drop_in(&self, unit: &UnitName, generation: u64) -> Result<(), FileError> {
        let path = self.drop_in(unit);
        let section = match unit.suffix() {
            "service" => Some("Service"),
            "socket" => Some("Socket"),
            "mount" => Some("Mount"),
            "swap" => Some("Swap"),
            _ => None,
        };
        let mut text = format!("{MARK}{generation}\n");
        if let Some(section) = section {
            text.push_str(&format!("[{section}]\nEnvironment=MUSTER_GENERATION={generation}\n"));
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed("cannot make", folder))?;
        }
        write(&path, &text)
    }

    /// Notes what was acted on.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_done(&self, unit: &UnitName, done: &Done) -> Result<(), FileError> {
        let text = serde_json::to_string(done).unwrap_or_default();
        write(&self.done(unit), &text)
    }

    /// Removes everything of a unit.
    ///
    /// # Errors
    /// Something is there and cannot be removed.
    pub fn remove(&self, unit: &UnitName) -> Result<(), FileError> {
        let drop_in = self.drop_in(unit);
        for path in [&drop_in, &self.done(unit), &self.unit(unit)] {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(failed("cannot remove", path)(error));
                }
                _ => {}
            }
        }
        // Others may have put drop-ins beside ours; then the folder stays.
        if let Some(folder) = drop_in.parent() {
            let _ = std::fs::remove_dir(folder);
        }
        Ok(())
    }
}

/// Replaces a file as a whole: readers see the old text or the new one.
fn write(path: &Path, text: &str) -> Result<(), FileError> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let half = path.with_file_name(format!(".{name}.new"));
    let fill = |mut file: std::fs::File| file.write_all(text.as_bytes());
    std::fs::File::create(&half).and_then(fill).map_err(failed("cannot write", &half))?;
    std::fs::rename(&half, path).map_err(failed("cannot write", path))
}

fn failed<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> FileError + 'a {
    move |cause| FileError { what, path: path.into(), cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_host_are_told_from_the_agents_own() {
        let folder = tempfile::tempdir().unwrap();
        let (run, etc, lib) =
            (folder.path().join("run"), folder.path().join("etc"), folder.path().join("lib"));
        let files = Files::open(&run, &etc).unwrap();
        for dir in [&etc, &lib] {
            std::fs::create_dir(dir).unwrap();
        }
        let folders = [etc.clone(), lib.clone(), folder.path().join("missing")];
        let found = |name: &str| files.of_the_host(&name.parse().unwrap(), &folders);
        std::os::unix::fs::symlink(files.unit(&"ours.service".parse().unwrap()), etc.join("ours.service"))
            .unwrap();
        std::os::unix::fs::symlink("/dev/null", etc.join("masked.service")).unwrap();
        std::os::unix::fs::symlink("real.service", lib.join("alias.service")).unwrap();
        std::fs::write(lib.join("web@.service"), "").unwrap();
        assert_eq!(found("ours.service"), Vec::<String>::new());
        assert_eq!(found("free.service"), Vec::<String>::new());
        assert_eq!(found("masked.service"), [etc.join("masked.service").display().to_string()]);
        assert_eq!(found("alias.service"), [lib.join("alias.service").display().to_string()]);
        assert_eq!(found("web@1.service"), [lib.join("web@.service").display().to_string()]);
    }

    #[test]
    fn what_was_written_is_found_again_and_gone_after_removal() {
        let folder = tempfile::tempdir().unwrap();
        let (run, systemd) = (folder.path().join("run"), folder.path().join("systemd"));
        let files = Files::open(&run, &systemd).unwrap();
        let unit: UnitName = "a@1.service".parse().unwrap();
        files.write_unit(&unit, "abc").unwrap();
        let half = OnDisk { hash: unitfile::hash("abc"), generation: None, done: None };
        assert_eq!(files.scan().unwrap(), BTreeMap::from([(unit.clone(), half.clone())]));

        files.write_drop_in(&unit, 42).unwrap();
        let ticket = Ticket { generation: 42, request: 1, launched: true };
        let done = Done { ticket, problem: "p".into() };
        files.write_done(&unit, &done).unwrap();
        let whole = OnDisk { generation: Some(42), done: Some(done), ..half };
        assert_eq!(files.scan().unwrap(), BTreeMap::from([(unit.clone(), whole)]));
        let drop_in = std::fs::read_to_string(systemd.join("a@1.service.d/50-muster.conf")).unwrap();
        assert!(drop_in.contains("[Service]\nEnvironment=MUSTER_GENERATION=42\n"));

        files.remove(&unit).unwrap();
        assert!(files.scan().unwrap().is_empty() && !systemd.join("a@1.service.d").exists());
        files.remove(&unit).unwrap();
    }
}
