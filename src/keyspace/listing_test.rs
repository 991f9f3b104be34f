//! Rendering in pieces beside a naive rendering of the whole.

use proptest::prelude::*;

use super::*;
use crate::clock::{NANOS, Stamp};
use crate::keyspace::{Command, Content, Key, Keyspace, Record, Ttl};

/// A wall clock reading in 2026.
const WALL: i64 = 1_790_000_000 * NANOS;

const CLOCK: i64 = 3 * NANOS / 2;

fn key(text: &str) -> Key {
    Key::parse(text.as_bytes()).unwrap()
}

fn keyspace(writes: impl IntoIterator<Item = (String, Vec<u8>, bool, Option<u64>)>) -> Keyspace {
    let mut keyspace = Keyspace::new(10);
    for (path, value, dir, ttl) in writes {
        let content = Content { value: value.into(), ttl: ttl.map(Ttl::from_secs), refresh: false };
        let command = Command::Set { key: key(&path), dir, content };
        // One that finds a file where it needs a directory is refused, which does no harm here.
        let _ = keyspace.apply(&command, Stamp { clock: 0, wall: WALL }, &mut Vec::new());
    }
    keyspace
}

/// As the definition says it: a node, and in a directory those right below it.
fn naive(nodes: &[Arc<Node>], asked: &Key, recursive: bool) -> Vec<u8> {
    let mut out = b"{\"action\":\"get\",\"node\":{".to_vec();
    if asked.is_root() {
        out.extend_from_slice(b"\"dir\":true");
        children(&mut out, nodes, b"", recursive);
    } else {
        let node = nodes.iter().find(|node| node.key == *asked).unwrap();
        json::head(&mut out, node, node.seconds_left(CLOCK));
        children(&mut out, nodes, asked.as_bytes(), recursive);
        json::tail(&mut out, node);
    }
    out.extend_from_slice(b"}}\n");
    out
}

fn children(out: &mut Vec<u8>, nodes: &[Arc<Node>], dir: &[u8], recursive: bool) {
    let right_below = |node: &&Arc<Node>| parent(node.key.as_bytes()) == dir && !node.key.is_root();
    let shown = nodes.iter().filter(right_below).filter(|node| !node.key.is_hidden_from(dir));
    for (place, node) in shown.enumerate() {
        out.extend_from_slice(if place == 0 { b",\"nodes\":[{" } else { b",{" });
        json::head(out, node, node.seconds_left(CLOCK));
        if recursive {
            children(out, nodes, node.key.as_bytes(), true);
        }
        json::tail(out, node);
        out.push(b'}');
    }
    if nodes.iter().filter(right_below).any(|node| !node.key.is_hidden_from(dir)) {
        out.push(b']');
    }
}

fn in_pieces(mut listing: Listing, bytes: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while !listing.is_finished() {
        let piece = listing.next_piece(bytes);
        let slack = 6 * VALUE_BYTES.min(bytes.max(4)) + 1000;
        assert!(piece.len() <= bytes.saturating_add(slack), "{} bytes instead of {bytes}", piece.len());
        out.extend(piece);
    }
    assert!(listing.next_piece(bytes).is_empty());
    out
}

fn nodes(keyspace: &Keyspace) -> Vec<Arc<Node>> {
    let records = keyspace.freeze().records().collect::<Vec<_>>();
    records.into_iter().filter_map(|r| if let Record::Node(node) = r { Some(node) } else { None }).collect()
}

/// Few names, so that directories fill up, and bytes that sort beside the slash.
fn path() -> impl Strategy<Value = String> {
    let name =
        prop_oneof![Just("a"), Just("b"), Just("a!"), Just("_h"), Just("ä"), Just("x_"), Just("\u{1}")];
    prop::collection::vec(name, 1..5).prop_map(|names| names.iter().map(|name| format!("/{name}")).collect())
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let text = prop_oneof![
        Just("plain".as_bytes().to_vec()),
        Just("ä\u{2028}€😀\"\\\n<".as_bytes().to_vec()),
        Just(vec![0x80; 9]),
        Just(b"\xf0\x9f\x98\xe2\x82\xff".to_vec()),
        prop::collection::vec(any::<u8>(), 0..12),
    ];
    prop::collection::vec(text, 0..4).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_of_any_size_are_the_whole(
        writes in prop::collection::vec((path(), value(), prop::bool::weighted(0.2), prop::option::weighted(0.2, 1..9u64)), 0..40),
        size in prop_oneof![1..40usize, Just(500), Just(usize::MAX)],
        recursive: bool,
        chosen: prop::sample::Index,
    ) {
        let keyspace = keyspace(writes);
        let nodes = nodes(&keyspace);
        let mut asked: Vec<Key> = nodes.iter().map(|node| node.key.clone()).collect();
        asked.push(Key::root());
        let asked = chosen.get(&asked);
        let listing = keyspace.listing(asked, recursive, CLOCK).unwrap();
        let ours = String::from_utf8(in_pieces(listing, size)).unwrap();
        prop_assert_eq!(ours, String::from_utf8(naive(&nodes, asked, recursive)).unwrap());
    }
}

#[test]
fn a_long_value_comes_in_pieces_of_every_cut() {
    let value = "aä€😀\"".repeat(9000).into_bytes();
    let keyspace =
        keyspace([("/d/long".into(), value, false, Some(5)), ("/d/next".into(), vec![], false, None)]);
    let whole = naive(&nodes(&keyspace), &key("/d"), true);
    for size in [1, 2, 3, 4, 5, 1000, 40_000, usize::MAX] {
        for (path, wanted) in [("/d", &whole), ("/d/long", &naive(&nodes(&keyspace), &key("/d/long"), true))]
        {
            let listing = keyspace.listing(&key(path), true, CLOCK).unwrap();
            assert!(in_pieces(listing, size) == *wanted, "{path} in pieces of {size}");
        }
    }
}

#[test]
fn a_piece_looks_at_so_many_nodes_even_if_it_shows_none() {
    let hidden = (0..2 * PIECE_NODES).map(|n| (format!("/d/_{n}"), vec![], false, None));
    let keyspace = keyspace(hidden.chain([("/d/shown".into(), b"x".to_vec(), false, None)]));
    let mut listing = keyspace.listing(&key("/d"), true, CLOCK).unwrap();
    let pieces = std::iter::from_fn(|| (!listing.is_finished()).then(|| listing.next_piece(1 << 20)));
    let pieces: Vec<Vec<u8>> = pieces.collect();
    assert_eq!(pieces.len(), 3);
    assert!(pieces[1].is_empty());
    assert!(pieces.concat() == naive(&nodes(&keyspace), &key("/d"), true));
}

#[test]
fn what_is_applied_later_does_not_change_it() {
    let mut keyspace = keyspace((0..500).map(|n| (format!("/d/{n}"), vec![b'x'; 50], false, None)));
    let before = naive(&nodes(&keyspace), &key("/d"), true);
    let mut listing = keyspace.listing(&key("/d"), true, CLOCK).unwrap();
    let begun = listing.next_piece(1000);
    let rm = Command::Delete { key: key("/d"), dir: true, recursive: true };
    keyspace.apply(&rm, Stamp { clock: 0, wall: WALL }, &mut Vec::new()).unwrap();
    assert!([begun, in_pieces(listing, 1000)].concat() == before);
}

#[test]
fn what_it_keeps_alone_is_free_when_it_is_dropped_and_was_counted() {
    let mut keyspace = keyspace((0..500).map(|n| (format!("/d/{n}"), vec![b'x'; 5000], false, None)));
    let nodes: Vec<_> = nodes(&keyspace).iter().map(Arc::downgrade).collect();
    let before = keyspace.overwritten();
    let mut listing = keyspace.listing(&key("/d"), true, CLOCK).unwrap();
    keyspace.keep(keyspace.index());
    listing.next_piece(1000);
    let rm = Command::Delete { key: key("/d"), dir: true, recursive: true };
    keyspace.apply(&rm, Stamp { clock: 0, wall: WALL }, &mut Vec::new()).unwrap();
    drop(keyspace.take_outdated());
    let kept =
        || nodes.iter().filter_map(std::sync::Weak::upgrade).map(|node| node.value().len()).sum::<usize>();
    assert_eq!(kept(), 500 * 5000);
    let counted = keyspace.overwritten() - before;
    assert!((500 * 5000..500 * 5500).contains(&counted), "{counted}");
    let rewrite = Command::Set {
        key: key("/new"),
        dir: false,
        content: Content { value: vec![b'x'; 9000].into(), ..Content::default() },
    };
    for _ in 0..10 {
        keyspace.apply(&rewrite, Stamp { clock: 0, wall: WALL }, &mut Vec::new()).unwrap();
    }
    assert_eq!(keyspace.overwritten() - before, counted, "it has nothing of what came later");
    drop(listing);
    assert!(kept() <= 10 * 5000, "what the history has is in use");
}
