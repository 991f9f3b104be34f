//! A disk in memory that keeps what was flushed apart from what was not, and can be left as a crash would leave it.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use crate::raft::log::medium::{Handle, Medium, Opened};

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// A disk. Clones share it.
#[derive(Clone, Default)]
pub struct Simulated(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// Everything on the disk, and what tests want of it.
#[derive(Clone, Default)]
struct State {
    image: Image,
    /// The disk as it was after each step, when that is noted.
    trace: Option<Vec<Image>>,
    /// Removals that are going to fail.
    failing_removals: usize,
    /// Flushes from this one on fail.
    flushes_left: Option<usize>,
    held: bool,
}

/// What a disk holds at one moment.
#[derive(Clone, Default)]
pub struct Image {
    files: Vec<File>,
    /// Names as programs see them: the file, or `None` for a folder.
    names: BTreeMap<String, Option<usize>>,
    /// Names that are durable.
    durable_names: BTreeMap<String, Option<usize>>,
    unflushed_names: Vec<Naming>,
    /// How much was acknowledged by then.
    pub acknowledged: usize,
}

#[derive(Clone, Default)]
struct File {
    durable: Arc<Vec<u8>>,
    current: Arc<Vec<u8>>,
    writes: Vec<(usize, Arc<[u8]>)>,
}

/// A change of the names in a folder.
#[derive(Clone, Debug)]
enum Naming {
    Folder(String),
    File(String, usize),
    Rename(String, String, usize),
    Remove(String, usize),
}

impl Naming {
    fn folder(&self) -> &str {
        let (Self::Folder(name) | Self::File(name, _) | Self::Rename(_, name, _) | Self::Remove(name, _)) =
            self;
        name.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    fn apply(&self, names: &mut BTreeMap<String, Option<usize>>) {
        match self {
            Self::Folder(name) => drop(names.insert(name.clone(), None)),
            Self::File(name, file) => drop(names.insert(name.clone(), Some(*file))),
            Self::Rename(from, to, file) => {
                if names.get(from) == Some(&Some(*file)) {
                    names.remove(from);
                }
                names.insert(to.clone(), Some(*file));
            }
            Self::Remove(name, file) => {
                if names.get(name) == Some(&Some(*file)) {
                    names.remove(name);
                }
            }
        }
    }
}

/// Something that a loss of power may undo by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A change of names.
    Name(usize),
    /// That a file has grown.
    Length(usize),
    /// A sector of a write to a file.
    Sector(usize, usize, usize),
}

impl Image {
    /// All that a loss of power may undo.
    pub fn unflushed(&self) -> Vec<Unit> {
        let mut units: Vec<Unit> = (0..self.unflushed_names.len()).map(Unit::Name).collect();
        let reachable = |file: usize| {
            let named = |names: &BTreeMap<String, Option<usize>>| names.values().any(|f| *f == Some(file));
            named(&self.names) || named(&self.durable_names)
        };
        for (number, file) in self.files.iter().enumerate().filter(|(number, _)| reachable(*number)) {
            if file.current.len() > file.durable.len() {
                units.push(Unit::Length(number));
            }
            for (write, (offset, bytes)) in file.writes.iter().enumerate() {
                for sector in offset / SECTOR..(offset + bytes.len()).div_ceil(SECTOR) {
                    let (from, until) = part(*offset, bytes.len(), sector);
                    let same = file.durable.get(from..until) == Some(&bytes[from - offset..until - offset]);
                    if !same || file.writes.len() > 1 {
                        units.push(Unit::Sector(number, write, sector));
                    }
                }
            }
        }
        units
    }

    /// The disk after a loss of power that spared only these of what was not flushed.
    pub fn after_power_loss(&self, spared: &[Unit]) -> Self {
        let mut after = self.clone();
        after.names = self.durable_names.clone();
        for unit in spared {
            if let Unit::Name(place) = unit {
                self.unflushed_names[*place].apply(&mut after.names);
            }
        }
        // What lies in a folder that is gone is gone.
        let folders: Vec<String> =
            after.names.iter().filter(|(_, file)| file.is_none()).map(|(name, _)| name.clone()).collect();
        after.names.retain(|name, _| {
            name.rsplit_once('/').is_none_or(|(folder, _)| folders.iter().any(|known| known == folder))
        });
        for (number, file) in after.files.iter_mut().enumerate() {
            if file.writes.is_empty() && file.current.len() == file.durable.len() {
                file.current = file.durable.clone();
                continue;
            }
            let old = &self.files[number];
            let grown = spared.contains(&Unit::Length(number));
            let mut bytes = old.durable.to_vec();
            bytes.resize(if grown { old.current.len().max(bytes.len()) } else { bytes.len() }, 0);
            for (write, (offset, written)) in old.writes.iter().enumerate() {
                for sector in offset / SECTOR..(offset + written.len()).div_ceil(SECTOR) {
                    let (from, until) = part(*offset, written.len(), sector);
                    let until = until.min(bytes.len());
                    if from < until && spared.contains(&Unit::Sector(number, write, sector)) {
                        bytes[from..until].copy_from_slice(&written[from - offset..until - offset]);
                    }
                }
            }
            file.durable = Arc::new(bytes);
            file.current = file.durable.clone();
            file.writes.clear();
        }
        after.durable_names = after.names.clone();
        after.unflushed_names.clear();
        after
    }
}

/// Where sector `sector` of a write of `length` bytes at `offset` begins and ends in its file.
fn part(offset: usize, length: usize, sector: usize) -> (usize, usize) {
    ((sector * SECTOR).max(offset), ((sector + 1) * SECTOR).min(offset + length))
}

impl Simulated {
    /// A disk that holds this.
    pub fn with(image: Image) -> Self {
        let disk = Self::default();
        disk.state().image = image;
        disk
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    /// Notes the disk as it is after each step from now on.
    pub fn trace(&self) {
        let mut state = self.state();
        state.trace = Some(vec![state.image.clone()]);
    }

    /// What was noted.
    pub fn take_trace(&self) -> Vec<Image> {
        self.state().trace.take().unwrap_or_default()
    }

    /// The disk as it is.
    pub fn image(&self) -> Image {
        self.state().image.clone()
    }

    /// So much is acknowledged.
    pub fn acknowledge(&self, what: usize) {
        let mut state = self.state();
        state.image.acknowledged = state.image.acknowledged.max(what);
        state.note();
    }

    /// The next so many removals fail.
    pub fn fail_removals(&self, count: usize) {
        self.state().failing_removals = count;
    }

    /// After so many flushes all others fail.
    pub fn fail_flushes_after(&self, count: usize) {
        self.state().flushes_left = Some(count);
    }

    /// Lets nothing be done until [`Simulated::release`].
    pub fn hold(&self) {
        self.state().held = true;
    }

    /// Lets go on what was held.
    pub fn release(&self) {
        self.state().held = false;
        self.0.changed.notify_all();
    }

    /// Does something to the disk, when it is not held.
    fn step<T>(&self, work: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.0.changed.wait_while(self.state(), |state| state.held).unwrap();
        let done = work(&mut state)?;
        state.note();
        Ok(done)
    }
}

impl State {
    fn note(&mut self) {
        let image = self.image.clone();
        if let Some(trace) = &mut self.trace {
            trace.push(image);
        }
    }

    fn may_flush(&mut self) -> io::Result<()> {
        match &mut self.flushes_left {
            Some(0) => Err(io::Error::other("the flush fails")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn file(&self, name: &str) -> io::Result<usize> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{name} is not there"));
        self.image.names.get(name).copied().flatten().ok_or_else(missing)
    }

    fn name(&mut self, naming: Naming) {
        naming.apply(&mut self.image.names);
        self.image.unflushed_names.push(naming);
    }
}

impl Medium for Simulated {
    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("/disk").join(name)
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        Ok(self.state().image.names.contains_key(name))
    }

    fn make_folder(&self, name: &str) -> io::Result<()> {
        if self.exists(name)? {
            return Ok(());
        }
        self.step(|state| {
            state.name(Naming::Folder(name.into()));
            Ok(())
        })
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let state = self.state();
        let names = state.image.names.keys().filter_map(|name| name.strip_prefix(folder)?.strip_prefix('/'));
        Ok(names.map(str::to_string).collect())
    }

    fn create(&self, name: &str) -> io::Result<Handle> {
        self.step(|state| {
            assert!(!state.image.names.contains_key(name), "{name} is made twice");
            let file = state.image.files.len();
            state.image.files.push(File::default());
            state.name(Naming::File(name.into(), file));
            Ok(())
        })?;
        self.open(name)
    }

    fn open(&self, name: &str) -> io::Result<Handle> {
        let file = self.state().file(name)?;
        Ok(Arc::new(OpenFile { disk: self.clone(), file }))
    }

    fn open_direct(&self, name: &str) -> io::Result<Option<Handle>> {
        self.open(name).map(Some)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.step(|state| {
            let file = state.file(from)?;
            state.name(Naming::Rename(from.into(), to.into(), file));
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.step(|state| {
            let file = state.file(name)?;
            if state.failing_removals > 0 {
                state.failing_removals -= 1;
                return Err(io::Error::other(format!("{name} stays")));
            }
            state.name(Naming::Remove(name.into(), file));
            Ok(())
        })
    }

    fn sync_folder(&self, name: &str) -> io::Result<()> {
        self.step(|state| {
            state.may_flush()?;
            let image = &mut state.image;
            let (here, elsewhere) =
                std::mem::take(&mut image.unflushed_names).into_iter().partition(|n| n.folder() == name);
            image.unflushed_names = elsewhere;
            let here: Vec<Naming> = here;
            here.iter().for_each(|naming| naming.apply(&mut image.durable_names));
            Ok(())
        })
    }
}

struct OpenFile {
    disk: Simulated,
    file: usize,
}

impl Opened for OpenFile {
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.disk.state();
        let from = usize::try_from(offset).unwrap();
        let found = state.image.files[self.file].current.get(from..from + bytes.len());
        bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.step(|state| {
            let offset = usize::try_from(offset).unwrap();
            let file = &mut state.image.files[self.file];
            let current = Arc::make_mut(&mut file.current);
            let end = offset + bytes.len();
            current.resize(current.len().max(end), 0);
            current[offset..end].copy_from_slice(bytes);
            file.writes.push((offset, bytes.into()));
            Ok(())
        })
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.state().image.files[self.file].current.len() as u64)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync_all()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.disk.step(|state| {
            state.may_flush()?;
            let file = &mut state.image.files[self.file];
            file.durable = file.current.clone();
            file.writes.clear();
            Ok(())
        })
    }
}
