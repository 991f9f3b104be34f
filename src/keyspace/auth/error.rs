//! Why a change of users, roles or the switch is refused.

use crate::keyspace::Blob;

/// A refusal; nothing but the places for the records may have changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// There is such a user already.
    #[error("user {name} already exists")]
    UserExists {
        /// The name of the user.
        name: String,
    },
    /// There is no such user to change.
    #[error("user {name} does not exist")]
    NoUser {
        /// The name of the user.
        name: String,
    },
    /// There is no such user to remove.
    #[error("user {name:?} does not exist")]
    NoUserToRemove {
        /// The name of the user.
        name: Blob,
    },
    /// A new user needs a password.
    #[error("user {name} needs a password")]
    EmptyPassword {
        /// The name of the user.
        name: String,
    },
    /// The user would stay as it is.
    #[error("nothing of the user would change")]
    UserUnchanged,
    /// The user has the role already.
    #[error("user {user} has role {role} already")]
    RoleGranted {
        /// The name of the user.
        user: String,
        /// The name of the role.
        role: String,
    },
    /// The user does not have the role.
    #[error("user {user} does not have role {role}")]
    RoleNotGranted {
        /// The name of the user.
        user: String,
        /// The name of the role.
        role: String,
    },
    /// The last one who could switch checks off must stay.
    #[error("root cannot be removed while auth is enabled")]
    RootNeeded,
    /// There is such a role already.
    #[error("role {name} already exists")]
    RoleExists {
        /// The name of the role.
        name: String,
    },
    /// There is no such role to change.
    #[error("role {name} does not exist")]
    NoRole {
        /// The name of the role.
        name: String,
    },
    /// There is no such role to remove.
    #[error("role {name:?} does not exist")]
    NoRoleToRemove {
        /// The name of the role.
        name: Blob,
    },
    /// Role root is as it is.
    #[error("role root cannot be changed")]
    RootRole,
    /// The role may read that already.
    #[error("the role may read {pattern} already")]
    ReadGranted {
        /// The pattern of keys.
        pattern: String,
    },
    /// The role may write that already.
    #[error("the role may write {pattern} already")]
    WriteGranted {
        /// The pattern of keys.
        pattern: String,
    },
    /// The role would stay as it is.
    #[error("nothing of the role would change")]
    RoleUnchanged,
    /// There are so many users and roles, or such large ones.
    #[error("users and roles take more than {} MiB", super::AUTH_BYTES >> 20)]
    TooLarge,
    /// Without user root nobody could switch checks off again.
    #[error("there is no user root")]
    NoRootUser,
    /// Requests are checked already.
    #[error("auth is enabled already")]
    AlreadyEnabled,
    /// Requests are not checked anyway.
    #[error("auth is disabled already")]
    AlreadyDisabled,
}
