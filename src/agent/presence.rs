//! This machine's presence in the store: a directory with a TTL, and what is published below it.
//!
//! One refresh of the directory every third of the TTL keeps everything alive. When the store says that the directory
//! is gone, it is made anew with all that belongs below it, the machine's description last: with that the machine
//! counts as present, and its units' states are known by then.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::client::{Answer, Client, ClientError, DeleteOptions, GetOptions, Node, PutOptions};
use crate::ids::UnitName;
use crate::model::machine::MachineInfo;
use crate::model::unit::UnitState;
use crate::model::{self, MachineKey};
use crate::schedule::Contact;

use super::facts;

/// First and longest pause after a request that failed.
const RETRY: Duration = Duration::from_millis(250);
const RETRY_MOST: Duration = Duration::from_secs(1);
/// How long the farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// How much longer than its TTL a presence is given to expire.
const PATIENCE: Duration = Duration::from_secs(2);

/// The states to publish, by unit.
pub type States = BTreeMap<UnitName, UnitState>;

/// Why this machine cannot register.
#[derive(Debug, thiserror::Error)]
pub enum PresenceError {
    /// Another machine that is alive has the same id.
    #[error(
        "machine id {} is in use by the living machine {other} (boot id {boot_id}): give one of them a new \
         /etc/machine-id (systemd-machine-id-setup)",
        id
    )]
    Duplicate {
        /// The id.
        id: String,
        /// The other's host name.
        other: String,
        /// The other's boot id.
        boot_id: String,
    },
}

/// What keeps this machine present.
pub struct Presence {
    client: Client,
    info: MachineInfo,
    ttl: Duration,
    contact: Arc<Mutex<Contact>>,
    epoch: Instant,
    states: watch::Receiver<States>,
    /// Whether the machine is registered; only ever becomes true.
    registered: watch::Sender<bool>,
    /// What the store has, by key, as far as is known.
    confirmed: BTreeMap<String, String>,
    /// Whether the last refresh got no answer.
    is_cut_off: bool,
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
        registered: watch::Sender<bool>,
    ) -> Self {
        Self {
            client,
            info,
            ttl,
            contact,
            epoch,
            states,
            registered,
            confirmed: BTreeMap::new(),
            is_cut_off: false,
        }
    }

    /// Keeps the machine present until `stop`. Its presence then stays until it expires, with a note that the agent
    /// has ended in order.
    ///
    /// # Errors
    /// Another machine has this one's id. Everything else is tried again for ever.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), PresenceError> {
        tokio::select! {
            () = stop.cancelled() => {}
            failed = self.stay() => return failed,
        }
        self.info.agent_stopped = true;
        let (key, value) = self.description();
        let farewell = PutOptions { value: Some(value), prev_exist: Some(true), ..Default::default() };
        if *self.registered.borrow() {
            // If nobody hears it, the presence expires.
            let _ = timeout(FAREWELL, self.client.put(&key, &farewell)).await;
        }
        Ok(())
    }

    async fn stay(&mut self) -> Result<(), PresenceError> {
        let mut states = self.states.clone();
        self.register().await?;
        let mut refresh_at = Instant::now() + self.ttl / 3;
        let mut retry = RETRY;
        loop {
            let published = self.publish().await;
            self.registered.send_replace(true);
            let retry_at = Instant::now() + RETRY;
            tokio::select! {
                () = changed(&mut states) => continue,
                () = sleep_until(retry_at), if published.is_err() => {}
                () = sleep_until(refresh_at) => {}
            }
            if Instant::now() >= refresh_at {
                let refreshed = self.refresh().await?;
                self.tell(refreshed);
                refresh_at = Instant::now() + if refreshed { self.ttl / 3 } else { retry };
                retry = if refreshed { RETRY } else { (retry * 2).min(RETRY_MOST) };
            }
        }
    }

    /// Logs the beginning and the end of an outage of the store.
    fn tell(&mut self, reached: bool) {
        if reached && self.is_cut_off {
            tracing::info!("the store answers again");
        } else if !reached && !self.is_cut_off {
            tracing::warn!("the store does not answer; this machine's units go on running");
        }
        self.is_cut_off = !reached;
    }

    /// Refreshes the directory once. False: the store did not answer.
    async fn refresh(&mut self) -> Result<bool, PresenceError> {
        let refresh = PutOptions {
            dir: true,
            refresh: true,
            ttl: Some(self.ttl.as_secs()),
            prev_exist: Some(true),
            ..Default::default()
        };
        let dir = model::machine_dir(&self.info.id);
        match self.asked(self.client.put(&dir, &refresh)).await {
            Ok(answer) => {
                // A state written in the moment of expiry made the directory anew, without TTL and almost empty.
                if answer.prev_node.is_some_and(|before| before.ttl.is_none()) {
                    self.lost("made anew by a late write");
                }
                self.info.addresses = facts::addresses();
                Ok(true)
            }
            Err(error) if error.is_not_found() => {
                self.lost("expired");
                self.register().await?;
                Ok(true)
            }
            Err(error) => {
                tracing::debug!(%error, "the machine's presence was not refreshed");
                Ok(false)
            }
        }
    }

    fn lost(&mut self, how: &str) {
        tracing::warn!("this machine's presence was {how}; registering it again");
        self.confirmed.clear();
        let now = self.epoch.elapsed();
        self.contact().presence_lost(now);
    }

    /// Makes the directory, or takes over one that is ours.
    async fn register(&mut self) -> Result<(), PresenceError> {
        let dir = model::machine_dir(&self.info.id);
        let make = PutOptions {
            dir: true,
            ttl: Some(self.ttl.as_secs()),
            prev_exist: Some(false),
            ..Default::default()
        };
        let mut refused_before: Option<MachineInfo> = None;
        loop {
            match self.asked(self.client.put(&dir, &make)).await {
                Ok(_) => {
                    self.tell(true);
                    self.confirmed.clear();
                    return Ok(());
                }
                Err(error) if error.is_exists() => {}
                Err(error) => {
                    tracing::debug!(%error, "this machine cannot be registered yet");
                    self.tell(false);
                    sleep(RETRY).await;
                    continue;
                }
            }
            let all = GetOptions { recursive: true, ..GetOptions::linearizable() };
            let answer = match self.asked(self.client.get(&dir, &all)).await {
                Ok(answer) => answer,
                Err(_) => {
                    sleep(RETRY).await;
                    continue;
                }
            };
            match other(&answer.node, &self.info) {
                None => {
                    if self.take_over(&answer.node).await {
                        return Ok(());
                    }
                }
                Some(other)
                    if refused_before.as_ref().is_some_and(|before| before.boot_id == other.boot_id) =>
                {
                    let id = self.info.id.to_string();
                    return Err(PresenceError::Duplicate {
                        id,
                        other: other.hostname,
                        boot_id: other.boot_id,
                    });
                }
                Some(other) => {
                    tracing::info!(
                        boot_id = other.boot_id,
                        "an earlier boot's presence is still there; waiting"
                    );
                    self.until_gone(&answer, &dir).await;
                    refused_before = Some(other);
                }
            }
        }
    }

    /// Goes on with a directory that an earlier process of this machine left.
    async fn take_over(&mut self, found: &Node) -> bool {
        let keep = PutOptions {
            dir: true,
            refresh: true,
            ttl: Some(self.ttl.as_secs()),
            prev_exist: Some(true),
            ..Default::default()
        };
        let taken = self.asked(self.client.put(&found.key, &keep)).await.is_ok();
        if taken {
            self.confirmed.clear();
            collect(found, &mut self.confirmed);
        } else {
            sleep(RETRY).await;
        }
        taken
    }

    /// Waits until a presence has expired, or should have.
    async fn until_gone(&self, found: &Answer, dir: &str) {
        let left = found.node.ttl.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or_default();
        let mut watch = self.client.watch(dir, false, Some(found.index));
        let gone = async {
            loop {
                match watch.next().await {
                    Ok(event) if matches!(event.action.as_str(), "expire" | "delete") => return,
                    Ok(_) => {}
                    Err(_) => return,
                }
            }
        };
        let _ = timeout(Duration::from_secs(left) + PATIENCE, gone).await;
    }

    /// Brings the store up to date with what is to be published.
    async fn publish(&mut self) -> Result<(), ClientError> {
        let id = self.info.id.clone();
        let states = self.states.borrow_and_update().clone();
        let mut wanted: Vec<(String, String)> = states
            .iter()
            .map(|(unit, state)| {
                (model::machine_unit(&id, unit), serde_json::to_string(state).unwrap_or_default())
            })
            .collect();
        wanted.push(self.description());
        let stale: Vec<String> = self
            .confirmed
            .keys()
            .filter(|key| matches!(model::machine_key(key), Some((_, MachineKey::Unit(unit))) if !states.contains_key(&unit)))
            .cloned()
            .collect();
        for key in stale {
            match self.client.delete(&key, &DeleteOptions::default()).await {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => self.confirmed.remove(&key),
            };
        }
        for (key, value) in wanted {
            if self.confirmed.get(&key) != Some(&value) {
                let put = PutOptions { value: Some(value.clone()), ..Default::default() };
                self.client.put(&key, &put).await.inspect_err(|error| {
                    tracing::debug!(key, %error, "cannot be published yet");
                })?;
                self.confirmed.insert(key, value);
            }
        }
        Ok(())
    }

    fn description(&self) -> (String, String) {
        (model::machine_info(&self.info.id), serde_json::to_string(&self.info).unwrap_or_default())
    }

    /// Awaits a request and keeps the record of contact.
    async fn asked(
        &self,
        request: impl Future<Output = Result<Answer, ClientError>>,
    ) -> Result<Answer, ClientError> {
        let began = self.epoch.elapsed();
        let outcome = request.await;
        let now = self.epoch.elapsed();
        match &outcome {
            Err(error) if error.api().is_none() => self.contact().failed(began),
            _ => self.contact().succeeded(began, now),
        }
        outcome
    }

    fn contact(&self) -> MutexGuard<'_, Contact> {
        self.contact.lock().expect("contact lock poisoned")
    }
}

/// Waits for something new to publish.
async fn changed(states: &mut watch::Receiver<States>) {
    if states.changed().await.is_err() {
        // The driver has ended: there will be nothing new.
        std::future::pending::<()>().await;
    }
}

/// The machine that a presence belongs to, if that is not this one and may be alive.
fn other(dir: &Node, me: &MachineInfo) -> Option<MachineInfo> {
    let info = dir.nodes.iter().find(|node| node.key.ends_with("/info"))?;
    let info: MachineInfo = serde_json::from_str(info.value.as_deref()?).ok()?;
    let may_live = dir.ttl.is_some() && !info.agent_stopped;
    (may_live && info.boot_id != me.boot_id).then_some(info)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn info(boot_id: &str) -> MachineInfo {
        serde_json::from_str(&format!(r#"{{"id":"m1","hostname":"h","boot_id":"{boot_id}"}}"#)).unwrap()
    }

    fn dir(info: &MachineInfo, ttl: Option<i64>) -> Node {
        let value = serde_json::to_string(info).ok();
        let file = Node { key: "/muster/machines/m1/info".into(), value, ..Node::default() };
        Node { key: "/muster/machines/m1".into(), dir: true, nodes: vec![file], ttl, ..Node::default() }
    }

    #[test]
    fn only_a_living_presence_of_another_boot_is_anothers() {
        let (me, them) = (info("one"), info("two"));
        assert_eq!(other(&dir(&me, Some(5)), &me), None);
        assert_eq!(other(&dir(&them, Some(5)), &me), Some(them.clone()));
        assert_eq!(other(&dir(&them, None), &me), None);
        let gone = MachineInfo { agent_stopped: true, ..them };
        assert_eq!(other(&dir(&gone, Some(5)), &me), None);
        assert_eq!(other(&Node { ttl: Some(5), ..Node::default() }, &me), None);
    }
}
