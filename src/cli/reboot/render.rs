//! A group's reboot lock as people see it.

use jiff::Timestamp;

use crate::cli::terminal::table;
use crate::clock::wall_time;
use crate::reboot::overview::Overview;

/// The lock and everybody who has to do with it.
pub(super) fn overview(overview: &Overview) -> String {
    let mut text = format!("Available: {}\nMax: {}\n", overview.available, overview.max);
    if !overview.machines.is_empty() {
        text.push('\n');
        text.push_str(&machines(overview, wall_time()));
    }
    text
}

/// One line for each machine that holds the lock, is on its way or was asked to go.
pub(in crate::cli) fn machines(overview: &Overview, now: Timestamp) -> String {
    let rows: Vec<Vec<String>> = overview
        .machines
        .iter()
        .map(|line| {
            vec![
                line.machine.to_string(),
                if line.holds { "held".into() } else { String::new() },
                line.phase.clone(),
                line.since.map(|since| table::span(since.seconds_until(now))).unwrap_or_default(),
                line.reason.clone().unwrap_or_default(),
                line.waits_for.clone().unwrap_or_default(),
            ]
        })
        .collect();
    table::render(&["MACHINE ID", "LOCK", "PHASE", "FOR", "REASON", "WAITS BECAUSE"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Moment;
    use crate::reboot::overview::Line;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_free_lock_is_two_lines() {
        let free = Overview { group: "default".into(), available: 1, max: 1, machines: vec![] };
        assert_eq!(overview(&free), "Available: 1\nMax: 1\n");
    }

    #[test]
    fn a_machine_that_waits_says_why() {
        let line = Line {
            machine: "m1".parse().unwrap(),
            holds: true,
            phase: "checking".into(),
            since: Some(Moment::new(at("2026-01-31T12:00:00Z"))),
            reason: Some("kernel".into()),
            waits_for: Some("systemd says degraded".into()),
        };
        let held = Overview { group: "default".into(), available: 0, max: 1, machines: vec![line] };
        assert_eq!(
            machines(&held, at("2026-01-31T12:01:30Z")),
            "MACHINE ID  LOCK  PHASE     FOR    REASON  WAITS BECAUSE\n\
             m1          held  checking  1m30s  kernel  systemd says degraded\n"
        );
    }
}
