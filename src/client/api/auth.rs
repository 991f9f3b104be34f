//! Users, roles and the switch of access control: etcd's v2 API below `/v2/auth`.

use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::client::error::ClientError;
use crate::client::request::{Reply, Request, segment};

/// A user and the names of its roles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its roles, as the server orders them.
    pub roles: Vec<String>,
}

/// A role and what it allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthRole {
    /// Its name.
    pub name: String,
    /// Keys, and beginnings of keys that end in `*`.
    pub rights: Rights,
}

/// What may be read and written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Patterns of what may be read.
    pub read: Vec<String>,
    /// Patterns of what may be written.
    pub write: Vec<String>,
}

/// A kind of access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// To read only.
    Read,
    /// To write only.
    Write,
    /// To read and to write.
    Both,
}

impl Client {
    /// The names of all users.
    ///
    /// # Errors
    /// [`ClientError::Declined`]: 401 when only others may know; [`ClientError::Unavailable`];
    /// [`ClientError::Malformed`].
    pub async fn users(&self) -> Result<Vec<String>, ClientError> {
        let (reply, from) = self.ask(&Request::get("/v2/auth/users")).await?;
        let users: UserList = reply.parse(&from)?;
        Ok(users.users.unwrap_or_default().into_iter().map(|user| user.user).collect())
    }

    /// One user.
    ///
    /// # Errors
    /// As [`Client::users`]; 404 when there is none of this name.
    pub async fn user(&self, name: &str) -> Result<User, ClientError> {
        let (reply, from) = self.ask(&Request::get(&user_path(name))).await?;
        let UserForm { user, roles } = reply.parse(&from)?;
        let roles = roles.unwrap_or_default().into_iter().map(|role| role.role).collect();
        Ok(User { name: user, roles })
    }

    /// Creates a user, or gives one that exists another password.
    ///
    /// # Errors
    /// As [`Client::users`]; 400 for a new user without a password.
    pub async fn put_user(&self, name: &str, password: &str) -> Result<(), ClientError> {
        let body = UserBody { password, ..UserBody::of(name) };
        self.auth(Method::PUT, &user_path(name), Some(json(&body))).await
    }

    /// Gives a user roles.
    ///
    /// # Errors
    /// As [`Client::users`]; 404 for an unknown user or role, 409 for a role the user has.
    pub async fn grant_roles(&self, name: &str, roles: &[String]) -> Result<(), ClientError> {
        let body = UserBody { grant: roles, ..UserBody::of(name) };
        self.auth(Method::PUT, &user_path(name), Some(json(&body))).await
    }

    /// Takes roles from a user.
    ///
    /// # Errors
    /// As [`Client::users`]; 404 for an unknown user, 409 for a role the user does not have.
    pub async fn revoke_roles(&self, name: &str, roles: &[String]) -> Result<(), ClientError> {
        let body = UserBody { revoke: roles, ..UserBody::of(name) };
        self.auth(Method::PUT, &user_path(name), Some(json(&body))).await
    }

    /// Removes a user.
    ///
    /// # Errors
    /// As [`Client::users`]; 404 for an unknown user, 403 for root while access is controlled.
    pub async fn remove_user(&self, name: &str) -> Result<(), ClientError> {
        self.auth(Method::DELETE, &user_path(name), None).await
    }

    /// The names of all roles.
    ///
    /// # Errors
    /// As [`Client::users`].
    pub async fn roles(&self) -> Result<Vec<String>, ClientError> {
        let (reply, from) = self.ask(&Request::get("/v2/auth/roles")).await?;
        let roles: RoleList = reply.parse(&from)?;
        Ok(roles.roles.unwrap_or_default().into_iter().map(|role| role.role).collect())
    }

    /// One role.
    ///
    /// # Errors
    /// As [`Client::users`]; 404 when there is none of this name.
    pub async fn role(&self, name: &str) -> Result<AuthRole, ClientError> {
        let (reply, from) = self.ask(&Request::get(&role_path(name))).await?;
        Ok(reply.parse::<RoleForm>(&from)?.into())
    }

    /// Creates a role that allows nothing.
    ///
    /// # Errors
    /// As [`Client::users`]; 409 when it exists.
    pub async fn add_role(&self, name: &str) -> Result<(), ClientError> {
        self.auth(Method::PUT, &role_path(name), Some(json(&RoleBody::of(name)))).await
    }

    /// Gives a role a right and returns the role as it is then.
    ///
    /// # Errors
    /// As [`Client::users`]; 404 for an unknown role, 409 for a right the role has.
    pub async fn grant_right(&self, name: &str, path: &str, right: Right) -> Result<AuthRole, ClientError> {
        let body = RoleBody { grant: Some(PermissionsForm::of(path, right)), ..RoleBody::of(name) };
        self.change_role(name, &body).await
    }

    /// Takes a right from a role and returns the role as it is then.
    ///
    /// # Errors
    /// As [`Client::users`]; 404 for an unknown role, 400 for a right the role does not have.
    pub async fn revoke_right(&self, name: &str, path: &str, right: Right) -> Result<AuthRole, ClientError> {
        let body = RoleBody { revoke: Some(PermissionsForm::of(path, right)), ..RoleBody::of(name) };
        self.change_role(name, &body).await
    }

    /// Removes a role.
    ///
    /// # Errors
    /// As [`Client::users`]; 404 for an unknown role.
    pub async fn remove_role(&self, name: &str) -> Result<(), ClientError> {
        self.auth(Method::DELETE, &role_path(name), None).await
    }

    /// Turns access control on or off.
    ///
    /// # Errors
    /// As [`Client::users`]; 409 when it is so already, or when there is no user root to turn it on with.
    pub async fn control_access(&self, on: bool) -> Result<(), ClientError> {
        let method = if on { Method::PUT } else { Method::DELETE };
        self.auth(method, "/v2/auth/enable", None).await
    }

    async fn change_role(&self, name: &str, body: &RoleBody<'_>) -> Result<AuthRole, ClientError> {
        let request = Request::json(Method::PUT, &role_path(name), json(body));
        let (reply, from) = self.tell(&request).await?;
        Ok(reply.parse::<RoleForm>(&from)?.into())
    }

    async fn auth(&self, method: Method, path: &str, body: Option<String>) -> Result<(), ClientError> {
        let request = match body {
            Some(body) => Request::json(method, path, body),
            None => Request::bare(method, path),
        };
        let (reply, from) = self.tell(&request).await?;
        let Reply { status: 200..300, .. } = reply else { return Err(reply.refusal(&from)) };
        Ok(())
    }
}

fn user_path(name: &str) -> String {
    format!("/v2/auth/users/{}", segment(name))
}

fn role_path(name: &str) -> String {
    format!("/v2/auth/roles/{}", segment(name))
}

fn json(body: &impl Serialize) -> String {
    // A structure of texts always can be written.
    serde_json::to_string(body).unwrap_or_default()
}

/// A user as servers list it, with its roles whole.
#[derive(Deserialize)]
struct UserForm {
    user: String,
    #[serde(default)]
    roles: Option<Vec<RoleForm>>,
}

#[derive(Deserialize)]
struct UserList {
    users: Option<Vec<UserForm>>,
}

#[derive(Deserialize)]
struct RoleForm {
    role: String,
    #[serde(default)]
    permissions: PermissionsForm,
}

#[derive(Deserialize)]
struct RoleList {
    roles: Option<Vec<RoleForm>>,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct PermissionsForm {
    kv: RightsForm,
}

/// Lists that were never set are `null`.
#[derive(Clone, Default, Serialize, Deserialize)]
struct RightsForm {
    read: Option<Vec<String>>,
    write: Option<Vec<String>>,
}

impl PermissionsForm {
    fn of(path: &str, right: Right) -> Self {
        let list = |wanted: bool| wanted.then(|| vec![path.to_string()]);
        Self { kv: RightsForm { read: list(right != Right::Write), write: list(right != Right::Read) } }
    }
}

impl From<RoleForm> for AuthRole {
    fn from(form: RoleForm) -> Self {
        let RightsForm { read, write } = form.permissions.kv;
        let rights = Rights { read: read.unwrap_or_default(), write: write.unwrap_or_default() };
        Self { name: form.role, rights }
    }
}

/// A user as it is sent; what is empty is left out, but for `roles`, as etcd's own client does.
#[derive(Serialize)]
struct UserBody<'a> {
    user: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    password: &'a str,
    roles: Option<()>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    grant: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    revoke: &'a [String],
}

impl<'a> UserBody<'a> {
    fn of(user: &'a str) -> Self {
        Self { user, password: "", roles: None, grant: &[], revoke: &[] }
    }
}

#[derive(Serialize)]
struct RoleBody<'a> {
    role: &'a str,
    permissions: PermissionsForm,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<PermissionsForm>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoke: Option<PermissionsForm>,
}

impl<'a> RoleBody<'a> {
    fn of(role: &'a str) -> Self {
        Self { role, permissions: PermissionsForm::default(), grant: None, revoke: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_sent_without_what_is_not_changed() {
        let roles = ["a,b".to_string()];
        assert_eq!(
            json(&UserBody { grant: &roles, ..UserBody::of("u") }),
            r#"{"user":"u","roles":null,"grant":["a,b"]}"#
        );
        assert_eq!(
            json(&UserBody { password: "p", ..UserBody::of("u") }),
            r#"{"user":"u","password":"p","roles":null}"#
        );
        assert_eq!(json(&UserBody::of("u")), r#"{"user":"u","roles":null}"#);
    }

    #[test]
    fn a_right_is_sent_as_a_grant_or_a_revocation() {
        let body = RoleBody { revoke: Some(PermissionsForm::of("/a*", Right::Read)), ..RoleBody::of("r") };
        assert_eq!(
            json(&body),
            r#"{"role":"r","permissions":{"kv":{"read":null,"write":null}},"revoke":{"kv":{"read":["/a*"],"write":null}}}"#
        );
    }

    #[test]
    fn lists_that_were_never_set_are_empty() {
        let list: UserList = serde_json::from_str(r#"{"users":null}"#).expect("a list");
        assert!(list.users.is_none());
        let form: RoleForm =
            serde_json::from_str(r#"{"role":"r","permissions":{"kv":{"read":["/x"],"write":null}}}"#)
                .expect("a role");
        let role = AuthRole::from(form);
        assert_eq!((role.rights.read, role.rights.write), (vec!["/x".to_string()], Vec::new()));
    }
}
