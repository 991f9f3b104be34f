//! Unit files that are written from assignments and read back.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// An assignment and how it is written: after how many empty lines and comments, with its value in how many pieces.
#[derive(Clone, Debug)]
struct Written {
    section: &'static str,
    key: &'static str,
    pieces: Vec<&'static str>,
    before: Vec<&'static str>,
}

fn written() -> impl Strategy<Value = Written> {
    let section = prop::sample::select(vec!["Unit", "Service", "X-Fleet", "X-Muster", "Install"]);
    let key = prop::sample::select(vec!["Description", "ExecStart", "Conflicts", "A"]);
    let piece = prop::sample::select(vec!["", "x", "a b", "a=b", "[c]", "\"q\"", "%i", "é"]);
    let before = prop::sample::select(vec!["", "# a comment", "; another", "   ", "\t# with a blank before"]);
    (section, key, vec(piece, 1..4), vec(before, 0..3)).prop_map(|(section, key, pieces, before)| Written {
        section,
        key,
        pieces,
        before,
    })
}

/// The text, and the assignments that it holds.
fn text(all: &[Written]) -> (String, Vec<Entry>) {
    let (mut lines, mut entries, mut current) = (Vec::<String>::new(), Vec::new(), None);
    for Written { section, key, pieces, before } in all {
        lines.extend(before.iter().map(|line| line.to_string()));
        if current != Some(section) {
            lines.push(format!("[{section}]"));
            current = Some(section);
        }
        let line = lines.len() + 1;
        // Comments may stand between the pieces of one value.
        let assignment = format!(" {key} = {}", pieces.join(" \\\n# between\n  "));
        lines.extend(assignment.split('\n').map(String::from));
        let value = pieces.join("  ").trim().to_string();
        entries.push(Entry { section: section.to_string(), key: key.to_string(), value, line });
    }
    (lines.join("\n"), entries)
}

fn without_blanks(entries: &[Entry]) -> Vec<(String, String, Vec<String>, usize)> {
    let words = |value: &str| value.split_whitespace().map(String::from).collect();
    entries.iter().map(|e| (e.section.clone(), e.key.clone(), words(&e.value), e.line)).collect()
}

proptest! {
    #[test]
    fn what_was_written_is_read(all in vec(written(), 0..12)) {
        let (text, entries) = text(&all);
        let read = parse(&text);
        prop_assert!(read.is_ok(), "{}\n{:?}", text, read);
        prop_assert_eq!(without_blanks(&read.unwrap_or_default()), without_blanks(&entries), "{}", text);
    }

    #[test]
    fn no_text_makes_the_reader_panic_and_every_error_names_one_of_its_lines(text in "[\\[\\]A-C=#;\\\\ \n]{0,60}") {
        let count = text.lines().count();
        match parse(&text) {
            Ok(entries) => {
                prop_assert!(entries.iter().all(|entry| (1..=count).contains(&entry.line)));
                prop_assert!(entries.is_sorted_by_key(|entry| entry.line));
                prop_assert!(entries.iter().all(|entry| !entry.key.contains('=')));
            }
            Err(UnitFileError::Syntax { line, .. } | UnitFileError::NoSection { line, .. }) => {
                prop_assert!((1..=count).contains(&line), "line {} of {}", line, count);
            }
            Err(other) => prop_assert!(false, "{:?} is no matter of syntax", other),
        }
    }

    #[test]
    fn the_hash_tells_texts_apart(one in "[ab\n]{0,5}", other in "[ab\n]{0,5}") {
        prop_assert_eq!(hash(&one) == hash(&other), one == other);
        prop_assert!(hash(&one).len() == 40 && hash(&one).bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}
