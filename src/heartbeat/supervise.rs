//! Beats for somebody who does not beat: a systemd unit, or a command.

use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;

use super::pulse::{Beaten, Pulse};
use crate::ids::UnitName;
use crate::systemd::{BusError, Systemd, UnitChange, UnitStatus};

/// How long the last request may take when somebody waits for the process to end.
pub const FAREWELL: Duration = Duration::from_secs(2);

/// What a unit's state says of its heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is well.
    Beat,
    /// It ended on purpose.
    Stop,
    /// It is neither: whether it is lost shows when its time has run out.
    Wait,
}

/// Judges a unit by systemd's active state (systemd(1)). A unit that has failed did not end on purpose.
pub fn verdict(active: &str) -> Verdict {
    match active {
        "active" | "reloading" | "refreshing" => Verdict::Beat,
        "inactive" => Verdict::Stop,
        _ => Verdict::Wait,
    }
}

/// Beats and reports to the log what changes.
#[derive(Debug)]
pub struct Beater {
    pulse: Pulse,
    in_trouble: bool,
}

impl Beater {
    /// Beats by `pulse`.
    pub fn new(pulse: Pulse) -> Self {
        Self { pulse, in_trouble: false }
    }

    /// One beat. A store that does not answer is worth one line for each outage: the next beat tries again.
    pub async fn beat(&mut self) {
        match self.pulse.beat().await {
            Ok(beaten) => {
                if std::mem::take(&mut self.in_trouble) {
                    tracing::info!("the heartbeat reaches the store again");
                }
                if beaten == Beaten::Began {
                    tracing::info!("the heartbeat begins");
                }
            }
            Err(error) => self.complain(&error.to_string()),
        }
    }

    /// Ends the heartbeat; returns whether the store knows.
    pub async fn stop(&mut self) -> bool {
        match self.pulse.stop().await {
            Ok(()) => true,
            Err(error) => {
                self.complain(&error.to_string());
                false
            }
        }
    }

    /// How often to beat.
    pub fn interval(&self) -> Duration {
        self.pulse.interval()
    }

    fn complain(&mut self, trouble: &str) {
        if !std::mem::replace(&mut self.in_trouble, true) {
            tracing::warn!("{trouble}; trying again at every beat");
        }
    }
}

/// Beats while systemd calls `unit` active, until it is dropped; see [`verdict`]. Looks at the unit before every beat
/// and whenever systemd says that it changed.
pub async fn unit(beater: &mut Beater, systemd: &Systemd, unit: &UnitName) {
    let mut changes = systemd.changes();
    let mut last = None;
    let mut ended = false;
    loop {
        let status = status(systemd, unit).await;
        if let Ok(status) = &status {
            beater.pulse.set_process(status.main_pid);
        }
        let now = status.map(|status| status.active);
        if last.as_ref() != Some(&now) {
            match &now {
                Ok(active) => tracing::info!("{unit} is {active}"),
                Err(error) => tracing::warn!("{error}"),
            }
        }
        // When systemd does not answer, nobody knows: the heartbeat may run out.
        let judged = now.as_deref().map_or(Verdict::Wait, verdict);
        match judged {
            Verdict::Beat => beater.beat().await,
            Verdict::Stop if !ended => ended = beater.stop().await,
            Verdict::Stop | Verdict::Wait => {}
        }
        ended &= judged == Verdict::Stop;
        last = Some(now);
        let next = tokio::time::sleep(beater.interval());
        tokio::pin!(next);
        loop {
            tokio::select! {
                () = &mut next => break,
                change = changes.recv() => match change {
                    Ok(UnitChange::Unit(name)) if name != *unit => {}
                    Ok(_) | Err(RecvError::Lagged(_)) => break,
                    Err(RecvError::Closed) => next.as_mut().await,
                },
            }
        }
    }
}

/// What systemd says of the unit, or why nothing is known.
async fn status(systemd: &Systemd, unit: &UnitName) -> Result<UnitStatus, String> {
    let told = systemd.status(std::slice::from_ref(unit)).await;
    let text = |error: BusError| format!("{unit}: {error}");
    let status = told.map_err(text)?.into_iter().find(|status| status.name == *unit);
    status.ok_or_else(|| format!("{unit}: systemd says nothing of it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_unit_that_ended_on_purpose_stops_its_heartbeat() {
        assert_eq!(verdict("active"), Verdict::Beat);
        assert_eq!(verdict("reloading"), Verdict::Beat);
        assert_eq!(verdict("inactive"), Verdict::Stop);
        for between in ["failed", "activating", "deactivating", "maintenance"] {
            assert_eq!(verdict(between), Verdict::Wait, "{between}");
        }
    }
}
