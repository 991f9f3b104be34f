//! Keys and their order.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A key: any bytes, in components that each start with `/`.
///
/// Invariant: empty (the root), or starts with `/`, does not end with `/`, and no component is empty, `.` or `..`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key(Arc<[u8]>);

impl Key {
    /// The root directory.
    pub fn root() -> Self {
        Self(Arc::from([]))
    }

    /// Takes a path whose components are separated by `/`; empty components and a missing first `/` are tolerated.
    /// `None` when a component is `.` or `..`.
    pub fn parse(path: &[u8]) -> Option<Self> {
        let mut bytes = Vec::with_capacity(path.len() + 1);
        for part in path.split(|b| *b == b'/').filter(|part| !part.is_empty()) {
            if part == b"." || part == b".." {
                return None;
            }
            bytes.push(b'/');
            bytes.extend_from_slice(part);
        }
        Some(Self(bytes.into()))
    }

    /// The child of this key named `name`, which must be a single component.
    pub fn child(&self, name: &str) -> Self {
        debug_assert!(!name.is_empty() && !name.contains('/'), "{name:?} is no component");
        Self([&*self.0, b"/", name.as_bytes()].concat().into())
    }

    /// The key's bytes; empty for the root.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The directories above this key from the top down, the root and the key itself left out.
    pub fn ancestors(&self) -> impl Iterator<Item = &[u8]> {
        let bytes = &self.0;
        (1..bytes.len()).filter(|i| bytes[*i] == b'/').map(|i| &bytes[..i])
    }

    /// Whether this key lies below `dir`.
    pub fn is_below(&self, dir: &[u8]) -> bool {
        self.0.len() > dir.len() && self.0.starts_with(dir) && self.0[dir.len()] == b'/'
    }

    /// Whether a component behind `above` starts with `_`, which hides the key from whoever looks from there.
    pub fn is_hidden_from(&self, above: &[u8]) -> bool {
        self.0[above.len().min(self.0.len())..].windows(2).any(|pair| pair == b"/_")
    }
}

/// Tree order: a directory comes right before everything below it, so a subtree is one range; siblings are in byte
/// order of their names.
pub fn tree_order(a: &[u8], b: &[u8]) -> Ordering {
    let rank = |byte: u8| if byte == b'/' { 0 } else { u16::from(byte) + 1 };
    // Long keys that differ late are common among the directories of one: whole blocks are compared first.
    let (blocks_a, blocks_b) = (a.chunks_exact(64), b.chunks_exact(64));
    let equal = blocks_a.zip(blocks_b).take_while(|(x, y)| x == y).count() * 64;
    let common = equal + a[equal..].iter().zip(&b[equal..]).take_while(|(x, y)| x == y).count();
    match (a.get(common), b.get(common)) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (Some(x), Some(y)) => rank(*x).cmp(&rank(*y)),
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        tree_order(&self.0, &other.0)
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = crate::keyspace::tree::Blob::deserialize(deserializer)?;
        Key::parse(&bytes)
            .filter(|key| key.as_bytes() == &*bytes)
            .ok_or_else(|| serde::de::Error::custom("not a key"))
    }
}

#[cfg(test)]
#[path = "key_test.rs"]
mod more_tests;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn parsing_normalises_slashes_and_refuses_dots() {
        assert_eq!(key("a//b/"), key("/a/b"));
        assert!(key("/").is_root());
        assert_eq!(Key::parse(b"/a/../b"), None);
        assert_eq!(key("/...").as_bytes(), b"/...");
    }

    #[test]
    fn a_subtree_is_contiguous_even_beside_bytes_below_the_slash() {
        let mut keys = ["/a", "/a!", "/a/b", "/a/b/c", "/a\0", "/a/!", "/b"].map(key);
        keys.sort();
        assert_eq!(keys, ["/a", "/a/!", "/a/b", "/a/b/c", "/a\0", "/a!", "/b"].map(key));
    }

    #[test]
    fn long_keys_are_ordered_by_what_differs_late() {
        let long = |end: &str| format!("/{}{end}", "x".repeat(200));
        let sorted = ["", "/a", "\0", "!", "a"].map(|end| key(&long(end)));
        assert!(sorted.is_sorted(), "{sorted:?}");
        assert_eq!(tree_order(long("a").as_bytes(), long("a").as_bytes()), Ordering::Equal);
    }

    #[test]
    fn ancestors_come_from_the_top_down() {
        let deep = key("/a/b/c");
        let all: Vec<_> = deep.ancestors().collect();
        assert_eq!(all, [b"/a".as_slice(), b"/a/b"]);
        assert!(deep.is_below(b"/a") && deep.is_below(b"") && !deep.is_below(b"/a/b/c"));
        assert!(!key("/ab").is_below(b"/a"));
    }

    #[test]
    fn hidden_is_relative_to_the_place_one_looks_from() {
        assert!(key("/a/_b/c").is_hidden_from(b"/a"));
        assert!(!key("/a/_b/c").is_hidden_from(b"/a/_b"));
        assert!(!key("/a_b").is_hidden_from(b""));
    }
}
