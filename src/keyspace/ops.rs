//! The operations behind the commands, with etcd's rules for what each may do to what.

use std::sync::Arc;

use super::command::{Compare, Content};
use super::{Action, Blob, Change, Deadline, Event, Key, KeyError, Keyspace, Kind, Mismatch, Node, View};

impl Keyspace {
    pub(super) fn set(&mut self, key: &Key, dir: bool, content: &Content) -> Result<Change, KeyError> {
        refuse_root(key)?;
        let old = match self.tree.find(key) {
            Ok(old) => Some(old.clone()),
            Err(KeyError::NotFound { .. }) if !content.refresh => None,
            Err(error) => return Err(error),
        };
        if old.as_ref().is_some_and(|old| old.is_dir()) {
            return Err(KeyError::NotFile { key: key.clone() });
        }
        let value = value(old.as_deref(), content);
        let kind = if dir { Kind::Dir } else { Kind::File(value) };
        // What is there has its directories.
        if old.is_none() {
            self.make_parents(key)?;
        }
        let prev = old.map(|old| self.view(&old));
        let index = self.index + 1;
        let node = self.put(Node {
            key: key.clone(),
            kind,
            created: index,
            modified: index,
            deadline: self.deadline(content),
        });
        Ok(self.change(Action::Set, &node, prev, content.refresh))
    }

    pub(super) fn create(&mut self, key: &Key, dir: bool, content: &Content) -> Result<Change, KeyError> {
        refuse_root(key)?;
        match self.tree.find(key) {
            Ok(_) => return Err(KeyError::Exists { key: key.clone() }),
            Err(KeyError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        self.make_parents(key)?;
        let index = self.index + 1;
        let kind = if dir { Kind::Dir } else { Kind::File(content.value.clone()) };
        let node = self.put(Node {
            key: key.clone(),
            kind,
            created: index,
            modified: index,
            deadline: self.deadline(content),
        });
        Ok(self.change(Action::Create, &node, None, false))
    }

    pub(super) fn update(&mut self, key: &Key, content: &Content) -> Result<Change, KeyError> {
        refuse_root(key)?;
        let old = self.tree.find(key)?.clone();
        if old.is_dir() {
            return self.update_dir(&old, content);
        }
        let node = self.rewrite(&old, content);
        Ok(self.change(Action::Update, &node, Some(self.view(&old)), content.refresh))
    }

    /// A directory only gets a new lifetime. The answer shows a new modified index while the directory keeps its old
    /// one, as in etcd.
    fn update_dir(&mut self, old: &Arc<Node>, content: &Content) -> Result<Change, KeyError> {
        if !content.value.is_empty() {
            return Err(KeyError::NotFile { key: old.key.clone() });
        }
        let stored = Node { deadline: self.deadline(content), ..Node::clone(old) };
        let shown = Arc::new(Node { modified: self.index + 1, ..stored.clone() });
        self.put(stored);
        Ok(self.change(Action::Update, &shown, Some(self.view(old)), content.refresh))
    }

    pub(super) fn compare_and_swap(
        &mut self,
        key: &Key,
        compare: &Compare,
        content: &Content,
    ) -> Result<Change, KeyError> {
        refuse_root(key)?;
        let old = self.tree.find(key)?.clone();
        check(&old, compare)?;
        let node = self.rewrite(&old, content);
        Ok(self.change(Action::CompareAndSwap, &node, Some(self.view(&old)), content.refresh))
    }

    pub(super) fn delete(&mut self, key: &Key, dir: bool, recursive: bool) -> Result<Change, KeyError> {
        refuse_root(key)?;
        let old = self.tree.find(key)?;
        if old.is_dir() && !dir {
            return Err(KeyError::NotFile { key: key.clone() });
        }
        if old.is_dir() && !recursive && self.tree.has_children(key.as_bytes()) {
            return Err(KeyError::DirectoryNotEmpty { key: key.clone() });
        }
        Ok(self.remove(key, Action::Delete))
    }

    pub(super) fn compare_and_delete(&mut self, key: &Key, compare: &Compare) -> Result<Change, KeyError> {
        if key.is_root() {
            return Err(KeyError::NotFile { key: Key::root() });
        }
        check(self.tree.find(key)?, compare)?;
        Ok(self.remove(key, Action::CompareAndDelete))
    }

    /// Takes out the node at `key`, which must exist, with everything below it.
    pub(super) fn remove(&mut self, key: &Key, action: Action) -> Change {
        let path = key.as_bytes();
        let below = self.tree.take_below(path);
        for node in &below {
            self.deadlines.forget(node);
            self.overwritten.note(node, None);
        }
        let removed = below.iter().map(|node| node.key.clone()).collect();
        self.outdated.nodes(below);
        debug_assert!(!self.tree.has_children(path), "something is left below {key:?}");
        let old = self.tree.remove(path).expect("only existing nodes are removed");
        self.deadlines.forget(&old);
        self.overwritten.note(&old, None);
        let gone = Arc::new(old.gone(self.index + 1));
        let event =
            Event::new(action, self.index + 1, View { node: gone, ttl: 0 }, Some(self.view(&old)), false);
        Change { event: Arc::new(event), removed }
    }

    /// Replaces a file's value and lifetime; it keeps the index it was created at.
    fn rewrite(&mut self, old: &Arc<Node>, content: &Content) -> Arc<Node> {
        let value = value(Some(old), content);
        self.put(Node {
            key: old.key.clone(),
            kind: Kind::File(value),
            created: old.created,
            modified: self.index + 1,
            deadline: self.deadline(content),
        })
    }

    /// Makes the directories above `key` that are missing: permanent, and silently.
    fn make_parents(&mut self, key: &Key) -> Result<(), KeyError> {
        let index = self.index + 1;
        for above in key.ancestors() {
            match self.tree.get(above) {
                Some(node) if node.is_dir() => {}
                Some(node) => return Err(KeyError::NotDirectory { file: node.key.clone() }),
                None => {
                    let key = Key::parse(above).expect("what lies above a key is a key");
                    self.put(Node { key, kind: Kind::Dir, created: index, modified: index, deadline: None });
                }
            }
        }
        Ok(())
    }

    /// Puts a node in, in place of the one at the same key.
    fn put(&mut self, node: Node) -> Arc<Node> {
        assert!(!node.key.is_root(), "the root has no node, and {node:?} was to be one");
        debug_assert!(
            node.created <= node.modified && node.modified <= self.index + 1,
            "{node:?} is from the future: the next index is {}",
            self.index + 1
        );
        let node = Arc::new(node);
        if let Some(old) = self.tree.insert(node.clone()) {
            self.deadlines.forget(&old);
            self.overwritten.note(&old, Some(&node));
        }
        self.deadlines.note(&node);
        node
    }

    fn deadline(&self, content: &Content) -> Option<Box<Deadline>> {
        Deadline::new(content.ttl, self.now).map(Box::new)
    }

    fn view(&self, node: &Arc<Node>) -> View {
        View::new(node.clone(), self.now.clock)
    }

    fn change(&self, action: Action, node: &Arc<Node>, prev: Option<View>, silent: bool) -> Change {
        let event = Event::new(action, self.index + 1, self.view(node), prev, silent);
        Change { event: Arc::new(event), removed: Vec::new() }
    }
}

fn refuse_root(key: &Key) -> Result<(), KeyError> {
    if key.is_root() { Err(KeyError::RootReadOnly) } else { Ok(()) }
}

/// The value that a file gets: with a refresh, the one that it has.
fn value(old: Option<&Node>, content: &Content) -> Blob {
    match old.and_then(Node::blob) {
        Some(value) if content.refresh => value.clone(),
        _ => content.value.clone(),
    }
}

fn check(node: &Arc<Node>, compare: &Compare) -> Result<(), KeyError> {
    if node.is_dir() {
        return Err(KeyError::NotFile { key: node.key.clone() });
    }
    Mismatch::of(compare, node).map_or(Ok(()), |mismatch| Err(KeyError::CompareFailed(Box::new(mismatch))))
}
