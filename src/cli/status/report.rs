//! What `muster status` knows, put together from what the store says.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::client::{Member, Node};
use crate::heartbeat::list::Line as Heartbeat;
use crate::ids::{MachineId, UnitName};
use crate::model::machine::MachineInfo;
use crate::model::unit::{Desired, ScheduleRecord, UnitRecord, UnitState};
use crate::reboot::gate::Seen;
use crate::reboot::overview::Overview;

/// What was read, or why it could not be.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case", untagged)]
pub(super) enum Part<T> {
    /// It was read.
    Read(T),
    /// It was not.
    Missing {
        /// Why.
        error: String,
    },
}

/// Everything on the screen.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The store's members.
    pub members: Part<Vec<MemberLine>>,
    /// The machines that are present.
    pub machines: Part<Vec<MachineLine>>,
    /// The units that users want known.
    pub units: Part<Vec<UnitLine>>,
    /// The reboot lock of one group.
    pub reboot: Part<Overview>,
    /// Who beats.
    pub heartbeats: Part<Vec<Heartbeat>>,
}

/// One member of the store.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct MemberLine {
    pub id: String,
    pub name: String,
    pub client_urls: Vec<String>,
    pub peer_urls: Vec<String>,
    pub leader: bool,
    pub healthy: bool,
    /// The index that its own copy has reached.
    pub index: Option<u64>,
}

/// One machine.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct MachineLine {
    pub id: MachineId,
    pub hostname: String,
    pub addresses: Vec<String>,
    /// How many units are active on it.
    pub active_units: usize,
}

/// One unit on one machine, or nowhere.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct UnitLine {
    pub unit: UnitName,
    /// Absent when the record is not understood.
    pub desired: Option<Desired>,
    pub machine: Option<MachineId>,
    /// Active and sub state, such as `active/running`; absent while its machine says nothing of it.
    pub state: Option<String>,
    /// Why it is where it is, or is not; what is wrong with it.
    pub reason: String,
}

impl<T> Part<T> {
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Read(_) => None,
            Self::Missing { error } => Some(error),
        }
    }
}

impl<T, E: std::fmt::Display> From<Result<T, E>> for Part<T> {
    fn from(read: Result<T, E>) -> Self {
        match read {
            Ok(value) => Self::Read(value),
            Err(error) => Self::Missing { error: error.to_string() },
        }
    }
}

impl Report {
    /// Why nothing at all is known, if so.
    pub fn unreachable(&self) -> Option<&str> {
        self.members.error().filter(|_| self.without_keys().is_some())
    }

    /// Why no key could be read, if so.
    pub fn without_keys(&self) -> Option<&str> {
        let errors =
            [self.machines.error(), self.units.error(), self.reboot.error(), self.heartbeats.error()];
        errors.into_iter().collect::<Option<Vec<_>>>().map(|errors| errors[0])
    }
}

/// Members with what each said of itself.
pub(super) fn members(members: &[Member], leader: Option<&str>, seen: &[Seen]) -> Vec<MemberLine> {
    let line = |member: &Member| {
        let said = seen.iter().find(|seen| seen.id == member.id);
        MemberLine {
            id: member.id.clone(),
            name: member.name.clone(),
            client_urls: member.client_urls.clone(),
            peer_urls: member.peer_urls.clone(),
            leader: leader == Some(member.id.as_str()),
            healthy: said.is_some_and(|seen| seen.healthy),
            index: said.and_then(|seen| seen.index),
        }
    };
    let mut lines: Vec<MemberLine> = members.iter().map(line).collect();
    lines.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    lines
}

/// What every present machine says of units.
pub(super) type States = BTreeMap<MachineId, BTreeMap<UnitName, UnitState>>;

/// Machines below `/muster/machines`, and the states of units there.
pub(super) fn machines(tree: &Node) -> (Vec<MachineLine>, States) {
    let mut lines = Vec::new();
    let mut states = States::new();
    for dir in &tree.nodes {
        let Ok(id) = name(dir).parse::<MachineId>() else { continue };
        let child = |wanted: &str| dir.nodes.iter().find(|node| name(node) == wanted);
        let units: BTreeMap<UnitName, UnitState> = child("units").map(records).unwrap_or_default();
        // Without it the machine is just announcing itself.
        if let Some(info) = child("info").and_then(|node| record::<MachineInfo>(node).ok()) {
            let active_units = units.values().filter(|state| state.active == "active").count();
            let (hostname, addresses) = (info.hostname, info.addresses);
            lines.push(MachineLine { id: id.clone(), hostname, addresses, active_units });
        }
        states.insert(id, units);
    }
    lines.sort_by(|a, b| (&a.hostname, &a.id).cmp(&(&b.hostname, &b.id)));
    (lines, states)
}

/// Units below `/muster/units` with their places below `/muster/schedule` and their states.
pub(super) fn units(units: &Node, schedule: &Node, states: &States) -> Vec<UnitLine> {
    let places: BTreeMap<UnitName, ScheduleRecord> = records(schedule);
    let mut lines = Vec::new();
    for node in &units.nodes {
        let Ok(unit) = name(node).parse::<UnitName>() else { continue };
        match record::<UnitRecord>(node) {
            Ok(wanted) if wanted.options.global => lines.extend(global(unit, wanted.desired, states)),
            Ok(wanted) => lines.push(placed(unit, wanted.desired, &places, states)),
            Err(error) => lines.push(UnitLine {
                unit,
                desired: None,
                machine: None,
                state: None,
                reason: format!("the record is not understood: {error}"),
            }),
        }
    }
    lines.sort_by(|a, b| (&a.unit, &a.machine).cmp(&(&b.unit, &b.machine)));
    lines
}

fn placed(
    unit: UnitName,
    desired: Desired,
    places: &BTreeMap<UnitName, ScheduleRecord>,
    states: &States,
) -> UnitLine {
    let place = places.get(&unit);
    let machine = place.and_then(|place| place.machine.clone());
    let state = machine.as_ref().and_then(|id| states.get(id)?.get(&unit));
    let problem = state.map(|state| state.problem.clone()).filter(|problem| !problem.is_empty());
    let reason = match (place, problem) {
        (_, Some(problem)) => problem,
        (Some(place), None) => place.reason.clone(),
        (None, None) if desired == Desired::Inactive => String::new(),
        (None, None) => "not placed yet".into(),
    };
    UnitLine { unit, desired: Some(desired), machine, state: state.map(shown), reason }
}

/// A line for each machine that knows a global unit.
fn global(unit: UnitName, desired: Desired, states: &States) -> Vec<UnitLine> {
    let line = |machine: Option<MachineId>, state: Option<&UnitState>| UnitLine {
        unit: unit.clone(),
        desired: Some(desired),
        machine,
        state: state.map(shown),
        reason: match state {
            Some(state) if !state.problem.is_empty() => state.problem.clone(),
            _ => "global".into(),
        },
    };
    let known = states.iter().filter_map(|(id, units)| Some((id, units.get(&unit)?)));
    let lines: Vec<UnitLine> = known.map(|(id, state)| line(Some(id.clone()), Some(state))).collect();
    if lines.is_empty() { vec![line(None, None)] } else { lines }
}

fn shown(state: &UnitState) -> String {
    format!("{}/{}", state.active, state.sub)
}

fn name(node: &Node) -> &str {
    node.key.rsplit('/').next().unwrap_or_default()
}

fn record<T: serde::de::DeserializeOwned>(node: &Node) -> Result<T, serde_json::Error> {
    serde_json::from_str(node.value.as_deref().unwrap_or_default())
}

/// The records of units in a folder that are understood.
fn records<T: serde::de::DeserializeOwned>(folder: &Node) -> BTreeMap<UnitName, T> {
    folder.nodes.iter().filter_map(|node| Some((name(node).parse().ok()?, record(node).ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(key: &str, value: &str) -> Node {
        Node { key: key.into(), value: Some(value.into()), ..Node::default() }
    }

    fn dir(key: &str, nodes: Vec<Node>) -> Node {
        Node { key: key.into(), dir: true, nodes, ..Node::default() }
    }

    fn machine_tree() -> Node {
        let info = r#"{"id":"m1","hostname":"alpha","addresses":["10.0.0.1"],"boot_id":"b"}"#;
        let active = r#"{"load":"loaded","active":"active","sub":"running","generation":1}"#;
        let failed =
            r#"{"load":"loaded","active":"failed","sub":"failed","generation":1,"problem":"exit code 1"}"#;
        let states = vec![file("/u/web.service", active), file("/u/log.service", failed)];
        dir("/machines", vec![dir("/machines/m1", vec![file("/m1/info", info), dir("/m1/units", states)])])
    }

    fn wanted(key: &str, desired: &str, global: bool) -> Node {
        let text =
            format!(r#"{{"hash":"h","options":{{"global":{global}}},"desired":"{desired}","generation":1}}"#);
        file(key, &text)
    }

    fn told(lines: &[UnitLine]) -> Vec<String> {
        let or = |text: Option<&str>| text.unwrap_or("-").to_string();
        lines
            .iter()
            .map(|line| {
                let machine = or(line.machine.as_ref().map(MachineId::as_str));
                format!("{} {machine} {} {}", line.unit, or(line.state.as_deref()), line.reason)
            })
            .collect()
    }

    #[test]
    fn every_unit_says_where_it_is_or_why_not() {
        let (_, states) = machine_tree().nodes.first().map(|_| machines(&machine_tree())).unwrap();
        let place = |machine: &str, reason: &str| {
            format!(r#"{{"machine":{machine},"generation":1,"reason":"{reason}","since":""}}"#)
        };
        let schedule = dir(
            "/schedule",
            vec![
                file("/schedule/web.service", &place("\"m1\"", "least loaded")),
                file("/schedule/big.service", &place("null", "conflicts with web.service on m1")),
            ],
        );
        let desired = dir(
            "/units",
            vec![
                wanted("/units/web.service", "launched", false),
                wanted("/units/big.service", "launched", false),
                wanted("/units/new.service", "launched", false),
                wanted("/units/off.service", "inactive", false),
                wanted("/units/log.service", "launched", true),
                file("/units/odd.service", "nonsense"),
            ],
        );
        let lines = told(&units(&desired, &schedule, &states));
        assert_eq!(
            lines[..5],
            [
                "big.service - - conflicts with web.service on m1",
                "log.service m1 failed/failed exit code 1",
                "new.service - - not placed yet",
                "odd.service - - the record is not understood: expected ident at line 1 column 2",
                "off.service - - ",
            ]
            .map(String::from)
        );
        assert_eq!(lines[5], "web.service m1 active/running least loaded");
    }

    #[test]
    fn machines_count_what_is_active_on_them() {
        let (lines, _) = machines(&machine_tree());
        assert_eq!(lines.len(), 1);
        assert_eq!((lines[0].hostname.as_str(), lines[0].active_units), ("alpha", 1));
    }

    #[test]
    fn one_leader_is_marked_and_silent_members_are_not_healthy() {
        let member = |id: &str, name: &str| Member { id: id.into(), name: name.into(), ..Member::default() };
        let seen = Seen { id: "1".into(), name: "b".into(), here: false, healthy: true, index: Some(7) };
        let lines = members(&[member("1", "b"), member("2", "a")], Some("1"), &[seen]);
        let told: Vec<_> =
            lines.iter().map(|line| (line.name.as_str(), line.leader, line.healthy, line.index)).collect();
        assert_eq!(told, [("a", false, false, None), ("b", true, true, Some(7))]);
    }
}
