//! What was put aside because it takes long to drop: whole trees that a restore replaced, many nodes that were removed at
//! once.

use std::sync::Arc;

use super::Staging;
use crate::keyspace::history::Chunks;
use crate::keyspace::tree::Deadlines;
use crate::keyspace::{Node, Tree};

/// Fewer nodes are dropped where they were removed.
const MANY_NODES: usize = 256;

/// Parts of a keyspace that are no longer in use. Nothing of them is looked at any more.
#[derive(Debug, Default)]
pub struct Outdated {
    keys: Vec<(Tree, Deadlines, Chunks)>,
    staged: Vec<Staging>,
    nodes: Vec<Vec<Arc<Node>>>,
}

impl Outdated {
    /// Puts the keys aside that were replaced, and their history.
    pub(in crate::keyspace) fn keys(&mut self, tree: Tree, deadlines: Deadlines, history: Chunks) {
        self.keys.push((tree, deadlines, history));
    }

    /// Puts aside what was staged and was given up.
    pub(in crate::keyspace) fn staged(&mut self, staging: Option<Staging>) {
        self.staged.extend(staging);
    }

    /// Puts nodes aside that were removed, if there are many.
    pub(in crate::keyspace) fn nodes(&mut self, nodes: Vec<Arc<Node>>) {
        self.nodes.extend(Some(nodes).filter(|nodes| nodes.len() >= MANY_NODES));
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.staged.is_empty() && self.nodes.is_empty()
    }
}
