//! Unit files: systemd's syntax (systemd.syntax(7)), and the sections that are for the cluster and not for systemd.
//!
//! systemd ignores sections whose names begin with `X-`. `[X-Fleet]` holds fleet's options with fleet's meaning;
//! `[X-Muster]` is reserved for options of our own.

use sha1::{Digest, Sha1};

use crate::ids::UnitName;

/// One assignment in a unit file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The section's name, without brackets.
    pub section: String,
    /// Left of `=`.
    pub key: String,
    /// Right of `=`, continued lines joined by blanks.
    pub value: String,
    /// The line it starts on, counted from 1.
    pub line: usize,
}

/// Why a text is no unit file, or asks for something the cluster does not understand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitFileError {
    /// Neither a section, a comment nor an assignment.
    #[error("line {line}: \"{text}\" is neither [Section] nor Key=value")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// The line.
        text: String,
    },
    /// An assignment before the first section.
    #[error("line {line}: {key}= stands before the first [Section]")]
    NoSection {
        /// Counted from 1.
        line: usize,
        /// The key.
        key: String,
    },
    /// A key that the cluster's sections do not have.
    #[error("line {line}: [{section}] has no option {key}=")]
    UnknownKey {
        /// Counted from 1.
        line: usize,
        /// `X-Fleet` or `X-Muster`.
        section: String,
        /// The key.
        key: String,
    },
    /// A value of a cluster option that makes no sense.
    #[error("line {line}: {key}={value}: {problem}")]
    Value {
        /// Counted from 1.
        line: usize,
        /// The key.
        key: String,
        /// The value as written.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Options that exclude each other.
    #[error(transparent)]
    Options(#[from] OptionsError),
}

/// Options that exclude each other, as in fleet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// Two options that may not stand in one unit.
    #[error("[X-Fleet]: {one}= and {other}= cannot be combined")]
    Exclusive {
        /// The first option.
        one: &'static str,
        /// The second option.
        other: &'static str,
    },
    /// A unit that must and must not be on the same machine.
    #[error("[X-Fleet]: MachineOf={target} matches the unit's own {by}={pattern}")]
    Contradiction {
        /// The unit it wants to be with.
        target: UnitName,
        /// `Conflicts` or `Replaces`.
        by: &'static str,
        /// The pattern that matches it.
        pattern: String,
    },
}

/// Splits a unit file into its assignments, in order.
///
/// # Errors
/// A line that systemd would complain about too.
pub fn parse(text: &str) -> Result<Vec<Entry>, UnitFileError> {
    let mut entries = Vec::new();
    let mut section: Option<String> = None;
    let mut lines = text.lines().enumerate();
    while let Some((number, first)) = lines.next() {
        let line = number + 1;
        let first = first.trim();
        if first.is_empty() || is_comment(first) {
            continue;
        }
        let logical = joined(first, &mut lines);
        if let Some(name) = logical.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = Some(name.into());
            continue;
        }
        let Some((key, value)) = logical.split_once('=') else {
            return Err(UnitFileError::Syntax { line, text: logical });
        };
        let key = key.trim().to_string();
        let Some(section) = &section else { return Err(UnitFileError::NoSection { line, key }) };
        entries.push(Entry { section: section.clone(), key, value: value.trim().into(), line });
    }
    Ok(entries)
}

/// `first` with the lines that continue it. Comments between them are left out, as systemd does.
fn joined<'a>(first: &str, lines: &mut impl Iterator<Item = (usize, &'a str)>) -> String {
    let mut whole = String::new();
    let mut part = first.to_string();
    while let Some(open) = part.strip_suffix('\\') {
        whole.push_str(open);
        whole.push(' ');
        part = match lines.map(|(_, next)| next.trim()).find(|next| !is_comment(next)) {
            Some(next) => next.into(),
            None => String::new(),
        };
    }
    whole.push_str(&part);
    whole
}

fn is_comment(line: &str) -> bool {
    line.starts_with(['#', ';'])
}

/// The SHA-1 of a unit's text in 40 hex digits: its key among the stored texts.
pub fn hash(text: &str) -> String {
    let hash: String = Sha1::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    debug_assert!(hash.len() == 40, "{hash} is no SHA-1");
    hash
}

#[cfg(test)]
#[path = "unitfile_test.rs"]
mod more_tests;

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(section: &str, key: &str, value: &str, line: usize) -> Entry {
        Entry { section: section.into(), key: key.into(), value: value.into(), line }
    }

    #[test]
    fn sections_comments_and_repeated_keys() {
        let text = "# c\n[Unit]\nDescription = a b \n\n; c\n[Service]\nExecStart=/bin/a=b\nExecStart=\n";
        assert_eq!(
            parse(text).unwrap(),
            [
                entry("Unit", "Description", "a b", 3),
                entry("Service", "ExecStart", "/bin/a=b", 7),
                entry("Service", "ExecStart", "", 8),
            ]
        );
    }

    #[test]
    fn a_backslash_continues_a_line_over_comments() {
        let text = "[Service]\nExecStart=/bin/a \\\n# not this\n  b \\\n  c\nType=simple";
        assert_eq!(
            parse(text).unwrap(),
            [entry("Service", "ExecStart", "/bin/a  b  c", 2), entry("Service", "Type", "simple", 6)]
        );
    }

    #[test]
    fn a_backslash_on_the_last_line_continues_nothing() {
        assert_eq!(parse("[S]\nA=b\\").unwrap(), [entry("S", "A", "b", 2)]);
    }

    #[test]
    fn errors_name_the_line() {
        assert_eq!(parse("\nA=b").unwrap_err(), UnitFileError::NoSection { line: 2, key: "A".into() });
        assert_eq!(
            parse("[A]\nnonsense").unwrap_err(),
            UnitFileError::Syntax { line: 2, text: "nonsense".into() }
        );
    }

    #[test]
    fn the_hash_is_the_sha1_of_the_text() {
        assert_eq!(hash("abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
    }
}
