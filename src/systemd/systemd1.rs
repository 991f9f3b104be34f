//! The real manager: `org.freedesktop.systemd1` over the system bus.
//!
//! A task of its own listens to systemd's signals for as long as the handle lives, over as many connections as it
//! takes. It must never wait: a stalled listener would hold up every answer on the connection.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use tokio::sync::{broadcast, watch};
use tokio_util::task::AbortOnDropHandle;
use zbus::{Connection, DynamicType, MatchRule, MessageStream, OwnedObjectPath, wire::DynamicDeserialize};

use super::bus::{CALL_TIMEOUT, Object, call_on};
use super::jobs::Jobs;
use super::{Bus, BusError, CHANGE_QUEUE, JobResult, Manager, Origin, Systemd, UnitChange, UnitStatus, path};
use crate::ids::UnitName;

const SERVICE: &str = "org.freedesktop.systemd1";
const MANAGER: Object<'static> = Object {
    service: SERVICE,
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
};
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// Pauses between attempts to reach the bus again.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MOST: Duration = Duration::from_secs(5);

/// One row of `ListUnitsByNames`: name, description, load, active and sub state, the unit it follows, path, job id,
/// job type, job path.
type Row = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

struct Systemd1 {
    bus: Bus,
    jobs: Jobs,
    /// The connection whose signals are listened to; jobs are asked for over no other.
    heard: watch::Receiver<Option<Connection>>,
    changes: broadcast::Sender<UnitChange>,
    _listener: AbortOnDropHandle<()>,
}

/// Connects to systemd over `bus` and listens to it from now on. Must be called inside a tokio runtime.
///
/// # Errors
/// The bus or systemd cannot be reached. Once connected, the handle repairs its connection by itself.
pub async fn connect(bus: Bus) -> Result<Systemd, BusError> {
    let jobs = Jobs::default();
    let (changes, _) = broadcast::channel(CHANGE_QUEUE);
    let first = Signals::subscribe(&bus).await?;
    let (hear, heard) = watch::channel(Some(first.connection.clone()));
    let listener = listen(bus.clone(), first, hear, jobs.clone(), changes.clone());
    let listener = AbortOnDropHandle::new(tokio::spawn(listener));
    Ok(Systemd::new(Systemd1 { bus, jobs, heard, changes, _listener: listener }))
}

/// The system's state, for those who want to know nothing else: see [`Manager::system_state`].
///
/// # Errors
/// The bus or systemd cannot be reached.
pub async fn system_state(bus: &Bus) -> Result<String, BusError> {
    bus.property(MANAGER, "SystemState").await
}

/// What one connection says, subscribed to before it is asked for anything.
struct Signals {
    connection: Connection,
    stream: stream::SelectAll<MessageStream>,
}

impl Signals {
    async fn subscribe(bus: &Bus) -> Result<Self, BusError> {
        let connection = bus.connection().await?;
        let signal = || MatchRule::builder().msg_type(zbus::message::Type::Signal);
        let rules = [
            signal().sender(SERVICE).interface(MANAGER.interface).path(MANAGER.path).build(),
            signal().sender(SERVICE).interface(PROPERTIES).path_namespace(path::UNIT_PREFIX).build(),
            signal()
                .sender("org.freedesktop.DBus")
                .interface("org.freedesktop.DBus")
                .member("NameOwnerChanged")
                .add_arg(SERVICE)
                .build(),
        ];
        let what = "subscribing to systemd's signals";
        let failed = |cause| BusError::Call { what: what.into(), cause };
        let mut all = stream::SelectAll::new();
        for rule in rules {
            let rule = rule.map_err(failed)?;
            let queue = std::num::NonZeroUsize::new(CHANGE_QUEUE);
            all.push(MessageStream::for_match_rule(rule, &connection, queue).await.map_err(failed)?);
        }
        subscribe(&connection).await?;
        Ok(Self { connection, stream: all })
    }
}

/// Asks systemd to send signals to this connection at all.
async fn subscribe(connection: &Connection) -> Result<(), BusError> {
    match call_on(connection, MANAGER, "Subscribe", "Subscribe", &()).await {
        Err(BusError::Refused { name, .. }) if name == "org.freedesktop.systemd1.AlreadySubscribed" => Ok(()),
        other => other,
    }
}

/// Hands signals on, over one connection after the other, for ever.
async fn listen(
    bus: Bus,
    first: Signals,
    hear: watch::Sender<Option<Connection>>,
    jobs: Jobs,
    changes: broadcast::Sender<UnitChange>,
) {
    let mut signals = first;
    loop {
        let closed = signals.connection.clone();
        tokio::select! {
            () = relay(&mut signals, &jobs, &changes) => {}
            () = closed.closed() => {}
        }
        tracing::warn!("lost the connection to the system bus");
        hear.send_replace(None);
        jobs.lose_all();
        let mut pause = RETRY_FIRST;
        signals = loop {
            match Signals::subscribe(&bus).await {
                Ok(signals) => break signals,
                Err(error) => tracing::debug!(%error, "no connection to systemd yet"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MOST);
        };
        tracing::info!("connected to the system bus again");
        hear.send_replace(Some(signals.connection.clone()));
        let _ = changes.send(UnitChange::Everything);
    }
}

/// Hands one connection's signals on until its stream ends.
async fn relay(signals: &mut Signals, jobs: &Jobs, changes: &broadcast::Sender<UnitChange>) {
    while let Some(Ok(message)) = signals.stream.next().await {
        let header = message.header();
        let member = header.member().map(|m| m.as_str().to_string()).unwrap_or_default();
        let change = match member.as_str() {
            "JobRemoved" => job_removed(&message, jobs),
            "PropertiesChanged" => {
                header.path().and_then(|p| path::unit_of(p.as_str())).map(UnitChange::Unit)
            }
            // Sent with true before and with false after all unit files are read again.
            "Reloading" => {
                matches!(message.body().deserialize(), Ok(false)).then_some(UnitChange::Everything)
            }
            "NameOwnerChanged" => owner_changed(&message, signals.connection.clone(), jobs),
            // UnitNew and UnitRemoved come of our own questions too: heeding them would never end.
            _ => None,
        };
        if let Some(change) = change {
            // Nobody may be listening at the moment.
            let _ = changes.send(change);
        }
    }
}

fn job_removed(message: &zbus::Message, jobs: &Jobs) -> Option<UnitChange> {
    let body = message.body();
    let (_, job, unit, result): (u32, OwnedObjectPath, String, String) = body.deserialize().ok()?;
    jobs.ended(job.as_str(), JobResult::parse(&result));
    unit.parse().ok().map(UnitChange::Unit)
}

/// systemd left the bus or came (back) to it, as it does when it re-executes itself.
fn owner_changed(message: &zbus::Message, connection: Connection, jobs: &Jobs) -> Option<UnitChange> {
    let body = message.body();
    let (_, _, new): (String, String, String) = body.deserialize().ok()?;
    if new.is_empty() {
        jobs.lose_all();
        return None;
    }
    // In a task: waiting for the answer here would keep it from arriving.
    tokio::spawn(async move {
        if let Err(error) = subscribe(&connection).await {
            tracing::warn!(%error, "systemd is back on the bus but does not take the subscription");
        }
    });
    Some(UnitChange::Everything)
}

impl Systemd1 {
    async fn ask<B, R>(&self, method: &str, about: &str, body: &B) -> Result<R, BusError>
    where
        B: serde::Serialize + DynamicType,
        R: for<'d> DynamicDeserialize<'d>,
    {
        let what = format!("{method} {about}");
        let connection = self.connection().await.ok_or_else(|| BusError::Lost { what: what.clone() })?;
        call_on(&connection, MANAGER, method, what.trim_end(), body).await
    }

    /// A connection that is listened to; waits a while for one.
    async fn connection(&self) -> Option<Connection> {
        let mut heard = self.heard.clone();
        let ready = tokio::time::timeout(CALL_TIMEOUT, heard.wait_for(Option::is_some)).await;
        ready.ok()?.ok()?.clone()
    }

    async fn job(&self, method: &str, unit: &UnitName) -> Result<JobResult, BusError> {
        let era = self.jobs.era();
        let body = (unit.as_str(), "replace");
        let job: OwnedObjectPath = self.ask(method, unit.as_str(), &body).await?;
        let ended = self.jobs.result_of(job.as_str(), era);
        ended.await.ok_or_else(|| BusError::Lost { what: format!("{method} {unit}") })
    }

    /// Loads a unit and reads properties that all kinds of units have.
    async fn loaded(&self, unit: &UnitName) -> Result<OwnedObjectPath, BusError> {
        self.ask("LoadUnit", unit.as_str(), &unit.as_str()).await
    }

    async fn origin(&self, unit: &UnitName) -> Result<Origin, BusError> {
        let path = match self.loaded(unit).await {
            Ok(path) => path,
            Err(error) if error.is_no_such_unit() => {
                let (id, load, active) = (unit.to_string(), "not-found".into(), "inactive".into());
                return Ok(Origin { id, load, fragment: String::new(), active });
            }
            Err(error) => return Err(error),
        };
        let object = Object { service: SERVICE, path: path.as_str(), interface: UNIT };
        let (id, load, fragment, active) = tokio::try_join!(
            self.bus.property(object, "Id"),
            self.bus.property(object, "LoadState"),
            self.bus.property(object, "FragmentPath"),
            self.bus.property(object, "ActiveState"),
        )?;
        Ok(Origin { id, load, fragment, active })
    }

    /// Whether a unit's files have changed since systemd has read them.
    async fn is_unread(&self, unit: &UnitName) -> Result<bool, BusError> {
        let path = self.loaded(unit).await?;
        let object = Object { service: SERVICE, path: path.as_str(), interface: UNIT };
        self.bus.property(object, "NeedDaemonReload").await
    }

    /// The details of a unit that `ListUnitsByNames` does not tell.
    async fn detailed(&self, row: Row) -> Result<Option<UnitStatus>, BusError> {
        let (name, _, load, active, sub, _, path, ..) = row;
        let Ok(name) = name.parse::<UnitName>() else { return Ok(None) };
        let object = |interface| Object { service: SERVICE, path: path.as_str(), interface };
        let unit = object(UNIT);
        let since_us: u64 = self.bus.property(unit, "StateChangeTimestamp").await?;
        let mut status =
            UnitStatus { name, load, active, sub, result: String::new(), main_pid: None, since_us };
        if status.name.suffix() == "service" && status.load == "loaded" {
            let service = object("org.freedesktop.systemd1.Service");
            status.result = self.bus.property(service, "Result").await?;
            let pid: u32 = self.bus.property(service, "MainPID").await?;
            status.main_pid = (pid != 0).then_some(pid);
        }
        Ok(Some(status))
    }
}

fn names(units: &[UnitName]) -> Vec<&str> {
    units.iter().map(UnitName::as_str).collect()
}

/// What link and disable answer: kind of change, file, link target.
type FileChanges = Vec<(String, String, String)>;

impl Manager for Systemd1 {
    fn start<'a>(&'a self, unit: &'a UnitName) -> BoxFuture<'a, Result<JobResult, BusError>> {
        self.job("StartUnit", unit).boxed()
    }

    fn stop<'a>(&'a self, unit: &'a UnitName) -> BoxFuture<'a, Result<JobResult, BusError>> {
        async move {
            match self.job("StopUnit", unit).await {
                Err(error) if error.is_no_such_unit() => Ok(JobResult::Done),
                other => other,
            }
        }
        .boxed()
    }

    fn link<'a>(&'a self, files: &'a [PathBuf]) -> BoxFuture<'a, Result<(), BusError>> {
        async move {
            let paths: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
            let about = paths.join(" ");
            let _: FileChanges = self.ask("LinkUnitFiles", &about, &(&paths, true, true)).await?;
            Ok(())
        }
        .boxed()
    }

    fn unlink<'a>(&'a self, units: &'a [UnitName]) -> BoxFuture<'a, Result<(), BusError>> {
        async move {
            let names = names(units);
            let _: FileChanges = self.ask("DisableUnitFiles", &names.join(" "), &(&names, true)).await?;
            Ok(())
        }
        .boxed()
    }

    fn reload(&self) -> BoxFuture<'_, Result<(), BusError>> {
        self.ask("Reload", "", &()).boxed()
    }

    fn reset_failed<'a>(&'a self, unit: &'a UnitName) -> BoxFuture<'a, Result<(), BusError>> {
        async move {
            match self.ask("ResetFailedUnit", unit.as_str(), &unit.as_str()).await {
                Err(error) if error.is_no_such_unit() => Ok(()),
                other => other,
            }
        }
        .boxed()
    }

    fn status<'a>(&'a self, units: &'a [UnitName]) -> BoxFuture<'a, Result<Vec<UnitStatus>, BusError>> {
        async move {
            if units.is_empty() {
                return Ok(Vec::new());
            }
            let rows: Vec<Row> = self.ask("ListUnitsByNames", "", &names(units)).await?;
            let details = rows.into_iter().map(|row| self.detailed(row));
            let all = futures_util::future::try_join_all(details).await?;
            Ok(all.into_iter().flatten().collect())
        }
        .boxed()
    }

    fn origins<'a>(&'a self, units: &'a [UnitName]) -> BoxFuture<'a, Result<Vec<Origin>, BusError>> {
        futures_util::future::try_join_all(units.iter().map(|unit| self.origin(unit))).boxed()
    }

    fn unit_path(&self) -> BoxFuture<'_, Result<Vec<PathBuf>, BusError>> {
        async move {
            let folders: Vec<String> = self.bus.property(MANAGER, "UnitPath").await?;
            Ok(folders.into_iter().map(PathBuf::from).collect())
        }
        .boxed()
    }

    fn unread<'a>(&'a self, units: &'a [UnitName]) -> BoxFuture<'a, Result<Vec<UnitName>, BusError>> {
        async move {
            let told = units.iter().map(|unit| self.is_unread(unit));
            let told = futures_util::future::try_join_all(told).await?;
            Ok(units.iter().zip(told).filter(|(_, unread)| *unread).map(|(unit, _)| unit.clone()).collect())
        }
        .boxed()
    }

    fn system_state(&self) -> BoxFuture<'_, Result<String, BusError>> {
        system_state(&self.bus).boxed()
    }

    fn changes(&self) -> broadcast::Receiver<UnitChange> {
        self.changes.subscribe()
    }
}
