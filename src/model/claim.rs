//! Whose a machine id is, on plain data: two living machines with one id, such as clones of one disk, must not both act
//! under it, and a machine that has just rebooted must not take its own past for another.
//!
//! A boot id tells boots and machines apart, but not one from the other. What does is time: nobody refreshes the
//! presence of a boot that is over, so it is gone when its TTL has passed; that of a living machine is still there, and
//! was refreshed meanwhile.

use std::time::Duration;

use super::machine::MachineInfo;

/// How much longer than its TTL a presence is given to expire.
const PATIENCE: Duration = Duration::from_secs(2);
/// An answer that took longer says nothing of how much time the store has counted meanwhile: its clock stands still
/// during an election.
const SLOW: Duration = Duration::from_secs(1);

/// Whom a machine's presence belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Nobody who could object: it has ended in order, or has no description, or will never expire.
    Nobody,
    /// The boot that asks.
    Us,
    /// Another boot, which may be alive.
    Other(Box<MachineInfo>),
}

/// Whom the presence belongs to that has this description and, if `expires`, a TTL, as seen from the boot `boot_id`.
pub fn owner(description: Option<MachineInfo>, expires: bool, boot_id: &str) -> Owner {
    match description {
        Some(info) if info.boot_id == boot_id => Owner::Us,
        Some(info) if expires && !info.agent_stopped => Owner::Other(Box::new(info)),
        _ => Owner::Nobody,
    }
}

/// A presence that is another boot's, as the store showed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting<'a> {
    /// The boot.
    pub boot_id: &'a str,
    /// How much of its TTL is left.
    pub left: Duration,
    /// The moment of its expiry in the store's words: another one after each refresh, and only then.
    pub expires: &'a str,
}

/// What is known of a presence that is another boot's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suspicion {
    suspect: Option<Suspect>,
}

/// The boot that is suspected to be another machine's.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Suspect {
    boot_id: String,
    /// When it was seen first.
    since: Duration,
    /// The most that was left of its TTL since.
    most_left: Duration,
    /// When it would have expired, as it was seen first.
    expires: String,
}

impl Suspicion {
    /// Takes in what was asked at `began` and answered at `now` (lengths since any fixed moment of a monotonic clock).
    /// True: somebody keeps the presence alive. That it is still there after its TTL does not tell that, for the store's
    /// clock may have stood still; it must have been refreshed as well.
    pub fn confirmed_by(&mut self, seen: &Sighting<'_>, began: Duration, now: Duration) -> bool {
        if now.saturating_sub(began) > SLOW {
            self.suspect = None;
        }
        match &mut self.suspect {
            Some(suspect) if suspect.boot_id == seen.boot_id => {
                suspect.most_left = suspect.most_left.max(seen.left);
                let over = suspect.since + suspect.most_left + PATIENCE;
                began >= over && suspect.expires != seen.expires
            }
            _ => {
                self.suspect = Some(Suspect {
                    boot_id: seen.boot_id.into(),
                    since: now,
                    most_left: seen.left,
                    expires: seen.expires.into(),
                });
                false
            }
        }
    }

    /// The store did not answer: how much time it has counted meanwhile is not known.
    pub fn forget(&mut self) {
        self.suspect = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn info(boot_id: &str) -> MachineInfo {
        serde_json::from_str(&format!(r#"{{"id":"m1","hostname":"h","boot_id":"{boot_id}"}}"#)).unwrap()
    }

    #[test]
    fn only_a_presence_of_another_boot_that_may_be_alive_is_anothers() {
        assert_eq!(owner(Some(info("one")), true, "one"), Owner::Us);
        assert_eq!(owner(Some(info("one")), false, "one"), Owner::Us);
        assert_eq!(owner(Some(info("two")), true, "one"), Owner::Other(Box::new(info("two"))));
        assert_eq!(owner(Some(info("two")), false, "one"), Owner::Nobody);
        let stopped = MachineInfo { agent_stopped: true, ..info("two") };
        assert_eq!(owner(Some(stopped), true, "one"), Owner::Nobody);
        assert_eq!(owner(None, true, "one"), Owner::Nobody);
    }

    const fn seen(boot_id: &'static str, left: u64, expires: &'static str) -> Sighting<'static> {
        Sighting { boot_id, left: s(left), expires }
    }

    #[test]
    fn a_machine_that_reboots_waits_for_the_end_of_its_own_past() {
        let mut suspicion = Suspicion::default();
        assert!(!suspicion.confirmed_by(&seen("past", 8, "12:08"), s(0), s(0)));
        // Up to the last moment of the TTL, and a little beyond, nothing is certain.
        assert!(!suspicion.confirmed_by(&seen("past", 1, "12:08"), s(9), s(9)));
        // Then it is gone, and nobody asks again. Another machine's presence would still be there, refreshed:
        assert!(suspicion.confirmed_by(&seen("past", 8, "12:16"), s(10), s(10)));
    }

    #[test]
    fn a_presence_that_does_not_expire_because_the_stores_clock_stands_still_is_nobodys() {
        let mut suspicion = Suspicion::default();
        for at in 0..100 {
            assert!(!suspicion.confirmed_by(&seen("past", 8, "12:08"), s(at), s(at)), "after {at} s");
        }
        assert!(suspicion.confirmed_by(&seen("past", 8, "12:16"), s(100), s(100)));
    }

    #[test]
    fn a_refresh_that_was_late_gives_the_presence_as_long_again() {
        let mut suspicion = Suspicion::default();
        assert!(!suspicion.confirmed_by(&seen("past", 2, "12:02"), s(0), s(0)));
        // The last word of a machine that has gone down, on its way until now.
        assert!(!suspicion.confirmed_by(&seen("past", 10, "12:11"), s(1), s(1)));
        assert!(!suspicion.confirmed_by(&seen("past", 1, "12:11"), s(11), s(11)));
        assert!(suspicion.confirmed_by(&seen("past", 10, "12:22"), s(12), s(12)));
    }

    #[test]
    fn another_boot_is_another_suspect() {
        let mut suspicion = Suspicion::default();
        assert!(!suspicion.confirmed_by(&seen("one", 8, "12:08"), s(0), s(0)));
        assert!(!suspicion.confirmed_by(&seen("two", 8, "12:18"), s(10), s(10)));
        assert!(suspicion.confirmed_by(&seen("two", 8, "12:28"), s(20), s(20)));
    }

    #[test]
    fn time_that_the_store_may_not_have_counted_proves_nothing() {
        let mut suspicion = Suspicion::default();
        assert!(!suspicion.confirmed_by(&seen("past", 8, "12:08"), s(0), s(0)));
        // An election: the answer takes long, and the presence has been given as long again.
        assert!(!suspicion.confirmed_by(&seen("past", 8, "12:17"), s(9), s(11)));
        assert!(!suspicion.confirmed_by(&seen("past", 1, "12:18"), s(19), s(19)));
        suspicion.forget();
        assert!(!suspicion.confirmed_by(&seen("past", 8, "13:00"), s(100), s(100)));
    }
}
