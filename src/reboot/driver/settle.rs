//! After the reboot: until the machine is well, then out of the way of the next.

use super::{Driver, Way};
use crate::reboot::RebootError;
use crate::reboot::gate;
use crate::reboot::host::Host;
use crate::reboot::lifecycle::Event;

impl<H: Host> Driver<H> {
    /// Waits until the machine is as well as it was, however long it takes: a machine that does not come back well
    /// keeps its slot, and so stops the roll-out.
    pub(super) async fn check(&self, way: &mut Way) -> Result<Event, RebootError> {
        loop {
            let Err(complaint) = self.is_well(way).await? else { return Ok(Event::Healthy) };
            self.note(way, &complaint).await?;
            tokio::time::sleep(self.settings.check_interval).await;
        }
    }

    async fn is_well(&self, way: &Way) -> Result<Result<(), String>, RebootError> {
        let state = match self.host.system_state().await {
            Ok(state) => state,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let system = gate::system_is_well(way.holder.system_before.as_deref(), &state);
        if system.is_err() {
            return Ok(system);
        }
        Ok(gate::store_is_well(&self.survey().await?))
    }

    /// Remembers what was answered, removes the request, gives back the lock, removes the record: in this order, so that
    /// a coordinator that is stopped in between finds the record and does the rest.
    pub(super) async fn release(&self, way: &mut Way) -> Result<(), RebootError> {
        self.assert_ours().await?;
        self.note_answered(way).await?;
        if let Some(index) = way.holder.request_index {
            self.records.remove_request(&self.id, Some(index)).await?;
        }
        if !way.holder.operators_lock {
            self.lock.release(&self.id).await?;
        }
        self.records.remove_holder(&self.id).await
    }
}
