//! Names that came from outside, parsed once: what holds one of these types is known to be well formed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A machine's identity: the 32 lower-case hex digits of its `/etc/machine-id` (machine-id(5)).
///
/// Also accepted: any other non-empty text of letters, digits, `.`, `_`, `-` up to 64 bytes, because locksmith lets
/// an operator lock for an id of their own choice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MachineId(Box<str>);

/// Name of a systemd unit, template or instance.
///
/// Invariant: at most 255 bytes, only `A-Z a-z 0-9 : - _ . \ @`, does not start with `@` or `.`, and ends in a
/// suffix that systemd knows (systemd.unit(5)).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnitName(Box<str>);

/// Why a text is not a [`MachineId`] or a [`UnitName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty or longer than systemd allows.
    #[error("{kind} \"{text}\" must be 1 to {max} bytes long")]
    Length {
        /// What was parsed.
        kind: &'static str,
        /// The text as given.
        text: String,
        /// The longest that is allowed, in bytes.
        max: usize,
    },
    /// A character that may not stand in such a name.
    #[error("{kind} \"{text}\" must not contain '{bad}'")]
    Character {
        /// What was parsed.
        kind: &'static str,
        /// The text as given.
        text: String,
        /// The first offending character.
        bad: char,
    },
    /// A character that may not begin such a name.
    #[error("{kind} \"{text}\" must not begin with '{bad}'")]
    Beginning {
        /// What was parsed.
        kind: &'static str,
        /// The text as given.
        text: String,
        /// The first character.
        bad: char,
    },
    /// A unit name without one of systemd's suffixes.
    #[error("unit name \"{text}\" must end in one of {}", UNIT_SUFFIXES.join(", "))]
    Suffix {
        /// The text as given.
        text: String,
    },
}

/// Unit name suffixes that systemd knows (systemd.unit(5)).
pub const UNIT_SUFFIXES: [&str; 11] = [
    ".service",
    ".socket",
    ".device",
    ".mount",
    ".automount",
    ".swap",
    ".target",
    ".path",
    ".timer",
    ".slice",
    ".scope",
];

const MACHINE_ID_MAX: usize = 64;
const UNIT_NAME_MAX: usize = 255;

impl MachineId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first eight characters, as fleet's tables show an id.
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

impl UnitName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part behind the last dot, without the dot: `service`, `timer`, …
    pub fn suffix(&self) -> &str {
        self.0.rsplit('.').next().unwrap_or_default()
    }

    /// The part before the last dot: systemd's `%N`.
    pub fn stem(&self) -> &str {
        self.0.rsplit_once('.').map_or(&self.0, |(stem, _)| stem)
    }

    /// The part before `@`, or the whole stem: systemd's `%p`.
    pub fn prefix(&self) -> &str {
        self.stem().split('@').next().unwrap_or_default()
    }

    /// The part between `@` and the suffix: systemd's `%i`. Empty for a template, `None` for a plain unit.
    pub fn instance(&self) -> Option<&str> {
        self.stem().split_once('@').map(|(_, instance)| instance)
    }

    /// Whether this names a template such as `web@.service`, which cannot run itself.
    pub fn is_template(&self) -> bool {
        self.instance() == Some("")
    }

    /// The template of an instance: `web@.service` for `web@1.service`. `None` for templates and plain units.
    pub fn template(&self) -> Option<UnitName> {
        match self.instance() {
            Some(instance) if !instance.is_empty() => {
                Some(UnitName(format!("{}@.{}", self.prefix(), self.suffix()).into()))
            }
            _ => None,
        }
    }
}

impl FromStr for MachineId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let kind = "machine id";
        check(kind, text, MACHINE_ID_MAX, |c| c.is_ascii_alphanumeric() || "._-".contains(c))?;
        Ok(Self(text.into()))
    }
}

impl FromStr for UnitName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let kind = "unit name";
        check(kind, text, UNIT_NAME_MAX, |c| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c))?;
        if let Some(bad) = text.chars().next().filter(|c| "@.".contains(*c)) {
            return Err(NameError::Beginning { kind, text: text.into(), bad });
        }
        if !UNIT_SUFFIXES.iter().any(|suffix| text.len() > suffix.len() && text.ends_with(suffix)) {
            return Err(NameError::Suffix { text: text.into() });
        }
        Ok(Self(text.into()))
    }
}

fn check(
    kind: &'static str,
    text: &str,
    max: usize,
    allowed: impl Fn(char) -> bool,
) -> Result<(), NameError> {
    if text.is_empty() || text.len() > max {
        return Err(NameError::Length { kind, text: text.into(), max });
    }
    match text.chars().find(|c| !allowed(*c)) {
        Some(bad) => Err(NameError::Character { kind, text: text.into(), bad }),
        None => Ok(()),
    }
}

macro_rules! text_conversions {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.into()
            }
        }
    };
}

text_conversions!(MachineId);
text_conversions!(UnitName);

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(text: &str) -> UnitName {
        text.parse().unwrap()
    }

    #[test]
    fn parts_of_an_instance() {
        let name = unit("web@1.service");
        assert_eq!(name.stem(), "web@1");
        assert_eq!(name.prefix(), "web");
        assert_eq!(name.instance(), Some("1"));
        assert_eq!(name.suffix(), "service");
        assert_eq!(name.template(), Some(unit("web@.service")));
        assert!(!name.is_template());
    }

    #[test]
    fn parts_of_a_template_and_of_a_plain_unit() {
        assert!(unit("web@.service").is_template());
        assert_eq!(unit("web@.service").template(), None);
        assert_eq!(unit("a.b.timer").stem(), "a.b");
        assert_eq!(unit("a.timer").instance(), None);
    }

    #[test]
    fn bad_unit_names_are_refused() {
        for bad in ["", "web", "web.", ".service", "@x.service", "a/b.service", "a b.service", "web.exe"] {
            assert!(bad.parse::<UnitName>().is_err(), "{bad:?} was taken");
        }
        assert!(format!("{}.service", "x".repeat(300)).parse::<UnitName>().is_err());
    }

    #[test]
    fn machine_ids_keep_out_path_separators() {
        assert!("0123456789abcdef0123456789abcdef".parse::<MachineId>().is_ok());
        for bad in ["", "a/b", "a b", "ä"] {
            assert!(bad.parse::<MachineId>().is_err(), "{bad:?} was taken");
        }
    }
}
