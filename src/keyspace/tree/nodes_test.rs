//! The tree beside a map of whole paths, and the deadlines beside a list.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::keyspace::tree::Deadlines;
use crate::keyspace::{Deadline, Kind};

/// A path by its components, in whose order a directory stands before what is below it.
type Parts = Vec<&'static str>;

fn key(parts: &[&str]) -> Key {
    Key::parse(parts.join("/").as_bytes()).expect("names are a key")
}

fn node(parts: &[&str], value: Option<&'static str>, deadline: Option<i64>) -> Arc<Node> {
    let kind = value.map_or(Kind::Dir, |value| Kind::File(value.into()));
    let deadline = deadline.map(|clock| Box::new(Deadline { clock, wall: clock }));
    Arc::new(Node { key: key(parts), kind, created: 1, modified: 1, deadline })
}

fn parts() -> impl Strategy<Value = Parts> {
    // Bytes on either side of the slash, and names of which one begins another.
    vec(prop::sample::select(vec!["a", "a!", "a-", "a0", "aa", "b", "\u{1}"]), 1..5)
}

/// To put a node in, or to take one out.
#[derive(Clone, Debug)]
enum Change {
    Insert(Parts, Option<&'static str>, Option<i64>),
    Remove(Parts),
    TakeBelow(Parts),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let value = prop::option::of(prop::sample::select(vec!["", "1", "12345"]));
    let insert = (parts(), value, prop::option::of(0i64..8)).prop_map(|(p, v, d)| Change::Insert(p, v, d));
    let below = parts().prop_map(Change::TakeBelow);
    vec(prop_oneof![12 => insert, 4 => parts().prop_map(Change::Remove), 1 => below], 1..80)
}

fn keys<'a>(nodes: impl Iterator<Item = &'a Arc<Node>>) -> Vec<Key> {
    nodes.map(|node| node.key.clone()).collect()
}

proptest! {
    #[test]
    fn a_tree_holds_what_a_map_of_paths_holds_in_the_same_order(changes in changes(), look in parts()) {
        let (mut tree, mut map) = (Tree::default(), BTreeMap::new());
        for change in changes {
            match change {
                Change::Insert(parts, value, deadline) => {
                    let node = node(&parts, value, deadline);
                    prop_assert_eq!(tree.insert(node.clone()), map.insert(parts, node));
                }
                Change::Remove(parts) => {
                    prop_assert_eq!(tree.remove(key(&parts).as_bytes()), map.remove(&parts));
                }
                Change::TakeBelow(parts) => {
                    let is_below = |path: &Parts| path.len() > parts.len() && path.starts_with(&parts);
                    let below: Vec<Arc<Node>> = map.extract_if(.., |path, _| is_below(path)).map(|(_, n)| n).collect();
                    prop_assert_eq!(tree.take_below(key(&parts).as_bytes()), below);
                }
            }
        }
        prop_assert_eq!(tree.len(), map.len());
        prop_assert_eq!(tree.is_empty(), map.is_empty());
        prop_assert_eq!(keys(tree.iter()), keys(map.values()));
        let directories = map.values().filter(|node| node.is_dir()).count();
        let bytes = map.values().map(|node| (node.key.as_bytes().len() + node.value().len()) as u64).sum();
        prop_assert_eq!(tree.extent(), Extent { directories, bytes });

        let path = key(&look);
        let path = path.as_bytes();
        prop_assert_eq!(tree.get(path), map.get(&look));
        let is_below = |other: &Parts| other.len() > look.len() && other.starts_with(&look);
        let below = map.iter().filter(|(other, _)| is_below(other)).map(|(_, node)| node);
        prop_assert_eq!(keys(tree.below(path)), keys(below));
        prop_assert_eq!(tree.has_children(path), map.keys().any(is_below));
        let mut behind = map.iter().filter(|(other, _)| **other > look && !is_below(other));
        prop_assert_eq!(tree.following(path, true).next(), behind.next().map(|(_, node)| node));
        prop_assert_eq!(keys(tree.below(b"")), keys(map.values()), "everything is below the root");
    }

    #[test]
    fn a_clone_of_a_tree_does_not_change_with_it(before in changes(), after in changes()) {
        let apply = |tree: &mut Tree, changes: Vec<Change>| {
            for change in changes {
                match change {
                    Change::Insert(parts, value, deadline) => drop(tree.insert(node(&parts, value, deadline))),
                    Change::Remove(parts) => drop(tree.remove(key(&parts).as_bytes())),
                    Change::TakeBelow(parts) => drop(tree.take_below(key(&parts).as_bytes())),
                }
            }
        };
        let mut tree = Tree::default();
        apply(&mut tree, before);
        let (clone, held, extent) = (tree.clone(), keys(tree.iter()), tree.extent());
        apply(&mut tree, after);
        prop_assert_eq!(keys(clone.iter()), held);
        prop_assert_eq!(clone.extent(), extent);
    }

    #[test]
    fn what_stands_in_the_way_is_the_topmost(changes in changes(), look in parts()) {
        let mut tree = Tree::default();
        for change in changes {
            if let Change::Insert(parts, value, _) = change {
                tree.insert(node(&parts, value, None));
            }
        }
        let found = tree.find(&key(&look)).cloned();
        if let Some(node) = tree.get(key(&look).as_bytes()) {
            prop_assert_eq!(found, Ok(node.clone()));
            return Ok(());
        }
        let above = (1..=look.len()).map(|length| key(&look[..length]));
        let blocked = above.map(|key| (tree.get(key.as_bytes()).cloned(), key)).find_map(|(node, key)| match node {
            None => Some(KeyError::NotFound { missing: key }),
            Some(node) if !node.is_dir() => Some(KeyError::NotDirectory { file: key }),
            Some(_) => None,
        });
        prop_assert_eq!(found.err(), blocked);
    }

    #[test]
    fn deadlines_come_in_order_and_each_key_once(changes in changes(), clock in 0i64..8) {
        let (mut deadlines, mut list) = (Deadlines::default(), Vec::<(i64, Parts)>::new());
        let mut there: BTreeMap<Parts, Arc<Node>> = BTreeMap::new();
        for change in changes {
            let (parts, new) = match change {
                Change::Insert(parts, value, deadline) => (parts.clone(), Some(node(&parts, value, deadline))),
                Change::Remove(parts) | Change::TakeBelow(parts) => (parts, None),
            };
            let old = match new.clone() {
                Some(node) => there.insert(parts.clone(), node),
                None => there.remove(&parts),
            };
            if let Some(old) = old {
                deadlines.forget(&old);
            }
            list.retain(|(_, other)| *other != parts);
            if let Some(node) = new {
                deadlines.note(&node);
                list.extend(node.deadline.as_ref().map(|deadline| (deadline.clock, parts)));
            }
        }
        list.sort();
        prop_assert_eq!(deadlines.count(), list.len());
        prop_assert_eq!(deadlines.soonest(), list.first().map(|(clock, _)| *clock));
        let due = list.first().filter(|(deadline, _)| *deadline <= clock).map(|(_, parts)| key(parts));
        prop_assert_eq!(deadlines.due(clock), due.as_ref());
        let all: Vec<Key> = list.iter().map(|(_, parts)| key(parts)).collect();
        prop_assert_eq!(deadlines.take().collect::<Vec<_>>(), all);
        prop_assert_eq!(deadlines.count(), 0);
    }
}

#[test]
fn a_key_is_found_by_its_bytes_whatever_they_are() {
    let mut tree = Tree::default();
    for bytes in [&b"/\xff"[..], b"/\xff/\0", b"/ ", b"/\xc3\xa4"] {
        let key = Key::parse(bytes).expect("any bytes are a key");
        let kind = Kind::File("v".into());
        assert!(tree.insert(Arc::new(Node { key, kind, created: 1, modified: 1, deadline: None })).is_none());
        assert!(tree.get(bytes).is_some(), "{bytes:?}");
    }
    assert_eq!(tree.below(b"/\xff").count(), 1);
    assert_eq!(tree.following(b"/\xff", true).next(), None);
    assert_eq!(tree.following(b"/ ", true).next().map(|node| node.key.as_bytes()), Some(&b"/\xc3\xa4"[..]));
}
