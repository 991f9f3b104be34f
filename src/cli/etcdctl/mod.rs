//! What a link named `etcdctl` does: etcdctl 3.4.23 for the v2 API, whatever `ETCDCTL_API` says. The verbs are those of
//! `muster kv`; this is another command line in front of them, with etcdctl's output and exit statuses.
//! Where it differs on purpose: `contrib/doc/etcdctl.md`.

mod commands;
mod endpoints;
mod flags;
mod help;
mod keys;
mod session;
mod users;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use super::kv::{backup as copy, health};
use super::{Failure, block_on, ended};
use commands::{COMMANDS, Command, GLOBAL, HELP, VERSION};
use flags::{Flag, Parsed, Wrong};
use session::Session;

/// Exit status of bad arguments.
const BAD_ARGUMENTS: u8 = 1;
/// Exit status of a command that does not exist.
const UNKNOWN_COMMAND: u8 = 3;

/// Runs this process's command line; the exit status is etcdctl's.
pub(super) fn main() -> ExitCode {
    ended(run(std::env::args_os().skip(1)))
}

fn run(words: impl Iterator<Item = OsString>) -> Result<(), Failure> {
    let words = words
        .map(|word| {
            word.into_string().map_err(|_| Failure::with_code(BAD_ARGUMENTS, "an argument is not UTF-8"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let global = match flags::parse(&[GLOBAL, HELP, VERSION], &words) {
        Ok(global) => global,
        Err(wrong) => return Err(incorrect_usage(wrong, ".", &help::program())),
    };
    if global.on("help") {
        out!("{}", help::program());
        return Ok(());
    }
    if global.on("version") {
        out!("{}", help::VERSION_TEXT);
        return Ok(());
    }
    let Some((name, rest)) = global.words.split_first() else {
        out!("{}", help::program());
        return Ok(());
    };
    match commands::find(COMMANDS, name) {
        Some(group) if !group.commands.is_empty() => in_group(group, rest, &global),
        Some(command) => one(command, &format!("etcdctl {name}"), rest, &global),
        None if name == "help" || name == "h" => topic(COMMANDS, "etcdctl", rest.first(), &help::program()),
        None => topic(COMMANDS, "etcdctl", Some(name), &help::program()),
    }
}

/// Commands of two words, such as `member list`.
fn in_group(group: &'static Command, words: &[String], global: &Parsed) -> Result<(), Failure> {
    let path = format!("etcdctl {}", group.name);
    let page = help::page(&path, group);
    let parsed = match flags::parse(&[HELP], words) {
        Ok(parsed) => parsed,
        Err(wrong) => return Err(incorrect_usage(wrong, ".", &page)),
    };
    let Some((name, rest)) = parsed.words.split_first().filter(|_| !parsed.on("help")) else {
        out!("{page}");
        return Ok(());
    };
    match commands::find(group.commands, name) {
        Some(command) => one(command, &format!("{path} {name}"), rest, global),
        // Without a name this is the page of all commands, in etcdctl as well.
        None if name == "help" || name == "h" => topic(group.commands, &path, rest.first(), &help::program()),
        None => topic(group.commands, &path, Some(name), &page),
    }
}

/// The help of a command, or of all when none is named.
fn topic(commands: &'static [Command], above: &str, name: Option<&String>, all: &str) -> Result<(), Failure> {
    let Some(name) = name else {
        out!("{all}");
        return Ok(());
    };
    match commands::find(commands, name) {
        Some(command) => out!("{}", help::topic(&format!("{above} {name}"), command)),
        None => {
            eprintln!("No help topic for '{name}'");
            return Err(Failure::with_code(UNKNOWN_COMMAND, ""));
        }
    }
    Ok(())
}

fn one(command: &'static Command, path: &str, words: &[String], global: &Parsed) -> Result<(), Failure> {
    let known: [&[Flag]; 2] = [command.flags, HELP];
    let page = help::page(path, command);
    let parsed = match flags::parse_reordered(&known, words) {
        Ok(parsed) => parsed,
        // Behind a command this has the same form as any other mistake.
        Err(Wrong::Syntax(text) | Wrong::TwoForms(text)) => {
            return Err(incorrect_usage(Wrong::Syntax(text), ":", &page));
        }
    };
    if parsed.on("help") {
        out!("{page}");
        return Ok(());
    }
    let path = path.strip_prefix("etcdctl ").unwrap_or(path);
    block_on(carry_out(path, &parsed, global))
}

/// Says what is wrong on standard error, and with the help on standard output.
fn incorrect_usage(wrong: Wrong, stop: &str, page: &str) -> Failure {
    let said = match &wrong {
        Wrong::Syntax(text) => {
            crate::cli::terminal::say::text(format_args!("Incorrect Usage{stop} {text}\n\n{page}"))
        }
        Wrong::TwoForms(text) => crate::cli::terminal::say::text(format_args!("{text}\n{page}")),
    };
    let (Wrong::Syntax(text) | Wrong::TwoForms(text)) = wrong;
    eprintln!("{text}");
    said.err().unwrap_or_else(|| Failure::with_code(BAD_ARGUMENTS, ""))
}

async fn carry_out(command: &str, given: &Parsed, global: &Parsed) -> Result<(), Failure> {
    if let Some(outcome) = users::carry_out(command, given, global).await {
        return outcome;
    }
    match command {
        "cluster-health" => {
            let session = Session::plain(global).await?;
            health::check(given.on("forever"), &session.client, &session.output).await
        }
        "backup" => backup(given).await,
        "import" => keys::import(given, global).await,
        _ => keys::carry_out(command, given, &Session::synced(global).await?).await,
    }
}

/// Our data has one folder, and nothing of API 3 in it.
async fn backup(given: &Parsed) -> Result<(), Failure> {
    let refused = |problem: &str| {
        eprintln!("{problem}");
        Failure::with_code(BAD_ARGUMENTS, "")
    };
    let (from, to) = (given.text("data-dir"), given.text("backup-dir"));
    if from.is_empty() || to.is_empty() {
        return Err(refused("--data-dir and --backup-dir are needed"));
    }
    if !given.text("wal-dir").is_empty() || !given.text("backup-wal-dir").is_empty() {
        return Err(refused(
            "Muster's data has no folder for the log alone: leave --wal-dir and --backup-wal-dir out",
        ));
    }
    copy::copy(Path::new(from), Path::new(to)).await
}
