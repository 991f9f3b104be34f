//! `muster kv exec-watch`.

use std::ffi::OsString;
use std::process::Stdio;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::signal::unix::{self, SignalKind};

use super::output::{Output, bad_argument};
use super::watch::Target;
use crate::cli::Failure;
use crate::client::{Client, Event, Watch};

/// Run a command at every change of a key
#[derive(clap::Args, Debug)]
#[command(
    after_help = "The command finds the change in its environment: ETCD_WATCH_ACTION, ETCD_WATCH_KEY, \
                        ETCD_WATCH_VALUE and ETCD_WATCH_MODIFIED_INDEX. One runs at a time; changes meanwhile wait for their \
                        turn and none is lost. Its exit status does not matter, and its standard input is empty. An interrupt \
                        or termination is handed on to the running command, and exec-watch ends with it.\n\
                        \n\
                        Examples:\n  \
                        muster kv exec-watch /app/config -- systemctl reload app\n  \
                        muster kv exec-watch --recursive /app -- sh -c 'echo \"$ETCD_WATCH_KEY changed\"'"
)]
pub(super) struct ExecWatch {
    /// The key to watch; it need not exist
    key: String,

    #[command(flatten)]
    target: Target,

    /// What to run
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl ExecWatch {
    pub async fn run(self, client: &Client, output: &Output) -> Result<(), Failure> {
        let mut signals = Signals::new()?;
        let mut watch = tokio::select! {
            watch = self.target.watch(&self.key, client, output) => watch?,
            _ = signals.next() => return Ok(()),
        };
        run_at_changes(&mut watch, &self.command, &mut signals, output).await.map(drop)
    }
}

/// Runs `command` for one change after the other, until a signal comes; returns the signal.
pub(in crate::cli) async fn run_at_changes(
    watch: &mut Watch,
    command: &[OsString],
    signals: &mut Signals,
    output: &Output,
) -> Result<Signal, Failure> {
    loop {
        let event = tokio::select! {
            event = watch.next() => event.map_err(|error| output.refused(error))?,
            signal = signals.next() => return Ok(signal),
        };
        if event.node.dir {
            eprintln!("Ignored dir {} change", event.node.key);
            continue;
        }
        if let Some(signal) = wait(start(command, &event)?, signals).await? {
            return Ok(signal);
        }
    }
}

/// Starts the command in a process group of its own: a signal that is handed on reaches all that it has started,
/// and one from the terminal reaches it once.
fn start(command: &[OsString], event: &Event) -> Result<Child, Failure> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(bad_argument("key and command to exec required"));
    };
    Command::new(program)
        .args(arguments)
        .env("ETCD_WATCH_ACTION", &event.action)
        .env("ETCD_WATCH_KEY", &event.node.key)
        .env("ETCD_WATCH_VALUE", event.node.value.as_deref().unwrap_or_default())
        .env("ETCD_WATCH_MODIFIED_INDEX", event.node.modified_index.to_string())
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| bad_argument(format!("cannot start {}: {error}", program.display())))
}

/// Waits for the command and hands on what signals come meanwhile; returns the first of them.
async fn wait(mut child: Child, signals: &mut Signals) -> Result<Option<Signal>, Failure> {
    let mut first = None;
    loop {
        let signal = tokio::select! {
            status = child.wait() => return status.map(|_| first).map_err(Failure::new),
            signal = signals.next() => signal,
        };
        first = first.or(Some(signal));
        let group = child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = group {
            killpg(Pid::from_raw(group), signal)
                .map_err(|error| Failure::new(format!("cannot signal the command: {error}")))?;
        }
    }
}

/// The signals that end a watch.
pub(in crate::cli) struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Signals {
    /// From now on these signals no longer end the process by themselves.
    pub fn new() -> Result<Self, Failure> {
        let listen = |kind| unix::signal(kind).map_err(Failure::new);
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Waits for one of them.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::SIGINT,
            _ = self.terminate.recv() => Signal::SIGTERM,
        }
    }
}
