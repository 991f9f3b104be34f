//! The nodes in tree order. The set is persistent: a clone costs nothing and stays as it was, which is how a
//! snapshot is taken while writes go on.

use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

use equivalent::{Comparable, Equivalent};
use imbl::OrdSet;

use super::key::tree_order;
use crate::keyspace::{Key, KeyError, Node};

/// Every node but the root, which always exists.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    nodes: OrdSet<Entry>,
    extent: Extent,
}

/// How much there is, kept along because a walk over all nodes would cost too much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Directories without the root.
    pub directories: usize,
    /// Bytes of all keys and values.
    pub bytes: u64,
}

impl Extent {
    fn add(&mut self, node: &Node) {
        self.directories += usize::from(node.is_dir());
        self.bytes += size(node);
    }

    fn subtract(&mut self, node: &Node) {
        debug_assert!(self.bytes >= size(node), "{} bytes are left of a tree that held {node:?}", self.bytes);
        self.directories -= usize::from(node.is_dir());
        self.bytes -= size(node);
    }
}

fn size(node: &Node) -> u64 {
    (node.key.as_bytes().len() + node.value().len()) as u64
}

#[derive(Clone, Debug)]
struct Entry(Arc<Node>);

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for Entry {}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.key.cmp(&other.0.key)
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A place in the order: at a path, or behind everything at and below a path.
#[derive(Clone, Copy)]
struct Place<'a> {
    path: &'a [u8],
    behind: bool,
}

impl Equivalent<Entry> for Place<'_> {
    fn equivalent(&self, entry: &Entry) -> bool {
        self.compare(entry) == Ordering::Equal
    }
}

impl Comparable<Entry> for Place<'_> {
    fn compare(&self, entry: &Entry) -> Ordering {
        let key = &entry.0.key;
        if self.behind && (key.as_bytes() == self.path || key.is_below(self.path)) {
            return Ordering::Greater;
        }
        tree_order(self.path, key.as_bytes())
    }
}

impl Tree {
    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// How much there is.
    pub fn extent(&self) -> Extent {
        self.extent
    }

    /// Whether there is nothing but the root.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The node at `path`.
    pub fn get(&self, path: &[u8]) -> Option<&Arc<Node>> {
        self.nodes.get(&Place { path, behind: false }).map(|entry| &entry.0)
    }

    /// The node at `key`, or what stands in the way. The root has no node and must be handled before.
    pub fn find(&self, key: &Key) -> Result<&Arc<Node>, KeyError> {
        if let Some(node) = self.get(key.as_bytes()) {
            return Ok(node);
        }
        for above in key.ancestors() {
            match self.get(above) {
                Some(node) if !node.is_dir() => {
                    return Err(KeyError::NotDirectory { file: node.key.clone() });
                }
                Some(_) => {}
                None => {
                    let missing = Key::parse(above).expect("what lies above a key is a key");
                    return Err(KeyError::NotFound { missing });
                }
            }
        }
        Err(KeyError::NotFound { missing: key.clone() })
    }

    /// Puts a node in, in place of the one at the same key.
    pub fn insert(&mut self, node: Arc<Node>) -> Option<Arc<Node>> {
        self.extent.add(&node);
        let old = self.nodes.insert(Entry(node)).map(|entry| entry.0);
        if let Some(old) = &old {
            self.extent.subtract(old);
        }
        old
    }

    /// Takes one node out.
    pub fn remove(&mut self, path: &[u8]) -> Option<Arc<Node>> {
        let old = self.nodes.remove(&Place { path, behind: false }).map(|entry| entry.0);
        if let Some(old) = &old {
            self.extent.subtract(old);
        }
        old
    }

    /// Takes out everything below `path`, parents before children. When that is most of what there is, the rest is put
    /// together anew, which is quicker than to take out one after the other.
    pub fn take_below(&mut self, path: &[u8]) -> Vec<Arc<Node>> {
        let below: Vec<Arc<Node>> = self.below(path).cloned().collect();
        below.iter().for_each(|node| self.extent.subtract(node));
        if below.len() > self.nodes.len() / 2 {
            let upto = (Bound::Unbounded, Bound::Included(Place { path, behind: false }));
            let before = self.nodes.range::<_, Place<'_>>(upto).cloned();
            self.nodes = before.chain(self.following(path, true).cloned().map(Entry)).collect();
        } else {
            for node in &below {
                self.nodes.remove(&Place { path: node.key.as_bytes(), behind: false });
            }
        }
        below
    }

    /// Everything below `path`, parents before children.
    pub fn below<'a>(&'a self, path: &'a [u8]) -> impl Iterator<Item = &'a Arc<Node>> + use<'a> {
        self.following(path, false).take_while(move |node| node.key.is_below(path))
    }

    /// All nodes in order behind the one at `path`, or `behind` everything below that as well.
    pub fn following<'a>(
        &'a self,
        path: &'a [u8],
        behind: bool,
    ) -> impl Iterator<Item = &'a Arc<Node>> + use<'a> {
        let from = Bound::Excluded(Place { path, behind });
        self.nodes.range::<_, Place<'a>>((from, Bound::Unbounded)).map(|entry| &entry.0)
    }

    /// Whether anything lies below `path`.
    pub fn has_children(&self, path: &[u8]) -> bool {
        self.below(path).next().is_some()
    }

    /// All nodes, parents before children.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.iter().map(|entry| &entry.0)
    }
}

#[cfg(test)]
#[path = "nodes_test.rs"]
mod tests;
