//! How much is in memory only for those who still read what was. Nothing of the state: members differ in it.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Node, Tree};

/// About what a node takes in memory beside its key and value, in bytes.
const NODE_BYTES: u64 = 200;

/// Bytes of the nodes that were replaced or removed and that a copy of the tree may have. By how much this has grown since
/// a copy was made is at most what that copy and all later ones keep in memory alone, together.
#[derive(Debug, Default)]
pub struct Overwritten {
    bytes: u64,
    /// The index at which the tree was copied last: newer nodes are in no copy.
    copied_at: AtomicU64,
}

impl Overwritten {
    /// How many there are.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Somebody has a copy of the tree as it is at `index`.
    pub fn copied(&self, index: u64) {
        self.copied_at.fetch_max(index, Ordering::Relaxed);
    }

    /// `old` went, and `new` came in its place, which may have the same value.
    pub fn note(&mut self, old: &Node, new: Option<&Node>) {
        if old.modified > *self.copied_at.get_mut() {
            return;
        }
        let value = new.and_then(Node::blob);
        let goes_on = old.blob().zip(value).is_some_and(|(old, new)| old.is_shared_with(new));
        let value = if goes_on { 0 } else { old.value().len() };
        self.bytes += NODE_BYTES + (old.key.as_bytes().len() + value) as u64;
    }

    /// A whole tree went.
    pub fn note_all(&mut self, tree: &Tree) {
        self.bytes += tree.extent().bytes + tree.len() as u64 * NODE_BYTES;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::{Key, Kind};

    fn file(value: &Kind, modified: u64) -> Node {
        let key = Key::parse(b"/a").expect("a key");
        Node { key, kind: value.clone(), created: 1, modified, deadline: None }
    }

    #[test]
    fn what_a_copy_may_have_is_counted_but_for_a_value_that_goes_on() {
        let [large, other] = [b'x', b'y'].map(|byte| Kind::File(vec![byte; 10_000].into()));
        let mut overwritten = Overwritten::default();
        overwritten.note(&file(&large, 3), Some(&file(&other, 4)));
        assert_eq!(overwritten.bytes(), 0, "nobody has a copy");
        overwritten.copied(5);
        overwritten.note(&file(&large, 5), Some(&file(&large, 6)));
        let node = NODE_BYTES + 2;
        assert_eq!(overwritten.bytes(), node, "a refresh");
        overwritten.note(&file(&large, 6), Some(&file(&other, 7)));
        assert_eq!(overwritten.bytes(), node, "it came after the copy");
        overwritten.note(&file(&other, 5), Some(&file(&large, 8)));
        overwritten.copied(4);
        overwritten.note(&file(&other, 5), None);
        assert_eq!(overwritten.bytes(), 3 * node + 20_000);
        let mut tree = Tree::default();
        tree.insert(file(&large, 1).into());
        overwritten.note_all(&tree);
        assert_eq!(overwritten.bytes(), 4 * node + 30_000);
    }
}
