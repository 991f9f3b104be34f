//! Every change to a key against every kind of node that may be there: which of them etcd makes, and with which error it
//! refuses the others (etcd `store/store.go`, `error/error.go`). What is refused changes nothing.

use super::*;
use crate::clock::NANOS;

fn key(path: &str) -> Key {
    Key::parse(path.as_bytes()).unwrap()
}

fn content(value: &str) -> Content {
    Content { value: value.into(), ..Content::default() }
}

fn apply(keyspace: &mut Keyspace, command: &Command) -> Result<Applied, Refusal> {
    keyspace.apply(command, Stamp { clock: NANOS, wall: 1_790_000_000 * NANOS }, &mut Vec::new())
}

fn listing(keyspace: &Keyspace) -> String {
    let json = keyspace.listing(&key("/"), true, 0).unwrap().next_piece(usize::MAX);
    String::from_utf8(json).unwrap()
}

fn value(text: &str) -> Compare {
    Compare { value: Some(text.into()), ..Compare::default() }
}

/// A file, a hidden one, a directory with nothing in it, and one with two keys.
fn filled() -> Keyspace {
    let mut keyspace = Keyspace::new(100);
    for path in ["/file", "/_hidden", "/full/a", "/full/b/c"] {
        let command = Command::Set { key: key(path), dir: false, content: content("v") };
        apply(&mut keyspace, &command).unwrap();
    }
    let command = Command::Create { key: key("/empty"), dir: true, content: Content::default() };
    apply(&mut keyspace, &command).unwrap();
    keyspace
}

/// Makes the change that `command` gives for each path: it is made (0), or refused with this code.
fn check(what: &str, command: impl Fn(Key) -> Command, expected: &[(&str, u16)]) {
    for (path, code) in expected {
        let mut keyspace = filled();
        let (index, before) = (keyspace.index(), listing(&keyspace));
        match apply(&mut keyspace, &command(key(path))) {
            Ok(applied) => {
                assert_eq!(*code, 0, "{what} {path}: it is made");
                let event = applied.event.expect("a change is told");
                assert_eq!((event.index, keyspace.index()), (index + 1, index + 1), "{what} {path}");
            }
            Err(refusal) => {
                assert_eq!(refusal.error.code(), *code, "{what} {path}: {:?}", refusal.error);
                assert_eq!((keyspace.index(), listing(&keyspace)), (index, before), "{what} {path}");
            }
        }
    }
}

#[test]
fn a_value_is_set_where_no_directory_is() {
    check(
        "set",
        |key| Command::Set { key, dir: false, content: content("w") },
        &[
            ("/file", 0),
            ("/_hidden", 0),
            ("/empty", 102),
            ("/full", 102),
            ("/full/a", 0),
            ("/full/b", 102),
            ("/gone", 0),
            ("/gone/deep", 0),
            ("/file/x", 104),
            ("/", 107),
        ],
    );
}

#[test]
fn a_directory_is_set_where_none_is() {
    check(
        "set a directory",
        |key| Command::Set { key, dir: true, content: Content::default() },
        &[
            ("/file", 0),
            ("/_hidden", 0),
            ("/empty", 102),
            ("/full", 102),
            ("/full/a", 0),
            ("/full/b", 102),
            ("/gone", 0),
            ("/gone/deep", 0),
            ("/file/x", 104),
            ("/", 107),
        ],
    );
}

#[test]
fn a_value_is_created_where_nothing_is() {
    check(
        "create",
        |key| Command::Create { key, dir: false, content: content("w") },
        &[
            ("/file", 105),
            ("/_hidden", 105),
            ("/empty", 105),
            ("/full", 105),
            ("/full/a", 105),
            ("/full/b", 105),
            ("/gone", 0),
            ("/gone/deep", 0),
            ("/file/x", 104),
            ("/", 107),
        ],
    );
}

#[test]
fn a_directory_is_created_where_nothing_is() {
    check(
        "create a directory",
        |key| Command::Create { key, dir: true, content: Content::default() },
        &[
            ("/file", 105),
            ("/_hidden", 105),
            ("/empty", 105),
            ("/full", 105),
            ("/full/a", 105),
            ("/full/b", 105),
            ("/gone", 0),
            ("/gone/deep", 0),
            ("/file/x", 104),
            ("/", 107),
        ],
    );
}

#[test]
fn keys_in_order_are_made_below_what_is_no_file() {
    check(
        "create in order",
        |key| Command::CreateInOrder { dir_key: key, dir: false, content: content("w") },
        &[
            ("/file", 104),
            ("/_hidden", 104),
            ("/empty", 0),
            ("/full", 0),
            ("/full/a", 104),
            ("/full/b", 0),
            ("/gone", 0),
            ("/gone/deep", 0),
            ("/file/x", 104),
            ("/", 0),
        ],
    );
}

#[test]
fn a_value_is_updated_where_one_is() {
    check(
        "update",
        |key| Command::Update { key, content: content("w") },
        &[
            ("/file", 0),
            ("/_hidden", 0),
            ("/empty", 102),
            ("/full", 102),
            ("/full/a", 0),
            ("/full/b", 102),
            ("/gone", 100),
            ("/gone/deep", 100),
            ("/file/x", 104),
            ("/", 107),
        ],
    );
}

#[test]
fn a_value_is_swapped_where_it_is_as_expected() {
    check(
        "compare and swap",
        |key| Command::CompareAndSwap { key, compare: value("v"), content: content("w") },
        &[
            ("/file", 0),
            ("/_hidden", 0),
            ("/empty", 102),
            ("/full", 102),
            ("/full/a", 0),
            ("/full/b", 102),
            ("/gone", 100),
            ("/gone/deep", 100),
            ("/file/x", 104),
            ("/", 107),
        ],
    );
}

#[test]
fn a_value_is_not_swapped_where_it_is_another() {
    check(
        "compare and swap another",
        |key| Command::CompareAndSwap { key, compare: value("u"), content: content("w") },
        &[
            ("/file", 101),
            ("/_hidden", 101),
            ("/empty", 102),
            ("/full", 102),
            ("/full/a", 101),
            ("/full/b", 102),
            ("/gone", 100),
            ("/gone/deep", 100),
            ("/file/x", 104),
            ("/", 107),
        ],
    );
}

#[test]
fn a_value_is_removed_and_no_directory() {
    check(
        "delete",
        |key| Command::Delete { key, dir: false, recursive: false },
        &[
            ("/file", 0),
            ("/_hidden", 0),
            ("/empty", 102),
            ("/full", 102),
            ("/full/a", 0),
            ("/full/b", 102),
            ("/gone", 100),
            ("/gone/deep", 100),
            ("/file/x", 104),
            ("/", 107),
        ],
    );
}

#[test]
fn a_directory_is_removed_when_it_is_empty() {
    check(
        "delete a directory",
        |key| Command::Delete { key, dir: true, recursive: false },
        &[
            ("/file", 0),
            ("/_hidden", 0),
            ("/empty", 0),
            ("/full", 108),
            ("/full/a", 0),
            ("/full/b", 108),
            ("/gone", 100),
            ("/gone/deep", 100),
            ("/file/x", 104),
            ("/", 107),
        ],
    );
}

#[test]
fn a_directory_is_removed_with_all_in_it() {
    check(
        "delete all",
        |key| Command::Delete { key, dir: true, recursive: true },
        &[
            ("/file", 0),
            ("/_hidden", 0),
            ("/empty", 0),
            ("/full", 0),
            ("/full/a", 0),
            ("/full/b", 0),
            ("/gone", 100),
            ("/gone/deep", 100),
            ("/file/x", 104),
            ("/", 107),
        ],
    );
}

#[test]
fn a_value_is_removed_where_it_is_as_expected() {
    check(
        "compare and delete",
        |key| Command::CompareAndDelete { key, compare: value("v") },
        &[
            ("/file", 0),
            ("/_hidden", 0),
            ("/empty", 102),
            ("/full", 102),
            ("/full/a", 0),
            ("/full/b", 102),
            ("/gone", 100),
            ("/gone/deep", 100),
            ("/file/x", 104),
            // It is a directory before it is the root.
            ("/", 102),
        ],
    );
}
