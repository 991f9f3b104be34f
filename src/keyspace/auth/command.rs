//! What the log says about users and roles. The binary form is the log's schema: new commands and fields go to the
//! end.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::role::{Permissions, Role};
use super::weight;
use crate::keyspace::Blob;

/// The bcrypt hash of a password. Passwords themselves are never in here, nor is the hash shown in logs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordHash(Box<str>);

impl PasswordHash {
    /// A hash as bcrypt writes it.
    pub fn new(hash: &str) -> Self {
        Self(hash.into())
    }

    /// The text of the hash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// One change of users, roles or the switch. A hash is absent where the request had no password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthCommand {
    /// Make a user with these roles.
    CreateUser {
        /// The name of the user.
        name: String,
        /// The password's hash.
        hash: Option<PasswordHash>,
        /// At least one role.
        roles: Vec<String>,
    },
    /// Make a user, or change the password of the one that is there.
    PutUser {
        /// The name of the user.
        name: String,
        /// The password's hash.
        hash: Option<PasswordHash>,
        /// An empty list or none at all, which etcd tells apart when it answers.
        roles: Option<Vec<String>>,
    },
    /// Change a user.
    UpdateUser {
        /// The name of the user.
        name: String,
        /// The hash of a new password.
        hash: Option<PasswordHash>,
        /// Roles to give.
        grant: Vec<String>,
        /// Roles to take.
        revoke: Vec<String>,
    },
    /// Remove a user.
    DeleteUser {
        /// Who: any bytes, because they come from a path.
        name: Blob,
    },
    /// Make a role.
    CreateRole {
        /// The name of the role.
        name: String,
        /// What it is to be.
        role: Role,
    },
    /// Change a role.
    UpdateRole {
        /// The name of the role.
        name: String,
        /// What it may do in addition.
        grant: Option<Permissions>,
        /// What it may no longer do.
        revoke: Option<Permissions>,
    },
    /// Remove a role.
    DeleteRole {
        /// Its name: any bytes, because they come from a path.
        name: Blob,
    },
    /// Check requests from now on.
    Enable,
    /// Check requests no more.
    Disable,
}

impl AuthCommand {
    /// About how many bytes it has.
    pub fn weight(&self) -> usize {
        let some = |p: &Option<Permissions>| p.as_ref().map_or(0, Permissions::weight);
        128 + match self {
            Self::CreateUser { name, roles, .. } => name.len() + weight(roles),
            Self::PutUser { name, .. } => name.len(),
            Self::UpdateUser { name, grant, revoke, .. } => name.len() + weight(grant) + weight(revoke),
            Self::DeleteUser { name } | Self::DeleteRole { name } => name.len(),
            Self::CreateRole { name, role } => name.len() + role.permissions.weight(),
            Self::UpdateRole { name, grant, revoke } => name.len() + some(grant) + some(revoke),
            Self::Enable | Self::Disable => 0,
        }
    }
}
