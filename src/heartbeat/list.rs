//! Who beats now.

use std::collections::BTreeSet;

use serde::Serialize;

use super::HeartbeatError;
use super::tracker::Who;
use crate::client::{Client, GetOptions, Node};
use crate::ids::MachineId;
use crate::model::HEARTBEATS;
use crate::model::beat::{Beat, BeatName, heartbeats, parse_heartbeat};

/// One heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The service's name.
    pub name: BeatName,
    /// The machine it runs on.
    pub machine: MachineId,
    /// `alive`, or `late` when less than a third of its TTL is left.
    pub state: &'static str,
    /// Seconds until it is lost, rounded up; `None` for a key that somebody wrote without a TTL.
    pub left: Option<u64>,
    /// What it says of itself; `None` when the value is not understood.
    pub beat: Option<Beat>,
}

/// All heartbeats, or those of one name, in the order of their names, and the store's index.
///
/// # Errors
/// `Store`.
pub async fn list(client: &Client, name: Option<&BeatName>) -> Result<(Vec<Line>, u64), HeartbeatError> {
    let folder = name.map_or_else(|| HEARTBEATS.to_string(), heartbeats);
    let options = GetOptions { recursive: true, sorted: true, quorum: Some(true) };
    match client.get(&folder, &options).await {
        Ok(answer) => {
            let mut lines = Vec::new();
            collect(&answer.node, &mut lines);
            Ok((lines, answer.index))
        }
        Err(error) if error.is_not_found() => Ok((Vec::new(), error.api().map_or(0, |api| api.index))),
        Err(cause) => Err(HeartbeatError::store("list the heartbeats")(cause)),
    }
}

/// Whose heartbeats are in a list.
pub fn who(lines: &[Line]) -> BTreeSet<Who> {
    lines.iter().map(|line| (line.name.clone(), line.machine.clone())).collect()
}

fn collect(node: &Node, lines: &mut Vec<Line>) {
    if node.dir {
        node.nodes.iter().for_each(|node| collect(node, lines));
    } else if let Some((name, machine)) = parse_heartbeat(&node.key) {
        lines.push(line(name, machine, node));
    }
}

fn line(name: BeatName, machine: MachineId, node: &Node) -> Line {
    let beat: Option<Beat> = node.value.as_deref().and_then(|value| serde_json::from_str(value).ok());
    // A key whose time has come but that is not gone yet has an expiration and no TTL.
    let left = node.expiration.as_ref().map(|_| node.ttl.unwrap_or(0).try_into().unwrap_or(0));
    let is_late = matches!((left, &beat), (Some(left), Some(beat)) if 3 * left <= beat.ttl);
    Line { name, machine, state: if is_late { "late" } else { "alive" }, left, beat }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(ttl: Option<i64>, value: &str) -> Node {
        Node {
            key: "/muster/heartbeats/web/m1".into(),
            value: Some(value.into()),
            expiration: Some("2026-01-31T12:00:00Z".into()),
            ttl,
            ..Node::default()
        }
    }

    fn one(node: Node) -> Line {
        let mut lines = Vec::new();
        collect(&Node { dir: true, nodes: vec![node], ..Node::default() }, &mut lines);
        lines.remove(0)
    }

    #[test]
    fn a_heartbeat_is_late_in_the_last_third_of_its_time() {
        let beat = r#"{"since":"2026-01-31T12:00:00Z","ttl":6,"source":"unit","pid":7}"#;
        let states: Vec<_> = [6, 3, 2, 1].map(|left| one(node(Some(left), beat)).state).into();
        assert_eq!(states, ["alive", "alive", "late", "late"]);
        let due = one(node(None, beat));
        assert_eq!((due.state, due.left), ("late", Some(0)));
    }

    #[test]
    fn a_value_that_is_not_understood_hides_no_heartbeat() {
        let line = one(node(Some(3), "hello"));
        assert_eq!((line.state, line.left, line.beat), ("alive", Some(3), None));
    }
}
