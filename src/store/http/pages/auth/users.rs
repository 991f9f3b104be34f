//! `/v2/auth/users` and the users below it.

use bytes::Bytes;
use warp::http::StatusCode;
use warp::reply::Response;

use super::input;
use super::input::UserInput;
use super::{Asked, Failure, await_news, change, count_gets, hash, page};
use crate::keyspace::auth::{Auth, AuthCommand, ROOT, Reply, User};
use crate::store::http::Api;
use crate::store::http::answer::json;
use crate::store::http::go::form::Form;

/// All users with their roles; roles that do not exist are skipped.
pub fn list(api: &Api) -> Bytes {
    let auth = api.store.auth().borrow().clone();
    count_gets(api, [auth.is_used()]);
    let mut users = Vec::new();
    for (name, user) in auth.users() {
        let (roles, found) = roles(&auth, name, user);
        count_gets(api, std::iter::once(true).chain(found));
        users.push(page::user_with_roles(name, roles.into_iter().flatten()));
    }
    page::users(&users)
}

/// Answers a request for one user.
pub async fn answer(api: &Api, name: &[u8], asked: Asked, query: &str) -> Result<Response, Failure> {
    match asked {
        Asked::Get => get(api, name, query).await,
        Asked::Put(body) => put(api, name, &body.bytes).await,
        Asked::Delete => {
            count_gets(api, [api.store.auth().borrow().is_used()]);
            change(api, AuthCommand::DeleteUser { name: name.into() }).await?;
            Ok(json(StatusCode::OK, Bytes::new()))
        }
    }
}

async fn get(api: &Api, name: &[u8], query: &str) -> Result<Response, Failure> {
    await_news(api, query).await?;
    let auth = api.store.auth().borrow().clone();
    let user = auth.user(name);
    count_gets(api, [user.is_some()]);
    let Some((name, user)) = user else {
        return Err(Failure::Missing([b"auth: User ", name, b" does not exist."].concat()));
    };
    // etcd looks at the query only now.
    Form::parse(None, query).map_err(|_| Failure::Server)?;
    let (roles, found) = roles(&auth, name, user);
    let until_missing = found.iter().position(|found| !found).map_or(found.len(), |place| place + 1);
    count_gets(api, found.into_iter().take(until_missing));
    let mut shown = Vec::new();
    for (role, given) in roles.into_iter().zip(user.roles(name)) {
        let missing = || Failure::Missing(format!("auth: Role {given} does not exist.").into_bytes());
        shown.push(role.ok_or_else(missing)?);
    }
    let mut body = page::user_with_roles(name, shown);
    body.push(b'\n');
    Ok(json(StatusCode::OK, body.into()))
}

/// The roles of a user as JSON, `None` for those that do not exist, and which of those that etcd looks up it finds.
fn roles(auth: &Auth, name: &str, user: &User) -> (Vec<Option<Vec<u8>>>, Vec<bool>) {
    let given = |role: &str| auth.role(role.as_bytes()).map(|found| page::role(role, &found));
    let roles: Vec<_> = user.roles(name).map(given).collect();
    let stored = user.roles(name).zip(&roles).filter(|(role, _)| *role != ROOT);
    let found = stored.map(|(_, role)| role.is_some()).collect();
    (roles, found)
}

async fn put(api: &Api, name: &[u8], body: &[u8]) -> Result<Response, Failure> {
    let UserInput { user, password, roles, grant, revoke } = input::parse(body)?;
    if user.as_bytes() != name {
        return Err(Failure::Request("User JSON name does not match the name in the URL"));
    }
    let (grant, revoke) = (grant.unwrap_or_default(), revoke.unwrap_or_default());
    let given = roles.as_ref().is_some_and(|roles| !roles.is_empty());
    let changes = !grant.is_empty() || !revoke.is_empty();
    if given && changes {
        return Err(Failure::Request("User JSON contains both roles and grant/revoke"));
    }
    let hash = hash(api, password).await?;
    let command = match roles {
        _ if changes => AuthCommand::UpdateUser { name: user, hash, grant, revoke },
        Some(roles) if given => AuthCommand::CreateUser { name: user, hash, roles },
        roles => AuthCommand::PutUser { name: user, hash, roles },
    };
    match change(api, command).await? {
        Reply::User { name, roles, created } => {
            let status = if created { StatusCode::CREATED } else { StatusCode::OK };
            Ok(json(status, page::user(&name, roles.as_deref())))
        }
        Reply::Role { .. } | Reply::Done => Err(Failure::Server),
    }
}
