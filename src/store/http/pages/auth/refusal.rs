//! Refused changes in etcd's words.

use warp::http::StatusCode;
use warp::reply::Response;

use crate::keyspace::auth::{AUTH_BYTES, AuthError};
use crate::store::http::answer::message;

/// The answer to a refused change (etcd `auth/auth.go`).
pub fn answer(error: &AuthError) -> Response {
    let (status, text) = meaning(error);
    message(status, &[b"auth: ", text.as_slice()].concat())
}

fn meaning(error: &AuthError) -> (StatusCode, Vec<u8>) {
    use AuthError as E;
    let (status, text) = match error {
        E::NoUserToRemove { name } => {
            return (StatusCode::NOT_FOUND, [b"User ", &**name, b" does not exist"].concat());
        }
        E::NoRoleToRemove { name } => {
            return (StatusCode::NOT_FOUND, [b"Role ", &**name, b" doesn't exist."].concat());
        }
        E::UserExists { name } => (StatusCode::CONFLICT, format!("User {name} already exists.")),
        E::NoUser { name } => (StatusCode::NOT_FOUND, format!("User {name} does not exist.")),
        E::EmptyPassword { name } => {
            (StatusCode::BAD_REQUEST, format!("Cannot create user {name} with an empty password"))
        }
        E::UserUnchanged => (
            StatusCode::BAD_REQUEST,
            "User not updated. Use grant/revoke/password to update the user.".into(),
        ),
        E::RoleGranted { user, role } => {
            (StatusCode::CONFLICT, format!("Granting duplicate role {role} for user {user}"))
        }
        E::RoleNotGranted { user, role } => {
            (StatusCode::CONFLICT, format!("Revoking ungranted role {role} for user {user}"))
        }
        E::RootNeeded => (StatusCode::FORBIDDEN, "Cannot delete root user while auth is enabled.".into()),
        E::RoleExists { name } => (StatusCode::CONFLICT, format!("Role {name} already exists.")),
        E::NoRole { name } => (StatusCode::NOT_FOUND, format!("Role {name} does not exist.")),
        E::TooLarge => (
            StatusCode::BAD_REQUEST,
            format!("Users and roles take more than {} MiB together.", AUTH_BYTES >> 20),
        ),
        E::RootRole => (StatusCode::FORBIDDEN, "Cannot modify role root: is root role.".into()),
        E::ReadGranted { pattern } => {
            (StatusCode::CONFLICT, format!("Granting duplicate read permission {pattern}"))
        }
        E::WriteGranted { pattern } => {
            (StatusCode::CONFLICT, format!("Granting duplicate write permission {pattern}"))
        }
        E::RoleUnchanged => {
            (StatusCode::BAD_REQUEST, "Role not updated. Use grant/revoke to update the role.".into())
        }
        E::NoRootUser => (StatusCode::CONFLICT, "No root user available, please create one".into()),
        E::AlreadyEnabled => (StatusCode::CONFLICT, "already enabled".into()),
        E::AlreadyDisabled => (StatusCode::CONFLICT, "already disabled".into()),
    };
    (status, text.into_bytes())
}
