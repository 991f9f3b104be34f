//! The first line of a file: what it is, the number of its form, the version that its reader must know.

use super::next::highest;
use super::version::{LOWEST, Version};

/// No first line is longer, its line feed included.
const LIMIT_BYTES: usize = 64;

/// A first line, such as `muster snapshot 2 0.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstLine {
    /// What kind of file it is.
    pub what: &'static str,
    /// The form of the file around its contents. Another form has another number.
    pub form: u16,
    /// What its contents need to be read.
    pub version: Version,
}

/// Why a file cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is something else, or damaged.
    #[error("it does not begin as a {what} of Muster does")]
    Foreign {
        /// What was wanted.
        what: &'static str,
    },
    /// An earlier version wrote it.
    #[error(
        "it was written by an earlier version (form {form}), which this one does not read: it reads form {read}"
    )]
    Older {
        /// Its form.
        form: u16,
        /// The one that is read.
        read: u16,
    },
    /// A later version wrote it.
    #[error(
        "it was written by a later version of Muster: its form is {form}, and this one reads form {read}; use that version"
    )]
    Newer {
        /// Its form.
        form: u16,
        /// The one that is read.
        read: u16,
    },
    /// Its contents are of a later version.
    #[error("it needs Muster {needed} or later, and this one does {can}")]
    TooNew {
        /// What it needs.
        needed: Version,
        /// What this process can do.
        can: Version,
    },
    /// Its contents are of a version that is no longer read.
    #[error("it is of Muster {found}, and this one reads {lowest} and later: upgrade one version at a time")]
    TooOld {
        /// What it is of.
        found: Version,
        /// The lowest that is read.
        lowest: Version,
    },
}

impl Unusable {
    /// Whether what is of `version` can be read.
    ///
    /// # Errors
    /// `TooNew`, `TooOld`.
    pub fn check(version: Version) -> Result<(), Self> {
        if version > highest() {
            return Err(Self::TooNew { needed: version, can: highest() });
        }
        if version < LOWEST {
            return Err(Self::TooOld { found: version, lowest: LOWEST });
        }
        Ok(())
    }
}

impl FirstLine {
    /// The line with its line feed.
    pub fn to_bytes(self) -> Vec<u8> {
        format!("muster {} {} {}\n", self.what, self.form, self.version).into_bytes()
    }

    /// Reads the line at the beginning of `bytes`, and tells how long it is; `None` when `bytes` end before it does.
    ///
    /// # Errors
    /// See [`Unusable`].
    pub fn parse(what: &'static str, form: u16, bytes: &[u8]) -> Result<Option<(Self, usize)>, Unusable> {
        let foreign = Unusable::Foreign { what };
        let begin = format!("muster {what} ");
        let known = bytes.len().min(begin.len());
        if bytes[..known] != begin.as_bytes()[..known] {
            return Err(foreign);
        }
        let line = &bytes[..bytes.len().min(LIMIT_BYTES)];
        let Some(end) = line.iter().position(|byte| *byte == b'\n') else {
            return if line.len() < LIMIT_BYTES { Ok(None) } else { Err(foreign) };
        };
        let words = std::str::from_utf8(&line[begin.len()..end]).map_err(|_| foreign)?;
        let mut words = words.split(' ');
        let found: u16 = words.next().and_then(|word| word.parse().ok()).ok_or(foreign)?;
        // What follows is known of this form only.
        match found.cmp(&form) {
            std::cmp::Ordering::Less => return Err(Unusable::Older { form: found, read: form }),
            std::cmp::Ordering::Greater => return Err(Unusable::Newer { form: found, read: form }),
            std::cmp::Ordering::Equal => {}
        }
        let version = words.next().and_then(Version::parse).ok_or(foreign)?;
        if words.next().is_some() {
            return Err(foreign);
        }
        Unusable::check(version)?;
        Ok(Some((Self { what, form, version }, end + 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<(FirstLine, usize)>, Unusable> {
        FirstLine::parse("thing", 2, text.as_bytes())
    }

    #[test]
    fn a_line_is_read_as_it_was_written_and_not_before_its_end() {
        let line = FirstLine { what: "thing", form: 2, version: LOWEST };
        let text = String::from_utf8(line.to_bytes()).unwrap();
        for length in 0..text.len() {
            assert_eq!(parse(&text[..length]), Ok(None), "{length} bytes");
        }
        assert_eq!(parse(&(text.clone() + "more")), Ok(Some((line, text.len()))));
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        assert_eq!(parse("muster thing 1\n"), Err(Unusable::Older { form: 1, read: 2 }));
        assert_eq!(parse("muster thing 3 and more\n"), Err(Unusable::Newer { form: 3, read: 2 }));
        let can = highest();
        assert_eq!(parse("muster thing 2 9.9\n"), Err(Unusable::TooNew { needed: Version::new(9, 9), can }));
        assert!(matches!(parse("muster thing 2 0.0\n"), Err(Unusable::TooOld { .. })));
        let foreign = Err(Unusable::Foreign { what: "thing" });
        for text in
            ["x", "muster think 2 0.1\n", "muster thing x 0.1\n", "muster thing 2\n", "muster thing 2 0.1 \n"]
        {
            assert_eq!(parse(text), foreign, "{text}");
        }
        assert_eq!(parse(&format!("muster thing 2 {}", "0".repeat(99))), foreign);
    }
}
