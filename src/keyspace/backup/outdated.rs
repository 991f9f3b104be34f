//! What a restore has put aside: whole trees, which take long to drop.

use super::Staging;
use crate::keyspace::Tree;
use crate::keyspace::history::Chunks;
use crate::keyspace::tree::Deadlines;

/// Parts of a keyspace that are no longer in use. Nothing of them is looked at any more.
#[derive(Debug, Default)]
pub struct Outdated {
    keys: Vec<(Tree, Deadlines, Chunks)>,
    staged: Vec<Staging>,
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

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.staged.is_empty()
    }
}
