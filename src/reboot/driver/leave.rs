//! Going down.

use std::time::Duration;

use super::{Driver, Way};
use crate::reboot::RebootError;
use crate::reboot::host::Host;
use crate::reboot::lifecycle::Event;

/// How long a shutdown may take before it counts as stuck and logind is asked again. systemd gives each unit 90 s to
/// stop.
const SHUTDOWN_MAX: Duration = Duration::from_secs(600);

impl<H: Host> Driver<H> {
    /// Looks at everything once more and asks for the reboot. Returns only if the lock is lost or nobody wants the reboot
    /// any longer meanwhile, or if somebody keeps the machine from going down: then the lock goes back, for others may
    /// use it. Otherwise the machine goes down, and this process with it.
    pub(super) async fn leave(&self, way: &mut Way) -> Result<Event, RebootError> {
        let mut asked = false;
        loop {
            if let Some(event) = self.called_off(asked).await? {
                return Ok(event);
            }
            let members = self.survey().await?;
            // Two that leave at once must not both rely on the other to stay. Each has announced itself before it
            // looks, so the one that came later sees the one that came first, and lets it go.
            let own = way.index;
            if let Err(obstacle) = self.quorum_stays(&members, |_, index| index < own).await? {
                self.note(way, &obstacle).await?;
                tokio::time::sleep(self.settings.check_interval).await;
                continue;
            }
            self.assert_ours().await?;
            // Asking all those takes its time, and what logind has begun is not undone.
            if let Some(event) = self.called_off(asked).await? {
                return Ok(event);
            }
            tracing::info!("rebooting: {}", way.holder.reason);
            if let Err(refusal) = self.host.reboot().await {
                if self.inhibitor().await?.is_some() {
                    if !way.holder.operators_lock {
                        self.lock.release(&self.id).await?;
                    }
                    return Ok(Event::Inhibited);
                }
                self.note(way, &refusal.to_string()).await?;
                tokio::time::sleep(self.settings.check_interval).await;
                continue;
            }
            asked = true;
            tokio::time::sleep(SHUTDOWN_MAX).await;
            let minutes = SHUTDOWN_MAX.as_secs() / 60;
            self.note(
                way,
                &format!("logind was asked to reboot {minutes} min ago and the machine still runs"),
            )
            .await?;
        }
    }

    /// What keeps the machine here, if anything does: it has lost the lock, or nobody wants its reboot any longer.
    async fn called_off(&self, asked: bool) -> Result<Option<Event>, RebootError> {
        if !self.lock.read().await?.semaphore.holds(&self.id) {
            return Ok(Some(Event::LockLost));
        }
        let is_certain = !asked && self.stays_up().await;
        Ok((is_certain && !self.still_wanted().await?).then_some(Event::Withdrawn))
    }

    /// Whether the machine is certainly not on its way down: a coordinator before this one may have asked logind.
    async fn stays_up(&self) -> bool {
        self.host.system_state().await.is_ok_and(|state| state != "stopping")
    }
}
