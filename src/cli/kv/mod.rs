//! `muster kv`: keys from the command line, with the verbs, output forms and exit statuses of etcdctl for API 2.
//! Each file holds a group of verbs: their flags for `muster kv`, and what they do, which the link `etcdctl`
//! (`cli::etcdctl`) does as well.

pub(super) mod backup;
pub(super) mod directory;
pub(super) mod exec_watch;
pub(super) mod health;
pub(super) mod import;
pub(super) mod input;
pub(super) mod member;
mod old_snapshot;
pub(super) mod output;
pub(super) mod read;
pub(super) mod remove;
mod render;
pub(super) mod role;
pub(super) mod user;
pub(super) mod watch;
pub(super) mod write;

use clap::Subcommand;

use super::{Context, Failure, block_on};
use crate::cli::terminal::say::Voice;
use crate::client::Client;
use output::{Form, Output};

/// Read, write and watch keys
#[derive(clap::Args, Debug)]
#[command(
    subcommand_required = true,
    arg_required_else_help = false,
    after_help = "Exit status: 0 done; 1 bad arguments, and every failure of member, user, role and auth; 4 the store said no or \
                  cannot be reached; 5 not all members are healthy; 64 wrong use.\n\
                  \n\
                  Examples:\n  \
                  muster kv set /app/greeting 'hello world'\n  \
                  muster kv get /app/greeting\n  \
                  muster kv ls --recursive --sort /app\n  \
                  muster kv watch --recursive --forever /app"
)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// List a directory's keys, one per line
    Ls(read::Ls),
    /// Print a key's value
    Get(read::Get),
    /// Write a key, whether it exists or not
    Set(write::Set),
    /// Create a key that must not exist
    Mk(write::Mk),
    /// Change a key that must exist
    Update(write::Update),
    /// Create a directory that must not exist
    Mkdir(directory::Mkdir),
    /// Create a directory, or turn a key into one
    Setdir(directory::Setdir),
    /// Change how long a directory that must exist is kept
    Updatedir(directory::Updatedir),
    /// Remove a key, or with --recursive a directory with everything in it
    Rm(remove::Rm),
    /// Remove an empty directory or a key
    Rmdir(remove::Rmdir),
    /// Wait for a change and print it
    Watch(watch::Watch),
    /// Run a command at every change
    ExecWatch(exec_watch::ExecWatch),
    /// Ask every member for its health
    ClusterHealth(health::ClusterHealth),
    /// List, add, remove and update members, as etcdctl does
    Member(member::MemberCommand),
    /// Manage users and their roles
    User(user::UserCommand),
    /// Manage roles and their rights
    Role(role::RoleCommand),
    /// Turn access control on and off
    Auth(role::AuthCommand),
    /// Copy the data of a node that does not run, for a new cluster
    Backup(backup::Backup),
    /// Write the keys of a snapshot of etcd 0.4 to the store
    Import(import::Import),
}

pub(super) fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let output = Output { form: Form::Known(context.output), voice: Voice::Muster };
    let client = Client::new(&context.client_settings()?).map_err(|error| output.refused(error))?;
    block_on(async {
        match args.verb {
            Verb::Ls(verb) => verb.run(&client, &output).await,
            Verb::Get(verb) => verb.run(&client, &output).await,
            Verb::Set(verb) => verb.run(&client, &output).await,
            Verb::Mk(verb) => verb.run(&client, &output).await,
            Verb::Update(verb) => verb.run(&client, &output).await,
            Verb::Mkdir(verb) => verb.run(&client, &output).await,
            Verb::Setdir(verb) => verb.run(&client, &output).await,
            Verb::Updatedir(verb) => verb.run(&client, &output).await,
            Verb::Rm(verb) => verb.run(&client, &output).await,
            Verb::Rmdir(verb) => verb.run(&client, &output).await,
            Verb::Watch(verb) => verb.run(&client, &output).await,
            Verb::ExecWatch(verb) => verb.run(&client, &output).await,
            Verb::ClusterHealth(verb) => verb.run(&client, &output).await,
            Verb::Member(verb) => verb.run(&client, &output).await,
            Verb::User(verb) => verb.run(&client, &output).await,
            Verb::Role(verb) => verb.run(&client, &output).await,
            Verb::Auth(verb) => verb.run(&client, &output).await,
            Verb::Backup(verb) => verb.run().await,
            Verb::Import(verb) => verb.run(&client, &output).await,
        }
    })
}
