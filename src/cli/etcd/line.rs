//! Reads a command line as Go's flag package does, and variables as etcd does.

use std::fmt;

use url::Url;

use super::Refusal;
use super::flags::{self, Flag, Kind};

/// What a command line asks for.
#[derive(Debug)]
pub(super) enum Line {
    /// The help text.
    Help,
    /// The version.
    Version,
    /// A running store; the last one of each flag.
    Flags(Vec<Given>),
}

/// A flag with its value.
#[derive(Clone, Debug)]
pub(super) struct Given {
    /// The flag that was given.
    pub flag: &'static Flag,
    /// Its value; `true` or `false` for a switch.
    pub text: String,
    /// Where it was given.
    pub source: Source,
}

/// Where a flag's value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The command line.
    Line(&'static str),
    /// A variable.
    Variable(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(name) => write!(f, "--{name}"),
            Self::Variable(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// Reads the words behind the program's name.
///
/// # Errors
/// Status 2 for what cannot be read, 1 for words that are no flags.
pub(super) fn parse(words: &[String]) -> Result<Line, Refusal> {
    if let Some(command @ ("gateway" | "grpc-proxy")) = words.first().map(String::as_str) {
        return Err(Refusal::of_ours(format!("there is no {command}: only the server is here")));
    }
    let mut given: Vec<Given> = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(name) = word.strip_prefix('-').filter(|name| !name.is_empty()) else {
            return Err(no_flag(word));
        };
        let name = name.strip_prefix('-').unwrap_or(name);
        if name.is_empty() {
            // Two dashes end the flags, and etcd takes nothing else.
            match words.next() {
                Some(rest) => return Err(no_flag(rest)),
                None => break,
            }
        }
        if name.starts_with(['-', '=']) {
            return Err(Refusal::of_line(format!("bad flag syntax: {word}")));
        }
        let (name, value) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value.to_string())),
            None => (name, None),
        };
        let Some(flag) = flags::find(name) else {
            if matches!(name, "h" | "help") {
                return Ok(Line::Help);
            }
            return Err(Refusal::of_line(format!("flag provided but not defined: -{name}")));
        };
        let text = match value {
            Some(value) => value,
            None if flag.is_switch() => "true".into(),
            None => {
                let next = words.next();
                next.cloned().ok_or_else(|| Refusal::of_line(format!("flag needs an argument: -{name}")))?
            }
        };
        let text = checked(flag, &text).map_err(|why| {
            // Go words the two differently.
            let (kind, of) = if flag.is_switch() { ("boolean value", "") } else { ("value", "flag ") };
            Refusal::of_line(format!("invalid {kind} \"{text}\" for {of}-{name}: {why}"))
        })?;
        given.retain(|earlier| earlier.flag.name != flag.name);
        given.push(Given { flag, text, source: Source::Line(flag.name) });
    }
    let version = given.iter().any(|given| given.flag.name == "version" && given.text == "true");
    Ok(if version { Line::Version } else { Line::Flags(given) })
}

fn no_flag(word: &str) -> Refusal {
    Refusal::of_flags(format!("error verifying flags, '{word}' is not a valid flag. See 'etcd --help'."))
}

/// The flags that variables set and the line does not, and words about variables that mean nothing.
///
/// # Errors
/// Status 1 for a value that cannot be read, as in etcd.
pub(super) fn from_environment(
    environment: &[(String, String)],
    line: &[Given],
) -> Result<(Vec<Given>, Vec<String>), Refusal> {
    let (mut given, mut notes) = (Vec::new(), Vec::new());
    for (name, text) in environment {
        let Some(flag_name) = name.strip_prefix("ETCD_") else { continue };
        if text.is_empty() || name == "ETCD_UNSUPPORTED_ARCH" {
            continue;
        }
        let Some(flag) = flags::find(&flag_name.to_lowercase().replace('_', "-")) else {
            notes.push(format!("unrecognized environment variable {name}={text}"));
            continue;
        };
        if line.iter().any(|other| other.flag.name == flag.name) {
            notes.push(format!("environment variable {name} is shadowed by --{}", flag.name));
            continue;
        }
        let text = checked(flag, text)
            .map_err(|why| Refusal::of_flags(format!("invalid value \"{text}\" for {name}: {why}")))?;
        given.push(Given { flag, text, source: Source::Variable(name.clone()) });
    }
    Ok((given, notes))
}

/// The value as the flag's kind has it.
fn checked(flag: &Flag, text: &str) -> Result<String, String> {
    match flag.kind {
        Kind::Switch(_) => match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok("true".into()),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok("false".into()),
            _ => Err("parse error".into()),
        },
        Kind::Number(_) => match text.parse::<u64>() {
            Ok(_) => Ok(text.into()),
            Err(_) => Err("parse error".into()),
        },
        Kind::Choice(values, _) if !values.contains(&text) => Err("invalid value".into()),
        Kind::Urls(_) => {
            for url in text.split(',').map(str::trim).filter(|url| !url.is_empty()) {
                Url::parse(url).map_err(|error| format!("parse \"{url}\": {error}"))?;
                if !url.contains("://") {
                    return Err(format!("parse \"{url}\": it must start with http://"));
                }
            }
            Ok(text.into())
        }
        Kind::Choice(..) | Kind::Text(_) => Ok(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Vec<(String, String)>, Refusal> {
        let words: Vec<String> = line.split_whitespace().map(str::to_string).collect();
        match parse(&words)? {
            Line::Flags(given) => Ok(given.into_iter().map(|g| (g.flag.name.to_string(), g.text)).collect()),
            other => panic!("{other:?}"),
        }
    }

    fn pair(name: &str, text: &str) -> (String, String) {
        (name.into(), text.into())
    }

    #[test]
    fn one_dash_or_two_with_a_space_or_an_equals_sign() {
        for line in ["--name a", "-name a", "--name=a", "-name=a", "--name x --name a"] {
            assert_eq!(read(line).unwrap(), [pair("name", "a")], "{line}");
        }
        assert_eq!(read("--name=").unwrap(), [pair("name", "")]);
        assert_eq!(read("--enable-v2 --name a").unwrap()[0], pair("enable-v2", "true"));
        assert_eq!(read("-enable-v2=F").unwrap(), [pair("enable-v2", "false")]);
    }

    #[test]
    fn of_a_flag_that_is_given_twice_the_last_counts() {
        for flag in flags::GROUPS.iter().flat_map(|(_, flags)| *flags).filter(|flag| flag.name != "version") {
            let (first, last) = match flag.kind {
                Kind::Switch(_) => ("true", "false"),
                Kind::Number(_) => ("1", "2"),
                Kind::Urls(_) => ("http://a:1,http://b:1", "http://c:1"),
                Kind::Choice(values, _) => (values[0], *values.last().unwrap()),
                Kind::Text(_) => ("a=http://h:1,b=http://h:2", "c=http://h:3"),
            };
            let line = format!("-{0}={first} --name n --{0}={last}", flag.name);
            let read = read(&line).unwrap();
            let of: Vec<&str> =
                read.iter().filter(|(name, _)| name == flag.name).map(|(_, t)| t.as_str()).collect();
            assert_eq!(of, [last], "{line}");
        }
        assert_eq!(read("--pre-vote=false --pre-vote").unwrap(), [pair("pre-vote", "true")]);
        assert_eq!(read("--version --version=false").unwrap(), [pair("version", "false")]);
    }

    #[test]
    fn lines_that_cannot_be_read_end_with_gos_words_and_status() {
        for (line, code, words) in [
            ("--nosuch", 2, "flag provided but not defined: -nosuch"),
            ("--name", 2, "flag needs an argument: -name"),
            ("---name a", 2, "bad flag syntax: ---name"),
            ("--snapshot-count x", 2, "invalid value \"x\" for flag -snapshot-count: parse error"),
            ("--force-new-cluster=x", 2, "invalid boolean value \"x\" for -force-new-cluster"),
            ("--initial-cluster-state old", 2, "invalid value \"old\" for flag -initial-cluster-state"),
            ("--listen-client-urls 127.0.0.1:2379", 2, "invalid value"),
            ("extra", 1, "'extra' is not a valid flag"),
            ("--enable-v2 true", 1, "'true' is not a valid flag"),
            ("gateway start", 1, "gateway"),
        ] {
            let refusal = read(line).unwrap_err();
            assert!(refusal.code == code && refusal.message.contains(words), "{line}: {refusal:?}");
        }
    }

    #[test]
    fn help_and_version_are_answered() {
        let words = |word: &str| [word.to_string()];
        for word in ["-h", "--help", "-help"] {
            assert!(matches!(parse(&words(word)), Ok(Line::Help)), "{word}");
        }
        for word in ["-version", "--version"] {
            assert!(matches!(parse(&words(word)), Ok(Line::Version)), "{word}");
        }
    }
}
