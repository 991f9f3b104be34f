//! Roles: lists of patterns.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{AuthError, RECORD_BYTES, ROOT, Reply, Work, weight};
use crate::keyspace::Blob;

/// Patterns of keys. A list that was never set is not the same as an empty one: it is shown as `null`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Permissions {
    /// What may be read.
    pub read: Option<Vec<String>>,
    /// What may be written.
    pub write: Option<Vec<String>>,
}

crate::format::extendable!(Permissions);

/// A role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Role {
    /// What it may do: as given when the role was made, sorted and each once after a change.
    pub permissions: Permissions,
    /// An empty `grant` that came along when the role was made: etcd keeps it until the next change.
    pub grant: Option<Permissions>,
    /// An empty `revoke`, the same.
    pub revoke: Option<Permissions>,
}

crate::format::extendable!(Role);

impl Permissions {
    /// Whether no pattern is in it.
    pub fn is_empty(&self) -> bool {
        [&self.read, &self.write].into_iter().flatten().all(Vec::is_empty)
    }

    /// About how many bytes the patterns take.
    pub(super) fn weight(&self) -> usize {
        weight([&self.read, &self.write].into_iter().flatten().flatten())
    }

    /// With more patterns, none of which it may have had.
    fn with(&self, more: &Self) -> Result<Self, AuthError> {
        let read = add(&self.read, &more.read).map_err(|pattern| AuthError::ReadGranted { pattern })?;
        let write = add(&self.write, &more.write).map_err(|pattern| AuthError::WriteGranted { pattern })?;
        Ok(Self { read: Some(read), write: Some(write) })
    }

    /// Without some patterns; those it does not have do not matter.
    fn without(&self, fewer: &Self) -> Self {
        Self { read: Some(take(&self.read, &fewer.read)), write: Some(take(&self.write, &fewer.write)) }
    }
}

fn add(list: &Option<Vec<String>>, more: &Option<Vec<String>>) -> Result<Vec<String>, String> {
    let mut set: BTreeSet<&String> = list.iter().flatten().collect();
    for pattern in more.iter().flatten() {
        if !set.insert(pattern) {
            return Err(pattern.clone());
        }
    }
    Ok(set.into_iter().cloned().collect())
}

fn take(list: &Option<Vec<String>>, fewer: &Option<Vec<String>>) -> Vec<String> {
    let mut set: BTreeSet<&String> = list.iter().flatten().collect();
    for pattern in fewer.iter().flatten() {
        set.remove(pattern);
    }
    set.into_iter().cloned().collect()
}

impl Role {
    /// About how many bytes a role with this name takes.
    pub(super) fn weight(&self, name: &str) -> usize {
        RECORD_BYTES + name.len() + self.permissions.weight()
    }

    /// May read and write every key: role root, and what role guest is at first.
    pub(super) fn allowing_all() -> Self {
        let all = Some(vec!["/*".to_string()]);
        let permissions = Permissions { read: all.clone(), write: all };
        Self { permissions, grant: None, revoke: None }
    }
}

impl Work<'_> {
    pub(super) fn create_role(&mut self, name: &str, role: &Role) -> Result<Reply, AuthError> {
        if name == ROOT {
            return Err(AuthError::RootRole);
        }
        self.prepare();
        if self.auth.roles.contains_key(name) {
            self.counters.creates.fail += 1;
            return Err(AuthError::RoleExists { name: name.into() });
        }
        self.make_room(0, role.weight(name))?;
        self.auth.roles.insert(name.into(), role.clone());
        self.counters.creates.success += 1;
        self.step();
        Ok(Reply::Role { name: name.into(), role: role.clone(), created: true })
    }

    pub(super) fn update_role(
        &mut self,
        name: &str,
        grant: Option<&Permissions>,
        revoke: Option<&Permissions>,
    ) -> Result<Reply, AuthError> {
        if name == ROOT {
            return Err(AuthError::RootRole);
        }
        let old = self.auth.roles.get(name);
        self.counters.gets.count(old.is_some());
        let old = old.ok_or_else(|| AuthError::NoRole { name: name.into() })?;
        let mut permissions = old.permissions.clone();
        if let Some(grant) = grant {
            permissions = permissions.with(grant)?;
        }
        if let Some(revoke) = revoke {
            permissions = permissions.without(revoke);
        }
        let role = Role { permissions, grant: None, revoke: None };
        if role == *old {
            return Err(AuthError::RoleUnchanged);
        }
        self.make_room(old.weight(name), role.weight(name))?;
        self.prepare();
        self.auth.roles.insert(name.into(), role.clone());
        self.counters.updates.success += 1;
        self.step();
        Ok(Reply::Role { name: name.into(), role, created: false })
    }

    pub(super) fn delete_role(&mut self, name: &Blob) -> Result<Reply, AuthError> {
        if **name == *ROOT.as_bytes() {
            return Err(AuthError::RootRole);
        }
        self.prepare();
        let removed = std::str::from_utf8(name).ok().and_then(|name| self.auth.roles.remove(name));
        self.counters.deletes.count(removed.is_some());
        match removed {
            Some(_) => {
                self.step();
                Ok(Reply::Done)
            }
            None => Err(AuthError::NoRoleToRemove { name: name.clone() }),
        }
    }
}
