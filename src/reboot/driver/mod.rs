//! Carries one machine through its reboots. What it does in a phase depends on nothing but the record in the store,
//! so it may be stopped at any point and goes on where it was, in this boot or the next.

mod leave;
mod settle;
mod wait;

use std::convert::Infallible;
use std::time::Duration;

use super::RebootError;
use super::host::Host;
use super::lifecycle::{self, Event};
use super::lock::Lock;
use super::records::Records;
use super::survey::survey;
use crate::client::{Client, ClientError, Watch};
use crate::config::RebootdSettings;
use crate::ids::MachineId;
use crate::model::reboot::{Holder, Phase};
use crate::systemd::notify;

/// The longest pause after a step that went wrong.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// The coordinator of one machine.
pub struct Driver<H> {
    client: Client,
    lock: Lock,
    records: Records,
    host: H,
    id: MachineId,
    settings: RebootdSettings,
}

/// A machine on its way: its record and the index under which the store has it.
struct Way {
    holder: Holder,
    index: u64,
}

impl<H: Host> Driver<H> {
    /// The coordinator of the machine `id`.
    pub fn new(client: Client, host: H, id: MachineId, settings: RebootdSettings) -> Self {
        let lock = Lock::new(client.clone(), &settings.group);
        let records = Records::new(client.clone(), settings.group.clone());
        Self { client, lock, records, host, id, settings }
    }

    /// Runs until it is dropped. What the store, systemd or logind do not do now is tried again later.
    ///
    /// # Errors
    /// A fault of this machine or of the coordinator itself, after which it makes no sense to go on.
    pub async fn run(&self) -> Result<Infallible, RebootError> {
        let boot_id = self.host.boot_id()?;
        let mut pause = self.settings.check_interval;
        let mut read = false;
        let mut way = None;
        loop {
            let step = if read { self.step(&mut way, &boot_id).await } else { self.resume(&boot_id).await };
            match step {
                Ok(next) => {
                    way = next;
                    read = true;
                    pause = self.settings.check_interval;
                }
                Err(error @ (RebootError::Illegal(_) | RebootError::Machine { .. })) => return Err(error),
                Err(error) => {
                    tracing::warn!("{error}; trying again in {pause:?}");
                    notify::status(&format!("trying again in {pause:?}: {error}"));
                    tokio::time::sleep(pause).await;
                    pause = (2 * pause).min(PAUSE_MAX);
                }
            }
        }
    }

    /// What the record says, and whether the machine has rebooted since it was written.
    async fn resume(&self, boot_id: &str) -> Result<Option<Way>, RebootError> {
        let Some((holder, index)) = self.records.holder(&self.id).await? else { return Ok(None) };
        tracing::info!(phase = %holder.phase, "found the record of a reboot: {} ({})", holder.phase, holder.reason);
        let mut way = Way { holder, index };
        if way.holder.boot_id != boot_id {
            way.holder.boot_id = boot_id.to_string();
            way = self.advance(way, Event::Booted).await?;
        }
        Ok(Some(way))
    }

    /// Does what the phase asks for and moves on. After an error `way` is still right.
    async fn step(&self, way: &mut Option<Way>, boot_id: &str) -> Result<Option<Way>, RebootError> {
        let Some(present) = way else {
            notify::status("no reboot is wanted");
            return Ok(Some(self.wanted(boot_id).await?));
        };
        notify::status(&format!("{}: {}", present.holder.phase, present.holder.reason));
        let event = match present.holder.phase {
            Phase::Idle | Phase::WaitingForWindow => Event::WindowOpened,
            Phase::WaitingForLock => self.wait_for_lock(present).await?,
            Phase::Draining => self.drain(present).await?,
            Phase::Leaving => self.leave(present).await?,
            Phase::Back => Event::Settled,
            Phase::Checking => self.check(present).await?,
            Phase::Releasing => {
                self.release(present).await?;
                lifecycle::on(present.holder.phase, Event::Released)?;
                return Ok(None);
            }
        };
        let next = Way { holder: present.holder.clone(), index: present.index };
        Ok(Some(self.advance(next, event).await?))
    }

    /// Moves on to the phase that follows on `event`; returns once the store has it.
    async fn advance(&self, mut way: Way, event: Event) -> Result<Way, RebootError> {
        let from = way.holder.phase;
        way.holder.phase = lifecycle::on(from, event)?;
        way.holder.waits_for = None;
        way.index = self.records.put_holder(&self.id, &way.holder).await?;
        tracing::info!(%from, to = %way.holder.phase, "reboot: {from} -> {} ({})", way.holder.phase, way.holder.reason);
        Ok(way)
    }

    /// Says what the machine waits for, once for each reason.
    async fn note(&self, way: &mut Way, waits_for: &str) -> Result<(), RebootError> {
        if way.holder.waits_for.as_deref() == Some(waits_for) {
            return Ok(());
        }
        tracing::info!(phase = %way.holder.phase, "reboot: {} waits: {waits_for}", way.holder.phase);
        notify::status(&format!("{}: {waits_for}", way.holder.phase));
        way.holder.waits_for = Some(waits_for.to_string());
        way.index = self.records.put_holder(&self.id, &way.holder).await?;
        Ok(())
    }

    /// The store's members, seen from here.
    async fn survey(&self) -> Result<Vec<super::gate::Seen>, RebootError> {
        let addresses = self.host.addresses()?;
        survey(&self.client, &addresses).await.map_err(RebootError::store("ask the store's members"))
    }

    /// Returns when something happens to the watched key. What, is read from the store.
    async fn changes(&self, mut watch: Watch) {
        match watch.next().await {
            Ok(_) => {}
            // What was missed is read; a history that is too short for any watch must not be asked for without pause.
            Err(ClientError::Cleared { .. }) => tokio::time::sleep(self.settings.check_interval).await,
            Err(error) => {
                tracing::warn!("cannot watch: {error}");
                tokio::time::sleep(self.settings.check_interval).await;
            }
        }
    }

    /// Whether somebody still wants this machine to reboot.
    async fn still_wanted(&self) -> Result<bool, RebootError> {
        Ok(self.sentinel_exists().await || self.records.request(&self.id).await?.0.is_some())
    }

    async fn sentinel_exists(&self) -> bool {
        match &self.settings.sentinel {
            Some(path) => tokio::fs::try_exists(path).await.unwrap_or(false),
            None => false,
        }
    }
}
