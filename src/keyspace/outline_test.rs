use std::sync::Arc;

use super::*;
use crate::clock::Stamp;
use crate::keyspace::{Command, Compare, Content, Key, KeyError, Keyspace};

fn key() -> Key {
    Key::parse(b"/k").expect("a key")
}

fn set(keyspace: &mut Keyspace, value: &[u8]) -> Arc<Event> {
    let content = Content { value: value.into(), ..Content::default() };
    let done =
        keyspace.apply(&Command::Set { key: key(), dir: false, content }, Stamp::default(), &mut Vec::new());
    done.expect("a change").event.expect("a change")
}

fn whole(mut outline: Outline, bytes: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while !outline.is_empty() {
        let piece = outline.next_piece(bytes);
        assert!(
            !piece.is_empty() && piece.len() < bytes.max(1) + 6 * STEP_BYTES + (16 << 10),
            "{}",
            piece.len()
        );
        out.extend(piece);
    }
    out
}

#[test]
fn pieces_of_a_change_give_what_it_gives_at_once() {
    let values = [&b"short"[..], &"\u{2028}<x>é\u{1F600}\n".repeat(9000).into_bytes(), &[0xff; 70_000], b""];
    for before in values {
        for after in values {
            let mut keyspace = Keyspace::new(10);
            for event in [set(&mut keyspace, before), set(&mut keyspace, after)] {
                let outline = event.outline();
                assert!(outline.len() <= event.encoded().len());
                for bytes in [1, 64 << 10, usize::MAX >> 1] {
                    assert!(whole(event.outline(), bytes) == event.encoded(), "{bytes}");
                }
            }
        }
    }
}

#[test]
fn what_is_outlined_is_shared_until_it_is_written() {
    let mut keyspace = Keyspace::new(10);
    let event = set(&mut keyspace, &[b'x'; 100_000]);
    let value = event.node.node.blob().expect("a value");
    let outline = event.outline();
    assert!(outline.parts.iter().all(|(_, part)| part.is_shared_with(value)));
    assert_eq!((outline.parts.len(), outline.len() > 100_000), (1, true));
}

#[test]
fn the_words_about_a_failed_comparison_are_a_string_like_any_other() {
    for value in [&b"\xc3 is"[..], &[b'<'; 30_000]] {
        let mut keyspace = Keyspace::new(10);
        set(&mut keyspace, value);
        let compare = Compare { value: Some(b"given\n"[..].into()), index: Some(7) };
        let swap = Command::CompareAndSwap { key: key(), compare, content: Content::default() };
        let refused = keyspace.apply(&swap, Stamp::default(), &mut Vec::new()).expect_err("another value");
        let KeyError::CompareFailed(mismatch) = &refused.error else { panic!("{refused:?}") };
        let mut outline = Outline::default();
        outline.push_mismatch(mismatch);
        let mut expected = Vec::new();
        crate::keyspace::json_string(&mut expected, &refused.error.cause());
        assert_eq!(whole(outline, 1 << 10), expected);
    }
}
