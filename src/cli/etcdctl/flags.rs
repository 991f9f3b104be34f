//! Command lines as etcdctl reads them. Pure text: knows no commands, no client and no terminal.
//!
//! etcdctl is written in Go and parses with Go's `flag` package behind urfave/cli 1.22: one dash or two, `-name=value` or
//! `-name value`, and the first word that is no flag ends the flags. For a command (not for the flags before it) the
//! words are put in another order first: flags that the command knows move to the front together with the one word behind
//! each, whether the flag takes a value or not. So a boolean flag in front of a word pulls it forward.

use std::collections::BTreeMap;
use std::time::Duration;

/// What a flag's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Present or not; a value only behind `=`.
    Bool,
    /// Any text.
    Text,
    /// A whole number of 64 bits, in Go's notation.
    Int,
    /// A length of time in Go's notation.
    Time,
    /// Any text, as often as wanted.
    List,
}

/// A flag that is known.
#[derive(Debug)]
pub(super) struct Flag {
    /// Its name, and a second form if it has one.
    pub names: &'static [&'static str],
    /// What its value is.
    pub kind: Kind,
    /// What it is for, in a line of help.
    pub help: &'static str,
}

/// A value as it was given last.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Bool(bool),
    Text(String),
    Int(i64),
    Time(Signed),
    List(Vec<String>),
}

/// A length of time that may be below zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signed {
    nanoseconds: i64,
}

impl Signed {
    /// `None` for nothing and less.
    pub fn positive(self) -> Option<Duration> {
        u64::try_from(self.nanoseconds).ok().filter(|n| *n > 0).map(Duration::from_nanos)
    }
}

/// What a command line holds.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    values: BTreeMap<&'static str, Value>,
    /// What is left: arguments, and everything behind the first of them.
    pub words: Vec<String>,
    /// How many arguments stood before `--`, if it was there.
    pub before_dashes: Option<usize>,
}

/// Why a command line cannot be read, in Go's words.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// A flag is unknown or its value is none.
    Syntax(String),
    /// Both names of one flag were used.
    TwoForms(String),
}

impl Parsed {
    /// Whether a boolean flag is on.
    pub fn on(&self, name: &str) -> bool {
        self.values.get(name) == Some(&Value::Bool(true))
    }

    /// Whether a flag is there at all.
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The text of a flag; empty when it is absent.
    pub fn text(&self, name: &str) -> &str {
        if let Some(Value::Text(text)) = self.values.get(name) { text } else { "" }
    }

    /// The number of a flag; 0 when it is absent.
    pub fn int(&self, name: &str) -> i64 {
        if let Some(Value::Int(number)) = self.values.get(name) { *number } else { 0 }
    }

    /// The time of a flag, if it is there.
    pub fn time(&self, name: &str) -> Option<Signed> {
        if let Some(Value::Time(time)) = self.values.get(name) { Some(*time) } else { None }
    }

    /// All values of a flag.
    pub fn list(&self, name: &str) -> &[String] {
        if let Some(Value::List(list)) = self.values.get(name) { list } else { &[] }
    }
}

/// Puts the flags of a command in front of its other words, as urfave/cli 1.22 does. `--` ends that and comes to stand
/// between the two; the second value is how many arguments stood before it.
fn reorder(flags: &[&[Flag]], words: &[String]) -> (Vec<String>, Option<usize>) {
    let (mut front, mut rest) = (Vec::new(), Vec::new());
    let mut may_be_value = false;
    for (at, word) in words.iter().enumerate() {
        let is_flag = names_flag(flags, word);
        if is_flag {
            may_be_value = !word.contains('=');
            front.push(word.clone());
        } else if may_be_value {
            may_be_value = false;
            front.push(word.clone());
        } else if word == "--" {
            let before = rest.len();
            front.push(word.clone());
            front.append(&mut rest);
            front.extend_from_slice(&words[at + 1..]);
            return (front, Some(before));
        } else {
            rest.push(word.clone());
        }
    }
    front.append(&mut rest);
    (front, None)
}

/// Reads a command's flags and words, after [`reorder`] has moved the flags to the front.
///
/// # Errors
/// As [`parse`].
pub(super) fn parse_reordered(flags: &[&[Flag]], words: &[String]) -> Result<Parsed, Wrong> {
    let (words, before_dashes) = reorder(flags, words);
    parse(flags, &words).map(|parsed| Parsed { before_dashes, ..parsed })
}

fn names_flag(flags: &[&[Flag]], word: &str) -> bool {
    if word == "-" || word == "--" || !word.starts_with('-') {
        return false;
    }
    let name = word.strip_prefix("--").unwrap_or(word);
    let name = name.strip_prefix('-').unwrap_or(name);
    find(flags, name.split('=').next().unwrap_or_default()).is_some()
}

fn find(flags: &[&[Flag]], name: &str) -> Option<(&'static str, &'static str, Kind)> {
    let all = flags.iter().flat_map(|group| group.iter());
    all.flat_map(|flag| flag.names.iter().map(move |form| (flag.names[0], *form, flag.kind)))
        .find(|(_, form, _)| *form == name)
}

/// Reads flags up to the first other word, as Go's `flag` package does.
///
/// # Errors
/// In the words of Go and urfave/cli.
pub(super) fn parse(flags: &[&[Flag]], words: &[String]) -> Result<Parsed, Wrong> {
    let mut parsed = Parsed::default();
    let mut forms: Vec<(&str, &str)> = Vec::new();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        if word.len() < 2 || !word.starts_with('-') {
            break;
        }
        at += 1;
        if word == "--" {
            break;
        }
        let body = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).unwrap_or(word);
        if body.is_empty() || body.starts_with(['-', '=']) {
            return Err(Wrong::Syntax(format!("bad flag syntax: {word}")));
        }
        let (name, given) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_string())),
            None => (body, None),
        };
        let Some((primary, form, kind)) = find(flags, name) else {
            return Err(Wrong::Syntax(format!("flag provided but not defined: -{name}")));
        };
        let given = match (given, kind) {
            (Some(text), _) => text,
            (None, Kind::Bool) => "true".into(),
            (None, _) => {
                let next = words.get(at).cloned();
                at += 1;
                next.ok_or_else(|| Wrong::Syntax(format!("flag needs an argument: -{name}")))?
            }
        };
        parsed.put(primary, form, kind, given)?;
        if !forms.contains(&(primary, form)) {
            forms.push((primary, form));
        }
    }
    parsed.words = words.get(at..).unwrap_or_default().to_vec();
    two_forms(flags, &forms)?;
    Ok(parsed)
}

impl Parsed {
    fn put(&mut self, primary: &'static str, form: &str, kind: Kind, text: String) -> Result<(), Wrong> {
        let bad = |reason: &str| Wrong::Syntax(format!("invalid value {text:?} for flag -{form}: {reason}"));
        let value = match kind {
            Kind::Bool => match text.as_str() {
                "1" | "t" | "T" | "TRUE" | "true" | "True" => Value::Bool(true),
                "0" | "f" | "F" | "FALSE" | "false" | "False" => Value::Bool(false),
                _ => {
                    let problem = format!("invalid boolean value {text:?} for -{form}: parse error");
                    return Err(Wrong::Syntax(problem));
                }
            },
            Kind::Int => Value::Int(int(&text).map_err(bad)?),
            Kind::Time => Value::Time(time(&text).ok_or_else(|| bad("parse error"))?),
            Kind::Text => Value::Text(text),
            Kind::List => {
                let mut list = self.list(primary).to_vec();
                list.push(text);
                Value::List(list)
            }
        };
        self.values.insert(primary, value);
        Ok(())
    }
}

fn two_forms(flags: &[&[Flag]], used: &[(&str, &str)]) -> Result<(), Wrong> {
    for flag in flags.iter().flat_map(|group| group.iter()) {
        let forms: Vec<&str> =
            flag.names.iter().copied().filter(|form| used.contains(&(flag.names[0], form))).collect();
        if let [first, second, ..] = forms[..] {
            let problem = format!("Cannot use two forms of the same flag: {second} {first}");
            return Err(Wrong::TwoForms(problem));
        }
    }
    Ok(())
}

/// A whole number as Go's `strconv.ParseInt` takes it with base 0: decimal, `0x`, `0o` or `0`, `0b`, and single
/// underscores between digits or behind the prefix.
fn int(text: &str) -> Result<i64, &'static str> {
    const SYNTAX: &str = "parse error";
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, bare) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, lower.as_str())
    };
    let misplaced = bare.ends_with('_') || bare.contains("__") || (radix == 10 && bare.starts_with('_'));
    let bare = bare.replace('_', "");
    if misplaced || bare.is_empty() || !bare.chars().all(|c| c.is_digit(radix)) {
        return Err(SYNTAX);
    }
    let magnitude = i128::from(u64::from_str_radix(&bare, radix).map_err(|_| "value out of range")?);
    i64::try_from(if negative { -magnitude } else { magnitude }).map_err(|_| "value out of range")
}

/// A length of time as Go's `time.ParseDuration` takes it: `0`, or numbers with units such as `1m0.5s`.
fn time(text: &str) -> Option<Signed> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(Signed { nanoseconds: 0 });
    }
    let mut nanoseconds = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        nanoseconds += number
            * match &rest[..unit] {
                "ns" => 1.0,
                "us" | "\u{b5}s" | "\u{3bc}s" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    // Go refuses what is longer than 64 bits of nanoseconds, some 292 years.
    (nanoseconds < i64::MAX as f64).then_some(Signed { nanoseconds: (sign * nanoseconds) as i64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[
        Flag { names: &["recursive", "r"], kind: Kind::Bool, help: "" },
        Flag { names: &["ttl"], kind: Kind::Int, help: "" },
        Flag { names: &["with-value"], kind: Kind::Text, help: "" },
        Flag { names: &["timeout"], kind: Kind::Time, help: "" },
        Flag { names: &["roles"], kind: Kind::List, help: "" },
    ];

    fn words(line: &str) -> Vec<String> {
        line.split(' ').filter(|word| !word.is_empty()).map(str::to_string).collect()
    }

    fn command(line: &str) -> Result<Parsed, Wrong> {
        parse_reordered(&[FLAGS], &words(line))
    }

    fn refusal(line: &str) -> String {
        match command(line) {
            Err(Wrong::Syntax(text) | Wrong::TwoForms(text)) => text,
            Ok(parsed) => panic!("{line} was read as {parsed:?}"),
        }
    }

    #[test]
    fn flags_may_follow_the_arguments_with_one_dash_or_two() {
        for line in ["--ttl 5 /k v", "/k --ttl 5 v", "/k v -ttl=5", "/k v --ttl 0x5"] {
            let parsed = command(line).expect(line);
            assert_eq!((parsed.int("ttl"), parsed.words), (5, words("/k v")), "{line}");
        }
    }

    #[test]
    fn a_boolean_flag_pulls_the_word_behind_it_forward() {
        assert_eq!(command("/k -r v").expect("read").words, words("v /k"));
        assert_eq!(command("/k -r=true v").expect("read").words, words("/k v"));
    }

    #[test]
    fn unknown_flags_are_words_when_they_follow_one_and_wrong_when_they_come_first() {
        assert_eq!(command("/k -x").expect("read").words, words("/k -x"));
        assert_eq!(refusal("--nope /k"), "flag provided but not defined: -nope");
        assert_eq!(refusal("-rf /k"), "flag provided but not defined: -rf");
    }

    #[test]
    fn two_dashes_end_the_flags_and_are_dropped() {
        let parsed = command("/k --ttl 5 -- -1").expect("read");
        assert_eq!((parsed.int("ttl"), parsed.words, parsed.before_dashes), (5, words("/k -1"), Some(1)));
        assert_eq!(command("-- /k -1").expect("read").words, words("/k -1"));
        // Behind a boolean flag that has pulled the key forward they stay.
        let parsed = command("-r /k -- echo").expect("read");
        assert_eq!((parsed.words, parsed.before_dashes), (words("/k -- echo"), Some(0)));
        assert_eq!(command("/k --with-value -- x").expect("read").text("with-value"), "--");
    }

    #[test]
    fn wrong_values_are_refused_in_the_words_of_go() {
        assert_eq!(refusal("/k --ttl x"), "invalid value \"x\" for flag -ttl: parse error");
        assert_eq!(
            refusal("--ttl 9223372036854775808"),
            "invalid value \"9223372036854775808\" for flag -ttl: value out of range"
        );
        assert_eq!(refusal("-r=maybe"), "invalid boolean value \"maybe\" for -r: parse error");
        assert_eq!(refusal("/k --ttl"), "invalid value \"/k\" for flag -ttl: parse error");
        assert_eq!(refusal("--ttl"), "flag needs an argument: -ttl");
        assert_eq!(refusal("---r"), "bad flag syntax: ---r");
        assert_eq!(refusal("-=x"), "bad flag syntax: -=x");
        assert_eq!(refusal("-r --recursive"), "Cannot use two forms of the same flag: r recursive");
    }

    #[test]
    fn lists_keep_every_value_and_other_flags_the_last() {
        let parsed = command("u --roles a,b --roles c --ttl 1 --ttl 2").expect("read");
        assert_eq!(parsed.list("roles"), ["a,b", "c"]);
        assert_eq!(parsed.int("ttl"), 2);
    }

    #[test]
    fn times_and_numbers_have_the_notation_of_go() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("5s", 5_000_000_000),
            ("1m0.5s", 60_500_000_000),
            ("-1ms", -1_000_000),
            ("1h", 3_600_000_000_000),
        ] {
            assert_eq!(time(text), Some(Signed { nanoseconds }), "{text}");
        }
        for text in ["", "5", "s", "5 s", "5x", "1e3s", "-"] {
            assert_eq!(time(text), None, "{text}");
        }
        for (text, number) in
            [("-5", -5), ("+5", 5), ("0x_10", 16), ("010", 8), ("0b11", 3), ("1_0", 10), ("0", 0)]
        {
            assert_eq!(int(text), Ok(number), "{text}");
        }
        for text in ["", "5s", "1__0", "1_", "_1", "0x", "08", "1.5"] {
            assert!(int(text).is_err(), "{text}");
        }
    }
}
