//! logind, which reboots the machine (org.freedesktop.login1(5)).

use super::BusError;
use super::bus::{Bus, Object};

const MANAGER: Object<'static> = Object {
    service: "org.freedesktop.login1",
    path: "/org/freedesktop/login1",
    interface: "org.freedesktop.login1.Manager",
};

/// Asks logind to reboot the machine, without asking anybody for a password. Needs root, or a polkit rule for
/// `org.freedesktop.login1.reboot`.
///
/// # Errors
/// [`BusError::Refused`]: not permitted, or a reboot is going on already.
pub async fn reboot(bus: &Bus) -> Result<(), BusError> {
    let interactive = false;
    bus.call(MANAGER, "Reboot", &(interactive,)).await
}
