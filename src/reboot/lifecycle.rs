//! The way of one machine through a reboot, moved by value. Decides which phase follows on which event and refuses
//! every other pair; what is to be done in a phase is the driver's. A phase is written down before it is acted upon, so
//! every phase can be entered again by a coordinator that knows nothing but the record.

use crate::model::reboot::Phase;

/// What happened to a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A reboot is wanted.
    Requested,
    /// Nobody wants the reboot any longer, and logind was not asked.
    Withdrawn,
    /// The time for reboots has come.
    WindowOpened,
    /// The lock is held.
    Granted,
    /// The lock was taken away by an operator.
    LockLost,
    /// Somebody keeps the machine from going down; the lock has been given back.
    Inhibited,
    /// The machine's work is elsewhere.
    Drained,
    /// The machine runs under another boot id than the record's.
    Booted,
    /// The machine's own services are up far enough to be asked.
    Settled,
    /// The machine is as well as it was.
    Healthy,
    /// The lock is given back, the request and the record are gone.
    Released,
}

/// An event that makes no sense in a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} cannot happen while {phase}")]
pub struct Illegal {
    /// Where the machine stood.
    pub phase: Phase,
    /// What was said to have happened.
    pub event: Event,
}

/// The phase that follows.
///
/// # Errors
/// `Illegal`: a fault of the caller, who must not go on.
pub fn on(phase: Phase, event: Event) -> Result<Phase, Illegal> {
    match (phase, event) {
        (Phase::Idle, Event::Requested) => Ok(Phase::WaitingForWindow),
        (Phase::WaitingForWindow, Event::WindowOpened) => Ok(Phase::WaitingForLock),
        (Phase::WaitingForLock, Event::Granted) => Ok(Phase::Draining),
        (Phase::Draining, Event::Drained) => Ok(Phase::Leaving),
        (Phase::Draining | Phase::Leaving, Event::LockLost) => Ok(Phase::WaitingForLock),
        (Phase::Leaving, Event::Inhibited) => Ok(Phase::WaitingForLock),
        // The lock may have been won a moment before, hence not straight to idle.
        (
            Phase::WaitingForWindow | Phase::WaitingForLock | Phase::Draining | Phase::Leaving,
            Event::Withdrawn,
        ) => Ok(Phase::Releasing),
        // Power may fail in any phase; whatever was wanted, the machine has rebooted.
        (Phase::Idle, Event::Booted) => Err(Illegal { phase, event }),
        (_, Event::Booted) => Ok(Phase::Back),
        (Phase::Back, Event::Settled) => Ok(Phase::Checking),
        (Phase::Checking, Event::Healthy) => Ok(Phase::Releasing),
        (Phase::Releasing, Event::Released) => Ok(Phase::Idle),
        (phase, event) => Err(Illegal { phase, event }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHASES: [Phase; 8] = [
        Phase::Idle,
        Phase::WaitingForWindow,
        Phase::WaitingForLock,
        Phase::Draining,
        Phase::Leaving,
        Phase::Back,
        Phase::Checking,
        Phase::Releasing,
    ];

    fn walk(from: Phase, events: &[Event]) -> Result<Phase, Illegal> {
        events.iter().try_fold(from, |phase, event| on(phase, *event))
    }

    #[test]
    fn a_whole_reboot_ends_where_it_began() {
        let first = [Event::Requested, Event::WindowOpened, Event::Granted, Event::Drained];
        assert_eq!(walk(Phase::Idle, &first), Ok(Phase::Leaving));
        let second = [Event::Booted, Event::Settled, Event::Healthy, Event::Released];
        assert_eq!(walk(Phase::Leaving, &second), Ok(Phase::Idle));
    }

    #[test]
    fn nothing_leads_to_leaving_but_the_lock_and_the_drain() {
        for phase in PHASES {
            for event in
                [Event::Requested, Event::WindowOpened, Event::Granted, Event::Settled, Event::Healthy]
            {
                assert_ne!(on(phase, event), Ok(Phase::Leaving));
            }
        }
        assert_eq!(on(Phase::Draining, Event::Drained), Ok(Phase::Leaving));
    }

    #[test]
    fn the_lock_is_not_given_back_before_the_machine_is_well() {
        for phase in [Phase::Leaving, Phase::Back, Phase::Checking] {
            assert!(on(phase, Event::Released).is_err());
        }
        for phase in [Phase::Back, Phase::Checking] {
            assert!(on(phase, Event::Withdrawn).is_err());
        }
        assert!(on(Phase::Back, Event::Healthy).is_err());
        assert_eq!(on(Phase::Checking, Event::Healthy), Ok(Phase::Releasing));
    }

    #[test]
    fn a_reboot_that_is_no_longer_wanted_gives_back_what_it_may_hold() {
        for phase in [Phase::WaitingForWindow, Phase::WaitingForLock, Phase::Draining, Phase::Leaving] {
            assert_eq!(on(phase, Event::Withdrawn), Ok(Phase::Releasing));
        }
    }

    #[test]
    fn a_machine_whose_lock_an_operator_takes_away_waits_again() {
        assert_eq!(on(Phase::Draining, Event::LockLost), Ok(Phase::WaitingForLock));
        assert_eq!(on(Phase::Leaving, Event::LockLost), Ok(Phase::WaitingForLock));
        assert!(on(Phase::Checking, Event::LockLost).is_err());
    }

    #[test]
    fn a_machine_that_may_not_go_down_waits_again_and_only_then() {
        assert_eq!(on(Phase::Leaving, Event::Inhibited), Ok(Phase::WaitingForLock));
        for phase in PHASES.into_iter().filter(|phase| *phase != Phase::Leaving) {
            assert!(on(phase, Event::Inhibited).is_err(), "{phase}");
        }
    }

    #[test]
    fn a_reboot_in_any_phase_is_followed_by_the_checks() {
        for phase in PHASES.into_iter().filter(|phase| *phase != Phase::Idle) {
            assert_eq!(on(phase, Event::Booted), Ok(Phase::Back), "{phase}");
        }
        assert!(on(Phase::Idle, Event::Booted).is_err());
    }

    #[test]
    fn an_illegal_event_names_both_sides() {
        let error = on(Phase::Idle, Event::Granted).unwrap_err();
        assert_eq!(error.to_string(), "Granted cannot happen while idle");
    }
}
