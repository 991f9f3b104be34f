//! What the members say of themselves. Who is a member at all stands in the roster.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A member's name and where clients reach it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// The member's name.
    pub name: String,
    /// Its client URLs.
    pub client_urls: Vec<String>,
}

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
    pub(in crate::keyspace) fn publish(&mut self, id: u64, name: &str, client_urls: &[String]) {
        self.0.insert(id, Attributes { name: name.into(), client_urls: client_urls.to_vec() });
    }

    /// Forgets what a member that was removed said.
    pub(in crate::keyspace) fn forget(&mut self, id: u64) {
        self.0.remove(&id);
    }
}
