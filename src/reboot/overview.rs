//! A group's lock, records and requests put together, machine by machine, for people and programs to look at.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::RebootError;
use super::lock::Lock;
use super::records::{Indexed, Records};
use super::semaphore::Semaphore;
use crate::client::Client;
use crate::ids::MachineId;
use crate::model::Moment;
use crate::model::reboot::{Answered, Group, Holder, Phase, Request};

/// Instead of a phase: an operator holds the lock for the machine.
const LOCKED: &str = "locked";
/// Instead of a phase: the machine was asked, and its coordinator has not taken it up.
const REQUESTED: &str = "requested";
/// What a machine waits for whose coordinator has not taken up its request.
const NOT_TAKEN_UP: &str = "its rebootd has not taken it up: does it run, with this group in its settings?";
/// Instead of a phase: a file still asks for a reboot that there has been.
const ANSWERED: &str = "answered";

/// The state of one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Overview {
    /// The group's name.
    pub group: String,
    /// Free slots; negative when there are more holders than allowed now.
    pub available: i64,
    /// How many may be away at once.
    pub max: i64,
    /// Machines that hold the lock, are on their way or were asked to go; holders first, then by their time.
    pub machines: Vec<Line>,
}

/// One machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Its id.
    pub machine: MachineId,
    /// Its host name, if its coordinator has written that down for this way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Whether it holds the lock.
    pub holds: bool,
    /// How far it has come: a phase, `locked` when an operator holds the lock for it, `requested` when its coordinator
    /// has not taken notice yet, `answered` when a file still asks for a reboot that there has been.
    pub phase: String,
    /// Since when a reboot is wanted, if known.
    pub since: Option<Moment>,
    /// Why it reboots.
    pub reason: Option<String>,
    /// What it waits for.
    pub waits_for: Option<String>,
}

impl Line {
    /// Whether the machine was asked to reboot or is on its way. One that an operator holds the lock for is not, nor is
    /// one whose file still asks for a reboot that there has been.
    pub fn is_under_way(&self) -> bool {
        self.phase != LOCKED && self.phase != ANSWERED
    }
}

impl Overview {
    /// Reads a group's state.
    ///
    /// # Errors
    /// Those of [`Lock::expect`] and of [`Records`].
    pub async fn read(client: &Client, group: &Group) -> Result<Self, RebootError> {
        let records = Records::new(client.clone(), group.clone());
        let lock = Lock::new(client.clone(), group);
        lock.expect().await?;
        let (reading, holders, requests, answered) =
            tokio::try_join!(lock.read(), records.holders(), records.requests(), records.all_answered())?;
        Ok(Self::new(group, &reading.semaphore, &holders, &requests, &answered))
    }

    /// Puts together what was read.
    pub fn new(
        group: &Group,
        semaphore: &Semaphore,
        holders: &BTreeMap<MachineId, Indexed<Holder>>,
        requests: &BTreeMap<MachineId, Indexed<Request>>,
        answered: &BTreeMap<MachineId, Indexed<Answered>>,
    ) -> Self {
        let says = |id: &MachineId| answered.get(id).and_then(|(answered, _)| answered.says.clone());
        let in_vain = answered.keys().filter(|id| says(id).is_some());
        let all: BTreeSet<&MachineId> =
            semaphore.holders().chain(holders.keys()).chain(requests.keys()).chain(in_vain).collect();
        let line = |id: &MachineId| {
            let holder = holders.get(id).map(|(holder, _)| holder);
            let request = requests.get(id).map(|(request, _)| request);
            let holds = semaphore.holds(id);
            let phase = match (holder, request) {
                (Some(holder), _) => holder.phase.to_string(),
                (None, Some(_)) => REQUESTED.into(),
                (None, None) if holds => LOCKED.into(),
                (None, None) => ANSWERED.into(),
            };
            Line {
                machine: id.clone(),
                hostname: holder.and_then(|holder| holder.hostname.clone()),
                holds,
                phase,
                since: holder.map(|h| h.since).or(request.and_then(|r| r.since)),
                reason: reason(holder, request).map(Into::into),
                waits_for: match (holder, request) {
                    (Some(holder), _) => holder.waits_for.clone(),
                    (None, Some(_)) => Some(NOT_TAKEN_UP.into()),
                    (None, None) => says(id),
                },
            }
        };
        let mut machines: Vec<Line> = all.into_iter().map(line).collect();
        machines.sort_by(|a, b| (!a.holds, a.since, &a.machine).cmp(&(!b.holds, b.since, &b.machine)));
        let (available, max) = (semaphore.available(), semaphore.max());
        Self { group: group.as_str().to_string(), available, max, machines }
    }
}

/// Why a machine reboots: the last request says so for as long as the reboot that begins will answer it.
fn reason<'a>(holder: Option<&'a Holder>, request: Option<&'a Request>) -> Option<&'a str> {
    let renewed = request.filter(|_| holder.is_none_or(|holder| holder.phase < Phase::Leaving));
    renewed.map(|request| request.reason.as_str()).or(holder.map(|holder| holder.reason.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> MachineId {
        text.parse().unwrap()
    }

    fn holder(phase: Phase, waits_for: Option<&str>) -> Indexed<Holder> {
        let holder = Holder {
            since: Moment::new("2026-01-31T12:00:00Z".parse().unwrap()),
            boot_id: "b".into(),
            reason: "kernel".into(),
            phase,
            system_before: None,
            member: None,
            request_index: None,
            sentinel: None,
            sentinel_state: None,
            hostname: Some("h".into()),
            operators_lock: false,
            waits_for: waits_for.map(Into::into),
        };
        (holder, 1)
    }

    #[test]
    fn holders_come_first_and_everybody_says_where_they_stand() {
        let mut semaphore = Semaphore::default();
        semaphore.set_max(2).unwrap();
        semaphore.acquire(&id("d")).unwrap();
        semaphore.acquire(&id("c")).unwrap();
        let holders = BTreeMap::from([
            (id("b"), holder(Phase::WaitingForLock, Some("the lock is taken"))),
            (id("c"), holder(Phase::Checking, None)),
        ]);
        let requests = BTreeMap::from([
            (id("a"), (Request { since: None, reason: "by hand".into() }, 1)),
            (id("b"), (Request { since: None, reason: "kernel".into() }, 2)),
        ]);
        let says = Some("a file is still there".to_string());
        let since = Moment::new("2026-01-31T12:00:00Z".parse().unwrap());
        let last = |says| (Answered { boot_id: "b".into(), since, left: None, says }, 3);
        let answered = BTreeMap::from([(id("e"), last(says)), (id("f"), last(None))]);
        let overview = Overview::new(&Group::default(), &semaphore, &holders, &requests, &answered);
        let told: Vec<_> = overview
            .machines
            .iter()
            .map(|line| (line.machine.as_str(), line.holds, line.phase.as_str(), line.waits_for.as_deref()))
            .collect();
        assert_eq!(
            told,
            [
                ("d", true, "locked", None),
                ("c", true, "checking", None),
                ("a", false, "requested", Some(NOT_TAKEN_UP)),
                ("e", false, "answered", Some("a file is still there")),
                ("b", false, "waiting-for-lock", Some("the lock is taken")),
            ]
        );
        assert_eq!((overview.available, overview.max), (0, 2));
    }
    #[test]
    fn a_request_that_is_renewed_in_time_gives_the_reason() {
        let request = Request { since: None, reason: "firmware".into() };
        for (phase, reboots_for) in [
            (Phase::WaitingForLock, "firmware"),
            (Phase::Draining, "firmware"),
            (Phase::Leaving, "kernel"),
            (Phase::Checking, "kernel"),
        ] {
            let (holder, _) = holder(phase, None);
            assert_eq!(reason(Some(&holder), Some(&request)), Some(reboots_for), "{phase}");
            assert_eq!(reason(Some(&holder), None), Some("kernel"), "{phase}");
        }
        assert_eq!(reason(None, Some(&request)), Some("firmware"));
    }
}
