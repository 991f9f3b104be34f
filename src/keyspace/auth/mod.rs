//! Who may do what: users, roles, the switch, and etcd's rules for changing and asking them.
//!
//! Every change takes indexes as in etcd, which keeps these records in a hidden part of its own store: one each, and
//! four more for the first, which makes the places where they lie. All conditions are looked at here, inside the log,
//! so that two nodes never disagree on them.

mod access;
mod command;
mod error;
mod role;
mod user;

pub use access::{Access, Who};
pub use command::{AuthCommand, PasswordHash};
pub use error::AuthError;
pub use role::{Permissions, Role};
pub use user::User;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Counters;

/// The user and the role that may do everything.
pub const ROOT: &str = "root";

/// The role of whoever does not say who he is.
pub const GUEST: &str = "guest";

/// Indexes that the first write takes in addition: three directories and the switch.
const FIRST_STEPS: u64 = 4;

/// Bytes that users and roles may take together: they are one record of a snapshot and of a backup, and are copied at
/// each change.
pub const AUTH_BYTES: usize = 10 << 20;

/// What a user or a role takes beside its texts, and a text beside itself, in bytes: at least as much as when it is
/// encoded.
const RECORD_BYTES: usize = 64;
const TEXT_BYTES: usize = 8;

/// Users, roles and the switch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Auth {
    used: bool,
    enabled: bool,
    users: BTreeMap<String, User>,
    roles: BTreeMap<String, Role>,
}

/// What a change that was not refused made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A user was written.
    User {
        /// The name.
        name: String,
        /// The roles as they are stored now; `None` where none were ever given.
        roles: Option<Vec<String>>,
        /// The user is new, and it was not clear from the request that it would be.
        created: bool,
    },
    /// A role was written.
    Role {
        /// The name.
        name: String,
        /// What is stored now.
        role: Role,
        /// The role is new.
        created: bool,
    },
    /// There is nothing to tell.
    Done,
}

/// What came of a command.
pub(super) struct Outcome {
    /// How many indexes it took; a refused command may have been the first.
    pub steps: u64,
    /// What it made, or why it was refused.
    pub result: Result<Reply, AuthError>,
}

/// What some texts take, in bytes.
fn weight<'a>(texts: impl IntoIterator<Item = &'a String>) -> usize {
    texts.into_iter().map(|text| text.len() + TEXT_BYTES).sum()
}

/// A role that nobody writes down: it may do everything.
pub(super) fn root_role() -> Role {
    Role::allowing_all()
}

impl Auth {
    /// Whether requests are checked.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Whether anything was ever written; etcd finds no switch before that.
    pub fn is_used(&self) -> bool {
        self.used
    }

    /// A user.
    pub fn user(&self, name: &[u8]) -> Option<(&str, &User)> {
        let (name, user) = self.users.get_key_value(std::str::from_utf8(name).ok()?)?;
        Some((name, user))
    }

    /// A role; root is always there.
    pub fn role(&self, name: &[u8]) -> Option<Cow<'_, Role>> {
        if name == ROOT.as_bytes() {
            return Some(Cow::Owned(root_role()));
        }
        self.roles.get(std::str::from_utf8(name).ok()?).map(Cow::Borrowed)
    }

    /// The users in the order of their names. As in any listing, those that begin with `_` are hidden.
    pub fn users(&self) -> impl Iterator<Item = (&str, &User)> {
        self.users.iter().map(|(name, user)| (name.as_str(), user)).filter(|(name, _)| !name.starts_with('_'))
    }

    /// The names of the roles in their order, root among them, hidden ones left out.
    pub fn role_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.roles.keys().map(String::as_str).filter(|name| !name.starts_with('_')).collect();
        let place = names.partition_point(|name| *name < ROOT);
        names.insert(place, ROOT);
        names
    }

    /// About how many bytes users and roles take.
    fn weight(&self) -> usize {
        let users: usize = self.users.iter().map(|(name, user)| user.weight(name)).sum();
        users + self.roles.iter().map(|(name, role)| role.weight(name)).sum::<usize>()
    }

    /// Carries out one command, and counts it as etcd counts the operations on its own store that it makes of it.
    pub(super) fn apply(&mut self, command: &AuthCommand, counters: &mut Counters) -> Outcome {
        let mut work = Work { auth: self, counters, steps: 0 };
        let result = work.run(command);
        Outcome { steps: work.steps, result }
    }
}

/// One command being carried out.
pub(super) struct Work<'a> {
    pub(super) auth: &'a mut Auth,
    pub(super) counters: &'a mut Counters,
    steps: u64,
}

impl Work<'_> {
    fn run(&mut self, command: &AuthCommand) -> Result<Reply, AuthError> {
        match command {
            AuthCommand::CreateUser { name, hash, roles } => {
                self.create_user(name, hash.as_ref(), Some(roles))
            }
            AuthCommand::PutUser { name, hash, roles } => {
                self.put_user(name, hash.as_ref(), roles.as_deref())
            }
            AuthCommand::UpdateUser { name, hash, grant, revoke } => {
                self.update_user(name, hash.as_ref(), grant, revoke)
            }
            AuthCommand::DeleteUser { name } => self.delete_user(name),
            AuthCommand::CreateRole { name, role } => self.create_role(name, role),
            AuthCommand::UpdateRole { name, grant, revoke } => {
                self.update_role(name, grant.as_ref(), revoke.as_ref())
            }
            AuthCommand::DeleteRole { name } => self.delete_role(name),
            AuthCommand::Enable => self.enable(),
            AuthCommand::Disable => self.disable(),
        }
    }

    /// Makes the places for the records, before the first of them; stays even when the command is refused then.
    fn prepare(&mut self) {
        if !self.auth.used {
            self.auth.used = true;
            self.steps += FIRST_STEPS;
            self.counters.creates.success += FIRST_STEPS;
        }
    }

    /// Makes sure that there is room for a user or a role of `after` bytes in place of one of `before`.
    fn make_room(&self, before: usize, after: usize) -> Result<(), AuthError> {
        if after > before && self.auth.weight() - before + after > AUTH_BYTES {
            return Err(AuthError::TooLarge);
        }
        Ok(())
    }

    /// Takes the index of one write.
    fn step(&mut self) {
        self.steps += 1;
    }

    fn enable(&mut self) -> Result<Reply, AuthError> {
        if self.auth.enabled {
            return Err(AuthError::AlreadyEnabled);
        }
        let has_root = self.auth.users.contains_key(ROOT);
        self.counters.gets.count(has_root);
        if !has_root {
            return Err(AuthError::NoRootUser);
        }
        let has_guest = self.auth.roles.contains_key(GUEST);
        self.counters.gets.count(has_guest);
        if !has_guest {
            self.create_role(GUEST, &Role::allowing_all())?;
        }
        self.switch(true)
    }

    fn disable(&mut self) -> Result<Reply, AuthError> {
        if self.auth.enabled { self.switch(false) } else { Err(AuthError::AlreadyDisabled) }
    }

    fn switch(&mut self, on: bool) -> Result<Reply, AuthError> {
        self.prepare();
        self.auth.enabled = on;
        self.counters.updates.success += 1;
        self.step();
        Ok(Reply::Done)
    }
}

#[cfg(test)]
mod naive_test;
#[cfg(test)]
mod tests;
