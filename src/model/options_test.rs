//! Options of units: patterns beside a matcher that tries everything, and sections of random options.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn unit(name: &str) -> UnitName {
    name.parse().expect("a unit's name")
}

/// A piece of a pattern, with how it is written.
#[derive(Clone, Debug)]
enum Piece {
    Char(char),
    Escaped(char),
    One,
    Any,
    OneOf(Vec<char>, bool),
}

impl Piece {
    fn written(&self) -> String {
        match self {
            Self::Char(c) => c.to_string(),
            Self::Escaped(c) => format!("\\{c}"),
            Self::One => "?".into(),
            Self::Any => "*".into(),
            Self::OneOf(chars, inverted) => {
                format!("[{}{}]", if *inverted { "^" } else { "" }, chars.iter().collect::<String>())
            }
        }
    }
}

/// Whether `text` is what the pieces say, by trying every length for each `*`.
fn fits(pieces: &[Piece], text: &[char]) -> bool {
    let Some((first, rest)) = pieces.split_first() else { return text.is_empty() };
    if let Piece::Any = first {
        return (0..=text.len()).any(|length| fits(rest, &text[length..]));
    }
    let Some((c, others)) = text.split_first() else { return false };
    let is_it = match first {
        Piece::Char(wanted) | Piece::Escaped(wanted) => c == wanted,
        Piece::OneOf(chars, inverted) => chars.contains(c) != *inverted,
        Piece::One | Piece::Any => true,
    };
    is_it && fits(rest, others)
}

fn piece() -> impl Strategy<Value = Piece> {
    let letter = || prop::sample::select(vec!['a', 'b', '@', '1', '.']);
    prop_oneof![
        6 => letter().prop_map(Piece::Char),
        1 => letter().prop_map(Piece::Escaped),
        2 => Just(Piece::One),
        3 => Just(Piece::Any),
        2 => (vec(letter(), 1..3), any::<bool>()).prop_map(|(chars, inverted)| Piece::OneOf(chars, inverted)),
    ]
}

proptest! {
    #[test]
    fn patterns_match_what_trying_everything_finds(pieces in vec(piece(), 0..7), stem in "[ab@1.]{1,5}") {
        let Ok(name) = format!("{stem}.path").parse::<UnitName>() else { return Ok(()) };
        let all: Vec<Piece> = pieces.iter().cloned().chain(".path".chars().map(Piece::Char)).collect();
        let pattern: String = all.iter().map(Piece::written).collect();
        let text: Vec<char> = name.as_str().chars().collect();
        prop_assert_eq!(matches(&pattern, &name), fits(&all, &text), "{} and {}", pattern, name);
        let prepared = Patterns::new(&["none.service".into(), pattern.clone()]);
        prop_assert_eq!(prepared.matches(&name), fits(&all, &text));
    }

    #[test]
    fn no_text_at_all_makes_a_matcher_panic(pattern in any::<String>(), name in "[a-z@]{1,8}") {
        if let Ok(name) = format!("{name}.service").parse() {
            let read = patterns(&pattern);
            if read.is_err() {
                prop_assert!(!matches(&pattern, &name) || pattern.contains(char::is_whitespace));
            }
        }
    }

    #[test]
    fn whatever_is_read_from_a_section_is_written_and_read_again_as_the_same(
        lines in vec(prop::sample::select(vec![
            "MachineID=abc", "X-ConditionMachineID=def", "MachineOf=b.service", "MachineOf=c@%i.service",
            "MachineMetadata=zone=a", "MachineMetadata=\"zone=b\" \"role=x\"", "Conflicts=a*.service x.service",
            "X-Conflicts=%p@*.service", "Global=true", "Global=no", "Replaces=old.service", "Conflicts=", "MachineID=",
        ]), 0..5)
    ) {
        let text = format!("[Service]\nExecStart=/x\n[X-Fleet]\n{}\n", lines.join("\n"));
        let Ok(options) = Options::read(&unit("web@1.service"), &text) else { return Ok(()) };
        let json = serde_json::to_string(&options).expect("JSON");
        prop_assert_eq!(&serde_json::from_str::<Options>(&json).expect("the options again"), &options);
        // What was asked for is there, and nothing else.
        let asks = |begin: &str| lines.iter().any(|line| line.starts_with(begin) && !line.ends_with('='));
        prop_assert_eq!(options.machine_id.is_some(), asks("MachineID") || asks("X-ConditionMachineID"));
        prop_assert_eq!(options.machine_of.is_empty(), !asks("MachineOf"));
        prop_assert_eq!(options.machine_metadata.is_empty(), !asks("MachineMetadata"));
        prop_assert_eq!(options.conflicts.is_empty(), !(asks("Conflicts") || asks("X-Conflicts")));
        prop_assert_eq!(options.replaces.is_empty(), !asks("Replaces"));
        let last = lines.iter().rev().find(|line| line.starts_with("Global"));
        prop_assert_eq!(options.global, last.is_some_and(|line| *line == "Global=true"));
    }
}

#[test]
fn every_pair_of_options_is_taken_or_refused_as_in_fleet() {
    let lines = [
        ("MachineID", "MachineID=abc"),
        ("MachineOf", "MachineOf=b.service"),
        ("MachineMetadata", "MachineMetadata=zone=a"),
        ("Conflicts", "Conflicts=c.service"),
        ("Global", "Global=true"),
        ("Replaces", "Replaces=d.service"),
    ];
    // fleet's manual, "Unit Scheduling": what cannot be combined.
    let excluded: BTreeSet<[&str; 2]> = [
        ["MachineID", "MachineOf"],
        ["MachineID", "Conflicts"],
        ["MachineID", "Global"],
        ["MachineID", "Replaces"],
        ["MachineOf", "Global"],
        ["Global", "Replaces"],
        ["Conflicts", "Replaces"],
    ]
    .into();
    for (at, (one, first)) in lines.iter().enumerate() {
        for (other, second) in &lines[at + 1..] {
            for order in [[first, second], [second, first]] {
                let text = format!("[X-Fleet]\n{}\n{}\n", order[0], order[1]);
                let read = Options::read(&unit("a.service"), &text);
                assert_eq!(read.is_err(), excluded.contains(&[*one, *other]), "{one} and {other}: {read:?}");
            }
        }
    }
}

#[test]
fn older_names_of_options_mean_the_same() {
    let read = |line: &str| Options::read(&unit("a.service"), &format!("[X-Fleet]\n{line}\n")).unwrap();
    for (old, new) in [
        ("X-ConditionMachineID=abc", "MachineID=abc"),
        ("X-ConditionMachineBootID=abc", "MachineID=abc"),
        ("X-ConditionMachineOf=b.service", "MachineOf=b.service"),
        ("X-ConditionMachineMetadata=zone=a", "MachineMetadata=zone=a"),
        ("X-Conflicts=b.service", "Conflicts=b.service"),
    ] {
        assert_eq!(read(old), read(new), "{old}");
        assert_ne!(read(old), Options::default(), "{old}");
    }
}

#[test]
fn specifiers_are_those_of_the_unit_whatever_kind_it_is() {
    for (name, conflicts) in [
        ("web@1.service", ["web@1.service", "web@1", "web", "1"]),
        ("web@.service", ["web@.service", "web@", "web", ""]),
        ("a.b.timer", ["a.b.timer", "a.b", "a.b", ""]),
    ] {
        let name = unit(name);
        let read = ["%n", "%N", "%p", "%i"].map(|specifier| specified(&name, specifier));
        assert_eq!(read, conflicts, "{name}");
    }
    assert_eq!(specified(&unit("a@b.service"), "x-%p-%i-%%-%q"), "x-a-b-%%-%q", "nothing else is replaced");
}

#[test]
fn errors_say_line_and_value() {
    for (line, problem) in [
        ("MachineMetadata=a", "line 2: MachineMetadata=a: expected key=value"),
        ("MachineOf=b", "line 2: MachineOf=b: unit name \"b\" must end in one of"),
        ("Conflicts=[", "line 2: Conflicts=[: [: "),
        ("Nonsense=1", "line 2: [X-Fleet] has no option Nonsense="),
    ] {
        let error = Options::read(&unit("a.service"), &format!("[X-Fleet]\n{line}\n")).unwrap_err();
        assert!(error.to_string().starts_with(problem), "{error}");
    }
}
