//! Users: a password and roles.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::command::PasswordHash;
use super::{AuthError, RECORD_BYTES, ROOT, Reply, Work, weight};
use crate::keyspace::Blob;

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct User {
    /// The password's hash.
    pub hash: PasswordHash,
    /// The roles as they were given; sorted and each once after a change; `None` where none were ever given.
    roles: Option<Vec<String>>,
}

crate::format::extendable!(User);

impl User {
    /// About how many bytes a user with this name takes.
    pub(super) fn weight(&self, name: &str) -> usize {
        RECORD_BYTES + name.len() + self.hash.as_str().len() + weight(self.roles.iter().flatten())
    }

    /// The names of the roles; user root has role root whatever was given.
    pub fn roles<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let given = self.roles.as_deref().unwrap_or_default();
        let attached = name == ROOT && !given.iter().any(|role| role == ROOT);
        given.iter().map(String::as_str).chain(attached.then_some(ROOT))
    }
}

impl Work<'_> {
    pub(super) fn create_user(
        &mut self,
        name: &str,
        hash: Option<&PasswordHash>,
        roles: Option<&[String]>,
    ) -> Result<Reply, AuthError> {
        let Some(hash) = hash else { return Err(AuthError::EmptyPassword { name: name.into() }) };
        self.prepare();
        if self.auth.users.contains_key(name) {
            self.counters.creates.fail += 1;
            return Err(AuthError::UserExists { name: name.into() });
        }
        let mut roles = roles.map(<[String]>::to_vec);
        if name == ROOT && !roles.iter().flatten().any(|role| role == ROOT) {
            roles.get_or_insert_default().push(ROOT.into());
        }
        let user = User { hash: hash.clone(), roles: roles.clone() };
        self.make_room(0, user.weight(name))?;
        self.auth.users.insert(name.into(), user);
        self.counters.creates.success += 1;
        self.step();
        Ok(Reply::User { name: name.into(), roles, created: false })
    }

    /// Without roles etcd finds out by itself whether a user is to be made or to be changed.
    pub(super) fn put_user(
        &mut self,
        name: &str,
        hash: Option<&PasswordHash>,
        roles: Option<&[String]>,
    ) -> Result<Reply, AuthError> {
        let exists = self.auth.users.contains_key(name);
        self.counters.gets.count(exists);
        if exists {
            return self.update_user(name, hash, &[], &[]);
        }
        match self.create_user(name, hash, roles)? {
            Reply::User { name, roles, .. } => Ok(Reply::User { name, roles, created: true }),
            other => Ok(other),
        }
    }

    pub(super) fn update_user(
        &mut self,
        name: &str,
        hash: Option<&PasswordHash>,
        grant: &[String],
        revoke: &[String],
    ) -> Result<Reply, AuthError> {
        let old = self.auth.users.get(name);
        self.counters.gets.count(old.is_some());
        let old = old.ok_or_else(|| AuthError::NoUser { name: name.into() })?;
        let before: Vec<&str> = old.roles(name).collect();
        let mut roles: BTreeSet<&str> = before.iter().copied().collect();
        for role in grant {
            if !roles.insert(role) {
                return Err(AuthError::RoleGranted { user: name.into(), role: role.clone() });
            }
        }
        for role in revoke {
            if !roles.remove(role.as_str()) {
                return Err(AuthError::RoleNotGranted { user: name.into(), role: role.clone() });
            }
        }
        // To etcd an empty list and none at all are not the same, so a user without roles can be changed once by
        // nothing.
        let same =
            hash.is_none() && roles.iter().eq(before.iter()) && (old.roles.is_some() || !before.is_empty());
        if same {
            return Err(AuthError::UserUnchanged);
        }
        let roles: Vec<String> = roles.into_iter().map(str::to_string).collect();
        let user = User { hash: hash.unwrap_or(&old.hash).clone(), roles: Some(roles.clone()) };
        self.make_room(old.weight(name), user.weight(name))?;
        self.prepare();
        self.auth.users.insert(name.into(), user);
        self.counters.updates.success += 1;
        self.step();
        Ok(Reply::User { name: name.into(), roles: Some(roles), created: false })
    }

    pub(super) fn delete_user(&mut self, name: &Blob) -> Result<Reply, AuthError> {
        if self.auth.enabled && **name == *ROOT.as_bytes() {
            return Err(AuthError::RootNeeded);
        }
        self.prepare();
        let removed = std::str::from_utf8(name).ok().and_then(|name| self.auth.users.remove(name));
        self.counters.deletes.count(removed.is_some());
        match removed {
            Some(_) => {
                self.step();
                Ok(Reply::Done)
            }
            None => Err(AuthError::NoUserToRemove { name: name.clone() }),
        }
    }
}
