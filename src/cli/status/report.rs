//! What `muster status` knows, put together from what the store says.

use serde::Serialize;

use crate::cli::unit::{Row, View};
use crate::client::Member;
use crate::heartbeat::list::Line as Heartbeat;
use crate::reboot::gate::Seen;
use crate::reboot::overview::Overview;

/// What was read, or why it could not be.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case", untagged)]
pub(super) enum Part<T> {
    /// It was read.
    Read(T),
    /// It was not.
    Missing {
        /// Why there is nothing to show.
        error: String,
    },
}

/// Everything on the screen.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The store's members.
    pub members: Part<Vec<MemberLine>>,
    /// Machines and units.
    pub cluster: Part<Cluster>,
    /// The reboot lock of one group.
    pub reboot: Part<Overview>,
    /// The heartbeats there are.
    pub heartbeats: Part<Vec<Heartbeat>>,
    /// The store refuses whoever asks.
    #[serde(skip)]
    pub denied: bool,
}

/// One member of the store.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct MemberLine {
    pub id: String,
    pub name: String,
    pub client_urls: Vec<String>,
    pub peer_urls: Vec<String>,
    pub leader: bool,
    pub healthy: bool,
    /// The index that its own copy has reached.
    pub index: Option<u64>,
}

/// The machines that are present, and the units that users want.
#[derive(Debug, Serialize)]
pub(super) struct Cluster {
    /// What was read of them.
    #[serde(skip)]
    pub view: View,
    /// As `muster machine ls` tells of them.
    pub machines: Vec<serde_json::Value>,
    /// As `muster unit ls` tells of them.
    pub units: Vec<Row>,
}

impl<T> Part<T> {
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Read(_) => None,
            Self::Missing { error } => Some(error),
        }
    }
}

impl<T, E: std::fmt::Display> From<Result<T, E>> for Part<T> {
    fn from(read: Result<T, E>) -> Self {
        match read {
            Ok(value) => Self::Read(value),
            Err(error) => Self::Missing { error: error.to_string() },
        }
    }
}

impl Report {
    /// Why nothing at all is known, if so.
    pub fn unreachable(&self) -> Option<&str> {
        self.members.error().filter(|_| self.without_keys().is_some())
    }

    /// What to say when no key could be read.
    pub fn complaint(&self) -> Option<&'static str> {
        self.without_keys().map(|_| match self.denied {
            true => {
                "the store answers, but refuses to have its keys read: wrong user or password, or no right to /muster"
            }
            false => "the store answers, but no key can be read: has it lost its quorum?",
        })
    }

    /// Why no key could be read, if so.
    fn without_keys(&self) -> Option<&str> {
        let errors = [self.cluster.error(), self.reboot.error(), self.heartbeats.error()];
        errors.into_iter().collect::<Option<Vec<_>>>().map(|errors| errors[0])
    }
}

/// Members with what each said of itself.
pub(super) fn members(members: &[Member], leader: Option<&str>, seen: &[Seen]) -> Vec<MemberLine> {
    let line = |member: &Member| {
        let said = seen.iter().find(|seen| seen.id == member.id);
        MemberLine {
            id: member.id.clone(),
            name: member.name.clone(),
            client_urls: member.client_urls.clone(),
            peer_urls: member.peer_urls.clone(),
            leader: leader == Some(member.id.as_str()),
            healthy: said.is_some_and(|seen| seen.healthy),
            index: said.and_then(|seen| seen.index),
        }
    };
    let mut lines: Vec<MemberLine> = members.iter().map(line).collect();
    lines.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_leader_is_marked_and_silent_members_are_not_healthy() {
        let member = |id: &str, name: &str| Member { id: id.into(), name: name.into(), ..Member::default() };
        let seen = Seen { id: "1".into(), name: "b".into(), here: false, healthy: true, index: Some(7) };
        let lines = members(&[member("1", "b"), member("2", "a")], Some("1"), &[seen]);
        let told: Vec<_> =
            lines.iter().map(|line| (line.name.as_str(), line.leader, line.healthy, line.index)).collect();
        assert_eq!(told, [("a", false, false, None), ("b", true, true, Some(7))]);
    }
    fn missing<T>() -> Part<T> {
        Part::Missing { error: "no".into() }
    }

    #[test]
    fn whoever_is_refused_is_not_told_of_a_quorum() {
        let report = |denied| Report {
            members: Part::Read(vec![]),
            cluster: missing(),
            reboot: missing(),
            heartbeats: missing(),
            denied,
        };
        assert!(report(true).complaint().is_some_and(|text| text.contains("wrong user or password")));
        assert!(report(false).complaint().is_some_and(|text| text.contains("lost its quorum")));
        assert_eq!(Report { heartbeats: Part::Read(vec![]), ..report(true) }.complaint(), None);
    }
}
