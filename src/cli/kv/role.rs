//! `muster kv role` and `auth`: what roles allow, and whether that counts.

use clap::Subcommand;
use serde_json::json;

use super::output::Output;
use crate::cli::Failure;
use crate::client::{AuthRole, Client, ClientError, Right};

/// Manage roles and their rights
#[derive(clap::Args, Debug)]
#[command(subcommand_required = true, arg_required_else_help = false)]
pub(super) struct RoleCommand {
    #[command(subcommand)]
    verb: Verb,
}

/// A role and a right.
#[derive(clap::Args, Debug)]
struct PermissionChange {
    /// The role
    name: String,
    /// The key the right is about; with * at its end, all keys that begin so
    #[arg(long, value_parser = canonical)]
    path: String,
    #[command(flatten)]
    kind: Kind,
}

#[derive(clap::Args, Debug)]
#[group(required = true, multiple = false)]
struct Kind {
    /// The right to read
    #[arg(long)]
    read: bool,
    /// The right to write
    #[arg(long)]
    write: bool,
    /// Both rights
    #[arg(long, alias = "rw")]
    readwrite: bool,
}

impl Kind {
    fn right(&self) -> Right {
        match (self.read, self.write) {
            (true, _) => Right::Read,
            (_, true) => Right::Write,
            _ => Right::Both,
        }
    }
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Create a role
    Add {
        /// Its name
        name: String,
    },
    /// Remove a role
    Remove {
        /// The role
        name: String,
    },
    /// Show a role's rights
    Get {
        /// The role
        name: String,
    },
    /// List the roles
    List,
    /// Give a role a right
    Grant(PermissionChange),
    /// Take a right from a role
    Revoke(PermissionChange),
}

impl RoleCommand {
    pub async fn run(self, client: &Client, output: &Output) -> Result<(), Failure> {
        match self.verb {
            Verb::Add { name } => add(&name, client, output).await,
            Verb::Remove { name } => remove(&name, client, output).await,
            Verb::Get { name } => get(&name, client, output).await,
            Verb::List => list(client, output).await,
            Verb::Grant(PermissionChange { name, path, kind }) => {
                grant(&name, &path, kind.right(), client, output).await
            }
            Verb::Revoke(PermissionChange { name, path, kind }) => {
                revoke(&name, &path, kind.right(), client, output).await
            }
        }
    }
}

/// The path as access control wants it: absolute, without empty components, `.` and `..`, a slash at its end kept.
pub(in crate::cli) fn canonical_path(path: &str) -> String {
    let mut components: Vec<&str> = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => {
                components.pop();
            }
            name => components.push(name),
        }
    }
    let end = if path.ends_with('/') && !components.is_empty() { "/" } else { "" };
    format!("/{}{end}", components.join("/"))
}

fn canonical(path: &str) -> Result<String, String> {
    let wanted = canonical_path(path);
    if wanted == path { Ok(wanted) } else { Err(format!("write it as {wanted}")) }
}

/// Creates a role that must not exist.
pub(in crate::cli) async fn add(name: &str, client: &Client, output: &Output) -> Result<(), Failure> {
    if client.role(name).await.is_ok() {
        eprintln!("Role {name} already exists");
        return Err(Failure::with_code(1, ""));
    }
    client.add_role(name).await.map_err(|error| output.declined(error))?;
    output.done("Role", name, "created")
}

/// Removes a role.
pub(in crate::cli) async fn remove(name: &str, client: &Client, output: &Output) -> Result<(), Failure> {
    client.remove_role(name).await.map_err(|error| output.declined(error))?;
    output.done("Role", name, "removed")
}

/// Prints what a role allows.
pub(in crate::cli) async fn get(name: &str, client: &Client, output: &Output) -> Result<(), Failure> {
    let role = client.role(name).await.map_err(|error| output.declined(error))?;
    output.lines(&text(&role), &json(&role))
}

fn text(role: &AuthRole) -> String {
    let lines = |paths: &[String]| paths.iter().map(|path| format!("\t{path}\n")).collect::<String>();
    let (read, write) = (lines(&role.rights.read), lines(&role.rights.write));
    format!("Role: {}\nKV Read:\n{read}KV Write:\n{write}", role.name)
}

fn json(role: &AuthRole) -> serde_json::Value {
    json!({"role": role.name, "read": role.rights.read, "write": role.rights.write})
}

/// Prints the names of all roles.
pub(in crate::cli) async fn list(client: &Client, output: &Output) -> Result<(), Failure> {
    output.names(&client.roles().await.map_err(|error| output.declined(error))?)
}

/// Gives a role a right.
pub(in crate::cli) async fn grant(
    name: &str,
    path: &str,
    right: Right,
    client: &Client,
    output: &Output,
) -> Result<(), Failure> {
    let before = client.role(name).await;
    updated(before, client.grant_right(name, path, right), "granted", output).await
}

/// Takes a right from a role.
pub(in crate::cli) async fn revoke(
    name: &str,
    path: &str,
    right: Right,
    client: &Client,
    output: &Output,
) -> Result<(), Failure> {
    let before = client.role(name).await;
    updated(before, client.revoke_right(name, path, right), "revoked", output).await
}

/// Makes a change of a role's rights, unless the role could not be read, and says whether it was one.
async fn updated(
    before: Result<AuthRole, ClientError>,
    change: impl Future<Output = Result<AuthRole, ClientError>>,
    what: &str,
    output: &Output,
) -> Result<(), Failure> {
    let before = before.map_err(|error| output.declined(error))?;
    let after = change.await.map_err(|error| output.declined(error))?;
    // Without a line end in etcdctl, too.
    let unchanged = if before == after { format!("Role unchanged; already {what}") } else { String::new() };
    output.lines(&format!("{unchanged}Role {} updated\n", after.name), &json(&after))
}

/// Turn access control on and off
#[derive(clap::Args, Debug)]
#[command(subcommand_required = true, arg_required_else_help = false)]
pub(super) struct AuthCommand {
    #[command(subcommand)]
    verb: Switch,
}

#[derive(Subcommand, Debug)]
enum Switch {
    /// Demand what users' roles allow; there must be a user named root
    Enable,
    /// Let everybody do everything
    Disable,
}

impl AuthCommand {
    pub async fn run(self, client: &Client, output: &Output) -> Result<(), Failure> {
        control(matches!(self.verb, Switch::Enable), client, output).await
    }
}

/// Turns access control on or off.
pub(in crate::cli) async fn control(on: bool, client: &Client, output: &Output) -> Result<(), Failure> {
    client.control_access(on).await.map_err(|error| output.declined(error))?;
    let text = if on { "Authentication Enabled\n" } else { "Authentication Disabled\n" };
    output.lines(text, &json!({"enabled": on}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Rights;

    #[test]
    fn paths_are_made_canonical_as_etcdctl_does() {
        for (path, wanted) in
            [("a", "/a"), ("/a//b/", "/a/b/"), ("/a/../b/*", "/b/*"), ("/*", "/*"), ("", "/"), ("/", "/")]
        {
            assert_eq!(canonical_path(path), wanted, "{path}");
        }
    }

    #[test]
    fn a_role_is_shown_with_a_line_for_each_right() {
        let rights = Rights { read: vec!["/a".into(), "/b*".into()], write: vec![] };
        let role = AuthRole { name: "r".into(), rights };
        assert_eq!(text(&role), "Role: r\nKV Read:\n\t/a\n\t/b*\nKV Write:\n");
    }
}
