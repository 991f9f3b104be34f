//! What the store answers, in Rust's terms.

use serde::{Deserialize, Deserializer, Serialize};

/// The outcome of a read or a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What was done: `get`, `set`, `create`, `update`, `compareAndSwap`, `delete`, `compareAndDelete`.
    pub action: String,
    /// The key as it is afterwards.
    pub node: Node,
    /// The key as it was before, if it was there and the action changed it.
    pub prev_node: Option<Node>,
    /// The store's index after the operation (`X-Etcd-Index`); a watch goes on from here.
    pub index: u64,
    /// Raft's index (`X-Raft-Index`); 0 when not told.
    pub raft_index: u64,
    /// Raft's term (`X-Raft-Term`); 0 when not told.
    pub raft_term: u64,
}

/// A key: a file with a value or a directory with nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Node {
    /// The whole path; empty for the root.
    pub key: String,
    /// Whether this is a directory.
    pub dir: bool,
    /// The value of a file; absent for directories and where the API leaves it out.
    pub value: Option<String>,
    /// Children, when a directory was listed.
    #[serde(deserialize_with = "or_empty")]
    pub nodes: Vec<Node>,
    /// The index of the operation that made this key.
    pub created_index: u64,
    /// The index of the last operation that changed it.
    pub modified_index: u64,
    /// When it expires: RFC 3339, UTC, by the server's clock.
    pub expiration: Option<String>,
    /// Seconds until it expires, rounded up.
    pub ttl: Option<i64>,
}

/// A change that a watch saw.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// `set`, `create`, `update`, `compareAndSwap`, `delete`, `compareAndDelete` or `expire`.
    pub action: String,
    /// The key as it is now; `modified_index` is the event's index.
    #[serde(default)]
    pub node: Node,
    /// The key as it was.
    #[serde(default)]
    pub prev_node: Option<Node>,
    /// The store's index when the watch that told of it was accepted (`X-Etcd-Index`); 0 where nobody watched.
    #[serde(skip)]
    pub index: u64,
}

/// A node of the store's cluster, as servers list it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Member {
    /// Its id in hexadecimal.
    pub id: String,
    /// Its name; empty for a member that has never started.
    pub name: String,
    /// Where other members reach it.
    #[serde(rename = "peerURLs", deserialize_with = "or_empty")]
    pub peer_urls: Vec<String>,
    /// Where clients reach it.
    #[serde(rename = "clientURLs", deserialize_with = "or_empty")]
    pub client_urls: Vec<String>,
    /// Whether it is a read replica: it gets every change and never votes. Only Muster has such members.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_learner: bool,
}

/// What a member does in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The member votes.
    Voter,
    /// It will vote once it has caught up.
    Learner,
    /// It gets every change and never votes.
    Replica,
}

/// A member and how far it has come, as only Muster tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// The member.
    #[serde(flatten)]
    pub member: Member,
    /// Whether it leads.
    pub leader: bool,
    /// What it does.
    pub role: Role,
    /// Whether it has answered the leader lately; `None` when nobody leads.
    pub running: Option<bool>,
    /// How many entries of the log it lacks, as far as the leader knows.
    pub lag: Option<u64>,
    /// The highest version that it can do, as it said at its last start; `None` when it has never started.
    #[serde(default)]
    pub version: Option<String>,
}

/// The answer to `GET /muster/v1/members`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatuses {
    /// The members, by id.
    pub members: Vec<MemberStatus>,
    /// The cluster's version: all members can do it. Only Muster has one.
    #[serde(default)]
    pub version: Option<String>,
}

/// The answer to `GET /v2/members`.
#[derive(Deserialize)]
pub(super) struct Members {
    #[serde(deserialize_with = "or_empty")]
    pub members: Vec<Member>,
}

/// Servers written in Go print an absent list as `null`.
fn or_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_with_every_member_is_read() {
        let event: Event = serde_json::from_str(
            r#"{"action":"expire","node":{"key":"/a","modifiedIndex":9,"createdIndex":4},
                "prevNode":{"key":"/a","value":"v","expiration":"2030-01-01T00:00:00Z","ttl":3,"modifiedIndex":4,"createdIndex":4}}"#,
        )
        .expect("a well-formed event");
        assert_eq!((event.action.as_str(), event.node.modified_index, event.node.value), ("expire", 9, None));
        let before = event.prev_node.expect("the key before");
        assert_eq!((before.value.as_deref(), before.ttl), (Some("v"), Some(3)));
        assert_eq!(before.expiration.as_deref(), Some("2030-01-01T00:00:00Z"));
    }

    #[test]
    fn the_root_has_no_key_and_null_lists_are_empty() {
        let root: Node = serde_json::from_str(r#"{"dir":true,"nodes":null}"#).expect("the root");
        assert!(root.dir && root.key.is_empty() && root.nodes.is_empty());
        let member: Member =
            serde_json::from_str(r#"{"id":"8e","name":"","peerURLs":["http://h:1"],"clientURLs":null}"#)
                .expect("a member");
        assert_eq!((member.peer_urls.len(), member.client_urls.len()), (1, 0));
    }
}
