//! Whether somebody may do something to a key.

use super::{Auth, GUEST, ROOT};
use crate::keyspace::Tally;

/// Who asks, after the password was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who<'a> {
    /// Somebody who did not say.
    Guest,
    /// A user.
    User(&'a str),
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access<'a> {
    /// The key as the request's path had it: a slash at its end counts.
    pub path: &'a [u8],
    /// With everything below.
    pub recursive: bool,
    /// A write; a read otherwise.
    pub write: bool,
}

impl Auth {
    /// Whether one of the roles of `who` allows it, whether requests are checked or not. The roles that were looked for
    /// are counted in `lookups`: etcd counts them as reads of its store.
    ///
    /// A request for a whole directory needs a pattern that ends in `*`. For a guest etcd makes no such difference.
    pub fn allows(&self, who: Who, access: Access, lookups: &mut Tally) -> bool {
        match who {
            Who::Guest => self.role_allows(GUEST, Access { recursive: false, ..access }, lookups),
            Who::User(name) => {
                let Some((name, user)) = self.user(name.as_bytes()) else { return false };
                user.roles(name).any(|role| self.role_allows(role, access, lookups))
            }
        }
    }

    /// Whether a user has role root.
    pub fn is_root(&self, name: &str) -> bool {
        self.user(name.as_bytes()).is_some_and(|(name, user)| user.roles(name).any(|role| role == ROOT))
    }

    fn role_allows(&self, name: &str, access: Access, lookups: &mut Tally) -> bool {
        if name == ROOT {
            return true;
        }
        let role = self.roles.get(name);
        lookups.count(role.is_some());
        let Some(role) = role else { return false };
        let list = if access.write { &role.permissions.write } else { &role.permissions.read };
        list.iter().flatten().any(|pattern| matches(pattern, access.path, access.recursive))
    }
}

/// A `*` at the end stands for whatever follows; everything else is meant as it is written.
fn matches(pattern: &str, path: &[u8], recursive: bool) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix.as_bytes()),
        None => !recursive && !pattern.is_empty() && path == pattern.as_bytes(),
    }
}
