//! The state of a unit as it is published.

use crate::model::unit::UnitState;
use crate::systemd::UnitStatus;

use super::steps::Ticket;

/// Puts together what systemd says of a unit and what the agent has done about it.
pub fn state(status: &UnitStatus, hash: Option<&str>, done: Option<Ticket>, problem: &str) -> UnitState {
    UnitState {
        load: status.load.clone(),
        active: status.active.clone(),
        sub: status.sub.clone(),
        result: status.result.clone(),
        hash: hash.unwrap_or_default().into(),
        generation: done.map_or(0, |done| done.generation),
        request: done.map_or(0, |done| done.request),
        since: timestamp(status.since_us),
        main_pid: status.main_pid,
        refused: false,
        problem: problem.into(),
    }
}

/// The state of a unit that the agent has nothing of, whatever systemd has under that name.
pub fn nothing(problem: &str) -> UnitState {
    UnitState {
        load: "not-found".into(),
        active: "inactive".into(),
        sub: "dead".into(),
        result: String::new(),
        hash: String::new(),
        generation: 0,
        request: 0,
        since: String::new(),
        main_pid: None,
        refused: false,
        problem: problem.into(),
    }
}

/// Microseconds since 1970 in RFC 3339, whole milliseconds; empty for never.
fn timestamp(microseconds: u64) -> String {
    let milliseconds = i64::try_from(microseconds / 1000).unwrap_or_default();
    match jiff::Timestamp::from_millisecond(milliseconds) {
        Ok(time) if milliseconds > 0 => time.to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(timestamp(1_700_000_000_123_456), "2023-11-14T22:13:20.123Z");
        assert_eq!(timestamp(0), "");
    }
}
