//! Whether a log that was opened holds all that it must: no gap, no entry that does not fit its neighbours, nothing
//! less than its watermark says.

use std::io;
use std::panic::{self, AssertUnwindSafe};

use super::seal::{self, Link};
use super::types::{RaftLogId, RaftVote};
use super::watermark::Watermark;

/// Runs `work` and makes a panic in it an error: sled panics at some damages.
///
/// # Errors
/// That of `work`, or what it panicked with.
pub fn guarded<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or_default();
        Err(damaged(&format!("sled cannot read it: {text}")))
    })
}

/// The index that a key of the log stands for.
///
/// # Errors
/// It is no key of a log.
pub fn index(key: &[u8]) -> io::Result<u64> {
    key.try_into().map(u64::from_be_bytes).map_err(|_| damaged("a key is not 8 bytes long"))
}

/// Reads every entry after `purged` and gives the last one's link.
///
/// # Errors
/// An entry is damaged or missing, or the log or the vote is older than the watermark.
pub fn log(
    log: &sled::Tree,
    purged: Option<RaftLogId>,
    vote: Option<RaftVote>,
    watermark: &Watermark,
) -> io::Result<Option<Link>> {
    let mark = watermark.mark();
    let mut next = purged.map_or(0, |id| id.index + 1);
    let mut tail: Option<Link> = None;
    let mut last = purged;
    let mut marked = None;
    for item in log {
        let (key, value) = item?;
        let found = index(&key)?;
        if found != next {
            return Err(damaged(&format!("entries {next} to {} are missing", found.saturating_sub(1))));
        }
        let (entry, before, link) = seal::open(found, &value)?;
        if tail.is_some_and(|tail| tail != before) {
            return Err(damaged(&format!("entry {found} does not continue entry {}", found - 1)));
        }
        if mark.last.is_some_and(|mark| mark.index == found) {
            marked = Some(entry.log_id);
        }
        (next, tail, last) = (found + 1, Some(link), Some(entry.log_id));
    }
    let covered = mark.last.is_none_or(|mark| purged.is_some_and(|purged| purged.index >= mark.index));
    if !covered && marked != mark.last {
        let (expected, there) = (text(mark.last), text(last));
        let file = watermark.path().display();
        return Err(damaged(&format!(
            "it ends with entry {there}, but {file} says that entry {expected} was flushed"
        )));
    }
    if vote < mark.vote {
        let file = watermark.path().display();
        return Err(damaged(&format!("its vote is older than the one in {file}")));
    }
    Ok(tail)
}

fn text(id: Option<RaftLogId>) -> String {
    id.map_or("none".into(), |id| format!("{} of term {}", id.index, **id.committed_leader_id()))
}

/// An error that says so.
pub fn damaged(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("damaged raft log: {why}"))
}
