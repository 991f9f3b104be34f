//! What lies below a directory of the store, as a helper last heard of it.
//!
//! A directory that does not exist is told from one that is empty: callers must not take a store that lost its contents
//! for one in which nothing is wanted.

use std::collections::BTreeMap;

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

/// One change in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct News<'a> {
    /// The key that was changed.
    pub key: &'a str,
    /// The store's index of the change.
    pub index: u64,
    /// What is there now.
    pub what: What<'a>,
}

/// What a change left at its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What<'a> {
    /// A file with this value.
    File(&'a str),
    /// A directory.
    Directory,
    /// Nothing; of a directory everything below has gone as well.
    Gone,
}

/// Whether `path` is `top` or below it.
fn inside(path: &str, top: &str) -> bool {
    path == top || path.strip_prefix(top).is_some_and(|rest| rest.starts_with('/'))
}

impl Tree {
    /// Brings in one change below (or of, or above) directory `dir`. Older news of a key than it has is left out.
    /// Says whether that made a difference.
    pub fn apply(&mut self, dir: &str, news: &News) -> bool {
        let News { key, index, what } = *news;
        debug_assert!(
            dir.starts_with('/') && !dir.ends_with('/'),
            "\"{dir}\" is not how a directory is named"
        );
        let (existed, count) = (self.exists, self.files.len());
        let value = match what {
            What::Gone => {
                self.files.retain(|path, file| !inside(path, key) || file.modified_index > index);
                self.exists &= !inside(dir, key);
                return (existed, count) != (self.exists, self.files.len());
            }
            What::Directory => None,
            What::File(value) => Some(value),
        };
        self.exists |= inside(key, dir);
        let newer = self.files.get(key).is_none_or(|file| file.modified_index < index);
        let Some(value) = value.filter(|_| newer && inside(key, dir) && key != dir) else {
            return existed != self.exists;
        };
        let file = File { value: value.into(), modified_index: index };
        let before = self.files.insert(key.into(), file);
        before.is_none_or(|before| before.value != value)
    }
}

#[cfg(test)]
#[path = "tree_test.rs"]
mod more_tests;

#[cfg(test)]
mod tests {
    use super::*;

    fn file<'a>(key: &'a str, value: &'a str, index: u64) -> News<'a> {
        News { key, index, what: What::File(value) }
    }

    fn gone(key: &str, index: u64) -> News<'_> {
        News { key, index, what: What::Gone }
    }

    fn tree(files: &[(&str, u64)]) -> Tree {
        let mut tree = Tree { exists: true, ..Tree::default() };
        for (key, index) in files {
            assert!(tree.apply("/d", &file(key, "v", *index)));
        }
        tree
    }

    #[test]
    fn the_expiry_of_a_directory_takes_everything_below_it() {
        let mut copy = tree(&[("/d/a/1", 3), ("/d/a/2", 4), ("/d/ab/1", 5)]);
        assert!(copy.apply("/d", &gone("/d/a", 9)));
        assert_eq!(copy.files.keys().collect::<Vec<_>>(), ["/d/ab/1"]);
        assert!(copy.exists);
    }

    #[test]
    fn a_directory_that_was_removed_is_told_from_one_that_is_empty() {
        let mut copy = tree(&[("/d/a", 3)]);
        assert!(copy.apply("/d", &gone("/d/a", 4)));
        assert!(copy.exists && copy.files.is_empty());
        assert!(copy.apply("/d", &gone("/d", 5)));
        assert!(!copy.exists);
        assert!(copy.apply("/d", &file("/d/b", "v", 6)));
        assert!(copy.exists);
        assert!(!copy.apply("/d", &gone("/other", 7)));
        assert_eq!(copy.files.len(), 1);
    }

    #[test]
    fn older_news_changes_nothing() {
        let mut copy = tree(&[("/d/a", 8)]);
        assert!(!copy.apply("/d", &file("/d/a", "old", 7)));
        assert!(!copy.apply("/d", &gone("/d/a", 6)));
        assert_eq!(copy.files["/d/a"], File { value: "v".into(), modified_index: 8 });
    }

    #[test]
    fn what_is_written_again_is_no_difference_and_a_file_at_the_directory_itself_neither() {
        let mut copy = tree(&[("/d/a", 3)]);
        assert!(!copy.apply("/d", &file("/d/a", "v", 4)));
        assert_eq!(copy.files["/d/a"].modified_index, 4);
        assert!(!copy.apply("/d", &News { key: "/d/sub", index: 5, what: What::Directory }));
        assert!(!copy.apply("/d", &file("/d", "v", 6)));
        assert!(!copy.apply("/d", &file("/e", "v", 7)));
        assert_eq!(copy.files.len(), 1);
    }
}
