//! What the members say of themselves. Who is a member at all stands in the roster.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::format::Version;

/// A member's name, where clients reach it, and what it can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Attributes {
    /// The member's name.
    pub name: String,
    /// Its client URLs.
    pub client_urls: Vec<String>,
    /// The highest version that it can do.
    pub version: Version,
    /// A remark, in the next version.
    #[cfg(debug_assertions)]
    #[serde(default, skip_serializing_if = "crate::format::is_before_next")]
    pub remark: Option<String>,
}

crate::format::extendable!(Attributes);

/// The attributes of every member that has published them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members(BTreeMap<u64, Attributes>);

impl Members {
    /// What member `id` last said of itself.
    pub fn get(&self, id: u64) -> Option<&Attributes> {
        self.0.get(&id)
    }

    /// Whether no member has said anything yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes note of what member `id` says of itself.
    pub(in crate::keyspace) fn publish(&mut self, id: u64, attributes: Attributes) {
        self.0.insert(id, attributes);
    }

    /// Takes note of what member `id` remarks, in the next version.
    #[cfg(debug_assertions)]
    pub(in crate::keyspace) fn remark(&mut self, id: u64, text: &str) {
        if let Some(attributes) = self.0.get_mut(&id) {
            attributes.remark = Some(text.into());
        }
    }

    /// Forgets what a member that was removed said.
    pub(in crate::keyspace) fn forget(&mut self, id: u64) {
        self.0.remove(&id);
    }
}
