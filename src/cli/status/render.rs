//! The screen of `muster status`.

use jiff::Timestamp;

use super::report::{MachineLine, MemberLine, Part, Report, UnitLine};
use crate::cli::{heartbeat, reboot, table};
use crate::ids::MachineId;
use crate::reboot::overview::Overview;

/// One paragraph for each part.
pub(super) fn screen(report: &Report, now: Timestamp) -> String {
    let names = match &report.machines {
        Part::Read(machines) => machines.as_slice(),
        Part::Missing { .. } => &[],
    };
    let paragraphs = [
        paragraph("Members", &report.members, |lines| (!lines.is_empty()).then(|| members(lines))),
        paragraph("Machines", &report.machines, |lines| (!lines.is_empty()).then(|| machines(lines))),
        paragraph("Units", &report.units, |lines| (!lines.is_empty()).then(|| units(lines, names))),
        lock(&report.reboot, now),
        paragraph("Heartbeats", &report.heartbeats, |lines| {
            (!lines.is_empty()).then(|| heartbeat::table(lines, now))
        }),
    ];
    paragraphs.join("\n")
}

fn paragraph<T>(title: &str, part: &Part<T>, show: impl Fn(&T) -> Option<String>) -> String {
    match part {
        Part::Read(value) => match show(value) {
            Some(text) => format!("{title}\n{}", indented(&text)),
            None => format!("{title}: none\n"),
        },
        Part::Missing { error } => format!("{title}: not known: {error}\n"),
    }
}

fn members(lines: &[MemberLine]) -> String {
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            vec![
                line.name.clone(),
                line.id.clone(),
                if line.leader { "leader".into() } else { String::new() },
                if line.healthy { "healthy".into() } else { "not healthy".into() },
                line.index.map(|index| index.to_string()).unwrap_or_default(),
                line.client_urls.join(","),
                line.peer_urls.join(","),
            ]
        })
        .collect();
    table::render(&["NAME", "ID", "ROLE", "HEALTH", "INDEX", "CLIENTS", "PEERS"], &rows)
}

fn machines(lines: &[MachineLine]) -> String {
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            let units = line.active_units.to_string();
            vec![line.hostname.clone(), line.id.to_string(), line.addresses.join(","), units]
        })
        .collect();
    table::render(&["HOSTNAME", "MACHINE ID", "ADDRESSES", "ACTIVE UNITS"], &rows)
}

fn units(lines: &[UnitLine], machines: &[MachineLine]) -> String {
    let hostname = |id: &MachineId| {
        let known = machines.iter().find(|line| line.id == *id);
        known.map_or_else(|| id.to_string(), |line| line.hostname.clone())
    };
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            vec![
                line.unit.to_string(),
                line.desired.map(|desired| desired.to_string()).unwrap_or_default(),
                line.machine.as_ref().map(hostname).unwrap_or_default(),
                line.state.clone().unwrap_or_default(),
                line.reason.clone(),
            ]
        })
        .collect();
    table::render(&["UNIT", "DESIRED", "MACHINE", "STATE", "REASON"], &rows)
}

fn lock(part: &Part<Overview>, now: Timestamp) -> String {
    let Part::Read(overview) = part else { return paragraph("Reboot lock", part, |_| None) };
    let mut text = format!("Reboot lock: {} of {} free\n", overview.available, overview.max);
    if !overview.machines.is_empty() {
        text.push_str(&indented(&reboot::machines(overview, now)));
    }
    text
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_and_the_rest_is_shown() {
        let member = MemberLine {
            id: "8e".into(),
            name: "m1".into(),
            client_urls: vec!["http://h:2379".into()],
            peer_urls: vec!["http://h:2380".into()],
            leader: true,
            healthy: true,
            index: Some(7),
        };
        let report = Report {
            members: Part::Read(vec![member]),
            machines: Part::Read(vec![]),
            units: Part::Missing { error: "no endpoint answers".into() },
            reboot: Part::Read(Overview { group: "default".into(), available: 1, max: 1, machines: vec![] }),
            heartbeats: Part::Read(vec![]),
        };
        assert_eq!(
            screen(&report, Timestamp::UNIX_EPOCH),
            "Members\n\
             \x20 NAME  ID  ROLE    HEALTH   INDEX  CLIENTS        PEERS\n\
             \x20 m1    8e  leader  healthy  7      http://h:2379  http://h:2380\n\
             \n\
             Machines: none\n\
             \n\
             Units: not known: no endpoint answers\n\
             \n\
             Reboot lock: 1 of 1 free\n\
             \n\
             Heartbeats: none\n"
        );
        assert_eq!(report.without_keys(), None);
    }
}
