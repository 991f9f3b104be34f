//! `/v2/auth`: users, roles and the switch.

mod input;
mod page;
mod refusal;
mod roles;
mod users;

use bytes::Bytes;
use warp::http::{HeaderMap, Method, StatusCode};
use warp::reply::Response;

use crate::keyspace::auth::{AuthCommand, AuthError, PasswordHash, Reply};
use crate::keyspace::{Command, Tally};
use crate::store::Consistency;
use crate::store::http::answer::{cluster_header, json, message, method_not_allowed, not_found};
use crate::store::http::body::Pieces;
use crate::store::http::go::form::{Field, Form};
use crate::store::http::guard::require_root;
use crate::store::http::head::Head;
use crate::store::http::{Api, body};

/// What was asked of one user or role.
enum Asked {
    Get,
    Put(body::Whole),
    Delete,
}

/// Why there is no good answer.
enum Failure {
    /// The change was refused.
    Refused(AuthError),
    /// The request is wrong in itself.
    Request(&'static str),
    /// There is no such thing to show.
    Missing(Vec<u8>),
    /// The store does not answer, or, as in etcd, the query cannot be parsed.
    Server,
}

impl From<AuthError> for Failure {
    fn from(error: AuthError) -> Self {
        Self::Refused(error)
    }
}

impl Failure {
    fn into_response(self) -> Response {
        match self {
            Self::Refused(error) => refusal::answer(&error),
            Self::Request(text) => message(StatusCode::BAD_REQUEST, text.as_bytes()),
            Self::Missing(text) => message(StatusCode::NOT_FOUND, &text),
            Self::Server => message(StatusCode::INTERNAL_SERVER_ERROR, b"Internal Server Error"),
        }
    }
}

/// Answers a request for a page below `/v2/auth`.
pub async fn answer(api: &Api, head: Head<'_>, body: impl Pieces) -> Response {
    let Head { method, path, query, headers } = head;
    // A slash at the end changes nothing, but for the switch.
    let pieces: Vec<&[u8]> = path.strip_suffix(b"/").unwrap_or(path).split(|byte| *byte == b'/').collect();
    match pieces[..] {
        [_, b"enable"] if path == b"/enable" => switch(api, method, headers).await,
        [_, kind @ (b"users" | b"roles")] => {
            if *method != Method::GET {
                return method_not_allowed("GET");
            }
            if let Err(denied) = require_root(api, headers).await {
                return denied;
            }
            let page = collection(api, kind == b"users", query).await;
            of_cluster(api, page.unwrap_or_else(Failure::into_response))
        }
        [_, kind @ (b"users" | b"roles"), name] => {
            if !matches!(*method, Method::GET | Method::PUT | Method::DELETE) {
                return method_not_allowed("GET,PUT,DELETE");
            }
            if let Err(denied) = require_root(api, headers).await {
                return denied;
            }
            let asked = match *method {
                Method::GET => Asked::Get,
                Method::DELETE => Asked::Delete,
                _ => match body::read(body, headers, api.store.limits()).await {
                    Ok(body) => Asked::Put(body),
                    Err(broken) => return of_cluster(api, input::unreadable(&broken)),
                },
            };
            let page = match kind {
                b"users" => users::answer(api, name, asked, query).await,
                _ => roles::answer(api, name, asked).await,
            };
            of_cluster(api, page.unwrap_or_else(Failure::into_response))
        }
        [_, b"users" | b"roles", ..] => message(StatusCode::BAD_REQUEST, b"Invalid path"),
        _ => not_found(),
    }
}

/// `GET /v2/auth/users` and `GET /v2/auth/roles`.
async fn collection(api: &Api, users: bool, query: &str) -> Result<Response, Failure> {
    await_news(api, query).await?;
    let body = if users { users::list(api) } else { roles::list(api) };
    // etcd looks at the query only now.
    Form::parse(None, query).map_err(|_| Failure::Server)?;
    Ok(json(StatusCode::OK, body))
}

/// `/v2/auth/enable`: whether requests are checked. Everybody may see that.
async fn switch(api: &Api, method: &Method, headers: &HeaderMap) -> Response {
    let on = match *method {
        Method::GET => None,
        Method::PUT => Some(true),
        Method::DELETE => Some(false),
        _ => return method_not_allowed("GET,PUT,DELETE"),
    };
    if on.is_some()
        && let Err(denied) = require_root(api, headers).await
    {
        return denied;
    }
    let page = async {
        let Some(on) = on else {
            await_news(api, "").await?;
            let enabled = {
                let auth = api.store.auth();
                let auth = auth.borrow();
                count_gets(api, [auth.is_used()]);
                auth.is_enabled()
            };
            return Ok(json(StatusCode::OK, format!("{{\"enabled\":{enabled}}}\n").into()));
        };
        // etcd asks for the switch twice more before it turns it.
        let used = api.store.auth().borrow().is_used();
        count_gets(api, [used, used]);
        change(api, if on { AuthCommand::Enable } else { AuthCommand::Disable }).await?;
        Ok(json(StatusCode::OK, Bytes::new()))
    };
    of_cluster(api, page.await.unwrap_or_else(Failure::into_response))
}

/// Waits until this node knows of every change that was acknowledged anywhere, unless the request has `quorum=false`.
async fn await_news(api: &Api, query: &str) -> Result<(), Failure> {
    let local = Form::parse(None, query).is_ok_and(|form| form.get(Field::QUORUM) == Some(b"false"));
    let consistency = if local { Consistency::Local } else { Consistency::Linearizable };
    api.store.wait_for(consistency).await.map_err(|error| {
        tracing::info!(%error, "users and roles not shown");
        Failure::Server
    })
}

/// Has a change applied.
async fn change(api: &Api, command: AuthCommand) -> Result<Reply, Failure> {
    let done = api.store.propose(Command::Auth(Box::new(command))).await.map_err(|error| {
        tracing::info!(%error, "users and roles not changed");
        Failure::Server
    })?;
    Ok((*done.auth.ok_or(Failure::Server)?)?)
}

/// The hash of a password; there is none of an empty one.
async fn hash(api: &Api, password: String) -> Result<Option<PasswordHash>, Failure> {
    if password.is_empty() {
        return Ok(None);
    }
    api.store.passwords().hash(password).await.map(Some).map_err(|error| {
        tracing::warn!(%error, "user not changed");
        Failure::Server
    })
}

/// Counts what etcd would look up in its store.
fn count_gets(api: &Api, found: impl IntoIterator<Item = bool>) {
    let mut gets = Tally::default();
    found.into_iter().for_each(|found| gets.count(found));
    api.store.count_gets(gets);
}

fn of_cluster(api: &Api, mut response: Response) -> Response {
    cluster_header(response.headers_mut(), api.store.node().identity().cluster);
    response
}
