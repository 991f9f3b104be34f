//! What an agent has to do, as data: a pure function of what is wanted on its machine and what systemd says of it.
//!
//! Every unit is looked at by itself, so none waits for another. Order within one answer: files are written and
//! removed, systemd reads its files once if it has to, then units are started and stopped.
//!
//! Reading all files again makes systemd run its generators, which can take half a second. It finds the files of units
//! that it has never heard of without that; so a unit that moves here from a dead machine starts at once.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::UnitName;

/// A request that an agent acts on exactly once. Whoever stops a unit by hand afterwards is not fought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The placement's generation.
    pub generation: u64,
    /// The generation of the unit's record.
    pub request: u64,
    /// Whether the unit is to run.
    pub launched: bool,
}

/// What the cluster wants of a unit on this machine. A unit that is not mentioned is not wanted here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assignment {
    /// It belongs here.
    Here {
        /// SHA-1 of its text.
        hash: String,
        /// What is asked.
        ticket: Ticket,
    },
    /// It stays as it is: nothing certain is known, or nobody else has it yet.
    Leave,
}

/// What this machine has of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// SHA-1 of the file that systemd was given; `None` if it was given none.
    pub file: Option<String>,
    /// The generation that the unit is told of.
    pub generation: Option<u64>,
    /// Whether something of it runs; `None` while systemd has not been asked.
    pub up: Option<bool>,
    /// Whether systemd has read some file of that name.
    pub loaded: bool,
    /// Whether its files have changed since systemd has read them.
    pub unread: bool,
    /// The last request that was acted on.
    pub done: Option<Ticket>,
    /// Something is being done about it, or was tried in vain a moment ago.
    pub busy: bool,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Read a unit's text from the store.
    Fetch {
        /// The unit.
        unit: UnitName,
        /// SHA-1 of the text.
        hash: String,
    },
    /// Write a unit's file and tell systemd where it is.
    Write {
        /// The unit.
        unit: UnitName,
        /// SHA-1 of the text.
        hash: String,
        /// The generation to tell it of.
        generation: u64,
    },
    /// Take a unit's file away.
    Remove {
        /// The unit.
        unit: UnitName,
    },
    /// Let systemd read its files again.
    Reload,
    /// Start a unit.
    Start {
        /// The unit.
        unit: UnitName,
        /// What this acts on.
        ticket: Ticket,
    },
    /// Stop a unit.
    Stop {
        /// The unit.
        unit: UnitName,
        /// What this acts on; `None` if the unit has to make way first for something else.
        ticket: Option<Ticket>,
    },
    /// Nothing is left to do for a request.
    Note {
        /// The unit.
        unit: UnitName,
        /// The request.
        ticket: Ticket,
    },
}

/// What has to be done now. `texts` are the hashes of the texts at hand.
pub fn steps(
    desired: &BTreeMap<UnitName, Assignment>,
    observed: &BTreeMap<UnitName, Observed>,
    texts: &BTreeSet<String>,
) -> Vec<Step> {
    let mut files = Vec::new();
    let mut jobs = Vec::new();
    let mut reload = false;
    let units: BTreeSet<&UnitName> = desired.keys().chain(observed.keys()).collect();
    let nothing = Observed::default();
    for unit in units {
        let has = observed.get(unit).unwrap_or(&nothing);
        reload |= has.unread && !has.busy;
        let Some(up) = has.up.filter(|_| !has.busy) else { continue };
        match desired.get(unit) {
            Some(Assignment::Leave) => {}
            Some(Assignment::Here { hash, ticket }) => {
                let unit = unit.clone();
                if has.file.as_ref() == Some(hash) && has.generation == Some(ticket.generation) {
                    jobs.extend(job(unit, ticket, up, has.done));
                } else if has.file.as_ref().is_some_and(|file| file != hash) && up {
                    // A new text: the old one's processes go first.
                    jobs.push(Step::Stop { unit, ticket: None });
                } else if texts.contains(hash) {
                    let (hash, generation) = (hash.clone(), ticket.generation);
                    files.push(Step::Write { unit: unit.clone(), hash, generation });
                    reload |= has.loaded;
                    jobs.extend(job(unit, ticket, up, has.done));
                } else {
                    files.push(Step::Fetch { unit, hash: hash.clone() });
                }
            }
            None if has.file.is_none() => {}
            None if up => jobs.push(Step::Stop { unit: unit.clone(), ticket: None }),
            None => {
                files.push(Step::Remove { unit: unit.clone() });
                reload = true;
            }
        }
    }
    if reload {
        files.push(Step::Reload);
    }
    files.extend(jobs);
    files
}

/// What a request asks for, unless it was acted on before.
fn job(unit: UnitName, ticket: &Ticket, up: bool, done: Option<Ticket>) -> Option<Step> {
    let ticket = *ticket;
    if done == Some(ticket) {
        return None;
    }
    Some(match (ticket.launched, up) {
        (true, false) => Step::Start { unit, ticket },
        (false, true) => Step::Stop { unit, ticket: Some(ticket) },
        (true, true) | (false, false) => Step::Note { unit, ticket },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(name: &str) -> UnitName {
        name.parse().unwrap()
    }

    fn ticket(generation: u64, request: u64, launched: bool) -> Ticket {
        Ticket { generation, request, launched }
    }

    /// Steps for one unit `a.service`, whose wanted text `new` is at hand.
    fn one(desired: Option<Assignment>, has: Observed) -> Vec<Step> {
        let desired = desired.map(|desired| (unit("a.service"), desired)).into_iter().collect();
        let observed = BTreeMap::from([(unit("a.service"), has)]);
        steps(&desired, &observed, &BTreeSet::from(["new".to_string()]))
    }

    fn here(ticket: Ticket) -> Option<Assignment> {
        Some(Assignment::Here { hash: "new".into(), ticket })
    }

    fn has(file: Option<&str>, up: bool, done: Option<Ticket>) -> Observed {
        let generation = file.map(|_| 7);
        let loaded = file.is_some() || up;
        let file = file.map(str::to_string);
        Observed { file, generation, up: Some(up), loaded, done, ..Observed::default() }
    }

    #[test]
    fn a_new_unit_is_written_then_started() {
        let t = ticket(7, 1, true);
        let write = Step::Write { unit: unit("a.service"), hash: "new".into(), generation: 7 };
        let start = Step::Start { unit: unit("a.service"), ticket: t };
        assert_eq!(one(here(t), has(None, false, None)), [write.clone(), start.clone()]);
        // systemd has read a file of that name, such as one that the distribution ships.
        let known = Observed { loaded: true, ..has(None, false, None) };
        assert_eq!(one(here(t), known), [write, Step::Reload, start]);
    }

    #[test]
    fn one_reload_serves_all_files_and_comes_before_the_first_start() {
        let names = ["a.service", "b.service", "c.service"];
        let desired = Assignment::Here { hash: "new".into(), ticket: ticket(7, 1, true) };
        let desired = names.iter().map(|name| (unit(name), desired.clone())).collect();
        let observed = names.iter().map(|name| (unit(name), has(Some("old"), false, None))).collect();
        let steps = steps(&desired, &observed, &BTreeSet::from(["new".to_string()]));
        let reload = steps.iter().position(|step| *step == Step::Reload).unwrap();
        assert!(steps[..reload].iter().all(|step| matches!(step, Step::Write { .. })));
        assert!(steps[reload + 1..].iter().all(|step| matches!(step, Step::Start { .. })));
        assert_eq!(steps.len(), 7);
    }

    #[test]
    fn files_that_systemd_has_not_read_are_read_before_anything_is_started() {
        let t = ticket(7, 1, true);
        let unread = Observed { unread: true, ..has(Some("new"), false, None) };
        let start = Step::Start { unit: unit("a.service"), ticket: t };
        assert_eq!(one(here(t), unread.clone()), [Step::Reload, start]);
        // So are those of a unit that has gone meanwhile, but not while it has just failed.
        let gone = Observed { unread: true, ..Observed::default() };
        assert_eq!(one(None, gone.clone()), [Step::Reload]);
        assert_eq!(one(None, Observed { busy: true, ..gone }), []);
    }

    #[test]
    fn a_missing_text_is_fetched_and_holds_up_nobody_else() {
        let desired = BTreeMap::from([
            (unit("a.service"), Assignment::Here { hash: "other".into(), ticket: ticket(7, 1, true) }),
            (unit("b.service"), Assignment::Here { hash: "new".into(), ticket: ticket(7, 1, true) }),
        ]);
        let observed = desired.keys().map(|unit| (unit.clone(), has(None, false, None))).collect();
        let steps = steps(&desired, &observed, &BTreeSet::from(["new".to_string()]));
        assert_eq!(steps[0], Step::Fetch { unit: unit("a.service"), hash: "other".into() });
        assert_eq!(steps[2], Step::Start { unit: unit("b.service"), ticket: ticket(7, 1, true) });
    }

    #[test]
    fn what_runs_already_is_adopted() {
        let t = ticket(7, 1, true);
        let note = Step::Note { unit: unit("a.service"), ticket: t };
        assert_eq!(one(here(t), has(Some("new"), true, None)), std::slice::from_ref(&note));
        // The files in /run were lost: they are written again, and what runs goes on running.
        let all = one(here(t), has(None, true, None));
        assert_eq!(all.last(), Some(&note));
        assert!(!all.iter().any(|step| matches!(step, Step::Stop { .. } | Step::Start { .. })));
    }

    #[test]
    fn what_was_stopped_by_hand_stays_so_until_somebody_asks_again() {
        let t = ticket(7, 1, true);
        assert_eq!(one(here(t), has(Some("new"), false, Some(t))), []);
        let again = ticket(7, 2, true);
        assert_eq!(
            one(here(again), has(Some("new"), false, Some(t))),
            [Step::Start { unit: unit("a.service"), ticket: again }]
        );
    }

    #[test]
    fn loaded_means_there_but_not_running() {
        let t = ticket(7, 2, false);
        assert_eq!(
            one(here(t), has(Some("new"), true, Some(ticket(7, 1, true)))),
            [Step::Stop { unit: unit("a.service"), ticket: Some(t) }]
        );
        assert_eq!(one(here(t), has(Some("new"), true, Some(t))), []);
    }

    #[test]
    fn a_new_placement_on_the_same_machine_tells_the_new_token_and_leaves_the_unit_running() {
        let t = ticket(9, 1, true);
        assert_eq!(
            one(here(t), has(Some("new"), true, Some(ticket(7, 1, true)))),
            [
                Step::Write { unit: unit("a.service"), hash: "new".into(), generation: 9 },
                Step::Reload,
                Step::Note { unit: unit("a.service"), ticket: t },
            ]
        );
    }

    #[test]
    fn a_new_text_stops_the_old_processes_before_it_is_written() {
        let t = ticket(7, 2, true);
        let stop = Step::Stop { unit: unit("a.service"), ticket: None };
        assert_eq!(one(here(t), has(Some("old"), true, Some(ticket(7, 1, true)))), [stop]);
        let after = one(here(t), has(Some("old"), false, Some(ticket(7, 1, true))));
        assert!(matches!(after[..], [Step::Write { .. }, Step::Reload, Step::Start { .. }]));
    }

    #[test]
    fn what_is_not_wanted_is_stopped_and_only_then_removed() {
        assert_eq!(
            one(None, has(Some("old"), true, None)),
            [Step::Stop { unit: unit("a.service"), ticket: None }]
        );
        assert_eq!(
            one(None, has(Some("old"), false, None)),
            [Step::Remove { unit: unit("a.service") }, Step::Reload]
        );
        // A unit of the host's own is none of ours.
        assert_eq!(one(None, has(None, true, None)), []);
    }

    #[test]
    fn what_is_uncertain_busy_or_not_asked_about_is_left_alone() {
        assert_eq!(one(Some(Assignment::Leave), has(Some("old"), true, None)), []);
        assert_eq!(one(None, Observed { busy: true, ..has(Some("old"), true, None) }), []);
        assert_eq!(one(None, Observed { up: None, ..has(Some("old"), true, None) }), []);
    }
}
