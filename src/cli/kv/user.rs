//! `muster kv user`: users and their roles.

use clap::Subcommand;
use serde_json::json;

use super::output::Output;
use crate::cli::Failure;
use crate::cli::terminal::password;
use crate::cli::terminal::say::Voice;
use crate::client::Client;

/// Manage users and their roles
#[derive(clap::Args, Debug)]
#[command(subcommand_required = true, arg_required_else_help = false)]
pub(super) struct UserCommand {
    #[command(subcommand)]
    verb: Verb,
}

/// A user and roles.
#[derive(clap::Args, Debug)]
struct Roles {
    /// The user
    name: String,
    /// Roles; may be given several times
    #[arg(long, required = true, value_name = "ROLE")]
    roles: Vec<String>,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Create a user, or change the password of one that exists
    Add {
        /// Its name; with :PASSWORD the password, else it is asked for
        name: String,
    },
    /// Remove a user
    Remove {
        /// The user
        name: String,
    },
    /// Show a user's roles
    Get {
        /// The user
        name: String,
    },
    /// List the users
    List,
    /// Give a user roles
    Grant(Roles),
    /// Take roles from a user
    Revoke(Roles),
    /// Change a user's password
    Passwd {
        /// The user
        name: String,
    },
}

impl UserCommand {
    pub async fn run(self, client: &Client, output: &Output) -> Result<(), Failure> {
        match self.verb {
            Verb::Add { name } => add(&name, client, output).await,
            Verb::Remove { name } => remove(&name, client, output).await,
            Verb::Get { name } => get(&name, client, output).await,
            Verb::List => list(client, output).await,
            Verb::Grant(Roles { name, roles }) => grant(&name, &roles, client, output).await,
            Verb::Revoke(Roles { name, roles }) => revoke(&name, &roles, client, output).await,
            Verb::Passwd { name } => passwd(&name, client, output).await,
        }
    }
}

/// Creates a user: `name:password`, or a name whose password is asked for.
pub(in crate::cli) async fn add(given: &str, client: &Client, output: &Output) -> Result<(), Failure> {
    let (name, password) = match given.split_once(':') {
        Some((name, password)) => (name, password.to_string()),
        None => (given, password::ask("New password: ", output.voice)?),
    };
    client.put_user(name, &password).await.map_err(|error| output.declined(error))?;
    output.done("User", name, "created")
}

/// Removes a user.
pub(in crate::cli) async fn remove(name: &str, client: &Client, output: &Output) -> Result<(), Failure> {
    client.remove_user(name).await.map_err(|error| output.declined(error))?;
    output.done("User", name, "removed")
}

/// Prints a user's roles.
pub(in crate::cli) async fn get(name: &str, client: &Client, output: &Output) -> Result<(), Failure> {
    let user = client.user(name).await.map_err(|error| output.declined(error))?;
    // etcdctl puts one more blank in front for each role.
    let blanks = if output.voice == Voice::Etcdctl { " ".repeat(user.roles.len()) } else { String::new() };
    output.lines(
        &format!("User: {}\nRoles: {blanks}{}\n", user.name, user.roles.join(" ")),
        &json!({"user": user.name, "roles": user.roles}),
    )
}

/// Prints the names of all users.
pub(in crate::cli) async fn list(client: &Client, output: &Output) -> Result<(), Failure> {
    output.names(&client.users().await.map_err(|error| output.declined(error))?)
}

/// Gives a user roles.
pub(in crate::cli) async fn grant(
    name: &str,
    roles: &[String],
    client: &Client,
    output: &Output,
) -> Result<(), Failure> {
    client.grant_roles(name, roles).await.map_err(|error| output.declined(error))?;
    output.done("User", name, "updated")
}

/// Takes roles from a user.
pub(in crate::cli) async fn revoke(
    name: &str,
    roles: &[String],
    client: &Client,
    output: &Output,
) -> Result<(), Failure> {
    client.revoke_roles(name, roles).await.map_err(|error| output.declined(error))?;
    output.done("User", name, "updated")
}

/// Asks for a new password of a user that exists and sets it. (etcdctl creates others, and then says that it failed.)
pub(in crate::cli) async fn passwd(name: &str, client: &Client, output: &Output) -> Result<(), Failure> {
    let password = password::ask("New password: ", output.voice)?;
    client.user(name).await.map_err(|error| output.declined(error))?;
    client.put_user(name, &password).await.map_err(|error| output.declined(error))?;
    output.lines("Password updated\n", &json!({"user": name}))
}
