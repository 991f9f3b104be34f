//! Which batches have been applied, so that one that was sent twice is applied once.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::raft::types::Ticket;

/// How many batches of one node may be open behind the oldest unfinished one. Further back, an unfinished batch is
/// given up: its sender has long told its clients that the outcome is unknown.
const WINDOW: usize = 1024;

/// The batches applied so far, by the node they came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sessions(BTreeMap<u64, Session>);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
struct Session {
    id: u64,
    /// Everything up to here is done or given up.
    floor: u64,
    /// Done beyond the floor.
    above: BTreeSet<u64>,
}

crate::format::extendable!(Session);

impl Sessions {
    /// Takes note of a batch that is about to be applied; `false` when it was applied before.
    ///
    /// A node that starts anew begins a session with a higher number. Batches of an older one that still arrive are
    /// refused: nobody waits for them any more, and they may have been applied in their time.
    pub fn admit(&mut self, ticket: Ticket) -> bool {
        let session = self.0.entry(ticket.node).or_default();
        if ticket.session < session.id {
            return false;
        }
        if session.id != ticket.session {
            *session = Session { id: ticket.session, ..Session::default() };
        }
        if ticket.seq <= session.floor || !session.above.insert(ticket.seq) {
            return false;
        }
        if session.above.len() > WINDOW
            && let Some(oldest) = session.above.first()
        {
            session.floor = oldest - 1;
        }
        while session.above.remove(&(session.floor + 1)) {
            session.floor += 1;
        }
        true
    }

    /// The newest session of a node, 0 if there was none.
    pub fn newest(&self, node: u64) -> u64 {
        self.0.get(&node).map_or(0, |session| session.id)
    }

    /// Keeps only the sessions of the nodes that `keep` accepts: who was removed never comes back.
    pub fn retain(&mut self, keep: impl Fn(u64) -> bool) {
        self.0.retain(|node, _| keep(*node));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(session: u64, seq: u64) -> Ticket {
        Ticket { node: 1, session, seq }
    }

    #[test]
    fn a_batch_is_admitted_once_in_any_order() {
        let mut sessions = Sessions::default();
        for seq in [2, 1, 4, 3] {
            assert!(sessions.admit(ticket(9, seq)));
        }
        for seq in 1..=4 {
            assert!(!sessions.admit(ticket(9, seq)));
        }
        assert!(sessions.0[&1].above.is_empty());
    }

    #[test]
    fn a_new_session_starts_afresh() {
        let mut sessions = Sessions::default();
        assert!(sessions.admit(ticket(9, 1)));
        assert!(sessions.admit(ticket(10, 1)));
        assert!(!sessions.admit(ticket(10, 1)));
    }

    #[test]
    fn a_batch_of_an_earlier_run_that_arrives_late_is_not_applied_again() {
        let mut sessions = Sessions::default();
        assert!(sessions.admit(ticket(9, 1)));
        assert!(sessions.admit(ticket(10, 1)));
        assert!(!sessions.admit(ticket(9, 1)), "sent twice, the second time through a new leader");
        assert_eq!((sessions.newest(1), sessions.newest(2)), (10, 0));
    }

    #[test]
    fn a_batch_that_never_came_does_not_grow_the_window_for_ever() {
        let mut sessions = Sessions::default();
        for seq in 2..5000 {
            assert!(sessions.admit(ticket(9, seq)));
        }
        assert!(sessions.0[&1].above.len() <= WINDOW + 1);
        assert!(!sessions.admit(ticket(9, 1)), "given up");
    }
}
