//! A service manager in memory, for tests: units "run" as soon as they are started, unless the test scripts a
//! failure. It records every call in order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, broadcast};

use super::{BusError, CHANGE_QUEUE, JobResult, Manager, Origin, UnitChange, UnitStatus};
use crate::ids::UnitName;

/// Handle of a manager in memory; clones share one state, so that a test keeps one and hands one away.
#[derive(Clone)]
pub struct Fake {
    state: Arc<Mutex<State>>,
    changes: broadcast::Sender<UnitChange>,
    released: Arc<Notify>,
}

#[derive(Default)]
struct State {
    linked: BTreeMap<UnitName, PathBuf>,
    units: BTreeMap<UnitName, UnitStatus>,
    fail_start: BTreeSet<UnitName>,
    refuse_start: BTreeMap<UnitName, String>,
    slow: BTreeSet<UnitName>,
    hosts: BTreeMap<UnitName, Origin>,
    refuse_reload: Option<String>,
    refuse_origins: Option<String>,
    hidden: BTreeSet<UnitName>,
    searched: Vec<PathBuf>,
    calls: Vec<String>,
    next_pid: u32,
}

impl Default for Fake {
    fn default() -> Self {
        let (changes, _) = broadcast::channel(CHANGE_QUEUE);
        Self { state: Arc::default(), changes, released: Arc::default() }
    }
}

impl Fake {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("fake systemd lock poisoned")
    }

    /// Every call so far, such as `start web.service`.
    pub fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }

    /// Forgets the calls so far.
    pub fn clear_calls(&self) {
        self.state().calls.clear();
    }

    /// Lets every start of `unit` fail from now on.
    pub fn fail_start(&self, unit: &UnitName) {
        self.state().fail_start.insert(unit.clone());
    }

    /// Lets systemd refuse every start of `unit` from now on, with `message`.
    pub fn refuse_start(&self, unit: &UnitName, message: &str) {
        self.state().refuse_start.insert(unit.clone(), message.into());
    }

    /// Lets the host have `unit` itself, as `origin` says.
    pub fn give_host(&self, unit: &UnitName, origin: Origin) {
        self.state().hosts.insert(unit.clone(), origin);
    }

    /// Lets systemd refuse to read its files, with this message, until it is taken back.
    pub fn refuse_reload(&self, message: Option<&str>) {
        self.state().refuse_reload = message.map(Into::into);
    }

    /// Lets systemd refuse to tell where units come from, with this message, until it is taken back.
    pub fn refuse_origins(&self, message: Option<&str>) {
        self.state().refuse_origins = message.map(Into::into);
    }

    /// Lets systemd remember that there is no `unit` until it reads its files.
    pub fn hide(&self, unit: &UnitName) {
        self.state().hidden.insert(unit.clone());
    }

    /// Lets systemd look for units' files in `folders`.
    pub fn search(&self, folders: &[PathBuf]) {
        self.state().searched = folders.into();
    }

    /// Lets jobs of `unit` hang until [`Fake::release`].
    pub fn hang(&self, unit: &UnitName) {
        self.state().slow.insert(unit.clone());
    }

    /// Ends the hanging of all jobs.
    pub fn release(&self) {
        self.state().slow.clear();
        self.released.notify_waiters();
    }

    /// What `systemctl stop` or a crash does: `unit` gets this active state behind the agent's back.
    pub fn set(&self, unit: &UnitName, active: &str) {
        self.state().enter(unit, active);
        let _ = self.changes.send(UnitChange::Unit(unit.clone()));
    }

    /// The present state of one unit.
    pub fn get(&self, unit: &UnitName) -> Option<UnitStatus> {
        self.state().units.get(unit).cloned()
    }

    async fn job(&self, verb: &str, unit: &UnitName) -> Result<JobResult, BusError> {
        self.state().calls.push(format!("{verb} {unit}"));
        loop {
            let released = self.released.notified();
            if !self.state().slow.contains(unit) {
                break;
            }
            released.await;
        }
        let result = self.state().finish(verb, unit);
        let _ = self.changes.send(UnitChange::Unit(unit.clone()));
        result
    }
}

impl State {
    fn finish(&mut self, verb: &str, unit: &UnitName) -> Result<JobResult, BusError> {
        if verb == "stop" {
            self.enter(unit, "inactive");
            return Ok(JobResult::Done);
        }
        let refusal = |name: &str, message: &str| BusError::Refused {
            what: format!("StartUnit {unit}"),
            name: format!("org.freedesktop.systemd1.{name}"),
            message: message.into(),
        };
        if let Some(message) = self.refuse_start.get(unit) {
            return Err(refusal("BadUnitSetting", message));
        }
        if !self.linked.contains_key(unit) || self.hidden.contains(unit) {
            return Err(refusal("NoSuchUnit", "no such unit"));
        }
        if self.fail_start.contains(unit) {
            self.enter(unit, "failed");
            return Ok(JobResult::Failed);
        }
        if self.units.get(unit).is_none_or(|status| status.active != "active") {
            self.enter(unit, "active");
        }
        Ok(JobResult::Done)
    }

    fn enter(&mut self, unit: &UnitName, active: &str) {
        let main_pid = (active == "active").then(|| {
            self.next_pid += 1;
            self.next_pid
        });
        let (sub, result) = match active {
            "active" => ("running", "success"),
            "failed" => ("failed", "exit-code"),
            _ => ("dead", "success"),
        };
        let since_us = self.units.get(unit).map_or(0, |status| status.since_us) + 1_000_000;
        let status = UnitStatus {
            name: unit.clone(),
            load: if self.linked.contains_key(unit) { "loaded" } else { "not-found" }.into(),
            active: active.into(),
            sub: sub.into(),
            result: result.into(),
            main_pid,
            since_us,
        };
        self.units.insert(unit.clone(), status);
    }
}

fn failure(what: &str, message: String) -> BusError {
    BusError::Refused { what: what.into(), name: "org.freedesktop.DBus.Error.Failed".into(), message }
}

impl Manager for Fake {
    fn start<'a>(&'a self, unit: &'a UnitName) -> BoxFuture<'a, Result<JobResult, BusError>> {
        self.job("start", unit).boxed()
    }

    fn stop<'a>(&'a self, unit: &'a UnitName) -> BoxFuture<'a, Result<JobResult, BusError>> {
        self.job("stop", unit).boxed()
    }

    fn link<'a>(&'a self, files: &'a [PathBuf]) -> BoxFuture<'a, Result<(), BusError>> {
        async move {
            let mut state = self.state();
            for file in files {
                let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                state.calls.push(format!("link {name}"));
                if let Ok(unit) = name.parse() {
                    state.linked.insert(unit, file.clone());
                }
            }
            Ok(())
        }
        .boxed()
    }

    fn unlink<'a>(&'a self, units: &'a [UnitName]) -> BoxFuture<'a, Result<(), BusError>> {
        async move {
            let mut state = self.state();
            for unit in units {
                state.calls.push(format!("unlink {unit}"));
                state.linked.remove(unit);
            }
            Ok(())
        }
        .boxed()
    }

    fn reload(&self) -> BoxFuture<'_, Result<(), BusError>> {
        async move {
            let refusal = {
                let mut state = self.state();
                state.calls.push("reload".into());
                state.refuse_reload.clone()
            };
            if let Some(message) = refusal {
                return Err(failure("Reload", message));
            }
            self.state().hidden.clear();
            let _ = self.changes.send(UnitChange::Everything);
            Ok(())
        }
        .boxed()
    }

    fn reset_failed<'a>(&'a self, unit: &'a UnitName) -> BoxFuture<'a, Result<(), BusError>> {
        async move {
            let mut state = self.state();
            if state.units.get(unit).is_some_and(|status| status.active == "failed") {
                state.enter(unit, "inactive");
            }
            Ok(())
        }
        .boxed()
    }

    fn status<'a>(&'a self, units: &'a [UnitName]) -> BoxFuture<'a, Result<Vec<UnitStatus>, BusError>> {
        async move {
            let state = self.state();
            let of = |unit: &UnitName| {
                let linked = state.linked.contains_key(unit);
                let mut status = state.units.get(unit).cloned().unwrap_or_else(|| UnitStatus {
                    name: unit.clone(),
                    load: String::new(),
                    active: "inactive".into(),
                    sub: "dead".into(),
                    result: String::new(),
                    main_pid: None,
                    since_us: 0,
                });
                status.load = if linked { "loaded" } else { "not-found" }.into();
                status
            };
            Ok(units.iter().map(of).collect())
        }
        .boxed()
    }

    fn origins<'a>(&'a self, units: &'a [UnitName]) -> BoxFuture<'a, Result<Vec<Origin>, BusError>> {
        async move {
            let state = self.state();
            if let Some(message) = &state.refuse_origins {
                return Err(failure("GetUnit", message.clone()));
            }
            let free = |unit: &UnitName| {
                let (id, load, active) = (unit.to_string(), "not-found".into(), "inactive".into());
                Origin { id, load, fragment: String::new(), active }
            };
            let of = |unit: &UnitName| state.hosts.get(unit).cloned().unwrap_or_else(|| free(unit));
            Ok(units.iter().map(of).collect())
        }
        .boxed()
    }

    fn unit_path(&self) -> BoxFuture<'_, Result<Vec<PathBuf>, BusError>> {
        async { Ok(self.state().searched.clone()) }.boxed()
    }

    fn unread<'a>(&'a self, _: &'a [UnitName]) -> BoxFuture<'a, Result<Vec<UnitName>, BusError>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn system_state(&self) -> BoxFuture<'_, Result<String, BusError>> {
        async { Ok("running".to_string()) }.boxed()
    }

    fn changes(&self) -> broadcast::Receiver<UnitChange> {
        self.changes.subscribe()
    }
}
