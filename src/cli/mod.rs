//! The command line: one file per command group. Parses, calls, prints; decides nothing.

#[macro_use]
mod terminal;

mod agent;
mod backup;
mod completion;
mod context;
mod etcd;
mod etcdctl;
mod failure;
mod heartbeat;
mod kv;
mod links;
mod logging;
mod machine;
mod member;
mod reboot;
mod rebootd;
mod restore;
mod status;
mod store;
mod unit;

pub use context::{Context, Format, Global};
pub use failure::{Failure, USAGE};

use std::process::ExitCode;

use clap::{Parser, Subcommand, error::ErrorKind};

/// Coordinates a group of Linux machines through systemd: a replicated key-value store that speaks the etcd v2
/// API, a unit scheduler, a reboot lock and heartbeats.
#[derive(Parser, Debug)]
#[command(
    name = "muster",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = false,
    max_term_width = 100
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,

    #[command(subcommand)]
    command: Command,
}

// A variant without a comment shows its arguments' own, which is longer than one line.
#[derive(Subcommand, Debug)]
enum Command {
    Store(Box<store::Args>),
    /// Read, write and watch keys
    Kv(kv::Args),
    /// Look at the members of the store's cluster and change them
    Member(member::Args),
    Agent(agent::Args),
    Unit(unit::Args),
    /// Look at the cluster's machines
    Machine(machine::Args),
    /// Run this machine's reboot coordinator
    Rebootd(rebootd::Args),
    /// Ask for reboots, look at and change the reboot lock
    Reboot(reboot::Args),
    /// Keep a key alive while a service is healthy, and watch such keys
    Heartbeat(heartbeat::Args),
    Backup(backup::Args),
    Restore(restore::Args),
    /// The whole cluster on one screen
    Status(status::Args),
    Completion(completion::Args),
}

/// Parses the command line, runs the command and turns its result into an exit status: 0, 64 for wrong use or
/// configuration, 1 otherwise unless a command documents more. Called through a link with another program's name, it
/// takes that program's command line and ends with its statuses.
pub fn main() -> ExitCode {
    if let Some(code) = links::run() {
        return code;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    ended(run(cli))
}

fn ended(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                eprintln!("muster: {}", failure.message);
            }
            ExitCode::from(failure.code)
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let context = Context::load(cli.global)?;
    match cli.command {
        Command::Store(args) => store::run(*args, &context),
        Command::Kv(args) => kv::run(args, &context),
        Command::Member(args) => member::run(args, &context),
        Command::Agent(args) => agent::run(args, &context),
        Command::Unit(args) => unit::run(args, &context),
        Command::Machine(args) => machine::run(args, &context),
        Command::Rebootd(args) => rebootd::run(args, &context),
        Command::Reboot(args) => reboot::run(args, &context),
        Command::Heartbeat(args) => heartbeat::run(args, &context),
        Command::Backup(args) => backup::run(args, &context),
        Command::Restore(args) => restore::run(args, &context),
        Command::Status(args) => status::run(args, &context),
        Command::Completion(args) => completion::run(args),
    }
}

/// Prints help and version as clap has them, and anything else as one line with exit status 64.
fn usage(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A reader that has seen enough, such as head, has gone by now.
            let _ = terminal::say::text(format_args!("{error}"));
            ExitCode::SUCCESS
        }
        _ => {
            let text = error.to_string();
            let line: Vec<&str> = text
                .lines()
                .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
                .map(str::trim)
                .filter(|line| !line.is_empty())
                .collect();
            let line = line.join(" ");
            eprintln!("muster: {} (see --help)", line.strip_prefix("error: ").unwrap_or(&line));
            ExitCode::from(USAGE)
        }
    }
}

/// Runs `work` on a small runtime of one thread: enough for commands and helpers, whose work is waiting.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::new)?.block_on(work)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
