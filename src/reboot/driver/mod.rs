//! Carries one machine through its reboots. What it does in a phase depends on nothing but the record in the store,
//! so it may be stopped at any point and goes on where it was, in this boot or the next.

mod file;
mod leave;
mod settle;
mod wait;

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::Instant;

use super::RebootError;
use super::host::Host;
use super::lifecycle::{self, Event};
use super::lock::Lock;
use super::records::Records;
use super::survey::survey;
use crate::claim;
use crate::client::{Client, ClientError, Watch};
use crate::clock::wall_time;
use crate::config::RebootdSettings;
use crate::ids::MachineId;
use crate::model::Moment;
use crate::model::claim::Owner;
use crate::model::machine::Refusal;
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
    /// When this coordinator began: its boot is at least as old.
    since: Instant,
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
        Self { client, lock, records, host, id, settings, since: Instant::now() }
    }

    /// Runs until it is dropped. What the store, systemd or logind do not do now is tried again later.
    ///
    /// # Errors
    /// `Duplicate`, which the store then tells to whoever looks at the other machine; nothing was touched. Or a fault of
    /// this machine or of the coordinator itself, after which it makes no sense to go on.
    pub async fn run(&self) -> Result<Infallible, RebootError> {
        let outcome = self.coordinate().await;
        if let Err(RebootError::Duplicate(_)) = &outcome {
            let addresses = self.host.addresses()?;
            let addresses = addresses.iter().filter(|address| !address.is_loopback());
            let addresses = addresses.map(ToString::to_string).collect();
            let (hostname, boot_id) = (self.host.hostname(), self.host.boot_id()?);
            let note = Refusal { hostname, addresses, boot_id, since: Moment::new(wall_time()) };
            claim::leave_note(&self.client, &self.id, &note).await;
        }
        outcome
    }

    async fn coordinate(&self) -> Result<Infallible, RebootError> {
        let boot_id = self.host.boot_id()?;
        // What is in the store may be another machine's, or the last boot of this one may still count as present.
        claim::settle(&self.client, &self.id, &boot_id, false).await?;
        let mut pause = self.settings.check_interval;
        let mut begun = false;
        let mut way = None;
        loop {
            let step = if begun { self.step(&mut way, &boot_id).await } else { self.begin(&boot_id).await };
            match step {
                Ok(next) => {
                    way = next;
                    begun = true;
                    pause = self.settings.check_interval;
                }
                Err(
                    error @ (RebootError::Illegal(_)
                    | RebootError::Machine { .. }
                    | RebootError::Duplicate(_)),
                ) => return Err(error),
                Err(error) => {
                    tracing::warn!("{error}; trying again in {pause:?}");
                    notify::status(&format!("trying again in {pause:?}: {error}"));
                    tokio::time::sleep(pause).await;
                    pause = (2 * pause).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Makes sure that this machine's id is not another's by now. To be asked before anything is done in its name.
    async fn assert_ours(&self) -> Result<(), RebootError> {
        let boot_id = self.host.boot_id()?;
        let found = claim::find(&self.client, &self.id, &boot_id, false).await;
        let found = found.map_err(RebootError::store("read whose this machine's id is"))?;
        if found.is_some_and(|found| matches!(found.owner, Owner::Other(_))) {
            claim::settle(&self.client, &self.id, &boot_id, false).await?;
        }
        Ok(())
    }

    /// Makes sure that the group exists, and finds out what the record says and whether the machine has rebooted since it
    /// was written.
    async fn begin(&self, boot_id: &str) -> Result<Option<Way>, RebootError> {
        self.lock.create().await?;
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
        if way.holder.phase == Phase::WaitingForLock || event == Event::Withdrawn {
            // No reboot has answered it.
            (way.holder.sentinel, way.holder.sentinel_state) = (None, None);
        }
        self.write(&mut way).await?;
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
        self.write(way).await
    }

    /// Writes the record.
    async fn write(&self, way: &mut Way) -> Result<(), RebootError> {
        self.assert_ours().await?;
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
        Ok(self.records.request(&self.id).await?.0.is_some() || self.file_asks().await?.is_some())
    }
}
