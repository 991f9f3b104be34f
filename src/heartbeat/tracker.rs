//! Who beats, as far as a watcher knows, and what each event of the store means. Decides and never acts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::ids::MachineId;
use crate::model::beat::{BeatName, parse_heartbeat};

/// One service on one machine.
pub type Who = (BeatName, MachineId);

/// What happened to a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// It was not kept alive any longer.
    Lost,
    /// It beats again after it was lost.
    Back,
    /// It ended on purpose.
    Stopped,
}

/// Something that a watcher should hear of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BeatChange {
    /// The name under which it beats.
    pub name: BeatName,
    /// On which machine.
    pub machine: MachineId,
    /// What happened to it.
    pub event: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Alive,
    Lost,
}

/// What is known of all heartbeats that are watched.
#[derive(Debug, Default)]
pub struct Tracker {
    known: BTreeMap<Who, State>,
}

impl Tracker {
    /// Takes in an event of the store on `key`: `action` as the API names it. A directory's end is the end of all
    /// below it.
    pub fn saw(&mut self, action: &str, key: &str) -> Vec<BeatChange> {
        match action {
            "expire" => self.ended(key, What::Lost),
            "delete" | "compareAndDelete" => self.ended(key, What::Stopped),
            _ => parse_heartbeat(key).and_then(|who| self.beats(who)).into_iter().collect(),
        }
    }

    /// Takes in a list of all that beat now, when events may have been missed. What is missing from it counts as lost:
    /// nobody can tell any longer whether it ended on purpose.
    pub fn relist(&mut self, alive: &BTreeSet<Who>) -> Vec<BeatChange> {
        let known = self.known.iter().filter(|(_, state)| **state == State::Alive);
        let gone: Vec<Who> = known.map(|(who, _)| who).filter(|who| !alive.contains(who)).cloned().collect();
        let mut changes: Vec<BeatChange> = gone.into_iter().map(|who| self.ends(who, What::Lost)).collect();
        changes.extend(alive.iter().filter_map(|who| self.beats(who.clone())));
        changes
    }

    fn beats(&mut self, who: Who) -> Option<BeatChange> {
        let before = self.known.insert(who.clone(), State::Alive);
        (before == Some(State::Lost)).then(|| change(who, What::Back))
    }

    fn ended(&mut self, key: &str, what: What) -> Vec<BeatChange> {
        let below = format!("{key}/");
        let is_meant = |who: &Who| {
            let own = crate::model::beat::heartbeat(&who.0, &who.1);
            own == key || own.starts_with(&below)
        };
        let meant: Vec<(Who, State)> = self
            .known
            .iter()
            .filter(|(who, _)| is_meant(who))
            .map(|(who, state)| (who.clone(), *state))
            .collect();
        let mut changes = Vec::new();
        for (who, state) in meant {
            match state {
                State::Alive => changes.push(self.ends(who, what)),
                // Somebody tidied up what was lost already.
                State::Lost => drop(self.known.remove(&who)),
            }
        }
        changes
    }

    fn ends(&mut self, who: Who, what: What) -> BeatChange {
        match what {
            What::Lost => drop(self.known.insert(who.clone(), State::Lost)),
            What::Back | What::Stopped => drop(self.known.remove(&who)),
        }
        change(who, what)
    }
}

fn change((name, machine): Who, event: What) -> BeatChange {
    BeatChange { name, machine, event }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Lost => "lost",
            Self::Back => "back",
            Self::Stopped => "stopped",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "/muster/heartbeats/web/m1";

    fn who(name: &str, machine: &str) -> Who {
        (name.parse().unwrap(), machine.parse().unwrap())
    }

    fn told(changes: Vec<BeatChange>) -> Vec<String> {
        changes.iter().map(|c| format!("{} {} {}", c.name, c.machine, c.event)).collect()
    }

    #[test]
    fn a_key_that_expires_is_lost_and_a_new_one_is_back() {
        let mut tracker = Tracker::default();
        assert!(tracker.saw("create", KEY).is_empty());
        assert_eq!(told(tracker.saw("expire", KEY)), ["web m1 lost"]);
        assert_eq!(told(tracker.saw("create", KEY)), ["web m1 back"]);
        assert!(tracker.saw("update", KEY).is_empty());
    }

    #[test]
    fn a_key_that_is_deleted_has_stopped_and_a_new_one_is_just_new() {
        let mut tracker = Tracker::default();
        tracker.saw("create", KEY);
        assert_eq!(told(tracker.saw("delete", KEY)), ["web m1 stopped"]);
        assert!(tracker.saw("create", KEY).is_empty());
    }

    #[test]
    fn what_was_lost_and_is_tidied_up_is_no_news() {
        let mut tracker = Tracker::default();
        tracker.saw("create", KEY);
        tracker.saw("expire", KEY);
        assert!(tracker.saw("delete", "/muster/heartbeats/web").is_empty());
        assert!(tracker.saw("create", KEY).is_empty());
    }

    #[test]
    fn the_end_of_a_directory_is_the_end_of_all_below_it() {
        let mut tracker = Tracker::default();
        tracker.relist(&BTreeSet::from([who("web", "m1"), who("web", "m2"), who("web2", "m1")]));
        let changes = told(tracker.saw("delete", "/muster/heartbeats/web"));
        assert_eq!(changes, ["web m1 stopped", "web m2 stopped"]);
    }

    #[test]
    fn a_list_tells_what_was_missed() {
        let mut tracker = Tracker::default();
        assert!(tracker.relist(&BTreeSet::from([who("a", "m"), who("b", "m")])).is_empty());
        assert_eq!(told(tracker.relist(&BTreeSet::from([who("b", "m"), who("c", "m")]))), ["a m lost"]);
        assert_eq!(
            told(tracker.relist(&BTreeSet::from([who("a", "m"), who("c", "m")]))),
            ["b m lost", "a m back"]
        );
    }

    #[test]
    fn keys_that_are_no_heartbeats_are_passed_over() {
        let mut tracker = Tracker::default();
        assert!(tracker.saw("set", "/muster/heartbeats/web").is_empty());
        assert!(tracker.saw("expire", KEY).is_empty());
    }
}
