//! This machine's presence in the store: a directory with a TTL, and what is published below it.
//!
//! One refresh of the directory every third of the TTL keeps everything alive. When the store says that the directory
//! is gone, the machine registers again. Whoever writes the description has the machine's id: it is first written to
//! take it, which only one of two machines with the same id can do, then again when the units' states are known. Until
//! then no new unit is placed here.

mod keep;
mod link;
mod publish;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::claim::{self, Duplicate, Found};
use crate::client::{Client, ClientError, Node, PutOptions};
use crate::clock::wall_time;
use crate::ids::UnitName;
use crate::model::claim::Owner;
use crate::model::machine::{MachineInfo, Refusal};
use crate::model::unit::UnitState;
use crate::model::{self, Moment};
use crate::schedule::Contact;

use super::facts;
use keep::Keeper;
use link::Link;
use publish::{Publisher, Trouble};

/// Pause after a request that failed.
const RETRY: Duration = Duration::from_millis(250);
/// How long the farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// The states to publish, by unit.
pub type States = BTreeMap<UnitName, UnitState>;

/// What keeps this machine present.
pub struct Presence {
    link: Link,
    info: MachineInfo,
    ttl: Duration,
    states: watch::Receiver<States>,
    /// The registration whose states have been published: until when it is certain.
    registered: watch::Sender<Option<watch::Receiver<Instant>>>,
}

/// The machine's id is ours.
struct Registration {
    /// The index at which the directory was made.
    created: u64,
    /// The index of the description's last change.
    described: u64,
    /// The states that the store has, by key.
    states: BTreeMap<String, String>,
    /// Until when it holds without a refresh.
    until: Instant,
}

impl Presence {
    /// Prepares the presence of the machine that `info` describes.
    pub fn new(
        client: Client,
        info: MachineInfo,
        ttl: Duration,
        contact: Arc<Mutex<Contact>>,
        epoch: Instant,
        states: watch::Receiver<States>,
        registered: watch::Sender<Option<watch::Receiver<Instant>>>,
    ) -> Self {
        Self { link: Link { client, contact, epoch }, info, ttl, states, registered }
    }

    /// Keeps the machine present until `stop`. Its presence then stays until it expires, with a note that the agent
    /// has ended in order.
    ///
    /// # Errors
    /// Another machine has this one's id, and the store says so to whoever looks at that one. Everything else is tried
    /// again for ever.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Duplicate> {
        loop {
            let registration = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                registered = self.register() => registered,
            };
            let registration = match registration {
                Ok(registration) => registration,
                Err(duplicate) => {
                    let (hostname, addresses) = (self.info.hostname.clone(), self.info.addresses.clone());
                    let (boot_id, since) = (self.info.boot_id.clone(), Moment::new(wall_time()));
                    let note = Refusal { hostname, addresses, boot_id, since };
                    claim::leave_note(&self.link.client, &self.info.id, &note).await;
                    return Err(duplicate);
                }
            };
            let (until, certain) = watch::channel(registration.until);
            let keeper = Keeper {
                link: self.link.clone(),
                dir: model::machine_dir(&self.info.id),
                ttl: self.ttl,
                created: registration.created,
                until,
            };
            let mut publisher = Publisher::new(
                self.link.client.clone(),
                certain.clone(),
                registration.states,
                registration.described,
            );
            // A task of its own: nothing that is published may keep it from its time.
            let mut keeping = AbortOnDropHandle::new(tokio::spawn(keeper.run()));
            let how = tokio::select! {
                () = stop.cancelled() => {
                    self.info.agent_stopped = true;
                    // If nobody hears it, the presence expires.
                    let _ = timeout(FAREWELL, publisher.describe(&self.info)).await;
                    return Ok(());
                }
                over = &mut keeping => over.unwrap_or("kept no longer"),
                () = self.publish(&mut publisher, certain) => "taken by others",
            };
            // Nothing is done under an id that may be another's, until that is known.
            self.registered.send_replace(None);
            tracing::warn!("this machine's presence was {how}; registering it again");
            self.link.lost();
        }
    }

    /// Publishes what there is to tell, for as long as the id is ours.
    async fn publish(&mut self, publisher: &mut Publisher, mut certain: watch::Receiver<Instant>) {
        let mut states = self.states.clone();
        let until = certain.clone();
        loop {
            let now = states.borrow_and_update().clone();
            let outcome = publisher.publish(&now, &self.info).await;
            if matches!(outcome, Err(Trouble::Contested)) {
                return;
            }
            self.registered.send_if_modified(|registered| {
                let news = registered.is_none();
                registered.get_or_insert_with(|| until.clone());
                news
            });
            let retry_at = Instant::now() + RETRY;
            tokio::select! {
                () = changed(&mut states) => {}
                () = changed(&mut certain) => self.info.addresses = facts::addresses(),
                () = sleep_until(retry_at), if outcome.is_err() => {}
            }
        }
    }

    /// Takes the machine's id: makes its directory or takes over one that is nobody else's.
    async fn register(&mut self) -> Result<Registration, Duplicate> {
        let mut told = false;
        loop {
            match self.try_register().await? {
                Ok(registration) => return Ok(registration),
                Err(error) => {
                    tracing::debug!(%error, "this machine cannot be registered yet");
                    if !std::mem::replace(&mut told, true) && error.api().is_none() {
                        tracing::warn!("the store does not answer; this machine's units go on running");
                    }
                    sleep(RETRY).await;
                }
            }
        }
    }

    async fn try_register(&mut self) -> Result<Result<Registration, ClientError>, Duplicate> {
        let dir = model::machine_dir(&self.info.id);
        let make = PutOptions {
            dir: true,
            ttl: Some(self.ttl.as_secs()),
            prev_exist: Some(false),
            ..Default::default()
        };
        loop {
            let asked = Instant::now();
            match self.link.asked(self.link.client.put(&dir, &make)).await {
                Ok(made) => return Ok(self.describe_first(made.node.created_index, asked + self.ttl).await),
                Err(error) if error.is_exists() => {}
                Err(error) => return Ok(Err(error)),
            }
            let found = claim::settle(&self.link.client, &self.info.id, &self.info.boot_id, true).await?;
            if let Some(found) = found {
                return Ok(self.take_over(found).await);
            }
        }
    }

    /// Writes the description below a directory that was just made.
    async fn describe_first(&self, created: u64, until: Instant) -> Result<Registration, ClientError> {
        let described = self.take(None).await?;
        Ok(Registration { created, described, states: BTreeMap::new(), until })
    }

    /// Goes on with a directory that an earlier process of this machine left.
    async fn take_over(&self, found: Found) -> Result<Registration, ClientError> {
        let described = match (&found.owner, found.described) {
            (Owner::Us, Some(index)) => index,
            (_, index) => self.take(index).await?,
        };
        let asked = Instant::now();
        let kept = self.link.asked(self.link.client.put(&found.dir.key, &keep::refresh(self.ttl))).await?;
        let mut states = BTreeMap::new();
        collect(&found.dir, &mut states);
        states.remove(&model::machine_info(&self.info.id));
        Ok(Registration { created: kept.node.created_index, described, states, until: asked + self.ttl })
    }

    /// Puts our description in the place of the one with this index, or of none, and gives back its index.
    async fn take(&self, before: Option<u64>) -> Result<u64, ClientError> {
        let claim = MachineInfo { registering: true, ..self.info.clone() };
        let put = PutOptions {
            value: serde_json::to_string(&claim).ok(),
            prev_index: before,
            prev_exist: before.is_none().then_some(false),
            ..Default::default()
        };
        let key = model::machine_info(&self.info.id);
        Ok(self.link.asked(self.link.client.put(&key, &put)).await?.node.modified_index)
    }
}

/// Waits for something new; for ever once there will be nothing new.
async fn changed<T>(news: &mut watch::Receiver<T>) {
    if news.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// All files below a directory.
fn collect(node: &Node, into: &mut BTreeMap<String, String>) {
    for child in &node.nodes {
        collect(child, into);
    }
    if !node.dir {
        into.insert(node.key.clone(), node.value.clone().unwrap_or_default());
    }
}
