//! Before the reboot: until one is wanted, and until the lock is won.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Driver, Way};
use crate::clock::wall_time;
use crate::model::Moment;
use crate::model::reboot::{Holder, Phase, Request};
use crate::reboot::gate::{self, Seen};
use crate::reboot::host::Host;
use crate::reboot::lifecycle::Event;
use crate::reboot::semaphore::{Outcome, SemaphoreError};
use crate::reboot::{RebootError, records::Indexed};

/// How long the lock may be watched without being looked at: a net below the watch, nothing more.
const WATCH_MAX: Duration = Duration::from_secs(60);

impl<H: Host> Driver<H> {
    /// Waits until a reboot is wanted and writes that down.
    pub(super) async fn wanted(&self, boot_id: &str) -> Result<Way, RebootError> {
        let (request, request_index) = self.trigger().await?;
        // Somebody who locked for this machine before it wanted to reboot has reasons of their own.
        let operators_lock = self.lock.read().await?.semaphore.holds(&self.id);
        let holder = Holder {
            since: request.since.unwrap_or_else(|| Moment::new(wall_time())),
            boot_id: boot_id.to_string(),
            reason: request.reason,
            phase: Phase::Idle,
            system_before: None,
            member: None,
            request_index,
            sentinel: None,
            sentinel_state: None,
            hostname: Some(self.host.hostname()),
            operators_lock,
            waits_for: None,
        };
        self.advance(Way { holder, index: 0 }, Event::Requested).await
    }

    /// The request or the file that asks for a reboot, and the index of the request.
    async fn trigger(&self) -> Result<(Request, Option<u64>), RebootError> {
        loop {
            let (request, index) = self.records.request(&self.id).await?;
            if let Some((request, index)) = request {
                return Ok((request, Some(index)));
            }
            if let Some(reason) = self.file_asks().await? {
                return Ok((Request { since: None, reason }, None));
            }
            let key = self.records.group().request(&self.id);
            tokio::select! {
                () = self.changes(self.client.watch(&key, false, Some(index))) => {}
                asks = self.file_begins_to_ask() => asks?,
            }
        }
    }

    /// Waits until the lock is held or nobody wants the reboot any longer.
    pub(super) async fn wait_for_lock(&self, way: &mut Way) -> Result<Event, RebootError> {
        loop {
            if !self.still_wanted().await? {
                return Ok(Event::Withdrawn);
            }
            // First what is cheap: many machines may wait for one slot.
            let reading = self.lock.read().await?;
            if let Err(full) = reading.semaphore.clone().acquire(&self.id) {
                self.note(way, &full.to_string()).await?;
                self.lock_or_request_changes(reading.index).await;
                continue;
            }
            if let Err(obstacle) = self.ready_to_leave(way).await? {
                self.note(way, &obstacle).await?;
                tokio::time::sleep(self.settings.check_interval).await;
                continue;
            }
            self.assert_ours().await?;
            match self.lock.acquire(&self.id).await {
                Ok(taken) => {
                    if taken.outcome == Outcome::Made {
                        way.holder.operators_lock = false;
                    }
                    return Ok(Event::Granted);
                }
                // Somebody else was faster.
                Err(RebootError::Semaphore(SemaphoreError::Full { .. })) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether there is any point in taking the lock now; remembers how the system is.
    async fn ready_to_leave(&self, way: &mut Way) -> Result<Result<(), String>, RebootError> {
        let state = match self.host.system_state().await {
            Ok(state) => state,
            Err(error) => return Ok(Err(error.to_string())),
        };
        if gate::in_transit(&state) {
            return Ok(Err(format!("systemd says {state}")));
        }
        if let Some(inhibitor) = self.inhibitor().await? {
            return Ok(Err(inhibitor));
        }
        way.holder.system_before = Some(state);
        let members = self.survey().await?;
        way.holder.member = members.iter().find(|member| member.here).map(|member| member.id.clone());
        self.quorum_stays(&members, |_, _| true).await
    }

    /// Whether the store keeps its quorum without this machine, and without the members on machines that are on their
    /// way already: those that are back but not yet well, and of those that are leaving the ones that `counts`.
    pub(super) async fn quorum_stays(
        &self,
        members: &[Seen],
        counts: impl Fn(&Holder, u64) -> bool,
    ) -> Result<Result<(), String>, RebootError> {
        if !self.settings.keep_quorum {
            return Ok(Ok(()));
        }
        let is_away = |(holder, index): &Indexed<Holder>| match holder.phase {
            Phase::Leaving => counts(holder, *index),
            Phase::Back | Phase::Checking => true,
            _ => false,
        };
        let holders = self.records.holders().await?;
        let away: BTreeSet<String> = holders
            .into_iter()
            .filter(|(id, record)| *id != self.id && is_away(record))
            .filter_map(|(_, (holder, _))| holder.member)
            .collect();
        Ok(gate::may_leave(members, &away))
    }

    /// Returns when the lock may be free or the request may be gone because of something after `index`, or after a
    /// while.
    async fn lock_or_request_changes(&self, index: u64) {
        let request = self.records.group().request(&self.id);
        tokio::select! {
            () = self.changes(self.client.watch(self.lock.key(), false, Some(index))) => {}
            () = self.changes(self.client.watch(&request, false, Some(index))) => {}
            () = self.file_ceases_to_ask() => {}
            () = tokio::time::sleep(WATCH_MAX) => {}
        }
    }

    /// Whoever keeps the machine from going down, if anybody does.
    pub(super) async fn inhibitor(&self) -> Result<Option<String>, RebootError> {
        let all = self.host.inhibitors().await?;
        Ok((!all.is_empty()).then(|| all.join("; ")))
    }

    /// Moves the machine's work away. Nothing is moved yet: units that may run elsewhere are placed anew by the engine
    /// once the machine's presence has run out.
    pub(super) async fn drain(&self, way: &mut Way) -> Result<Event, RebootError> {
        if !self.lock.read().await?.semaphore.holds(&self.id) {
            return Ok(Event::LockLost);
        }
        if !self.still_wanted().await? {
            return Ok(Event::Withdrawn);
        }
        // Everything that was asked for up to here is answered by this reboot.
        if let (Some((request, index)), _) = self.records.request(&self.id).await? {
            way.holder.request_index = Some(index);
            way.holder.reason = request.reason;
        }
        way.holder.sentinel_state = self.sentinel().await;
        way.holder.sentinel = way.holder.sentinel_state.is_some().then(|| self.sentinel_name());
        Ok(Event::Drained)
    }
}
