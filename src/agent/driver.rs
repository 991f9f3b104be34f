//! Brings this machine's units to where the cluster wants them: hears of changes, asks [`steps`] what to do, does it.
//!
//! Jobs of systemd run side by side, each unit for itself. What a round cannot do is tried again later, and shown.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::chain::chain;
use crate::claim::Standing;
use crate::client::{Client, Mirror};
use crate::ids::UnitName;
use crate::model::machine::{MachineInfo, MachineSettings};
use crate::model::tree::Tree;
use crate::model::{self, SETTINGS};
use crate::schedule::Machine;
use crate::systemd::{BusError, JobResult, Systemd, UnitChange, UnitStatus};

use super::desired;
use super::desired::Me;
use super::files::{Done, FileError, Files, OnDisk};
use super::handover::Handovers;
use super::presence::States;
use super::report;
use super::steps::{Assignment, Observed, Step, Ticket, steps};
use super::vet::Vetting;

/// Changes within this time are looked at together.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// Pause before something that failed is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// What a driver works with.
pub struct Parts {
    /// The store.
    pub client: Client,
    /// The service manager.
    pub systemd: Systemd,
    /// The folders.
    pub files: Files,
    /// This machine as it is registered.
    pub info: MachineInfo,
    /// A copy of the units' records.
    pub units: Mirror,
    /// A copy of the schedule.
    pub schedule: Mirror,
    /// Where the units' states go.
    pub states: watch::Sender<States>,
    /// Whether the machine's id is its own: only then anything is done for it.
    pub standing: Standing,
}

/// What came of something that was done in the background.
enum Outcome {
    Fetched { unit: UnitName, hash: String, text: Result<String, String> },
    Job { unit: UnitName, ticket: Option<Ticket>, start: bool, ended: Ended },
}

/// How a job of systemd ended.
struct Ended {
    result: Result<JobResult, BusError>,
    /// systemd never came to the unit itself: it did not read its files before.
    unread: bool,
}

/// The driver of one machine's units.
pub struct Driver {
    parts: Parts,
    settings: Mirror,
    changes: broadcast::Receiver<UnitChange>,
    managed: BTreeMap<UnitName, OnDisk>,
    statuses: BTreeMap<UnitName, UnitStatus>,
    /// Units to ask systemd about.
    unasked: BTreeSet<UnitName>,
    texts: BTreeMap<String, String>,
    busy: BTreeSet<UnitName>,
    /// Whose names are free on this machine.
    vetting: Vetting,
    /// Units whose files have changed since systemd has read them, those that have gone among them.
    unread: BTreeSet<UnitName>,
    /// Units to be left alone for a while, and why.
    held_up: BTreeMap<UnitName, (Instant, String)>,
    handovers: Handovers,
    jobs: JoinSet<Outcome>,
}

impl Driver {
    /// Finds out what an earlier agent left here, and publishes the state of it.
    ///
    /// # Errors
    /// The agent's folders cannot be read.
    pub async fn new(parts: Parts) -> Result<Self, FileError> {
        let managed = parts.files.scan()?;
        let mut driver = Self {
            settings: Mirror::open(&parts.client, SETTINGS),
            changes: parts.systemd.changes(),
            unasked: managed.keys().cloned().collect(),
            managed,
            statuses: BTreeMap::new(),
            texts: BTreeMap::new(),
            busy: BTreeSet::new(),
            vetting: Vetting::default(),
            unread: BTreeSet::new(),
            held_up: BTreeMap::new(),
            handovers: Handovers::new(parts.client.clone()),
            jobs: JoinSet::new(),
            parts,
        };
        driver.ask().await;
        // An earlier agent may have ended between writing and reading.
        let units: Vec<UnitName> = driver.managed.keys().cloned().collect();
        match driver.parts.systemd.unread(&units).await {
            Ok(unread) => driver.unread.extend(unread),
            Err(error) => {
                tracing::warn!(error = %chain(&error), "systemd does not tell what it has not read")
            }
        }
        driver.publish();
        Ok(driver)
    }

    /// Works until `stop`. Ends without stopping anything: systemd's jobs and units go on by themselves.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let wake = self.round().await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.parts.units.changed() => {}
                () = self.parts.schedule.changed() => {}
                () = self.settings.changed() => {}
                () = self.handovers.done() => {}
                () = self.parts.standing.changed() => {}
                change = self.changes.recv() => self.heard(change),
                Some(outcome) = self.jobs.join_next(), if !self.jobs.is_empty() => self.ended(outcome),
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
            tokio::time::sleep(DEBOUNCE).await;
            while let Ok(change) = self.changes.try_recv() {
                self.heard(Ok(change));
            }
            while let Some(outcome) = self.jobs.try_join_next() {
                self.ended(outcome);
            }
        }
    }

    /// Looks at everything once and does what is to be done. Says when to look again if nothing is heard.
    async fn round(&mut self) -> Option<Instant> {
        let now = Instant::now();
        self.held_up.retain(|_, (until, _)| *until > now);
        let desired = self.desired();
        for unit in desired.iter().flat_map(BTreeMap::keys) {
            if !self.statuses.contains_key(unit) && !self.managed.contains_key(unit) {
                self.unasked.insert(unit.clone());
            }
        }
        let mut again = self.ask().await;
        let ours = self.parts.standing.holds();
        if !ours {
            again = again.or(Some(now + RETRY));
        }
        if let Some(desired) = desired.filter(|_| ours) {
            let (managed, parts) = (|unit: &UnitName| self.managed.contains_key(unit), &self.parts);
            let looked = self.vetting.look(&desired, managed, &parts.systemd, &parts.files).await;
            if let Err((units, problem)) = looked {
                units.into_iter().for_each(|unit| self.hold_up(unit, problem.clone()));
            }
            self.act(&desired).await;
            let of_interest = |unit: &UnitName| {
                self.managed.contains_key(unit) || desired.contains_key(unit) || self.unread.contains(unit)
            };
            let gone: Vec<_> = self.statuses.keys().filter(|unit| !of_interest(unit)).cloned().collect();
            for unit in gone {
                self.statuses.remove(&unit);
            }
        }
        self.publish();
        again = again.or_else(|| (!self.unasked.is_empty()).then_some(now));
        self.held_up.values().map(|(until, _)| *until).chain(again).min()
    }

    /// What is wanted; `None` while the store has not been read.
    fn desired(&mut self) -> Option<BTreeMap<UnitName, Assignment>> {
        let (units, schedule) = (self.parts.units.read(Tree::clone)?, self.parts.schedule.read(Tree::clone)?);
        let settings = self.settings.read(|tree| {
            let file = tree.files.get(&model::settings(&self.parts.info.id))?;
            serde_json::from_str::<MachineSettings>(&file.value).ok()
        })?;
        let machine = Machine::new(&self.parts.info, &settings.unwrap_or_default());
        let me = Me { id: self.parts.info.id.clone(), machine };
        let managed = self.managed.keys().cloned().collect();
        let mut desired = desired::read(&me, &units, &schedule, &managed);
        // The old copy goes only once the new one runs.
        let up = |unit: &UnitName| self.statuses.get(unit).is_none_or(UnitStatus::is_up);
        desired.handed_over.retain(|unit, _| up(unit));
        for unit in self.handovers.waiting(&desired.handed_over) {
            desired.units.insert(unit, Assignment::Leave);
        }
        Some(desired.units)
    }

    /// Asks systemd about the units whose state may have changed. Says when to ask again if that failed.
    async fn ask(&mut self) -> Option<Instant> {
        if self.unasked.is_empty() {
            return None;
        }
        let units: Vec<UnitName> = self.unasked.iter().cloned().collect();
        match self.parts.systemd.status(&units).await {
            Ok(statuses) => {
                self.unasked.clear();
                self.statuses.extend(statuses.into_iter().map(|status| (status.name.clone(), status)));
                None
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "systemd does not tell the state of units");
                Some(Instant::now() + RETRY)
            }
        }
    }

    fn heard(&mut self, change: Result<UnitChange, broadcast::error::RecvError>) {
        match change {
            Ok(UnitChange::Unit(unit)) => {
                if self.statuses.contains_key(&unit) || self.managed.contains_key(&unit) {
                    self.unasked.insert(unit);
                }
            }
            Ok(UnitChange::Everything) | Err(_) => {
                self.unasked.extend(self.managed.keys().chain(self.statuses.keys()).cloned());
                self.vetting.forget();
            }
        }
    }

    async fn act(&mut self, desired: &BTreeMap<UnitName, Assignment>) {
        let known = desired.keys().chain(self.managed.keys()).chain(&self.unread);
        let observed = known.map(|unit| (unit.clone(), self.observed(unit)));
        let texts = self.texts.keys().cloned().collect();
        let steps = steps(desired, &observed.collect(), &texts);
        for step in steps {
            self.step(step).await;
        }
        // Texts are kept only from their reading to their writing.
        if self.busy.is_empty() {
            self.texts.clear();
        }
    }

    fn observed(&self, unit: &UnitName) -> Observed {
        let disk = self.managed.get(unit);
        let unread = self.unread.contains(unit);
        Observed {
            file: disk.filter(|disk| disk.generation.is_some()).map(|disk| disk.hash.clone()),
            generation: disk.and_then(|disk| disk.generation),
            up: self.statuses.get(unit).filter(|_| !self.unasked.contains(unit)).map(UnitStatus::is_up),
            loaded: self.statuses.get(unit).is_none_or(|status| status.load != "not-found"),
            done: disk.and_then(|disk| disk.done.as_ref()).map(|done| done.ticket),
            unread,
            busy: self.bars(unit) || self.busy.contains(unit) || self.held_up.contains_key(unit),
        }
    }

    /// Whether a name may be the host's own: then nothing is done about it, and what systemd says of it is not the
    /// cluster's affair.
    fn bars(&self, unit: &UnitName) -> bool {
        !self.managed.contains_key(unit) && !self.unread.contains(unit) && self.vetting.bars(unit)
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Fetch { unit, hash } => self.fetch(unit, hash),
            Step::Write { unit, hash, generation } => {
                if let Err(problem) = self.write(&unit, &hash, generation).await {
                    self.hold_up(unit, problem);
                }
            }
            Step::Remove { unit } => {
                if let Err(problem) = self.remove(&unit).await {
                    self.hold_up(unit, problem);
                }
            }
            Step::Reload => self.reload().await,
            // A unit whose file could not be written a moment ago waits.
            Step::Start { unit, .. } | Step::Note { unit, .. } if self.held_up.contains_key(&unit) => {}
            Step::Start { unit, ticket } => self.job(unit, Some(ticket), true),
            Step::Stop { unit, ticket } => self.job(unit, ticket, false),
            Step::Note { unit, ticket } => self.done(&unit, ticket, String::new()),
        }
    }

    fn fetch(&mut self, unit: UnitName, hash: String) {
        self.busy.insert(unit.clone());
        let client = self.parts.client.clone();
        self.jobs.spawn(async move {
            let text = super::text::fetch(&client, &hash).await;
            Outcome::Fetched { unit, hash, text }
        });
    }

    fn job(&mut self, unit: UnitName, ticket: Option<Ticket>, start: bool) {
        tracing::info!("{} {unit}", if start { "starting" } else { "stopping" });
        self.busy.insert(unit.clone());
        let systemd = self.parts.systemd.clone();
        self.jobs.spawn(async move {
            let ended = if start {
                start_known(&systemd, &unit).await
            } else {
                Ended { result: systemd.stop(&unit).await, unread: false }
            };
            Outcome::Job { unit, ticket, start, ended }
        });
    }

    async fn write(&mut self, unit: &UnitName, hash: &str, generation: u64) -> Result<(), String> {
        let text = self.texts.get(hash).ok_or_else(|| format!("its text {hash} has not been read"))?;
        let files = &self.parts.files;
        files.write_unit(unit, text).map_err(|error| chain(&error))?;
        let done = self.managed.remove(unit).and_then(|disk| disk.done);
        self.managed.insert(unit.clone(), OnDisk { hash: hash.into(), generation: None, done });
        self.parts.systemd.link(&[files.unit(unit)]).await.map_err(|error| chain(&error))?;
        files.write_drop_in(unit, generation).map_err(|error| chain(&error))?;
        if self.statuses.get(unit).is_none_or(|status| status.load != "not-found") {
            self.unread.insert(unit.clone());
        }
        if let Some(disk) = self.managed.get_mut(unit) {
            disk.generation = Some(generation);
        }
        Ok(())
    }

    /// Lets systemd read its files. If it does not, that is a failure of the units whose files have changed.
    async fn reload(&mut self) {
        match self.parts.systemd.reload().await {
            Ok(()) => {
                for unit in std::mem::take(&mut self.unread) {
                    if !self.managed.contains_key(&unit) {
                        self.statuses.remove(&unit);
                        self.unasked.remove(&unit);
                    }
                }
            }
            Err(error) => {
                let problem = unread(&error);
                self.unread.clone().into_iter().for_each(|unit| self.hold_up(unit, problem.clone()));
            }
        }
    }

    async fn remove(&mut self, unit: &UnitName) -> Result<(), String> {
        tracing::info!("removing {unit}");
        self.parts.systemd.unlink(std::slice::from_ref(unit)).await.map_err(|error| chain(&error))?;
        self.parts.systemd.reset_failed(unit).await.map_err(|error| chain(&error))?;
        self.parts.files.remove(unit).map_err(|error| chain(&error))?;
        self.managed.remove(unit);
        self.unread.insert(unit.clone());
        Ok(())
    }

    fn ended(&mut self, outcome: Result<Outcome, tokio::task::JoinError>) {
        match outcome {
            Ok(Outcome::Fetched { unit, hash, text }) => {
                self.busy.remove(&unit);
                match text {
                    Ok(text) => {
                        self.texts.insert(hash, text);
                    }
                    Err(problem) => self.hold_up(unit, problem),
                }
            }
            Ok(Outcome::Job { unit, ticket, start, ended }) => {
                self.busy.remove(&unit);
                self.unasked.insert(unit.clone());
                self.job_ended(unit, ticket, start, &ended);
            }
            // A panic inside a job; the unit stays busy and is shown as it is.
            Err(error) => tracing::error!(%error, "a job broke off"),
        }
    }

    fn job_ended(&mut self, unit: UnitName, ticket: Option<Ticket>, start: bool, ended: &Ended) {
        let verb = if start { "start" } else { "stop" };
        let problem = match &ended.result {
            // Of a unit that failed systemd tells more than the job's result.
            Ok(JobResult::Done | JobResult::Skipped | JobResult::Failed) => String::new(),
            Ok(result) => format!("the {verb} job ended with \"{}\"", result.as_str()),
            Err(error) if ended.unread => unread(error),
            Err(error) => chain(error),
        };
        let settled = match &ended.result {
            Ok(_) => true,
            Err(error) => error.is_refusal() && !ended.unread,
        };
        if !problem.is_empty() {
            tracing::warn!("{unit}: {problem}");
        }
        match ticket {
            Some(ticket) if settled => self.done(&unit, ticket, problem),
            None if problem.is_empty() => {}
            _ => self.hold_up(unit, problem),
        }
    }

    fn done(&mut self, unit: &UnitName, ticket: Ticket, problem: String) {
        let done = Done { ticket, problem };
        if let Err(error) = self.parts.files.write_done(unit, &done) {
            tracing::error!(error = %chain(&error), "what was done is forgotten at the next start of the agent");
        }
        if let Some(disk) = self.managed.get_mut(unit) {
            disk.done = Some(done);
        }
    }

    fn hold_up(&mut self, unit: UnitName, problem: String) {
        tracing::warn!("{unit}: {problem}; trying again soon");
        self.held_up.insert(unit, (Instant::now() + RETRY, problem));
    }

    fn publish(&self) {
        let state = |(unit, status): (&UnitName, &UnitStatus)| {
            let disk = self.managed.get(unit);
            let done = disk.and_then(|disk| disk.done.as_ref());
            let problem = self.held_up.get(unit).map(|(_, problem)| problem.as_str());
            let problem = problem.or(done.map(|done| done.problem.as_str())).unwrap_or_default();
            let hash = disk.map(|disk| disk.hash.as_str());
            (unit.clone(), report::state(status, hash, done.map(|done| done.ticket), problem))
        };
        let known = self.statuses.iter().filter(|(unit, _)| {
            let at_work = self.held_up.contains_key(*unit) || self.busy.contains(*unit);
            self.managed.contains_key(*unit) || at_work && !self.bars(unit)
        });
        let barred = self.held_up.iter().filter(|(unit, _)| self.bars(unit));
        let barred = barred.map(|(unit, (_, problem))| (unit.clone(), report::nothing(problem)));
        let states: States = known.map(state).chain(barred).chain(self.vetting.states()).collect();
        self.parts.states.send_if_modified(|published| {
            let differs = *published != states;
            if differs {
                *published = states;
            }
            differs
        });
    }
}

/// Starts a unit. Should systemd remember that there was no such unit, it reads all files first: versions before 246
/// look only then.
async fn start_known(systemd: &Systemd, unit: &UnitName) -> Ended {
    let result = match systemd.start(unit).await {
        Err(error) if error.is_no_such_unit() => match systemd.reload().await {
            Ok(()) => systemd.start(unit).await,
            Err(error) => return Ended { result: Err(error), unread: true },
        },
        other => other,
    };
    Ended { result, unread: false }
}

/// What to say of units whose files systemd did not read.
fn unread(error: &BusError) -> String {
    format!("systemd did not read its files: {}", chain(error))
}
