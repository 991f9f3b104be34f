//! Records of the reboot coordinator: who wants to reboot, and how far each machine that may go has come.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Moment, REBOOT, REBOOT_LOCK};
use crate::ids::MachineId;

/// Machines that share one reboot lock.
///
/// Invariant: 1 to 128 bytes, not `.` or `..`. The group `default` is locksmith's nameless one and the one that
/// FleetLock's clients name `default`; every other group has a semaphore of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group(Box<str>);

/// Why a text is no [`Group`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a group name: 1 to {GROUP_MAX} bytes, not \".\" or \"..\"")]
pub struct BadGroup(String);

const GROUP_MAX: usize = 128;
const DEFAULT_GROUP: &str = "default";

/// Where a machine stands on its way through a reboot. The order is that of the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Nothing is asked for. Never written: it is the absence of a record.
    #[default]
    Idle,
    /// A reboot is wanted, its time has not come.
    WaitingForWindow,
    /// A reboot is wanted, the lock is not held yet.
    WaitingForLock,
    /// The lock is held, the machine's work is being moved away.
    Draining,
    /// The machine is going down; logind has been asked or is about to be.
    Leaving,
    /// The machine has booted again.
    Back,
    /// The machine waits for its own health.
    Checking,
    /// The machine is well again and gives back the lock.
    Releasing,
}

/// `/muster/reboot/GROUP/holders/ID`: a machine on its way through a reboot. Written before the lock is taken and
/// removed after it was given back, so that a coordinator that starts anew, before or after the reboot, knows what
/// it was doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// When the reboot was first wanted.
    pub since: Moment,
    /// The kernel's boot id at the time of writing; another one now means that the machine has rebooted.
    pub boot_id: String,
    /// Why the machine reboots, for people.
    pub reason: String,
    /// How far it has come.
    pub phase: Phase,
    /// What systemd said of the whole system before the reboot: `running`, `degraded`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_before: Option<String>,
    /// Id of the store's member on this machine, if it runs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// Index of the request that this reboot answers: a later one asks for another reboot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_index: Option<u64>,
    /// The file that asked for a reboot when the machine left: this reboot answers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentinel: Option<String>,
    /// That file as it was then: left over is what is still the same afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentinel_state: Option<Fingerprint>,
    /// The machine's host name: it is not present for a part of its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The lock had been taken for this machine by an operator before it was wanted here: it is not given back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub operators_lock: bool,
    /// What the machine waits for, for people; absent while it gets on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
}

/// `/muster/reboot/GROUP/requests/ID`: somebody wants the machine ID to reboot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// When it was asked for, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Moment>,
    /// Why, for people.
    pub reason: String,
}

/// `/muster/reboot/GROUP/answered/ID`: the last reboot for a file that asked for one. What is still there afterwards does
/// not reboot the machine again by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// The boot that it ended in.
    pub boot_id: String,
    /// When that boot was found well.
    pub since: Moment,
    /// The file as it was when the machine left, if it was still there and has been since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Fingerprint>,
    /// What the file is not obeyed for, for people; absent while there is none, or it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub says: Option<String>,
}

/// What tells one state of a file from another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// SHA-1 of its content, or of the beginning of a long one, in hex.
    pub content: String,
    /// When it was changed last, in nanoseconds since 1970.
    pub modified: i64,
}

impl Request {
    /// Reads a value. Anything but a JSON object is a reason that somebody wrote by hand.
    ///
    /// # Errors
    /// A JSON object that is no request.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        if text.trim_start().starts_with('{') {
            serde_json::from_str(text)
        } else {
            Ok(Self { since: None, reason: text.trim().into() })
        }
    }
}

impl Group {
    /// The name, as given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is locksmith's nameless group, which is always there.
    pub fn is_default(&self) -> bool {
        &*self.0 == DEFAULT_GROUP
    }

    /// Key of the group's semaphore document, as locksmith names it.
    pub fn semaphore(&self) -> String {
        if self.is_default() {
            format!("{REBOOT_LOCK}/semaphore")
        } else {
            format!("{REBOOT_LOCK}/groups/{}/semaphore", query_escaped(&self.0))
        }
    }

    /// Folder of the machines on their way through a reboot.
    pub fn holders(&self) -> String {
        format!("{REBOOT}/{}/holders", query_escaped(&self.0))
    }

    /// Key of a [`Holder`].
    pub fn holder(&self, id: &MachineId) -> String {
        format!("{}/{id}", self.holders())
    }

    /// Folder of the reboots for files.
    pub fn answered_all(&self) -> String {
        format!("{REBOOT}/{}/answered", query_escaped(&self.0))
    }

    /// Key of an [`Answered`].
    pub fn answered(&self, id: &MachineId) -> String {
        format!("{}/{id}", self.answered_all())
    }

    /// Folder of the requests.
    pub fn requests(&self) -> String {
        format!("{REBOOT}/{}/requests", query_escaped(&self.0))
    }

    /// Key of a [`Request`].
    pub fn request(&self, id: &MachineId) -> String {
        format!("{}/{id}", self.requests())
    }
}

impl Default for Group {
    fn default() -> Self {
        Self(DEFAULT_GROUP.into())
    }
}

impl FromStr for Group {
    type Err = BadGroup;

    fn from_str(text: &str) -> Result<Self, BadGroup> {
        if text.is_empty() || text.len() > GROUP_MAX || text == "." || text == ".." {
            return Err(BadGroup(text.into()));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Idle => "idle",
            Self::WaitingForWindow => "waiting-for-window",
            Self::WaitingForLock => "waiting-for-lock",
            Self::Draining => "draining",
            Self::Leaving => "leaving",
            Self::Back => "back",
            Self::Checking => "checking",
            Self::Releasing => "releasing",
        })
    }
}

/// Escapes as the query of a URL is escaped (HTML forms: a blank is `+`), which is how locksmith puts a group's
/// name into a key.
fn query_escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte));
            }
            b' ' => escaped.push('+'),
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    debug_assert!(!escaped.contains('/'), "{escaped} is no single component of a key");
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(text: &str) -> Group {
        text.parse().unwrap()
    }

    #[test]
    fn the_default_group_is_locksmiths_nameless_one() {
        assert_eq!(Group::default().semaphore(), "/coreos.com/updateengine/rebootlock/semaphore");
        assert_eq!(Group::default(), group("default"));
    }

    #[test]
    fn group_names_are_escaped_as_in_a_query() {
        assert_eq!(
            group("web servers/a~b").semaphore(),
            "/coreos.com/updateengine/rebootlock/groups/web+servers%2Fa~b/semaphore"
        );
        assert_eq!(group("a/b").requests(), "/muster/reboot/a%2Fb/requests");
    }

    #[test]
    fn names_that_would_leave_the_folder_are_refused() {
        for bad in ["", ".", ".."] {
            assert!(bad.parse::<Group>().is_err(), "{bad:?} was taken");
        }
        assert!("x".repeat(129).parse::<Group>().is_err());
    }

    #[test]
    fn a_record_reads_back_and_leaves_out_what_is_unknown() {
        let text =
            r#"{"since":"2026-01-31T12:00:00Z","boot_id":"b","reason":"kernel","phase":"waiting-for-lock"}"#;
        let holder: Holder = serde_json::from_str(text).unwrap();
        assert_eq!(holder.phase, Phase::WaitingForLock);
        assert!(!holder.operators_lock);
        assert_eq!(serde_json::to_string(&holder).unwrap(), text);
    }

    #[test]
    fn a_request_may_be_a_plain_reason() {
        let request = Request::parse("new kernel\n").unwrap();
        assert_eq!(request, Request { since: None, reason: "new kernel".into() });
        let request = Request::parse(r#"{"since":"2026-01-31T12:00:00Z","reason":"r"}"#).unwrap();
        assert!(request.since.is_some());
        assert!(Request::parse(r#"{"why":"r"}"#).is_err());
    }

    #[test]
    fn phases_are_shown_as_they_are_written() {
        for phase in [Phase::WaitingForWindow, Phase::WaitingForLock, Phase::Leaving, Phase::Releasing] {
            assert_eq!(serde_json::to_string(&phase).unwrap(), format!("\"{phase}\""));
        }
    }
}
