//! The engine: holds the lease, watches, plans, and writes what the plan says.
//!
//! Every write carries the index that the plan saw, so that of two engines the one that was deposed loses.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::claim::Standing;
use crate::client::{Answer, Client, ClientError, DeleteOptions, Mirror, PutOptions};
use crate::clock::wall_time;
use crate::ids::{MachineId, UnitName};
use crate::model::tree::Tree;
use crate::model::unit::ScheduleRecord;
use crate::model::{self, MACHINES, SETTINGS};

use super::Contact;
use super::cluster::{Cluster, Trees};
use super::lease::{self, Held};
use super::plan::{Action, plan};

/// Changes within this time are planned for at once.
const DEBOUNCE: Duration = Duration::from_millis(30);
/// How many writes are under way at a time.
const WRITES: usize = 16;
/// Pause before planning again after a write that failed.
const RETRY: Duration = Duration::from_millis(500);

/// What the engine works with.
pub struct Engine {
    /// The store.
    pub client: Client,
    /// The machine it runs on.
    pub me: MachineId,
    /// How long the lease lasts without renewal.
    pub lease_ttl: Duration,
    /// A copy of the units' records.
    pub units: Mirror,
    /// A copy of the schedule.
    pub schedule: Mirror,
    /// How well the store could be reached.
    pub contact: Arc<Mutex<Contact>>,
    /// The moment that times in `contact` count from.
    pub epoch: Instant,
    /// Whether the machine's id is its own: the lease is held in that name.
    pub standing: Standing,
}

impl Engine {
    /// Runs until `stop`; then gives the lease back.
    pub async fn run(self, stop: CancellationToken) {
        let (sender, mut held) = watch::channel(None);
        let lease = lease::keep(self.client.clone(), self.me.clone(), self.lease_ttl, sender, stop.clone());
        let decide = async {
            loop {
                if held.wait_for(Option::is_some).await.is_err() {
                    return;
                }
                Leader::new(&self, held.clone()).lead().await;
            }
        };
        tokio::select! {
            () = lease => {}
            () = decide => {}
        }
    }
}

/// An engine that holds the lease.
struct Leader<'a> {
    engine: &'a Engine,
    held: Held,
    machines: Mirror,
    settings: Mirror,
    /// The highest index that a write of ours was answered with: later placements must have a greater generation.
    floor: u64,
    /// Units already complained of, so that the log tells each once.
    unreadable: BTreeSet<UnitName>,
}

impl<'a> Leader<'a> {
    fn new(engine: &'a Engine, held: Held) -> Self {
        let machines = Mirror::open(&engine.client, MACHINES);
        let settings = Mirror::open(&engine.client, SETTINGS);
        Self { engine, held, machines, settings, floor: 0, unreadable: BTreeSet::new() }
    }

    /// Decides until the lease is lost.
    async fn lead(&mut self) {
        let (mut units, mut schedule) = (self.engine.units.clone(), self.engine.schedule.clone());
        let mut held = self.held.clone();
        let mut due = Some(Instant::now());
        loop {
            tokio::select! {
                () = units.changed() => {}
                () = schedule.changed() => {}
                () = self.machines.changed() => {}
                () = self.settings.changed() => {}
                () = lost(&mut held) => return,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    due = self.round().await;
                    continue;
                }
            }
            let soon = Instant::now() + DEBOUNCE;
            due = Some(due.map_or(soon, |due| due.min(soon)));
        }
    }

    /// Plans and writes once. Says when to do it again without having heard of any change.
    async fn round(&mut self) -> Option<Instant> {
        let (may_bury, again) = self.may_bury();
        let Some((cluster, index)) = self.cluster(may_bury) else { return again };
        let actions = plan(&cluster);
        if actions.is_empty() {
            return again;
        }
        let tenure = self.held.borrow().map_or(0, |tenure| tenure.index);
        let generation = index.max(self.floor).max(tenure);
        let this: &Self = self;
        let writes = actions.iter().map(|action| {
            let request = request_answered(action, &cluster);
            async move { (action, this.act(request, action, generation).await) }
        });
        let outcomes: Vec<_> = stream::iter(writes).buffer_unordered(WRITES).collect().await;
        let mut failed = false;
        for (action, outcome) in outcomes {
            match outcome {
                Ok(Some(answer)) => {
                    self.floor = self.floor.max(answer.index).max(answer.node.modified_index);
                    tell(action);
                    self.engine.schedule.absorb(&answer);
                }
                Ok(None) => failed = true,
                // The copy that the plan was made from is behind, or another engine decides: the watch will tell.
                Err(error) if error.is_compare_failed() || error.is_exists() || error.is_not_found() => {
                    tracing::debug!(?action, %error, "overtaken");
                    failed = true;
                }
                Err(error) => {
                    tracing::warn!(?action, %error, "cannot be written");
                    failed = true;
                }
            }
        }
        let retry = failed.then(|| Instant::now() + RETRY);
        [again, retry].into_iter().flatten().min()
    }

    /// Whether absent machines count as dead; if not, when to look again.
    fn may_bury(&self) -> (bool, Option<Instant>) {
        let from = {
            let contact = self.engine.contact.lock().expect("contact lock poisoned");
            contact.may_bury_from()
        };
        match from.map(|from| self.engine.epoch + from) {
            Some(from) if from <= Instant::now() => (true, None),
            Some(from) => (false, Some(from)),
            None => (false, Some(Instant::now() + RETRY)),
        }
    }

    /// The cluster as the copies show it, and the index of the copy of the schedule. `None` while a copy is missing
    /// or makes no sense.
    fn cluster(&mut self, may_bury: bool) -> Option<(Cluster, u64)> {
        let copy = |mirror: &Mirror| mirror.read(Tree::clone);
        let (units, schedule) = (copy(&self.engine.units)?, copy(&self.engine.schedule)?);
        let (machines, settings) = (copy(&self.machines)?, copy(&self.settings)?);
        if !units.exists && !schedule.files.is_empty() {
            tracing::error!(
                "units are placed but {} is gone: nothing is decided until it is back",
                model::UNITS
            );
            return None;
        }
        let trees = Trees {
            units: &units.files,
            schedule: &schedule.files,
            machines: &machines.files,
            settings: &settings.files,
        };
        let (cluster, complaints) = Cluster::read(&trees);
        for (unit, complaint) in &complaints {
            if !self.unreadable.contains(unit) {
                tracing::error!("{complaint}; {unit} is left as it is");
            }
        }
        self.unreadable = complaints.into_keys().collect();
        Some((Cluster { may_bury, ..cluster }, schedule.index.max(units.index)))
    }

    /// Writes one action, on the condition that nobody has written the key since it was read. `None`: the lease, or the
    /// machine's id, is not certainly ours.
    async fn act(
        &self,
        request: u64,
        action: &Action,
        generation: u64,
    ) -> Result<Option<Answer>, ClientError> {
        let leads = self.held.borrow().is_some_and(|tenure| tenure.until > Instant::now());
        if !leads || !self.engine.standing.holds() {
            return Ok(None);
        }
        let (unit, machine, reason) = match action {
            Action::Place { unit, machine, reason } => (unit, Some(machine.clone()), reason.clone()),
            Action::Wait { unit, reason } => (unit, None, reason.clone()),
            Action::Forget { unit } => return self.forget(unit).await.map(Some),
        };
        let since = format!("{:.0}", wall_time());
        let record = ScheduleRecord { machine, generation, reason, since, request };
        let seen = self.seen(unit);
        let put = PutOptions {
            value: serde_json::to_string(&record).ok(),
            prev_index: seen,
            prev_exist: seen.is_none().then_some(false),
            ..Default::default()
        };
        self.engine.client.put(&model::schedule(unit), &put).await.map(Some)
    }

    async fn forget(&self, unit: &UnitName) -> Result<Answer, ClientError> {
        let options = DeleteOptions { prev_index: self.seen(unit), ..Default::default() };
        self.engine.client.delete(&model::schedule(unit), &options).await
    }

    /// The index of a unit's placement as the copy has it.
    fn seen(&self, unit: &UnitName) -> Option<u64> {
        let key = model::schedule(unit);
        self.engine.schedule.read(|tree| tree.files.get(&key).map(|file| file.modified_index)).flatten()
    }
}

/// Waits until the lease is not held any more.
async fn lost(held: &mut Held) {
    // An error means that nobody keeps the lease any more.
    let _ = held.wait_for(Option::is_none).await;
}

/// The generation of the unit's record that an action answers.
fn request_answered(action: &Action, cluster: &Cluster) -> u64 {
    let (Action::Place { unit, .. } | Action::Wait { unit, .. } | Action::Forget { unit }) = action;
    cluster.units.get(unit).map_or(0, |record| record.generation)
}

fn tell(action: &Action) {
    match action {
        Action::Place { unit, machine, reason } => tracing::info!("{unit} goes to {machine}: {reason}"),
        Action::Wait { unit, reason } => tracing::info!("{unit} waits: {reason}"),
        Action::Forget { unit } => tracing::info!("{unit} is not placed any more"),
    }
}
