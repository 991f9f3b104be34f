//! `muster heartbeat -- COMMAND`.

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::cli::{Failure, block_on};
use crate::heartbeat::pulse::Pulse;
use crate::heartbeat::supervise::{Beater, FAREWELL};
use crate::model::beat::BeatName;

/// Signals that are meant for the command.
const PASSED_ON: [Signal; 6] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2];

/// What a shell adds to a signal's number for the status of a process that it ended.
const KILLED: i32 = 128;

/// The heartbeat's name when none is given: the program's.
pub(super) fn name_of(program: &OsStr) -> Result<BeatName, Failure> {
    let file = Path::new(program).file_name().unwrap_or(program).to_string_lossy();
    file.parse().map_err(|e| Failure::usage(format!("{e}; give --name NAME")))
}

/// Runs the command, beats meanwhile, and ends with its status.
pub(super) fn run(command: &[OsString], pulse: Pulse) -> Result<(), Failure> {
    let status = block_on(async {
        let mut signals = listen()?;
        let mut child = Command::new(&command[0])
            .args(&command[1..])
            .spawn()
            .map_err(|e| Failure::with_code(127, format!("cannot run {}: {e}", command[0].display())))?;
        let mut beater = Beater::new(pulse.of_process(child.id()));
        let (status, asked) = tokio::select! {
            ended = attend(&mut child, &mut signals) => ended?,
            never = beat(&mut beater) => match never {},
        };
        // Who fails did not end on purpose: the key runs out, and watchers hear of it.
        if status.success() || asked {
            let _ = tokio::time::timeout(FAREWELL, beater.stop()).await;
        }
        Ok(status)
    })?;
    let code = status.code().unwrap_or_else(|| KILLED + status.signal().unwrap_or(0));
    match u8::try_from(code) {
        Ok(0) => Ok(()),
        Ok(code) => Err(Failure::with_code(code, "")),
        Err(_) => Err(Failure::new("")),
    }
}

/// Waits for the command's end and passes signals on until then; tells whether one of them asked it to end.
async fn attend(
    child: &mut Child,
    signals: &mut mpsc::UnboundedReceiver<Signal>,
) -> Result<(ExitStatus, bool), Failure> {
    let mut asked = false;
    loop {
        tokio::select! {
            status = child.wait() => {
                let status = status.map_err(|e| Failure::new(format!("cannot wait for the command: {e}")))?;
                return Ok((status, asked));
            }
            Some(signal) = signals.recv() => {
                asked |= matches!(signal, Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT | Signal::SIGHUP);
                let by_terminal = matches!(signal, Signal::SIGINT | Signal::SIGQUIT) && std::io::stdin().is_terminal();
                // The terminal has sent it to the command already.
                if by_terminal {
                    continue;
                }
                if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
                    // A command that has ended in this moment needs no signal.
                    let _ = kill(Pid::from_raw(pid), signal);
                }
            }
        }
    }
}

async fn beat(beater: &mut Beater) -> std::convert::Infallible {
    let mut ticks = tokio::time::interval(beater.interval());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        beater.beat().await;
    }
}

/// Every signal of [`PASSED_ON`] that arrives from now on.
fn listen() -> Result<mpsc::UnboundedReceiver<Signal>, Failure> {
    let (sender, receiver) = mpsc::unbounded_channel();
    for number in PASSED_ON {
        let mut arrivals = signal(SignalKind::from_raw(number as i32))
            .map_err(|e| Failure::new(format!("cannot listen for signals: {e}")))?;
        let sender = sender.clone();
        tokio::spawn(async move { while arrivals.recv().await.is_some() && sender.send(number).is_ok() {} });
    }
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_beats_under_its_programs_name() {
        assert_eq!(name_of(OsStr::new("/usr/bin/backup")).unwrap().as_str(), "backup");
        assert!(name_of(OsStr::new("/opt/my tool")).unwrap_err().message.contains("--name"));
    }
}
