//! A directory's copy beside the directory itself, under random changes.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// The directory that is copied.
const DIR: &str = "/d";

/// One change in the store, in which files and directories come and go.
#[derive(Clone, Debug)]
enum Change {
    File(&'static str, &'static str),
    Directory(&'static str),
    Gone(&'static str),
}

fn change() -> impl Strategy<Value = Change> {
    let path =
        || prop::sample::select(vec!["/d", "/d/a", "/d/a/x", "/d/a/y", "/d/ab", "/d/b/z/1", "/e", "/dd/a"]);
    prop_oneof![
        4 => (path(), prop::sample::select(vec!["1", "2"])).prop_map(|(path, value)| Change::File(path, value)),
        1 => path().prop_map(Change::Directory),
        2 => path().prop_map(Change::Gone),
    ]
}

fn news(change: &Change, index: u64) -> News<'_> {
    let (key, what) = match change {
        Change::File(key, value) => (*key, What::File(value)),
        Change::Directory(key) => (*key, What::Directory),
        Change::Gone(key) => (*key, What::Gone),
    };
    News { key, index, what }
}

/// What the store holds afterwards, by replaying everything from the start.
fn replayed(changes: &[Change]) -> (bool, BTreeMap<String, File>) {
    let (mut exists, mut files) = (false, BTreeMap::<String, File>::new());
    for (at, change) in changes.iter().enumerate() {
        let is_at_or_below = |path: &str, top: &str| format!("{path}/").starts_with(&format!("{top}/"));
        match change {
            Change::File(key, value) => {
                exists |= is_at_or_below(key, DIR);
                if is_at_or_below(key, DIR) && *key != DIR {
                    let file = File { value: value.to_string(), modified_index: at as u64 + 1 };
                    files.insert(key.to_string(), file);
                }
            }
            Change::Directory(key) => exists |= is_at_or_below(key, DIR),
            Change::Gone(key) => {
                files.retain(|path, _| !is_at_or_below(path, key));
                exists &= !is_at_or_below(DIR, key);
            }
        }
    }
    (exists, files)
}

proptest! {
    #[test]
    fn a_copy_that_hears_of_every_change_is_what_is_there(changes in vec(change(), 0..30)) {
        let mut tree = Tree::default();
        for (at, change) in changes.iter().enumerate() {
            let before = tree.clone();
            let differs = tree.apply(DIR, &news(change, at as u64 + 1));
            let values = |tree: &Tree| {
                let values = tree.files.iter().map(|(path, file)| (path.clone(), file.value.clone()));
                (tree.exists, values.collect::<Vec<_>>())
            };
            prop_assert_eq!(differs, values(&before) != values(&tree), "{:?}", change);
            prop_assert_eq!((tree.exists, tree.files.clone()), replayed(&changes[..=at]), "{:?}", change);
        }
    }

    #[test]
    fn what_is_heard_of_twice_makes_no_difference_the_second_time(changes in vec(change(), 1..20)) {
        let mut tree = Tree::default();
        for (at, change) in changes.iter().enumerate() {
            tree.apply(DIR, &news(change, at as u64 + 1));
            let once = tree.clone();
            prop_assert!(!tree.apply(DIR, &news(change, at as u64 + 1)), "{:?}", change);
            prop_assert_eq!(&tree, &once);
        }
    }

    #[test]
    fn a_file_that_is_newer_than_the_news_stays(value in "[a-z]{0,3}", index in 2u64..50, older in 0u64..50) {
        let mut tree = Tree::default();
        tree.apply(DIR, &News { key: "/d/a", index, what: What::File(&value) });
        let before = tree.clone();
        prop_assume!(older < index);
        tree.apply(DIR, &News { key: "/d/a", index: older, what: What::File("other") });
        prop_assert_eq!(&tree, &before);
        tree.apply(DIR, &News { key: "/d/a", index: older, what: What::Gone });
        prop_assert_eq!(&tree.files, &before.files);
    }
}
