//! `muster kv exec-watch`.

use std::ffi::OsString;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::signal::unix::{self, SignalKind};

use super::output::{bad_argument, refused};
use super::watch::Target;
use crate::cli::Failure;
use crate::client::{Client, Event};

/// Run a command at every change of a key
#[derive(clap::Args, Debug)]
#[command(
    after_help = "The command finds the change in its environment: ETCD_WATCH_ACTION, ETCD_WATCH_KEY,\n\
                        ETCD_WATCH_VALUE and ETCD_WATCH_MODIFIED_INDEX. One runs at a time; changes meanwhile wait for their\n\
                        turn and none is lost. Its exit status does not matter. An interrupt or termination is handed on\n\
                        to the running command, and exec-watch ends with it.\n\
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
    pub async fn run(self, client: &Client) -> Result<(), Failure> {
        let mut signals = Signals::new()?;
        let mut watch = tokio::select! {
            watch = self.target.watch(&self.key, client) => watch?,
            _ = signals.next() => return Ok(()),
        };
        loop {
            let event = tokio::select! {
                event = watch.next() => event.map_err(refused)?,
                _ = signals.next() => return Ok(()),
            };
            if event.node.dir {
                eprintln!("Ignored dir {} change", event.node.key);
                continue;
            }
            if wait(self.start(&event)?, &mut signals).await? == Ended::Signalled {
                return Ok(());
            }
        }
    }

    fn start(&self, event: &Event) -> Result<Child, Failure> {
        let Some((program, arguments)) = self.command.split_first() else {
            return Err(bad_argument("key and command to exec required"));
        };
        Command::new(program)
            .args(arguments)
            .env("ETCD_WATCH_ACTION", &event.action)
            .env("ETCD_WATCH_KEY", &event.node.key)
            .env("ETCD_WATCH_VALUE", event.node.value.as_deref().unwrap_or_default())
            .env("ETCD_WATCH_MODIFIED_INDEX", event.node.modified_index.to_string())
            .spawn()
            .map_err(|error| bad_argument(format!("cannot start {}: {error}", program.display())))
    }
}

/// Why a command's run is over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    Alone,
    Signalled,
}

/// Waits for the command and hands on what signals come meanwhile.
async fn wait(mut child: Child, signals: &mut Signals) -> Result<Ended, Failure> {
    let mut ended = Ended::Alone;
    loop {
        let signal = tokio::select! {
            status = child.wait() => return status.map(|_| ended).map_err(Failure::new),
            signal = signals.next() => signal,
        };
        ended = Ended::Signalled;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(id) = id {
            kill(Pid::from_raw(id), signal)
                .map_err(|error| Failure::new(format!("cannot signal the command: {error}")))?;
        }
    }
}

/// The signals that end a watch.
struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| unix::signal(kind).map_err(Failure::new);
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::SIGINT,
            _ = self.terminate.recv() => Signal::SIGTERM,
        }
    }
}
