//! Versions of what is written, and the one that is being written.

use std::cell::Cell;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A series of releases, such as `0.1`, that write and read the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version(u16);

/// The lowest version that this build reads and speaks: that of the release before it, or its own if it is the first.
pub const LOWEST: Version = Version::new(0, 1);

/// The version of this build.
pub const CURRENT: Version = Version::new(0, 1);

impl Version {
    /// The version of the releases `major.minor.*`.
    pub const fn new(major: u8, minor: u8) -> Self {
        Self((major as u16) << 8 | minor as u16)
    }

    /// As a number that sorts as versions do.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The version with this [`number`](Self::number).
    pub const fn from_number(number: u16) -> Self {
        Self(number)
    }

    /// Reads `major.minor`.
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        let number =
            |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        Some(Self::new(number(major)?, number(minor)?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 >> 8, self.0 & 0xff)
    }
}

thread_local! {
    /// The version that this thread writes for. Unless it is told, the one that all can read.
    static WRITTEN: Cell<Version> = const { Cell::new(LOWEST) };
}

/// Does `work`, in which everything is encoded as `version` has it.
pub fn written_as<T>(version: Version, work: impl FnOnce() -> T) -> T {
    struct Back(Version);
    impl Drop for Back {
        fn drop(&mut self) {
            WRITTEN.set(self.0);
        }
    }
    let _back = Back(WRITTEN.replace(version));
    work()
}

/// Whether what is encoded just now is for readers who do not know `version`: fields that it has added are left out.
pub fn is_written_before(version: Version) -> bool {
    WRITTEN.get() < version
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::highest;

    #[test]
    fn versions_read_as_they_are_shown_and_sort_as_numbers_do() {
        for text in ["0.1", "0.10", "1.0", "255.255"] {
            let version = Version::parse(text).unwrap();
            assert_eq!(version.to_string(), text);
            assert_eq!(Version::from_number(version.number()), version);
        }
        assert!(Version::new(0, 2) < Version::new(0, 10) && Version::new(0, 10) < Version::new(1, 0));
        for text in ["", "1", "0.256", "0.1.2", "+0.1", "0.", ".1", "a.b"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }

    #[test]
    fn this_build_is_of_the_series_that_its_release_says() {
        let release = env!("CARGO_PKG_VERSION");
        assert!(release.starts_with(&format!("{CURRENT}.")), "{CURRENT} is not the series of {release}");
        assert!(LOWEST <= CURRENT && CURRENT <= highest());
    }

    #[test]
    fn what_is_written_goes_back_to_the_lowest_version_afterwards() {
        let next = Version::new(9, 9);
        assert!(is_written_before(next));
        written_as(next, || {
            assert!(!is_written_before(next));
            written_as(LOWEST, || assert!(is_written_before(next)));
            assert!(!is_written_before(next));
        });
        assert!(is_written_before(next));
    }
}
