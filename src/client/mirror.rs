//! A copy of everything below a directory of the store, kept up to date by a watch.
//!
//! While the store cannot be reached the copy stays as it was last seen. A directory that does not exist is told from
//! one that is empty: callers must not take a store that lost its contents for one in which nothing is wanted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::backoff::Backoff;
use super::{Answer, Client, ClientError, Event, GetOptions, Node};

/// The files below a directory, as far as they were heard of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// Whether the directory exists at all.
    pub exists: bool,
    /// Files by their whole key, at any depth, without hidden ones.
    pub files: BTreeMap<String, File>,
    /// The store's index up to which this copy is known to be complete.
    pub index: u64,
}

/// A file in a [`Tree`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its value.
    pub value: String,
    /// The index of its last change, for conditions.
    pub modified_index: u64,
}

impl Tree {
    /// The files in the answer to a recursive read.
    pub fn of(answer: &Answer) -> Self {
        let mut tree = Self { exists: answer.node.dir, files: BTreeMap::new(), index: answer.index };
        tree.add(&answer.node);
        tree
    }

    fn add(&mut self, node: &Node) {
        for child in &node.nodes {
            self.add(child);
        }
        if !node.dir {
            let value = node.value.clone().unwrap_or_default();
            self.files.insert(node.key.clone(), File { value, modified_index: node.modified_index });
        }
    }

    /// Brings in one change below (or of, or above) directory `dir`. Older news of a key than it has is left out.
    /// Says whether that made a difference.
    fn apply(&mut self, dir: &str, action: &str, node: &Node) -> bool {
        let gone = matches!(action, "delete" | "compareAndDelete" | "expire");
        let (key, at) = (node.key.as_str(), node.modified_index);
        let inside =
            |path: &str, top: &str| path == top || path.strip_prefix(top).is_some_and(|p| p.starts_with('/'));
        let (existed, count) = (self.exists, self.files.len());
        if gone {
            self.files.retain(|path, file| !inside(path, key) || file.modified_index > at);
            self.exists &= !inside(dir, key);
            return (existed, count) != (self.exists, self.files.len());
        }
        self.exists |= inside(key, dir);
        let newer = self.files.get(key).is_none_or(|file| file.modified_index < at);
        if node.dir || !newer || !inside(key, dir) || key == dir {
            return existed != self.exists;
        }
        let value = node.value.clone().unwrap_or_default();
        let before = self.files.insert(key.into(), File { value, modified_index: at });
        before.is_none_or(|before| before.value != self.files[key].value)
    }
}

/// Handle of a copy; clones share it. The copying ends with the last handle.
#[derive(Clone)]
pub struct Mirror {
    shared: Arc<Shared>,
    seen: watch::Receiver<u64>,
    _copying: Arc<AbortOnDropHandle<()>>,
}

struct Shared {
    dir: String,
    tree: Mutex<Option<Tree>>,
    /// Counts changes.
    changes: watch::Sender<u64>,
}

impl Shared {
    fn tree(&self) -> MutexGuard<'_, Option<Tree>> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the copy by `how`, which says whether that made a difference.
    fn change(&self, how: impl FnOnce(&mut Option<Tree>) -> bool) {
        let changed = how(&mut self.tree());
        if changed {
            self.changes.send_modify(|count| *count += 1);
        }
    }
}

impl Mirror {
    /// Begins to copy `dir`. Must be called inside a tokio runtime.
    pub fn open(client: &Client, dir: &str) -> Self {
        let (changes, mut seen) = watch::channel(0);
        seen.mark_changed();
        let shared = Arc::new(Shared { dir: dir.into(), tree: Mutex::new(None), changes });
        let copying = tokio::spawn(copy(client.clone(), Arc::clone(&shared)));
        Self { shared, seen, _copying: Arc::new(AbortOnDropHandle::new(copying)) }
    }

    /// Waits until there is something this handle has not seen; may be dropped and called again at any time.
    pub async fn changed(&mut self) {
        if self.seen.changed().await.is_err() {
            // Only at the end of the runtime: there will be no news.
            std::future::pending::<()>().await;
        }
    }

    /// Looks at the copy. `None`: the store has not been read yet.
    pub fn read<T>(&self, look: impl FnOnce(&Tree) -> T) -> Option<T> {
        self.shared.tree().as_ref().map(look)
    }

    /// Brings in what a write of our own answered, before the watch tells of it.
    pub fn absorb(&self, answer: &Answer) {
        let dir = &self.shared.dir;
        self.shared
            .change(|tree| tree.as_mut().is_some_and(|tree| tree.apply(dir, &answer.action, &answer.node)));
    }
}

/// Reads the directory, follows it, and reads it again whenever the watch has lost the thread.
async fn copy(client: Client, shared: Arc<Shared>) {
    let mut backoff = Backoff::default();
    loop {
        match list(&client, &shared.dir).await {
            Ok(tree) => {
                backoff.reset();
                let after = tree.index;
                shared.change(|copy| {
                    *copy = Some(tree);
                    true
                });
                let error = follow(&client, &shared, after).await;
                tracing::debug!(dir = shared.dir, %error, "the watch broke off, reading anew");
            }
            Err(error) => tracing::debug!(dir = shared.dir, %error, "cannot be read yet"),
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

async fn list(client: &Client, dir: &str) -> Result<Tree, ClientError> {
    let options = GetOptions { recursive: true, ..GetOptions::linearizable() };
    match client.get(dir, &options).await {
        Ok(answer) => Ok(Tree::of(&answer)),
        Err(error) if error.is_not_found() => {
            let index = error.api().map_or(0, |api| api.index);
            Ok(Tree { index, ..Tree::default() })
        }
        Err(error) => Err(error),
    }
}

/// Applies events until the watch fails.
async fn follow(client: &Client, shared: &Shared, after: u64) -> ClientError {
    let mut watch = client.watch(&shared.dir, true, Some(after));
    loop {
        match watch.next().await {
            Ok(Event { action, node, .. }) => shared.change(|tree| {
                let Some(tree) = tree else { return false };
                tree.index = tree.index.max(node.modified_index);
                tree.apply(&shared.dir, &action, &node)
            }),
            Err(error) => return error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(key: &str, value: &str, index: u64) -> Node {
        Node { key: key.into(), value: Some(value.into()), modified_index: index, ..Node::default() }
    }

    fn dir(key: &str, index: u64) -> Node {
        Node { key: key.into(), dir: true, modified_index: index, ..Node::default() }
    }

    fn tree(files: &[(&str, u64)]) -> Tree {
        let mut tree = Tree { exists: true, ..Tree::default() };
        for (key, index) in files {
            tree.apply("/d", "set", &file(key, "v", *index));
        }
        tree
    }

    #[test]
    fn the_expiry_of_a_directory_takes_everything_below_it() {
        let mut copy = tree(&[("/d/a/1", 3), ("/d/a/2", 4), ("/d/ab/1", 5)]);
        copy.apply("/d", "expire", &dir("/d/a", 9));
        assert_eq!(copy.files.keys().collect::<Vec<_>>(), ["/d/ab/1"]);
        assert!(copy.exists);
    }

    #[test]
    fn a_directory_that_was_removed_is_told_from_one_that_is_empty() {
        let mut copy = tree(&[("/d/a", 3)]);
        copy.apply("/d", "delete", &file("/d/a", "", 4));
        assert!(copy.exists && copy.files.is_empty());
        copy.apply("/d", "delete", &dir("/d", 5));
        assert!(!copy.exists);
        copy.apply("/d", "set", &file("/d/b", "v", 6));
        assert!(copy.exists);
        copy.apply("/d", "delete", &dir("/other", 7));
        assert!(copy.files.len() == 1);
    }

    #[test]
    fn older_news_changes_nothing() {
        let mut copy = tree(&[("/d/a", 8)]);
        copy.apply("/d", "set", &file("/d/a", "old", 7));
        copy.apply("/d", "delete", &file("/d/a", "", 6));
        assert_eq!(copy.files["/d/a"], File { value: "v".into(), modified_index: 8 });
    }
}
