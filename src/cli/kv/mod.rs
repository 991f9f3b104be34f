//! `muster kv`: keys from the command line, with the verbs, output forms and exit statuses of etcdctl for API 2.

mod directory;
mod exec_watch;
mod input;
mod output;
mod read;
mod remove;
mod render;
mod watch;
mod write;

use clap::Subcommand;

use super::{Context, Failure, block_on};
use crate::client::Client;
use output::{Output, refused};

/// Read, write and watch keys
#[derive(clap::Args, Debug)]
#[command(
    subcommand_required = true,
    arg_required_else_help = false,
    after_help = "Exit status: 0 done; 1 bad arguments; 4 the store said no or cannot be reached; 64 wrong use.\n\
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
    /// Remove a key, or a directory with everything in it
    Rm(remove::Rm),
    /// Remove an empty directory or a key
    Rmdir(remove::Rmdir),
    /// Wait for a change and print it
    Watch(watch::Watch),
    /// Run a command at every change
    ExecWatch(exec_watch::ExecWatch),
}

pub(super) fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let client = Client::new(&context.client_settings()?).map_err(refused)?;
    let output = Output { format: context.output };
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
            Verb::ExecWatch(verb) => verb.run(&client).await,
        }
    })
}
