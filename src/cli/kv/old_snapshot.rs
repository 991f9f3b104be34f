//! Snapshots of etcd 0.4. Pure: bytes in, keys out.
//!
//! There are two forms of the same thing. `GET /v2/migration/snapshot` of etcd 0.4.7 and later gave the store itself, as
//! JSON: `{"Root":{"Path","CreatedIndex","ModifiedIndex","ExpireTime","Value","Children":{NAME:{…}}},"CurrentIndex":…}`.
//! A file of the data folder, `snapshot/TERM_INDEX.ss`, begins with a line that holds the CRC-32 (IEEE) of the rest in
//! eight hexadecimal digits; the rest is JSON whose `state` is that store in Base64. (etcd 2.0, `migrate/snapshot.go`
//! and `store/store.go`.)

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;

/// Length of the first line of a snapshot file, without its end.
const CHECKSUM_DIGITS: usize = 8;

/// Why bytes are no snapshot.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SnapshotError {
    /// The checksum in front is not that of the rest.
    #[error("its checksum does not match: the file is damaged")]
    Damaged,
    /// The JSON, or what is in it, is not that of a snapshot.
    #[error("it is not a snapshot of etcd 0.4: {0}")]
    Foreign(String),
}

/// The store of a snapshot.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Snapshot {
    root: Node,
    #[serde(default)]
    current_index: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    #[serde(default)]
    path: String,
    #[serde(default)]
    expire_time: Option<String>,
    #[serde(default)]
    value: Option<String>,
    /// `null` for files.
    #[serde(default)]
    children: Option<BTreeMap<String, Node>>,
}

/// What the log of an import tells, in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A directory is gone into.
    Enter(String),
    /// A key is to be written.
    Write {
        /// Its path.
        key: String,
        /// What it holds.
        value: String,
        /// Seconds until it expires, rounded up; `None` for a permanent one. Zero or less when it should be gone.
        ttl: Option<i64>,
    },
}

/// The file's outer form.
#[derive(Deserialize)]
struct Wrapping {
    state: String,
}

impl Snapshot {
    /// Reads either form.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let foreign = |problem: &dyn std::fmt::Display| SnapshotError::Foreign(problem.to_string());
        let Some((sum, rest)) = checksum(bytes) else {
            return serde_json::from_slice(bytes).map_err(|error| foreign(&error));
        };
        if crc32fast::hash(rest) != sum {
            return Err(SnapshotError::Damaged);
        }
        let wrapping: Wrapping = serde_json::from_slice(rest).map_err(|error| foreign(&error))?;
        let state = STANDARD.decode(wrapping.state).map_err(|error| foreign(&error))?;
        serde_json::from_slice(&state).map_err(|error| foreign(&error))
    }

    /// The index at which it was made.
    pub fn index(&self) -> u64 {
        self.current_index
    }

    /// The steps that write the tree at `path`, in the order of keys and without what is hidden below it. `None` when
    /// there is no such key.
    pub fn steps(&self, path: &str, now: Timestamp) -> Option<Vec<Step>> {
        let mut node = &self.root;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            node = node.children.as_ref()?.get(name)?;
        }
        let mut steps = Vec::new();
        collect(node, now, &mut steps);
        Some(steps)
    }
}

fn checksum(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (first, rest) = bytes.split_at_checked(CHECKSUM_DIGITS)?;
    let rest = rest.strip_prefix(b"\n")?;
    let sum = u32::from_str_radix(std::str::from_utf8(first).ok()?, 16).ok()?;
    Some((sum, rest))
}

fn collect(node: &Node, now: Timestamp, steps: &mut Vec<Step>) {
    let Some(children) = &node.children else {
        let (key, value) = (node.path.clone(), node.value.clone().unwrap_or_default());
        return steps.push(Step::Write { key, value, ttl: node.ttl(now) });
    };
    steps.push(Step::Enter(node.path.clone()));
    let shown = children.iter().filter(|(name, _)| !name.starts_with('_'));
    shown.for_each(|(_, child)| collect(child, now, steps));
}

impl Node {
    /// Go's zero time, in the year 1, means never.
    fn ttl(&self, now: Timestamp) -> Option<i64> {
        let text = self.expire_time.as_deref().filter(|text| !text.starts_with("0001-"))?;
        let expires: Timestamp = text.parse().ok()?;
        let left = expires.as_nanosecond() - now.as_nanosecond();
        i64::try_from(left.div_euclid(1_000_000_000) + i128::from(left.rem_euclid(1_000_000_000) > 0)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: &str = r#"{"Root":{"Path":"/","CreatedIndex":0,"ModifiedIndex":0,"ExpireTime":"0001-01-01T00:00:00Z","ACL":"","Value":"","Children":{
        "b":{"Path":"/b","CreatedIndex":3,"ModifiedIndex":3,"ExpireTime":"2030-01-01T00:00:10.5Z","ACL":"","Value":"2","Children":null},
        "a":{"Path":"/a","ExpireTime":"0001-01-01T00:00:00Z","Value":"","Children":{
            "x":{"Path":"/a/x","ExpireTime":"0001-01-01T00:00:00Z","Value":"1","Children":null}}},
        "_h":{"Path":"/_h","ExpireTime":"0001-01-01T00:00:00Z","Value":"","Children":{
            "y":{"Path":"/_h/y","ExpireTime":"0001-01-01T00:00:00Z","Value":"3","Children":null}}}}},
        "WatcherHub":{},"CurrentIndex":7,"Stats":{},"CurrentVersion":2}"#;

    fn now() -> Timestamp {
        "2030-01-01T00:00:00Z".parse().expect("a time")
    }

    fn write(key: &str, value: &str, ttl: Option<i64>) -> Step {
        Step::Write { key: key.into(), value: value.into(), ttl }
    }

    #[test]
    fn keys_come_in_order_without_hidden_ones_and_with_the_seconds_they_have_left() {
        let snapshot = Snapshot::parse(STORE.as_bytes()).expect("a snapshot");
        assert_eq!(
            snapshot.steps("/", now()).expect("the root"),
            [
                Step::Enter("/".into()),
                Step::Enter("/a".into()),
                write("/a/x", "1", None),
                write("/b", "2", Some(11))
            ]
        );
        assert_eq!(snapshot.index(), 7);
    }

    #[test]
    fn hidden_trees_are_found_by_name() {
        let snapshot = Snapshot::parse(STORE.as_bytes()).expect("a snapshot");
        let steps = snapshot.steps("/_h", now()).expect("it is there");
        assert_eq!(steps, [Step::Enter("/_h".into()), write("/_h/y", "3", None)]);
        assert!(snapshot.steps("/_none", now()).is_none());
    }

    #[test]
    fn a_file_of_the_data_folder_is_unwrapped_and_damage_is_noticed() {
        let inner =
            format!(r#"{{"state":"{}","lastIndex":7,"lastTerm":1,"peers":[]}}"#, STANDARD.encode(STORE));
        let mut file = format!("{:08x}\n{inner}", crc32fast::hash(inner.as_bytes())).into_bytes();
        assert_eq!(Snapshot::parse(&file).expect("a snapshot").index(), 7);
        let last = file.len() - 1;
        file[last] ^= 1;
        assert_eq!(Snapshot::parse(&file).expect_err("damage"), SnapshotError::Damaged);
        assert!(matches!(Snapshot::parse(b"{}"), Err(SnapshotError::Foreign(_))));
        assert!(matches!(Snapshot::parse(b""), Err(SnapshotError::Foreign(_))));
    }
}
