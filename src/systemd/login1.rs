//! logind, which reboots the machine (org.freedesktop.login1(5)).

use std::fmt;

use super::BusError;
use super::bus::{Bus, Object};

const MANAGER: Object<'static> = Object {
    service: "org.freedesktop.login1",
    path: "/org/freedesktop/login1",
    interface: "org.freedesktop.login1.Manager",
};

/// `SD_LOGIND_ROOT_CHECK_INHIBITORS` of `RebootWithFlags`: others' block inhibitors count for root, too.
const ROOT_CHECK_INHIBITORS: u64 = 1;
/// How D-Bus names a method that the other side does not have.
const UNKNOWN_METHOD: &str = "org.freedesktop.DBus.Error.UnknownMethod";

/// Somebody who blocks a shutdown of the machine (systemd-inhibit(1)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inhibitor {
    /// Who, for people.
    pub who: String,
    /// Why, for people.
    pub why: String,
    /// The user whose process it is.
    pub uid: u32,
    /// That process.
    pub pid: u32,
}

impl fmt::Display for Inhibitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { who, why, uid, pid } = self;
        write!(f, "{who} blocks a shutdown: {why} (process {pid} of user {uid})")
    }
}

/// What `ListInhibitors` answers: what (joined by `:`), who, why, mode, user, process.
type Rows = Vec<(String, String, String, String, u32, u32)>;

/// Whoever blocks a shutdown now. Those who only delay it are logind's to wait for.
///
/// # Errors
/// logind cannot be reached.
pub async fn inhibitors(bus: &Bus) -> Result<Vec<Inhibitor>, BusError> {
    let rows: Rows = bus.call(MANAGER, "ListInhibitors", &()).await?;
    let blocking = rows.into_iter().filter(|(what, _, _, mode, ..)| blocks(what, mode));
    Ok(blocking.map(|(_, who, why, _, uid, pid)| Inhibitor { who, why, uid, pid }).collect())
}

/// Whether an inhibitor keeps the machine from going down. `block-weak` (systemd 257) is what `block` was before.
fn blocks(what: &str, mode: &str) -> bool {
    matches!(mode, "block" | "block-weak") && what.split(':').any(|what| what == "shutdown")
}

/// Asks logind to reboot the machine, unless somebody blocks that; without asking anybody for a password. Needs root, or
/// a polkit rule for `org.freedesktop.login1.reboot`.
///
/// logind itself looks at inhibitors and begins in one step, but before systemd 257 it passes over those of the user who
/// asks, who is root as a rule, as package managers are; before 248 it cannot do so for root at all. So they are looked at
/// here as well, just before.
///
/// # Errors
/// [`BusError::Refused`]: not permitted, blocked by an inhibitor, or a reboot is going on already.
pub async fn reboot(bus: &Bus) -> Result<(), BusError> {
    if let Some(inhibitor) = inhibitors(bus).await?.first() {
        return Err(BusError::Refused {
            what: "a reboot".into(),
            name: "org.freedesktop.login1.BlockedByInhibitorLock".into(),
            message: inhibitor.to_string(),
        });
    }
    let flags = ROOT_CHECK_INHIBITORS;
    match bus.call(MANAGER, "RebootWithFlags", &(flags,)).await {
        Err(BusError::Refused { name, .. }) if name == UNKNOWN_METHOD => {}
        other => return other,
    }
    let interactive = false;
    bus.call(MANAGER, "Reboot", &(interactive,)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_blocks_a_shutdown_holds_a_reboot() {
        assert!(blocks("shutdown", "block"));
        assert!(blocks("sleep:shutdown:idle", "block"));
        assert!(blocks("shutdown", "block-weak"));
        assert!(!blocks("shutdown", "delay"));
        assert!(!blocks("sleep:idle", "block"));
        assert!(!blocks("handle-power-key", "block"));
    }

    #[test]
    fn an_inhibitor_is_told_with_who_and_why() {
        let apt = Inhibitor { who: "apt".into(), why: "upgrade".into(), uid: 0, pid: 7 };
        assert_eq!(apt.to_string(), "apt blocks a shutdown: upgrade (process 7 of user 0)");
    }
}
