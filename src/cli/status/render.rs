//! The screen of `muster status`.

use jiff::Timestamp;

use super::report::{MemberLine, Part, Report};
use crate::cli::terminal::machines::Machines;
use crate::cli::terminal::table;
use crate::cli::{heartbeat, machine, reboot, unit};
use crate::reboot::overview::Overview;

/// One paragraph for each part.
pub(super) fn screen(report: &Report, now: Timestamp) -> String {
    let paragraphs = [
        paragraph("Members", &report.members, |lines| (!lines.is_empty()).then(|| members(lines))),
        paragraph("Machines", &report.cluster, |cluster| {
            (!cluster.machines.is_empty()).then(|| machine::simple(&cluster.view))
        }),
        paragraph("Units", &report.cluster, |cluster| {
            (!cluster.units.is_empty()).then(|| unit::table(&cluster.view, &cluster.units))
        }),
        lock(&report.reboot, &known(report), now),
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

/// The machines that are present, as far as they could be read.
fn known(report: &Report) -> Machines {
    match &report.cluster {
        Part::Read(cluster) => Machines::present(&cluster.view.machines),
        Part::Missing { .. } => Machines::default(),
    }
}

fn lock(part: &Part<Overview>, known: &Machines, now: Timestamp) -> String {
    let Part::Read(overview) = part else { return paragraph("Reboot lock", part, |_| None) };
    let mut text = format!("Reboot lock: {} of {} free\n", overview.available, overview.max);
    if !overview.machines.is_empty() {
        text.push_str(&indented(&reboot::table(overview, known, now)));
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
            denied: false,
            members: Part::Read(vec![member]),
            cluster: Part::Missing { error: "no endpoint answers".into() },
            reboot: Part::Read(Overview { group: "default".into(), available: 1, max: 1, machines: vec![] }),
            heartbeats: Part::Read(vec![]),
        };
        assert_eq!(
            screen(&report, Timestamp::UNIX_EPOCH),
            "Members\n\
             \x20 NAME  ID  ROLE    HEALTH   INDEX  CLIENTS        PEERS\n\
             \x20 m1    8e  leader  healthy  7      http://h:2379  http://h:2380\n\
             \n\
             Machines: not known: no endpoint answers\n\
             \n\
             Units: not known: no endpoint answers\n\
             \n\
             Reboot lock: 1 of 1 free\n\
             \n\
             Heartbeats: none\n"
        );
        assert_eq!(report.complaint(), None);
    }
}
