//! Messages to the systemd that started us (sd_notify(3)). Without one, every function here does nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// The daemon serves now.
pub fn ready() {
    send(&[NotifyState::Ready]);
}

/// One line for `systemctl status`.
pub fn status(line: &str) {
    send(&[NotifyState::Status(line)]);
}

/// The daemon is on its way out.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// Asks systemd to wait `more` from now before it calls a start or stop too slow.
pub fn extend_timeout(more: Duration) {
    send(&[NotifyState::ExtendTimeoutUsec(u32::try_from(more.as_micros()).unwrap_or(u32::MAX))]);
}

/// The daemon is alive. To be called at [`watchdog_period`].
pub fn watchdog() {
    send(&[NotifyState::Watchdog]);
}

/// How often [`watchdog`] should be called: half of the unit's `WatchdogSec=`, or never.
pub fn watchdog_period() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

/// A message that systemd does not get is worth a line in the log and nothing more.
fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not notified");
    }
}
