//! systemd, as the rest of Muster sees it: start and stop units, link their files, hear what changes.
//!
//! This folder is the only place that names `zbus`. Everything above holds a [`Systemd`] handle, behind which stands
//! the real manager ([`systemd1`]) or, in tests, one in memory ([`fake`]). Facts come from systemd's D-Bus
//! documentation, org.freedesktop.systemd1(5).

pub mod bus;
pub mod fake;
mod jobs;
pub mod login1;
pub mod notify;
mod path;
pub mod systemd1;

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::broadcast;

use crate::ids::UnitName;
pub use bus::Bus;

/// How many changes a slow listener may fall behind; then it is told to look at everything again.
pub const CHANGE_QUEUE: usize = 4096;

/// How a job of systemd's ended (the `result` of its signal `JobRemoved`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobResult {
    /// What was asked for is the case now.
    Done,
    /// Another job took its place, or somebody cancelled it.
    Canceled,
    /// The job's time limit passed.
    Timeout,
    /// The unit failed.
    Failed,
    /// A unit that this one depends on failed.
    Dependency,
    /// There was nothing to do in the unit's present state.
    Skipped,
    /// A word that later systemd versions may add.
    Other(String),
}

impl JobResult {
    /// Reads systemd's word.
    pub fn parse(word: &str) -> Self {
        match word {
            "done" => Self::Done,
            "canceled" => Self::Canceled,
            "timeout" => Self::Timeout,
            "failed" => Self::Failed,
            "dependency" => Self::Dependency,
            "skipped" => Self::Skipped,
            other => Self::Other(other.into()),
        }
    }

    /// systemd's word for it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Done => "done",
            Self::Canceled => "canceled",
            Self::Timeout => "timeout",
            Self::Failed => "failed",
            Self::Dependency => "dependency",
            Self::Skipped => "skipped",
            Self::Other(word) => word,
        }
    }
}

/// What systemd says of one unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitStatus {
    /// Its name.
    pub name: UnitName,
    /// Load state: `loaded`, `not-found`, `error`, …
    pub load: String,
    /// Active state: `active`, `inactive`, `failed`, `activating`, …
    pub active: String,
    /// The state of its kind, such as `running` or `dead`.
    pub sub: String,
    /// How a service's last run ended: `success`, `exit-code`, `signal`, …; empty for other kinds of units.
    pub result: String,
    /// A service's main process, if it has one now.
    pub main_pid: Option<u32>,
    /// When the state changed last, in microseconds since 1970; 0 if it never did.
    pub since_us: u64,
}

impl UnitStatus {
    /// Whether something of the unit runs, or is about to run or to stop.
    pub fn is_up(&self) -> bool {
        !matches!(self.active.as_str(), "inactive" | "failed")
    }
}

/// What systemd says of a name: which unit that is, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The unit's own name: another than the one asked for if that is an alias.
    pub id: String,
    /// Load state: `loaded`, `not-found`, `masked`, …
    pub load: String,
    /// The file that defines it; empty if none does.
    pub fragment: String,
    /// Active state.
    pub active: String,
}

/// Something changed in systemd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnitChange {
    /// This unit's state may be another now.
    Unit(UnitName),
    /// Any unit's state may be another now: systemd reloaded its files, or the connection to it is new.
    Everything,
}

/// Why systemd did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BusError {
    /// No connection to the system bus.
    #[error("the system bus cannot be reached")]
    Unreachable {
        /// What the D-Bus library said.
        #[source]
        cause: zbus::Error,
    },
    /// The other side answered with an error.
    #[error("{what} was refused: {message}")]
    Refused {
        /// What was asked, such as `StartUnit web.service`.
        what: String,
        /// The D-Bus error's name, such as `org.freedesktop.systemd1.NoSuchUnit`.
        name: String,
        /// The error's text.
        message: String,
    },
    /// The call failed on its way, or its answer makes no sense.
    #[error("{what} failed")]
    Call {
        /// What was asked.
        what: String,
        /// What the D-Bus library said.
        #[source]
        cause: zbus::Error,
    },
    /// No connection for a while, or it was lost before the job ended; the job itself goes on.
    #[error("{what}: the connection to systemd was lost")]
    Lost {
        /// What was asked.
        what: String,
    },
}

impl BusError {
    /// Whether systemd itself said no, so that asking again makes no difference.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }

    /// Whether the answer was that systemd knows no such unit.
    pub fn is_no_such_unit(&self) -> bool {
        matches!(self, Self::Refused { name, .. } if name == "org.freedesktop.systemd1.NoSuchUnit")
    }
}

/// What a service manager does for the agent. Every method may be called concurrently.
pub trait Manager: Send + Sync {
    /// Starts a unit (mode `replace`) and resolves when the job has ended.
    fn start<'a>(&'a self, unit: &'a UnitName) -> BoxFuture<'a, Result<JobResult, BusError>>;

    /// Stops a unit (mode `replace`) and resolves when the job has ended. A unit that is not loaded is stopped.
    fn stop<'a>(&'a self, unit: &'a UnitName) -> BoxFuture<'a, Result<JobResult, BusError>>;

    /// Makes unit files outside the search path known until the next reboot, over whatever stood there.
    /// [`Manager::reload`] afterwards.
    fn link<'a>(&'a self, files: &'a [PathBuf]) -> BoxFuture<'a, Result<(), BusError>>;

    /// Takes back what [`Manager::link`] did. [`Manager::reload`] afterwards.
    fn unlink<'a>(&'a self, units: &'a [UnitName]) -> BoxFuture<'a, Result<(), BusError>>;

    /// Reads all unit files again.
    fn reload(&self) -> BoxFuture<'_, Result<(), BusError>>;

    /// Forgets that a unit failed. No error if there is no such unit.
    fn reset_failed<'a>(&'a self, unit: &'a UnitName) -> BoxFuture<'a, Result<(), BusError>>;

    /// The present state of each of `units`; one that does not exist has the load state `not-found`.
    fn status<'a>(&'a self, units: &'a [UnitName]) -> BoxFuture<'a, Result<Vec<UnitStatus>, BusError>>;

    /// Where each of `units` comes from, in their order.
    fn origins<'a>(&'a self, units: &'a [UnitName]) -> BoxFuture<'a, Result<Vec<Origin>, BusError>>;

    /// The folders in which systemd looks for units' files, generators' output among them.
    fn unit_path(&self) -> BoxFuture<'_, Result<Vec<PathBuf>, BusError>>;

    /// Those of `units` whose files have changed since systemd has read them.
    fn unread<'a>(&'a self, units: &'a [UnitName]) -> BoxFuture<'a, Result<Vec<UnitName>, BusError>>;

    /// The system's state: `running`, `degraded`, `starting`, `stopping`, …
    fn system_state(&self) -> BoxFuture<'_, Result<String, BusError>>;

    /// Changes from now on. A receiver that lags must look at everything again.
    fn changes(&self) -> broadcast::Receiver<UnitChange>;
}

/// Handle of a service manager; cheap to clone.
#[derive(Clone)]
pub struct Systemd(Arc<dyn Manager>);

impl Systemd {
    /// Wraps any manager.
    pub fn new(manager: impl Manager + 'static) -> Self {
        Self(Arc::new(manager))
    }
}

impl std::ops::Deref for Systemd {
    type Target = dyn Manager;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_results_keep_systemds_words() {
        for word in ["done", "canceled", "timeout", "failed", "dependency", "skipped", "collected"] {
            assert_eq!(JobResult::parse(word).as_str(), word);
        }
    }
}
