//! Keys, as etcdctl's commands read and write them.

use std::num::NonZeroUsize;
use std::os::unix::process::CommandExt;
use std::path::Path;

use nix::sys::signal::Signal;

use super::flags::Parsed;
use super::session::Session;
use crate::cli::Failure;
use crate::cli::kv::directory::put_directory;
use crate::cli::kv::exec_watch::{Signals, run_at_changes};
use crate::cli::kv::input::value;
use crate::cli::kv::output::bad_argument;
use crate::cli::kv::watch::{Stopped, print_changes};
use crate::cli::kv::{import, read, remove, write};
use crate::client::{DeleteOptions, GetOptions, PutOptions, Watch};

/// Exit status by which shells tell of SIGTERM.
const TERMINATED: u8 = 143;
/// How many clients an import has when nobody says otherwise.
const IMPORTERS: i64 = 10;

/// Runs one of the commands about keys.
pub(super) async fn carry_out(command: &str, given: &Parsed, session: &Session) -> Result<(), Failure> {
    let Session { client, output } = session;
    if command == "exec-watch" {
        return exec_watch(given, session).await;
    }
    let key = match given.words.first() {
        Some(key) => key,
        None if command == "ls" => "/",
        None => return Err(bad_argument("key required")),
    };
    let words = || value(given.words.get(1).cloned());
    let text = |flag| Some(given.text(flag).to_string()).filter(|text| !text.is_empty());
    match command {
        "get" => read::get(key, &reading(given), client, output).await,
        "ls" => read::ls(key, &reading(given), given.on("p"), client, output).await,
        "set" => {
            let options = PutOptions {
                value: Some(words()?),
                ttl: ttl(given),
                prev_value: text("swap-with-value"),
                prev_index: index(given, "swap-with-index"),
                ..PutOptions::default()
            };
            write::put(key, &options, client, output).await
        }
        "mk" if given.on("in-order") => write::post(key, &words()?, ttl(given), client, output).await,
        "mk" | "update" => {
            let options = PutOptions {
                value: Some(words()?),
                ttl: ttl(given),
                prev_exist: Some(command == "update"),
                ..PutOptions::default()
            };
            write::put(key, &options, client, output).await
        }
        "mkdir" => put_directory(key, ttl(given), Some(false), client, output).await,
        "setdir" => put_directory(key, ttl(given), None, client, output).await,
        "updatedir" => put_directory(key, ttl(given), Some(true), client, output).await,
        "rm" => {
            let options = DeleteOptions {
                recursive: given.on("recursive"),
                dir: given.on("dir"),
                prev_value: text("with-value"),
                prev_index: index(given, "with-index"),
            };
            remove::remove(key, &options, client, output).await
        }
        "rmdir" => {
            let options = DeleteOptions { dir: true, ..DeleteOptions::default() };
            remove::remove(key, &options, client, output).await
        }
        "watch" => watch(key, given, session).await,
        other => Err(Failure::new(format!("{other} is listed and does nothing"))),
    }
}

/// etcdctl always says all three.
fn reading(given: &Parsed) -> GetOptions {
    GetOptions {
        recursive: given.on("recursive"),
        sorted: given.on("sort"),
        quorum: Some(given.on("quorum")),
    }
}

/// Sent when it is above zero. etcdctl counts in nanoseconds of 64 bits, which wrap around.
fn ttl(given: &Parsed) -> Option<u64> {
    const SECOND: i64 = 1_000_000_000;
    u64::try_from(given.int("ttl").wrapping_mul(SECOND) / SECOND).ok().filter(|ttl| *ttl > 0)
}

/// An index that is asked for; below zero it wraps around, as in etcdctl.
fn index(given: &Parsed, flag: &str) -> Option<u64> {
    Some(given.int(flag).cast_unsigned()).filter(|index| *index != 0)
}

/// Begins at once: after an index, or now for 0 (and for -1, behind which etcdctl's number wraps around).
async fn begin(key: &str, given: &Parsed, session: &Session) -> Result<Watch, Failure> {
    let after = index(given, "after-index").filter(|index| *index != u64::MAX);
    let mut watch = session.client.watch(key, given.on("recursive"), after);
    watch.begin().await.map_err(|error| session.output.refused(error))?;
    Ok(watch)
}

async fn watch(key: &str, given: &Parsed, session: &Session) -> Result<(), Failure> {
    let printed = async {
        let mut watch = begin(key, given, session).await?;
        let (recursive, forever) = (given.on("recursive"), given.on("forever"));
        print_changes(&mut watch, recursive, forever, &session.output).await.map_err(
            |stopped| match stopped {
                Stopped::Refused(error) => session.output.refused(error),
                Stopped::Ended(failure) => failure,
            },
        )
    };
    tokio::select! {
        outcome = printed => outcome,
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Failure::new),
    }
}

async fn exec_watch(given: &Parsed, session: &Session) -> Result<(), Failure> {
    let words = &given.words;
    if words.len() < 2 {
        return Err(bad_argument("key and command to exec required"));
    }
    // Dashes behind a key end the key. etcdctl understands them only behind a boolean flag, and takes the last word for
    // the key otherwise.
    let (key, command) = if words.iter().skip(1).any(|word| word == "--") {
        (&words[0], words.get(2..).unwrap_or_default())
    } else if given.before_dashes == Some(1) {
        (&words[0], &words[1..])
    } else {
        (&words[words.len() - 1], &words[..words.len() - 1])
    };
    let command: Vec<_> = command.iter().map(Into::into).collect();
    let mut signals = Signals::new()?;
    let ended_by = tokio::select! {
        watch = begin(key, given, session) => {
            run_at_changes(&mut watch?, &command, &mut signals, &session.output).await?
        }
        signal = signals.next() => signal,
    };
    if ended_by == Signal::SIGTERM {
        return Err(end_by_sigterm());
    }
    Ok(())
}

/// Ends this process by SIGTERM, so that whoever waits for it sees that; etcdctl does nothing about that signal. Once a
/// signal has had a handler, only another program in this process gets back what it does by itself.
fn end_by_sigterm() -> Failure {
    // Only returns if it fails.
    let error = std::process::Command::new("/bin/sh").args(["-c", "kill -TERM $$"]).exec();
    eprintln!("cannot end by SIGTERM: {error}");
    Failure::with_code(TERMINATED, "")
}

/// Writes the keys of a snapshot of etcd 0.4.
pub(super) async fn import(given: &Parsed, global: &Parsed) -> Result<(), Failure> {
    let path = given.text("snap");
    if path.is_empty() {
        outln!("no snapshot file provided (use --snap)");
        return Err(Failure::with_code(1, ""));
    }
    let clients = if given.has("c") { given.int("c") } else { IMPORTERS };
    let clients = usize::try_from(clients).ok().and_then(NonZeroUsize::new);
    let clients = clients.ok_or_else(|| bad_argument("-c must be at least 1"))?;
    let Session { client, output } = Session::synced(global).await?;
    import::import(Path::new(path), given.list("hidden"), clients, &client, &output).await
}
