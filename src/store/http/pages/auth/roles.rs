//! `/v2/auth/roles` and the roles below it.

use bytes::Bytes;
use warp::http::StatusCode;
use warp::reply::Response;

use super::input;
use super::input::RoleInput;
use super::{Asked, Failure, await_news, change, count_gets, page};
use crate::keyspace::auth::{AuthCommand, Permissions, ROOT, Reply, Role};
use crate::store::http::Api;
use crate::store::http::answer::json;

/// All roles, root among them.
pub fn list(api: &Api) -> Bytes {
    let auth = api.store.auth().borrow().clone();
    count_gets(api, [auth.is_used()]);
    let mut roles = Vec::new();
    for name in auth.role_names() {
        if let Some(role) = auth.role(name.as_bytes()) {
            count_gets(api, (name != ROOT).then_some(true));
            roles.push(page::role(name, &role));
        }
    }
    page::roles(&roles)
}

/// Answers a request for one role.
pub async fn answer(api: &Api, name: &[u8], asked: Asked) -> Result<Response, Failure> {
    match asked {
        Asked::Get => get(api, name).await,
        Asked::Put(body) => put(api, name, &body.bytes).await,
        Asked::Delete => {
            change(api, AuthCommand::DeleteRole { name: name.into() }).await?;
            Ok(json(StatusCode::OK, Bytes::new()))
        }
    }
}

async fn get(api: &Api, name: &[u8]) -> Result<Response, Failure> {
    await_news(api, "").await?;
    let auth = api.store.auth().borrow().clone();
    let role = auth.role(name);
    count_gets(api, (name != ROOT.as_bytes()).then_some(role.is_some()));
    match (role, std::str::from_utf8(name)) {
        (Some(role), Ok(name)) => Ok(json(StatusCode::OK, page::role_line(name, &role))),
        _ => Err(Failure::Missing([b"auth: Role ", name, b" does not exist."].concat())),
    }
}

async fn put(api: &Api, name: &[u8], body: &[u8]) -> Result<Response, Failure> {
    let RoleInput { role, permissions, grant, revoke } = input::parse(body)?;
    if role.as_bytes() != name {
        return Err(Failure::Request("Role JSON name does not match the name in the URL"));
    }
    let empty = |list: &Option<Permissions>| list.as_ref().is_none_or(Permissions::is_empty);
    let command = if empty(&grant) && empty(&revoke) {
        AuthCommand::CreateRole { name: role, role: Role { permissions, grant, revoke } }
    } else if permissions.is_empty() {
        AuthCommand::UpdateRole { name: role, grant, revoke }
    } else {
        return Err(Failure::Request("Role JSON contains both permissions and grant/revoke"));
    };
    match change(api, command).await? {
        Reply::Role { name, role, created } => {
            let status = if created { StatusCode::CREATED } else { StatusCode::OK };
            Ok(json(status, page::role_line(&name, &role)))
        }
        Reply::User { .. } | Reply::Done => Err(Failure::Server),
    }
}
