//! How a connection between members begins: a line that names the protocol, who calls whom and in which versions, and
//! the answer to that.

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

use super::card::{Card, Dismissal};
use crate::format::{LOWEST, Version, highest};
use crate::raft::versions::Versions;

/// The first line but for the number of the protocol; an HTTP request can never start like this.
const PREFACE_BEGIN: &[u8; 12] = b"MUSTER-PEER/";

/// The number of the protocol: how frames lie in the stream, and how a connection begins.
const PROTOCOL: u8 = b'2';

/// The first bytes of every peer connection.
pub const PREFACE: &[u8; 14] = b"MUSTER-PEER/2\n";

/// Makes sure that the other side begins as this one does.
///
/// # Errors
/// It is no member, or of a version that speaks otherwise; the error names it.
pub fn check_preface(preface: &[u8; PREFACE.len()]) -> io::Result<()> {
    if preface == PREFACE {
        return Ok(());
    }
    let what = match preface.strip_prefix(PREFACE_BEGIN) {
        Some([number, _]) if number.is_ascii_digit() => {
            let whose = if *number < PROTOCOL { "an earlier version" } else { "a later version" };
            let (number, mine) = (char::from(*number), char::from(PROTOCOL));
            format!("a member of {whose} calls: its protocol is {number}, and this one's is {mine}")
        }
        _ => "whoever calls is no member".into(),
    };
    Err(io::Error::new(io::ErrorKind::InvalidData, what))
}

/// Who calls, whom, and in which versions. New fields go to the end; what they mean to those who do not know them
/// must be nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The caller.
    pub card: Card,
    /// Whom the caller means to reach.
    pub to: u64,
    /// The lowest version that the caller speaks.
    pub lowest: Version,
    /// The highest version that the caller speaks.
    pub highest: Version,
    /// The version that the caller's cluster has reached, as far as the caller knows.
    pub reached: Version,
}

/// The answer to a [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Welcome {
    /// Both speak this version from here on.
    Agreed {
        /// The version.
        version: Version,
        /// Who was called.
        card: Card,
    },
    /// The connection ends.
    Refused {
        /// Why, in words.
        why: String,
        /// The version that the cluster has reached, when the caller does not know it.
        needed: Option<Version>,
    },
    /// The connection ends: who was called has nothing to do with the caller.
    Unwelcome(Dismissal),
}

/// A refusal, as the caller's error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("refused: {why}")]
pub struct Refused {
    /// The reason, in words.
    pub why: String,
    /// The version that the caller would have to know.
    pub needed: Option<Version>,
}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> Self {
        Self::new(io::ErrorKind::PermissionDenied, refused)
    }
}

impl Hello {
    /// From the one with this card to `to`; versions are told by [`Hello::speaking`].
    pub fn new(card: Card, to: u64) -> Self {
        Self { card, to, lowest: LOWEST, highest: highest(), reached: LOWEST }
    }

    /// How somebody calls who takes no part in raft: it asks who it is, what is known of it, and to be introduced.
    pub fn of_stranger() -> Self {
        Self::new(Card::default(), 0)
    }

    /// Whether it comes from somebody who takes no part in raft.
    pub fn is_of_stranger(&self) -> bool {
        self.card.member == 0
    }

    /// With what this side knows of versions at present.
    pub fn speaking(&self, versions: &Versions) -> Self {
        Self { reached: versions.reached(), ..self.clone() }
    }
}

/// The version in which two sides speak: the highest that both know, but none below what the cluster has reached.
/// Called by the side that was called; takes note when that side is the one that is too old.
///
/// # Errors
/// There is none.
pub fn agree(hello: &Hello, versions: &Versions) -> Result<Version, Refused> {
    let (mine, reached) = (highest(), versions.reached());
    let refused = |why: fmt::Arguments<'_>, needed| Err(Refused { why: why.to_string(), needed });
    if hello.highest < reached {
        let theirs = hello.highest;
        let why = format_args!(
            "the cluster is at version {reached}, and this member does up to {theirs}: it needs Muster {reached} or later"
        );
        return refused(why, Some(reached));
    }
    if hello.reached > mine {
        versions.outgrown(hello.reached);
        return refused(format_args!("the member that was called only does versions up to {mine}"), None);
    }
    let version = hello.highest.min(mine);
    if version < hello.lowest.max(LOWEST) {
        let why = format_args!(
            "there is no version that both speak: this member does {} to {}, the other {LOWEST} to {mine}; upgrade one \
             version at a time",
            hello.lowest, hello.highest
        );
        return refused(why, None);
    }
    Ok(version)
}

/// The version that the other side has agreed to. Called by the side that calls; takes note when it is too old.
///
/// # Errors
/// The other side refuses, or agrees to a version that this cluster has left behind.
pub fn accept(welcome: Welcome, versions: &Versions) -> Result<Version, Refused> {
    match welcome {
        Welcome::Agreed { version, .. } if version < versions.reached() || version > highest() => {
            let reached = versions.reached();
            let why = format!("that member speaks version {version}, and the cluster is at {reached}");
            Err(Refused { why, needed: None })
        }
        Welcome::Agreed { version, .. } => Ok(version),
        Welcome::Unwelcome(dismissal) => Err(Refused { why: dismissal.to_string(), needed: None }),
        Welcome::Refused { why, needed } => {
            if let Some(needed) = needed {
                versions.outgrown(needed);
            }
            Err(Refused { why, needed })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEXT: Version = Version::new(9, 9);

    #[test]
    fn the_highest_version_that_both_know_is_spoken() {
        let versions = Versions::of_stranger();
        let hello = Hello::new(Card { member: 2, ..Card::default() }, 3).speaking(&versions);
        assert_eq!(agree(&hello, &versions), Ok(highest()));
        let newer = Hello { highest: NEXT, ..hello.clone() };
        assert_eq!(agree(&newer, &versions), Ok(highest()));
        let far = Hello { highest: NEXT, lowest: NEXT, ..hello };
        let why = agree(&far, &versions).unwrap_err().why;
        assert!(why.contains("no version that both speak"), "{why}");
    }

    #[test]
    fn who_is_too_old_for_the_cluster_is_told_what_it_needs() {
        let versions = Versions::new(NEXT);
        let refused = agree(&Hello::new(Card { member: 2, ..Card::default() }, 3), &versions).unwrap_err();
        assert!(refused.why.contains("needs Muster 9.9 or later"), "{refused}");
        let caller = Versions::of_stranger();
        let Refused { why, needed } = refused.clone();
        assert_eq!(accept(Welcome::Refused { why, needed }, &caller), Err(refused));
        assert_eq!(caller.too_new(), Some(NEXT));
    }

    #[test]
    fn who_is_called_by_a_cluster_that_has_gone_on_takes_note_and_a_newer_caller_alone_changes_nothing() {
        let versions = Versions::of_stranger();
        let hello =
            Hello { lowest: NEXT, highest: NEXT, ..Hello::new(Card { member: 2, ..Card::default() }, 3) };
        assert!(agree(&hello, &versions).is_err());
        assert_eq!(versions.too_new(), None);
        assert!(agree(&Hello { reached: NEXT, ..hello }, &versions).is_err());
        assert_eq!(versions.too_new(), Some(NEXT));
    }

    #[test]
    fn other_protocols_are_refused_by_name() {
        let said = |preface: &[u8; 14]| check_preface(preface).map_err(|error| error.to_string());
        assert_eq!(said(PREFACE), Ok(()));
        assert!(said(b"MUSTER-PEER/1\n").unwrap_err().contains("an earlier version"));
        assert!(said(b"MUSTER-PEER/3\n").unwrap_err().contains("a later version"));
        assert!(said(b"GET / HTTP/1.1").unwrap_err().contains("no member"));
    }
}
