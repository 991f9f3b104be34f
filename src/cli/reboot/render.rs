//! A group's reboot lock as people see it.

use jiff::Timestamp;

use crate::cli::table;
use crate::reboot::overview::Overview;

/// The lock and everybody who has to do with it.
pub(super) fn overview(overview: &Overview) -> String {
    let mut text = format!("Available: {}\nMax: {}\n", overview.available, overview.max);
    if !overview.machines.is_empty() {
        text.push('\n');
        text.push_str(&machines(overview, Timestamp::now()));
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
                line.since.map(|since| age(since.seconds_until(now))).unwrap_or_default(),
                line.reason.clone().unwrap_or_default(),
                line.waits_for.clone().unwrap_or_default(),
            ]
        })
        .collect();
    table::render(&["MACHINE ID", "LOCK", "PHASE", "FOR", "REASON", "WAITS BECAUSE"], &rows)
}

/// A length of time in its two largest units.
fn age(seconds: u64) -> String {
    let parts =
        [(seconds / 86_400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let first = parts.iter().position(|(count, _)| *count > 0).unwrap_or(3);
    let shown: Vec<String> = parts[first..]
        .iter()
        .take(2)
        .filter(|(count, _)| *count > 0 || first == 3)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    shown.join("")
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
    fn ages_show_their_two_largest_units() {
        for (seconds, shown) in
            [(0, "0s"), (59, "59s"), (60, "1m"), (61, "1m1s"), (3600, "1h"), (3661, "1h1m"), (90_000, "1d1h")]
        {
            assert_eq!(age(seconds), shown);
        }
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
