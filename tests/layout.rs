//! The layout guards itself: these tests read the sources, without comments, strings and tests in them.

#[path = "layout/circles.rs"]
mod circles;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms whose files decide and never act: paths below `src` begin like this.
const PURE: [&str; 20] = [
    "format/",
    "keyspace/",
    "model/",
    "raft/log/budget",
    "raft/log/wal/record",
    "raft/membership/founding",
    "raft/membership/plan",
    "raft/peer/card",
    "schedule/cluster",
    "schedule/fit",
    "schedule/plan",
    "schedule/reason",
    "agent/desired",
    "agent/host",
    "agent/steps",
    "reboot/semaphore",
    "reboot/lifecycle",
    "reboot/gate",
    "reboot/sentinel",
    "heartbeat/tracker",
];

/// What no pure room may name: runtimes, disks, buses, clocks, chance, hash order, files, sockets.
const IMPURE: [&str; 12] = [
    "tokio",
    "sled",
    "zbus",
    "SystemTime",
    "Instant",
    "Timestamp::now",
    "wall_nanos",
    "wall_time",
    "HashMap",
    "HashSet",
    "std::fs",
    "std::net",
];

/// What reads the wall clock, in the standard library and in crates that are at hand.
const WALL_CLOCK: [&str; 7] = [
    "SystemTime::now",
    "UNIX_EPOCH",
    "Timestamp::now",
    "Zoned::now",
    "Utc::now",
    "Local::now",
    "CLOCK_REALTIME",
];

/// Crates of the outside world, each with the only room that may name it.
const OUTSIDE: [(&str, &str); 6] = [
    ("openraft", "raft/"),
    ("sled", "raft/"),
    ("warp", "store/http/"),
    ("zbus", "systemd/"),
    ("reqwest", "client/"),
    ("hickory_resolver", "client/"),
];

/// Every module with the modules that it may use: dependencies point downwards.
const BELOW: [(&str, &[&str]); 17] = [
    (
        "cli",
        &[
            "agent",
            "chain",
            "claim",
            "client",
            "clock",
            "config",
            "heartbeat",
            "ids",
            "model",
            "reboot",
            "schedule",
            "store",
            "systemd",
        ],
    ),
    ("agent", &["chain", "claim", "client", "clock", "config", "ids", "model", "schedule", "systemd"]),
    ("schedule", &["claim", "client", "clock", "ids", "model"]),
    ("reboot", &["chain", "claim", "client", "clock", "config", "ids", "model", "systemd"]),
    ("claim", &["client", "ids", "model"]),
    ("heartbeat", &["client", "clock", "ids", "model", "systemd"]),
    // A node that has no data yet finds its cluster as a client of others.
    ("store", &["client", "clock", "config", "format", "keyspace", "raft", "repeats"]),
    ("raft", &["clock", "format", "keyspace", "repeats"]),
    ("keyspace", &["clock", "format"]),
    ("client", &["config", "model"]),
    ("systemd", &["ids"]),
    ("config", &["ids", "model"]),
    ("model", &["ids"]),
    ("chain", &[]),
    ("clock", &[]),
    ("format", &[]),
    ("repeats", &[]),
];

/// Doc comments that leave the reader where he was.
const RIDDLES: [&str; 14] = [
    "Anything.",
    "How.",
    "It did.",
    "It.",
    "Them.",
    "They.",
    "What.",
    "When.",
    "Where.",
    "Which one.",
    "Which.",
    "Who.",
    "Whose.",
    "Why.",
];

/// The longest a source file may be without its tests, in lines.
const LONGEST: usize = 500;

/// The longest a function may be, in lines.
const LONGEST_FUNCTION: usize = 70;

#[test]
fn pure_rooms_stay_pure() {
    let mut seen = BTreeSet::new();
    for source in sources() {
        let Some(room) = PURE.iter().find(|room| source.path.starts_with(**room)) else { continue };
        seen.insert(room);
        for word in IMPURE {
            assert!(!names(&source.code, word), "src/{} must not name {word}", source.path);
        }
    }
    assert_eq!(seen.len(), PURE.len(), "a pure room has moved: only these are there: {seen:?}");
}

#[test]
fn every_crate_of_the_outside_world_has_one_room() {
    for source in sources() {
        for (name, room) in OUTSIDE {
            let allowed = source.path.starts_with(room);
            assert!(
                allowed || !names(&source.code, name),
                "src/{} names {name}: see src/{room}",
                source.path
            );
        }
    }
}

/// Whoever meets a lock whose holder has panicked must not go on with what may be half changed.
#[test]
fn no_poisoned_lock_is_passed_over() {
    for source in sources() {
        for word in ["PoisonError", "clear_poison"] {
            assert!(
                !names(&source.code, word),
                "src/{} names {word}: use expect(\"… poisoned\")",
                source.path
            );
        }
    }
}

#[test]
fn modules_depend_downwards_only() {
    for source in sources() {
        let module = source.path.split(['/', '.']).next().unwrap_or_default();
        if ["main", "lib", "ids"].contains(&module) {
            assert!(!source.code.contains("crate::"), "src/{} must use no module", source.path);
            continue;
        }
        let (_, below) = BELOW.iter().find(|(name, _)| *name == module).unwrap_or_else(|| {
            panic!("src/{}: say in this test which modules {module} may use", source.path)
        });
        for (position, start) in source.code.match_indices("crate::") {
            let rest = &source.code[position + start.len()..];
            let used = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
            assert!(
                used == module || below.contains(&used),
                "src/{}: {module} must not use {used}",
                source.path
            );
        }
    }
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let files = sources();
    let files =
        circles::Sources::read(files.iter().map(|source| (source.path.as_str(), source.code.as_str())));
    let circles = files.circles();
    assert!(circles.is_empty(), "these files use each other in a circle: {circles:#?}");
}

#[test]
fn one_file_reads_the_wall_clock() {
    for source in sources().iter().filter(|source| source.path != "clock.rs") {
        for reading in WALL_CLOCK {
            assert!(
                !source.code.contains(reading),
                "src/{} reads the wall clock: ask src/clock.rs",
                source.path
            );
        }
    }
}

#[test]
fn no_source_file_is_too_long_without_its_tests() {
    for source in sources() {
        let lines = source.text.lines().count();
        assert!(lines <= LONGEST, "src/{} has {lines} lines, at most {LONGEST} are wanted", source.path);
    }
}

#[test]
fn no_function_is_too_long() {
    for source in sources() {
        for (name, lines) in functions(&source.code) {
            assert!(
                lines <= LONGEST_FUNCTION,
                "src/{}: {name} has {lines} lines, at most {LONGEST_FUNCTION} are wanted",
                source.path
            );
        }
    }
}

#[test]
fn no_doc_comment_is_a_riddle() {
    for source in sources() {
        let lines: Vec<&str> = source.text.lines().map(str::trim).collect();
        for (at, line) in lines.iter().enumerate() {
            let is_alone =
                |at: Option<usize>| !at.and_then(|at| lines.get(at)).is_some_and(|l| l.starts_with("///"));
            let said =
                line.strip_prefix("/// ").filter(|_| is_alone(at.checked_sub(1)) && is_alone(Some(at + 1)));
            assert!(
                !said.is_some_and(|said| RIDDLES.contains(&said)),
                "src/{}:{}: \"{line}\" does not say what the thing is",
                source.path,
                at + 1
            );
        }
    }
}

#[test]
fn every_daemon_has_its_unit() {
    for (unit, command) in [
        ("muster-store.service", "muster store"),
        ("muster-agent.service", "muster agent"),
        ("muster-rebootd.service", "muster rebootd"),
        ("muster-heartbeat@.service", "muster heartbeat --unit %i"),
    ] {
        let text = read(&root().join("units").join(unit));
        assert!(text.contains(&format!("ExecStart=/usr/bin/{command}")), "{unit} does not run `{command}`");
        // Wrong use or configuration does not heal by itself, so systemd must not try for ever.
        assert!(text.contains("RestartPreventExitStatus=64"), "{unit} is restarted after wrong use");
    }
}

#[test]
fn the_top_level_holds_what_a_reader_expects_there() {
    const EXPECTED: [&str; 11] = [
        "Cargo.toml",
        "Cargo.lock",
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        "src",
        "units",
        "contrib",
        "tests",
        "packaging",
        // What cargo builds.
        "target",
    ];
    for entry in fs::read_dir(root()).expect("the checkout") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        assert!(name.starts_with('.') || EXPECTED.contains(&name.as_str()), "{name} is not expected here");
    }
}

#[test]
fn the_reader_of_sources_leaves_out_comments_strings_and_tests() {
    let text = "//! tokio\nfn a<'x>(b: &'x str) -> char { /* sled /* zbus */ */ '\"' } // warp\nconst S: &str = \"sled \\\" zbus\";\nconst R: &str = r#\"a \"tokio\" b\"#;\nuse std::fs;\n#[cfg(test)]\nmod tests {\n    use tokio;\n}\n";
    let code = code_of(without_tests(text));
    for word in ["tokio", "sled", "zbus", "warp"] {
        assert!(!code.contains(word), "{word} is left in {code}");
    }
    assert!(code.contains("use std::fs;") && code.contains("fn a<'x>(b: &'x str) -> char {"), "{code}");
    assert!(names("use sled::Db;", "sled") && !names("fn settled() {}", "sled"));
    assert_eq!(functions("fn a() {\n  {\n  }\n}\nfn b() {}\n"), [("a".into(), 4), ("b".into(), 1)]);
}

/// A source file.
struct Source {
    /// Below `src`.
    path: String,
    /// Without its tests.
    text: String,
    /// Without comments and strings, too.
    code: String,
}

/// Every file below `src` that is no test.
fn sources() -> Vec<Source> {
    let src = root().join("src");
    let mut files = Vec::new();
    collect(&src, &mut files);
    assert!(files.len() > 50, "only {} files below {}", files.len(), src.display());
    let source = |file: PathBuf| {
        let path = file.strip_prefix(&src).expect("below src").to_string_lossy().into_owned();
        let text = without_tests(&read(&file)).to_string();
        let code = code_of(&text);
        // Or the reader has taken code for a string.
        assert_eq!(code.matches('{').count(), code.matches('}').count(), "{}: braces", file.display());
        Source { path, text, code }
    };
    files.into_iter().map(source).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            collect(&path, files);
        } else if name.ends_with(".rs") && name != "tests.rs" && !name.ends_with("_test.rs") {
            files.push(path);
        }
    }
}

/// Tests stand last in a file, in a module of their own.
fn without_tests(text: &str) -> &str {
    text.split_once("\n#[cfg(test)]\nmod tests {").map_or(text, |(before, _)| before)
}

/// Replaces comments and the contents of strings by nothing; lines stay where they are.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = comment(rest).or_else(|| string(rest)).or_else(|| character(rest));
        match skipped {
            Some(length) => {
                code.extend(rest[..length].chars().filter(|c| *c == '\n'));
                rest = &rest[length..];
            }
            None => {
                code.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    code
}

/// The length of the comment that `text` begins with.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let here = &text.as_bytes()[at..];
        match (here.starts_with(b"/*"), here.starts_with(b"*/")) {
            (true, _) => (depth, at) = (depth + 1, at + 2),
            (_, true) if depth > 0 => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    (at >= 2 && text.starts_with("/*")).then_some(at)
}

/// The length of the string that `text` begins with.
fn string(text: &str) -> Option<usize> {
    let raw = text.strip_prefix('r').map(|rest| rest.len() - rest.trim_start_matches('#').len());
    if let Some(hashes) = raw.filter(|hashes| text[1 + hashes..].starts_with('"')) {
        let begin = 2 + hashes;
        let end = format!("\"{}", "#".repeat(hashes));
        return Some(text[begin..].find(&end).map_or(text.len(), |length| begin + length + end.len()));
    }
    let inside = text.strip_prefix('"')?;
    let mut escaped = false;
    let end = inside.char_indices().find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    Some(end.map_or(text.len(), |(at, _)| at + 2))
}

/// The length of the character that `text` begins with; a lifetime is none.
fn character(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('\'')?;
    if let Some(escaped) = inside.strip_prefix('\\') {
        return escaped.char_indices().skip(1).find(|(_, c)| *c == '\'').map(|(at, _)| at + 3);
    }
    let first = inside.chars().next()?;
    inside[first.len_utf8()..].starts_with('\'').then_some(first.len_utf8() + 2)
}

/// Whether `code` names `word`, and not only as a part of a longer word.
fn names(code: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, found)| {
        let before = code[..at].chars().next_back();
        let after = code[at + found.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

/// Every function with how many lines it has.
fn functions(code: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ").filter(|(at, _)| *at == 0 || " \n".contains(&code[at - 1..*at]))
    {
        let name: String = code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let Some(begin) = code[at..].find(['{', ';']).filter(|_| !name.is_empty()) else { continue };
        if code[at + begin..].starts_with(';') {
            continue;
        }
        let mut depth = 0;
        let end = code[at + begin..].char_indices().find(|(_, c)| {
            depth += i32::from(*c == '{') - i32::from(*c == '}');
            depth == 0
        });
        let end = end.map_or(code.len(), |(length, _)| at + begin + length);
        found.push((name, code[at..end].matches('\n').count() + 1));
    }
    found
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
