use std::fs::File;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::raft::log::medium::Directory;

/// Small enough that a few entries need several segments.
const SEGMENT: u64 = 4096;

struct Fixture {
    folder: TempDir,
    wal: Option<Wal>,
}

/// The log in `folder`, with its watermark beside it.
fn open(folder: &TempDir) -> io::Result<(Wal, Opened)> {
    let metrics = Metrics::new().map_err(io::Error::other)?;
    let sizes = Sizes { segment: SEGMENT, ahead: u64::MAX };
    Wal::open(Arc::new(Directory::new(folder.path())), sizes, false, metrics)
}

impl Fixture {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let (wal, _) = open(&folder).unwrap();
        Self { folder, wal: Some(wal) }
    }

    fn wal(&self) -> &Wal {
        self.wal.as_ref().unwrap()
    }

    fn durable(&self, work: impl FnOnce(&Wal, Told) -> io::Result<()>) {
        let (tell, told) = mpsc::channel();
        work(self.wal(), Box::new(move |result| tell.send(result).unwrap())).unwrap();
        told.recv().unwrap().unwrap();
    }

    fn append(&self, indexes: impl Iterator<Item = u64>) {
        for index in indexes {
            self.durable(|wal, told| wal.append(vec![(index, entry(index))], told));
        }
    }

    /// Closes the log and opens it again.
    fn reopen(&mut self) -> io::Result<Opened> {
        self.wal = None;
        let (wal, opened) = open(&self.folder)?;
        self.wal = Some(wal);
        Ok(opened)
    }

    /// The same files, closed; nothing is noted beside them.
    fn copy(&self) -> Self {
        let folder = TempDir::new().unwrap();
        Watermark::open(&Directory::new(folder.path()), true).unwrap();
        std::fs::create_dir(folder.path().join("log")).unwrap();
        for file in self.files() {
            std::fs::copy(&file, folder.path().join("log").join(file.file_name().unwrap())).unwrap();
        }
        Self { folder, wal: None }
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> = std::fs::read_dir(self.folder.path().join("log"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        files
    }

    /// Whether all entries from `from` up to but not including `until` are there and right.
    fn holds(&self, from: u64, until: u64) -> bool {
        let wanted: Vec<_> = (from..until).map(entry).collect();
        self.wal().range() == (from, until)
            && self.wal().read(from, until, usize::MAX).is_ok_and(|entries| entries == wanted)
    }
}

/// The bytes of entry `index`: of any length, never the same.
fn entry(index: u64) -> Vec<u8> {
    let length = usize::try_from(index * 37 % 400).unwrap();
    let mut bytes = format!("entry {index} ").into_bytes();
    bytes.resize(bytes.len() + length, b'a' + u8::try_from(index % 26).unwrap());
    bytes
}

#[test]
fn entries_survive_and_segments_follow_each_other() {
    let mut log = Fixture::new();
    log.append(0..100);
    assert!(log.files().len() > 3);
    assert!(log.holds(0, 100));
    log.reopen().unwrap();
    assert!(log.holds(0, 100));
    log.append(100..110);
    log.reopen().unwrap();
    assert!(log.holds(0, 110));
}

#[test]
fn an_entry_larger_than_a_segment_has_one_of_its_own_size() {
    let mut log = Fixture::new();
    let large = vec![b'x'; 100_000];
    log.durable(|wal, told| wal.append(vec![(0, entry(0)), (1, large.clone()), (2, entry(2))], told));
    log.reopen().unwrap();
    assert_eq!(log.wal().read(0, 3, usize::MAX).unwrap(), [entry(0), large, entry(2)]);
}

#[test]
fn truncated_entries_do_not_come_back() {
    let mut log = Fixture::new();
    log.append(0..50);
    log.durable(|wal, told| wal.truncate(20, told));
    assert!(log.holds(0, 20));
    log.reopen().unwrap();
    assert!(log.holds(0, 20));
    log.append(20..30);
    log.reopen().unwrap();
    assert!(log.holds(0, 30));
}

#[test]
fn purged_segments_go_and_the_purge_point_stays() {
    let mut log = Fixture::new();
    log.append(0..100);
    let before = log.files().len();
    log.durable(|wal, told| wal.purge(80, b"id of 80".to_vec(), told));
    assert!(log.holds(81, 100));
    assert_eq!(log.reopen().unwrap().purged.unwrap(), b"id of 80");
    assert!(log.holds(81, 100));
    assert!(log.files().len() < before / 2, "{} of {before} files are left", log.files().len());
    log.durable(|wal, told| wal.purge(500, b"id of 500".to_vec(), told));
    log.reopen().unwrap();
    assert_eq!(log.wal().range(), (501, 501));
    log.append(501..520);
    log.reopen().unwrap();
    assert!(log.holds(501, 520));
}

#[test]
fn entries_that_are_purged_while_they_are_read_are_not_there_and_none_are_read_from_the_middle_on() {
    let log = Fixture::new();
    log.append(0..100);
    let places = log.wal().places(0, 100);
    assert_eq!(log.wal().read_at(&places, usize::MAX).unwrap().len(), 100);
    log.durable(|wal, told| wal.purge(80, Vec::new(), told));
    assert!(log.wal().read_at(&places, usize::MAX).unwrap().is_empty());
    assert!(log.wal().read(80, 100, usize::MAX).unwrap().is_empty());
    assert_eq!(log.wal().read(81, 100, usize::MAX).unwrap().len(), 19);
    assert!(log.wal().read(100, 200, usize::MAX).unwrap().is_empty());
}

#[test]
fn votes_and_the_commit_index_are_noted() {
    let mut log = Fixture::new();
    log.durable(|wal, told| wal.write_vote(b"for n1".to_vec(), told));
    log.wal().note_commit(7);
    log.append(0..60);
    let opened = log.reopen().unwrap();
    assert_eq!((opened.vote.unwrap(), opened.committed), (b"for n1".to_vec(), 7));
}

#[test]
fn a_segment_that_was_made_but_not_yet_needed_is_no_damage() {
    let mut log = Fixture::new();
    log.append(0..5);
    log.wal = None;
    // As if the machine had lost power between the making of the new segment and the flush of the old one.
    let mut bytes = Vec::new();
    let begin = recover::join_begin(SEGMENT, None, None);
    let about = About { kind: Kind::Begin, index: 5, number: 8, durable: 6, committed: 0 };
    record::write(&mut bytes, about, &begin);
    bytes.resize(usize::try_from(SEGMENT).unwrap(), 0);
    std::fs::write(log.folder.path().join(segment::file_name(2)), bytes).unwrap();
    log.reopen().unwrap();
    assert!(log.holds(0, 5));
    log.append(5..40);
    log.reopen().unwrap();
    assert!(log.holds(0, 40));
}

#[test]
fn every_missing_or_shortened_file_is_named() {
    let reference = with_entries();
    for (place, path) in reference.files().iter().enumerate() {
        for length in [None, Some(0), Some(100), Some(SEGMENT - 1)] {
            let mut log = reference.copy();
            let path = log.folder.path().join("log").join(path.file_name().unwrap());
            match length {
                None => std::fs::remove_file(&path).unwrap(),
                Some(length) => File::options().write(true).open(&path).unwrap().set_len(length).unwrap(),
            }
            match log.reopen() {
                Err(error) => assert!(error.to_string().contains(".log: "), "{error}"),
                // Whoever has the purge point sees that the beginning is gone.
                Ok(_) => {
                    assert!(place == 0 && length.is_none() && log.wal().range().0 > 0, "{place} {length:?}")
                }
            }
        }
    }
}

fn with_entries() -> Fixture {
    let log = Fixture::new();
    // In steps, so that later records prove that earlier ones were durable.
    log.append(0..30);
    log
}
