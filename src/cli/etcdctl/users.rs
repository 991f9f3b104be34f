//! Members, users, roles and access control, as etcdctl's commands manage them. These look at their arguments before
//! they ask the store, and every failure is status 1.

use super::flags::Parsed;
use super::session::Session;
use crate::cli::Failure;
use crate::cli::kv::{member, role, user};
use crate::client::Right;

/// Runs the command if it is one of these.
pub(in crate::cli::etcdctl) async fn carry_out(
    command: &str,
    given: &Parsed,
    global: &Parsed,
) -> Option<Result<(), Failure>> {
    Some(match command.split_once(' ')? {
        ("member", verb) => members(verb, given, global).await,
        ("user", verb) => users(verb, given, global).await,
        ("role", verb) => roles(verb, given, global).await,
        ("auth", verb) => auth(verb == "enable", given, global).await,
        _ => return None,
    })
}

fn wrong(problem: &str) -> Failure {
    eprintln!("{problem}");
    Failure::with_code(1, "")
}

fn none(given: &Parsed) -> Result<(), Failure> {
    if given.words.is_empty() { Ok(()) } else { Err(wrong("No arguments accepted")) }
}

async fn members(verb: &str, given: &Parsed, global: &Parsed) -> Result<(), Failure> {
    match (verb, &given.words[..]) {
        ("list", _) => {
            none(given)?;
            let Session { client, output } = Session::synced(global).await?;
            member::list(&client, &output).await
        }
        ("add", [name, url]) => {
            let Session { client, output } = Session::synced(global).await?;
            member::add(name, url, &client, &output).await
        }
        ("add", _) => Err(wrong("Provide a name and a single member peerURL")),
        ("remove", [id]) => {
            let Session { client, output } = Session::synced(global).await?;
            member::remove(id, &client, &output).await
        }
        ("remove", _) => Err(wrong("Provide a single member ID")),
        (_, [id, urls]) => {
            let Session { client, output } = Session::synced(global).await?;
            member::update(id, urls, &client, &output).await
        }
        _ => Err(wrong(
            "Provide an ID and a list of comma separated peerURL (0xabcd http://example.com,http://example1.com)",
        )),
    }
}

async fn users(verb: &str, given: &Parsed, global: &Parsed) -> Result<(), Failure> {
    if verb == "list" {
        none(given)?;
        let Session { client, output } = Session::synced(global).await?;
        return user::list(&client, &output).await;
    }
    let roles = given.list("roles");
    if matches!(verb, "grant" | "revoke") && roles.is_empty() {
        return Err(wrong("No roles specified; please use `--roles`"));
    }
    let [name] = &given.words[..] else { return Err(wrong("Please provide a username")) };
    let Session { client, output } = Session::synced(global).await?;
    match verb {
        "add" => user::add(name, &client, &output).await,
        "remove" => user::remove(name, &client, &output).await,
        "get" => user::get(name, &client, &output).await,
        "grant" => user::grant(name, roles, &client, &output).await,
        "revoke" => user::revoke(name, roles, &client, &output).await,
        _ => user::passwd(name, &client, &output).await,
    }
}

async fn roles(verb: &str, given: &Parsed, global: &Parsed) -> Result<(), Failure> {
    if verb == "list" {
        none(given)?;
        let Session { client, output } = Session::synced(global).await?;
        return role::list(&client, &output).await;
    }
    let right = if matches!(verb, "grant" | "revoke") { Some(right(given)?) } else { None };
    let [name] = &given.words[..] else { return Err(wrong("Please provide a role name")) };
    let Session { client, output } = Session::synced(global).await?;
    match (verb, right) {
        ("grant", Some(right)) => role::grant(name, given.text("path"), right, &client, &output).await,
        ("revoke", Some(right)) => role::revoke(name, given.text("path"), right, &client, &output).await,
        ("add", _) => role::add(name, &client, &output).await,
        ("get", _) => role::get(name, &client, &output).await,
        _ => role::remove(name, &client, &output).await,
    }
}

fn right(given: &Parsed) -> Result<Right, Failure> {
    let path = given.text("path");
    if path.is_empty() {
        return Err(wrong("No path specified; please use `--path`"));
    }
    let canonical = role::canonical_path(path);
    if canonical != path {
        return Err(wrong(&format!("Not canonical path; please use `--path={canonical}`")));
    }
    match (given.on("read"), given.on("write"), given.on("readwrite")) {
        (true, false, false) => Ok(Right::Read),
        (false, true, false) => Ok(Right::Write),
        (false, false, true) => Ok(Right::Both),
        _ => Err(wrong("Please specify exactly one of --read, --write or --readwrite")),
    }
}

async fn auth(on: bool, given: &Parsed, global: &Parsed) -> Result<(), Failure> {
    none(given)?;
    let Session { client, output } = Session::synced(global).await?;
    role::control(on, &client, &output).await
}
