//! What clients asked, when, and what they were told.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde::Serialize;

/// What a client asks of one key. Values are numbers that nobody else writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Act {
    Get,
    Set(u64),
    /// Only where there is nothing.
    Create(u64),
    /// Only where `from` is.
    Swap {
        from: u64,
        to: u64,
    },
    /// Only what was modified at `at`.
    SwapAt {
        at: u64,
        to: u64,
    },
    Delete,
}

/// A value with the index at which it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Cell {
    pub value: u64,
    pub index: u64,
}

/// What the store said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Told {
    Found(Cell),
    /// There is no such key.
    Absent,
    /// It was done, at `index`; `before` stood there.
    Done {
        index: u64,
        before: Option<Cell>,
    },
    /// There is something already.
    Exists,
    /// Something else stands there.
    Differs,
    /// It was not begun, and never will be.
    Untouched,
}

/// One operation. Times are nanoseconds since the history began.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    pub client: usize,
    pub node: usize,
    pub key: u64,
    pub act: Act,
    pub began: u64,
    /// When the answer was there; none if the outcome is unknown.
    pub ended: Option<u64>,
    pub told: Option<Told>,
    /// `X-Etcd-Index` of the answer.
    pub index: Option<u64>,
}

/// All records, and the file that keeps them.
pub struct History {
    start: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    records: Vec<Record>,
    file: Option<BufWriter<File>>,
}

impl History {
    /// An empty one, kept in `file` as JSON lines as well if one is named.
    pub fn new(file: Option<&Path>) -> Self {
        let file = file.map(|path| BufWriter::new(File::create(path).expect("a file for the history")));
        Self { start: Instant::now(), inner: Mutex::new(Inner { records: Vec::new(), file }) }
    }

    /// Nanoseconds since the beginning.
    pub fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).expect("less than 500 years")
    }

    pub fn add(&self, record: Record) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.line(&record);
        inner.records.push(record);
    }

    /// Keeps a remark beside the records.
    pub fn remark(&self, what: &str) {
        let line = serde_json::json!({ "at": self.now(), "remark": what });
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).line(&line);
    }

    pub fn count(&self) -> usize {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).records.len()
    }

    /// Takes all records; the file is whole then.
    pub fn take(&self) -> Vec<Record> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &mut inner.file {
            file.flush().expect("the history is kept");
        }
        std::mem::take(&mut inner.records)
    }
}

impl Inner {
    fn line(&mut self, what: &impl Serialize) {
        if let Some(file) = &mut self.file {
            serde_json::to_writer(&mut *file, what).expect("the history is kept");
            file.write_all(b"\n").expect("the history is kept");
        }
    }
}
