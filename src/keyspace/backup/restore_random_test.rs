//! Restores whose steps are repeated, lost and mixed with other writes, as clients do that try again.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Values so large that a backup has several chunks.
const LARGE: usize = 400_000;

/// A write: which key, how large a value, how long it lives.
type Write = (&'static str, usize, Option<i64>);

fn write() -> impl Strategy<Value = Write> {
    let path = prop::sample::select(vec!["/a", "/b/x", "/b/y", "/c/d/e", "/_h", "/f"]);
    let size = prop_oneof![2 => Just(3usize), 1 => Just(LARGE)];
    (path, size, prop::option::weighted(0.3, 20i64..90))
}

fn written(writes: &[Write]) -> Keyspace {
    let writes: Vec<Command> =
        writes.iter().map(|(path, size, ttl)| set(path, &"v".repeat(*size), *ttl)).collect();
    keyspace(&writes)
}

/// Keys, values, and what is left of lifetimes when the clock reads `seconds`.
fn contents(keyspace: &Keyspace, seconds: i64) -> Vec<(Key, usize, Option<i64>)> {
    let left = |node: &Node| node.deadline.as_ref().map(|deadline| deadline.clock - seconds * NANOS);
    let frozen = keyspace.freeze();
    let nodes = frozen.backup(0).filter_map(|record| match record {
        Record::Node(node) => Some((node.key.clone(), node.value().len(), left(&node))),
        _ => None,
    });
    nodes.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn steps_that_are_repeated_restore_the_same_once(
        saved in vec(write(), 0..6),
        there in vec(write(), 0..4),
        repeats in vec(1usize..4, 0..12),
    ) {
        let (saved, mut now) = (written(&saved), written(&there));
        let steps = steps(9, &backup(&saved, 1));
        let began = now.index().max(saved.index());
        for (at, step) in steps.iter().enumerate() {
            for _ in 0..repeats.get(at).copied().unwrap_or(1) {
                // To begin again drops what was staged, so only what follows may be repeated blindly.
                let result = apply(&mut now, step, 2);
                prop_assert!(result.is_ok(), "{:?}", result);
            }
        }
        prop_assert_eq!(contents(&now, 2), contents(&saved, 1));
        prop_assert_eq!(now.index(), began + 1, "a restore takes one index, however often it is asked for");
        prop_assert_eq!(now.restored(), Some(Restored { id: 9, index: began + 1 }));
        let copy = through_a_snapshot(&now);
        prop_assert_eq!(contents(&copy, 2), contents(&saved, 1));
    }

    #[test]
    fn a_step_that_is_lost_is_noticed_and_nothing_is_changed(
        saved in vec(write(), 1..6),
        lost in any::<prop::sample::Index>(),
    ) {
        let (saved, mut now) = (written(&saved), written(&[("/mine", 3, None)]));
        let mut steps = steps(9, &backup(&saved, 1));
        let before = contents(&now, 2);
        steps.remove(lost.index(steps.len() - 1));
        let results: Vec<bool> = steps.iter().map(|step| apply(&mut now, step, 2).is_ok()).collect();
        prop_assert!(results.last() == Some(&false), "{:?}", results);
        prop_assert_eq!(contents(&now, 2), before);
        prop_assert_eq!((now.index(), now.restored()), (1, None));
    }

    #[test]
    fn writes_beside_a_restore_are_kept_until_it_and_gone_after_it(
        saved in vec(write(), 0..5),
        beside in vec(write(), 1..6),
    ) {
        let (saved, mut now) = (written(&saved), written(&[]));
        let steps = steps(9, &backup(&saved, 1));
        let (commit, before) = steps.split_last().expect("a commit");
        let mut others = beside.iter();
        for step in before {
            apply(&mut now, step, 2).expect("a step in order");
            if let Some((path, size, ttl)) = others.next() {
                apply(&mut now, &set(path, &"w".repeat(*size), *ttl), 2).expect("a write");
                prop_assert_eq!(value(&now, path).map(|value| value.len()), Some(*size));
            }
            // A node that is restarted in the middle goes on from its snapshot.
            now = through_a_snapshot(&now);
        }
        apply(&mut now, commit, 2).expect("all are there");
        prop_assert_eq!(contents(&now, 2), contents(&saved, 1));
    }

    #[test]
    fn bytes_that_were_changed_on_the_way_are_noticed(
        saved in vec(write(), 1..5),
        chunk in any::<prop::sample::Index>(),
        byte in any::<prop::sample::Index>(),
        bit in 0u32..8,
    ) {
        let (saved, mut now) = (written(&saved), written(&[("/mine", 3, None)]));
        let mut sent = backup(&saved, 1);
        let which = chunk.index(sent.0.len());
        let at = byte.index(sent.0[which].len());
        sent.0[which][at] ^= 1 << bit;
        let before = contents(&now, 2);
        let results: Vec<bool> = steps(9, &sent).iter().map(|step| apply(&mut now, step, 2).is_ok()).collect();
        prop_assert!(results.contains(&false), "bit {} of byte {} was changed and taken", bit, at);
        prop_assert_eq!(contents(&now, 2), before);
    }
}
