//! A group's reboot lock as people see it.

use jiff::Timestamp;

use crate::cli::terminal::machines::Machines;
use crate::cli::terminal::table;
use crate::clock::wall_time;
use crate::reboot::overview::Overview;

/// The lock and everybody who has to do with it.
pub(super) fn overview(overview: &Overview, known: &Machines) -> String {
    let mut text = format!("Available: {}\nMax: {}\n", overview.available, overview.max);
    if !overview.machines.is_empty() {
        text.push('\n');
        text.push_str(&machines(overview, known, wall_time()));
    }
    text
}

/// One line for each machine that holds the lock, is on its way or was asked to go.
pub(in crate::cli) fn machines(overview: &Overview, known: &Machines, now: Timestamp) -> String {
    let rows: Vec<Vec<String>> = overview
        .machines
        .iter()
        .map(|line| {
            vec![
                known.name(&line.machine),
                if line.holds { "held".into() } else { String::new() },
                line.phase.clone(),
                line.since.map(|since| table::span(since.seconds_until(now))).unwrap_or_default(),
                line.reason.clone().unwrap_or_default(),
                line.waits_for.as_deref().map(|why| known.told(why)).unwrap_or_default(),
            ]
        })
        .collect();
    table::render(&["MACHINE", "LOCK", "PHASE", "FOR", "REASON", "WAITS BECAUSE"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::MachineId;
    use crate::model::Moment;
    use crate::reboot::overview::Line;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_free_lock_is_two_lines() {
        let free = Overview { group: "default".into(), available: 1, max: 1, machines: vec![] };
        assert_eq!(overview(&free, &Machines::default()), "Available: 1\nMax: 1\n");
    }

    #[test]
    fn a_machine_that_waits_says_why() {
        let id: MachineId = "8cd4acaff41c4de68c0a81e5d0070daa".parse().unwrap();
        let line = Line {
            machine: id.clone(),
            hostname: None,
            holds: true,
            phase: "checking".into(),
            since: Some(Moment::new(at("2026-01-31T12:00:00Z"))),
            reason: Some("kernel".into()),
            waits_for: Some("systemd says degraded".into()),
        };
        let held = Overview { group: "default".into(), available: 0, max: 1, machines: vec![line] };
        let info =
            serde_json::from_str(&format!(r#"{{"id":"{id}","hostname":"m1","boot_id":"b"}}"#)).unwrap();
        assert_eq!(
            machines(&held, &Machines::present([(&id, &info)]), at("2026-01-31T12:01:30Z")),
            "MACHINE      LOCK  PHASE     FOR    REASON  WAITS BECAUSE\n\
             m1/8cd4acaf  held  checking  1m30s  kernel  systemd says degraded\n"
        );
    }
}
