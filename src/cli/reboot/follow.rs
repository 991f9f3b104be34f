//! Following machines that were asked to reboot until each has come to the end of its way.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cli::Failure;
use crate::cli::terminal::machines::Machines;
use crate::client::{Client, ClientError, Event, GetOptions, Watch};
use crate::ids::MachineId;
use crate::model::REBOOT;
use crate::model::reboot::{Group, Holder, Phase};
use crate::reboot::RebootError;
use crate::reboot::overview::{Line, Overview};
use crate::reboot::records::Records;

/// The pause before a store that gave no useful answer is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// How a machine's way has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It has rebooted and is well.
    Done,
    /// Its request was taken back, and it has not rebooted for it.
    Cancelled,
    /// It is not on its way any longer, but changes were missed.
    Unknown,
}

/// What is known of a machine that is followed, by every change of its request and its record.
#[derive(Clone, Debug, Default)]
struct Trail {
    /// Index of the request that is followed.
    asked: u64,
    /// There is a request.
    requested: bool,
    /// There is a record of the machine on its way.
    on_its_way: bool,
    /// It has rebooted for this request or a later one.
    rebooted: bool,
    /// Not every change was seen.
    has_gap: bool,
    end: Option<End>,
    /// What was printed last.
    said: String,
}

impl Trail {
    fn request_changes(&mut self, index: u64, is_there: bool) {
        // What lies before is about an earlier request.
        if index >= self.asked {
            self.requested = is_there;
            self.look_for_end();
        }
    }

    /// `holder` is what the record says now; `None` once it is gone.
    fn record_changes(&mut self, holder: Option<&Holder>) {
        self.on_its_way = holder.is_some();
        self.rebooted |= holder.is_some_and(|holder| {
            matches!(holder.phase, Phase::Back | Phase::Checking) && holder.request_index >= Some(self.asked)
        });
        self.look_for_end();
    }

    fn look_for_end(&mut self) {
        if self.end.is_some() || self.on_its_way {
            return;
        }
        self.end = match (self.rebooted, self.requested, self.has_gap) {
            (true, _, _) => Some(End::Done),
            (false, true, _) => None,
            (false, false, false) => Some(End::Cancelled),
            (false, false, true) => Some(End::Unknown),
        };
    }

    /// How far the machine has come, for people; `None` for what is over in a moment.
    fn state(&self, line: Option<&Line>) -> Option<String> {
        let under_way = line.filter(|line| line.is_under_way());
        let (word, line) = match self.end {
            Some(End::Done) => ("done", line.filter(|line| !line.is_under_way())),
            Some(End::Cancelled) => ("cancelled", None),
            Some(End::Unknown) => ("not on its way any longer", None),
            None => (under_way?.phase.as_str(), under_way),
        };
        Some(match line.and_then(|line| line.waits_for.as_deref()) {
            Some(why) => format!("{word}: {why}"),
            None => word.into(),
        })
    }
}

/// Machines that are followed.
pub(super) struct Follow {
    client: Client,
    group: Group,
    records: Records,
    trails: BTreeMap<MachineId, Trail>,
    watch: Watch,
}

impl Follow {
    /// Begins before anybody is asked, so that nothing is missed.
    pub(super) async fn begin(client: &Client, group: &Group) -> Result<Self, Failure> {
        let records = Records::new(client.clone(), group.clone());
        let index = index(client).await.map_err(Failure::new)?;
        let holders = records.holders().await.map_err(Failure::new)?;
        let trail = |id: MachineId| (id, Trail { on_its_way: true, ..Trail::default() });
        Ok(Self {
            client: client.clone(),
            group: group.clone(),
            records,
            trails: holders.into_keys().map(trail).collect(),
            watch: client.watch(REBOOT, true, Some(index)),
        })
    }

    /// Prints every step of the machines that were asked, by the index of their requests, until the last has come to
    /// the end of its way.
    pub(super) async fn until_the_end(
        mut self,
        asked: &BTreeMap<MachineId, u64>,
        known: &Machines,
    ) -> Result<(), Failure> {
        self.trails.retain(|id, _| asked.contains_key(id));
        for (id, index) in asked {
            let trail = self.trails.entry(id.clone()).or_default();
            (trail.asked, trail.requested) = (*index, true);
        }
        loop {
            let overview = patiently(async || Overview::read(&self.client, &self.group).await).await?;
            for (id, trail) in &mut self.trails {
                let line = overview.machines.iter().find(|line| line.machine == *id);
                let Some(state) = trail.state(line) else { continue };
                let state = known.told(&state);
                if trail.said != state {
                    outln!("{} {state}", known.name(id));
                    trail.said = state;
                }
            }
            if self.trails.values().all(|trail| trail.end.is_some()) {
                return verdict(&self.trails, known);
            }
            match self.watch.next().await {
                // Whole folders do not say what was in them.
                Ok(event) if event.node.dir => self.look_anew().await?,
                Ok(event) => self.hear(&event),
                // Not without pause where the history is too short for any watch.
                Err(ClientError::Cleared { .. }) => {
                    tokio::time::sleep(PAUSE).await;
                    self.look_anew().await?;
                }
                Err(error) => return Err(Failure::new(error)),
            }
        }
    }

    fn hear(&mut self, event: &Event) {
        let Self { group, trails, .. } = self;
        let is_there = !matches!(event.action.as_str(), "delete" | "compareAndDelete" | "expire");
        for (id, trail) in trails {
            if event.node.key == group.request(id) {
                trail.request_changes(event.node.modified_index, is_there);
            } else if event.node.key == group.holder(id) {
                let value = event.node.value.as_deref().filter(|_| is_there);
                let holder: Option<Holder> = value.and_then(|text| serde_json::from_str(text).ok());
                trail.record_changes(holder.as_ref());
            }
        }
    }

    /// Begins anew after changes that nobody told of.
    async fn look_anew(&mut self) -> Result<(), Failure> {
        let (client, records) = (&self.client, &self.records);
        let look = async || {
            let index = index(client).await?;
            let (holders, requests) = tokio::try_join!(records.holders(), records.requests())?;
            Ok((index, holders, requests))
        };
        let (index, holders, requests) = patiently(look).await?;
        for (id, trail) in &mut self.trails {
            trail.has_gap = true;
            trail.requested = requests.contains_key(id);
            trail.record_changes(holders.get(id).map(|(holder, _)| holder));
        }
        self.watch = self.client.watch(REBOOT, true, Some(index));
        Ok(())
    }
}

/// What the store answers, however long that takes: it may be the leader that is just rebooting.
async fn patiently<T>(ask: impl AsyncFn() -> Result<T, RebootError>) -> Result<T, Failure> {
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error @ RebootError::NoGroup(_)) => return Err(Failure::new(error)),
            Err(error) => {
                eprintln!("muster: {error}; still waiting");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Success if all have rebooted.
fn verdict(trails: &BTreeMap<MachineId, Trail>, known: &Machines) -> Result<(), Failure> {
    let named = |end: End| {
        let names = trails.iter().filter(|(_, trail)| trail.end == Some(end)).map(|(id, _)| known.name(id));
        names.collect::<Vec<_>>().join(", ")
    };
    let (cancelled, unknown) = (named(End::Cancelled), named(End::Unknown));
    let mut problems = Vec::new();
    if !cancelled.is_empty() {
        problems.push(format!("not rebooted, for the request was taken back: {cancelled}"));
    }
    if !unknown.is_empty() {
        problems.push(format!("the store does not remember whether it has rebooted: {unknown}"));
    }
    if problems.is_empty() { Ok(()) } else { Err(Failure::new(problems.join("; "))) }
}

/// The store's index now.
async fn index(client: &Client) -> Result<u64, RebootError> {
    match client.get(REBOOT, &GetOptions::linearizable()).await {
        Ok(answer) => Ok(answer.index),
        Err(error) if error.is_not_found() => Ok(error.api().map_or(0, |api| api.index)),
        Err(cause) => Err(RebootError::store("read the records of reboots")(cause)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(phase: &str, waits_for: Option<&str>) -> Line {
        Line {
            machine: "m1".parse().unwrap(),
            hostname: None,
            holds: false,
            phase: phase.into(),
            since: None,
            reason: None,
            waits_for: waits_for.map(Into::into),
        }
    }

    fn holder(phase: &str, request_index: u64) -> Holder {
        let text = format!(
            r#"{{"since":"2026-01-31T12:00:00Z","boot_id":"b","reason":"r","phase":"{phase}","request_index":{request_index}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    /// A machine that was asked at index 7.
    fn trail() -> Trail {
        Trail { asked: 7, requested: true, ..Trail::default() }
    }

    #[test]
    fn a_reboot_is_done_when_the_machine_was_back_for_this_request() {
        let mut trail = trail();
        for phase in ["waiting-for-lock", "draining", "leaving", "back", "checking", "releasing"] {
            trail.record_changes(Some(&holder(phase, 7)));
            assert_eq!(trail.end, None, "{phase}");
        }
        trail.request_changes(20, false);
        assert_eq!(trail.end, None, "the lock goes back first");
        trail.record_changes(None);
        assert_eq!(trail.end, Some(End::Done));
    }

    #[test]
    fn a_request_that_is_taken_back_is_cancelled_unless_the_machine_was_on_its_way_down() {
        let mut waits = trail();
        waits.record_changes(Some(&holder("waiting-for-lock", 7)));
        let mut leaves = waits.clone();
        waits.request_changes(8, false);
        waits.record_changes(Some(&holder("releasing", 7)));
        waits.record_changes(None);
        assert_eq!(waits.end, Some(End::Cancelled));

        leaves.record_changes(Some(&holder("leaving", 7)));
        leaves.request_changes(8, false);
        assert_eq!(leaves.end, None);
        leaves.record_changes(Some(&holder("back", 7)));
        leaves.record_changes(None);
        assert_eq!(leaves.end, Some(End::Done));

        let mut untouched = trail();
        untouched.request_changes(6, false);
        assert_eq!(untouched.end, None, "that was an earlier request");
        untouched.request_changes(8, false);
        assert_eq!(untouched.end, Some(End::Cancelled));
    }

    #[test]
    fn the_end_of_an_earlier_reboot_is_not_the_end_of_this_one() {
        let mut trail = Trail { on_its_way: true, ..trail() };
        trail.record_changes(Some(&holder("checking", 3)));
        trail.record_changes(None);
        assert_eq!(trail.end, None);
    }

    #[test]
    fn what_was_missed_is_not_guessed() {
        let mut trail = Trail { has_gap: true, ..trail() };
        trail.request_changes(9, false);
        assert_eq!(trail.end, Some(End::Unknown));
        let trails = BTreeMap::from([("m1".parse().unwrap(), trail)]);
        let failure = verdict(&trails, &Machines::default()).unwrap_err();
        assert!(failure.message.contains("does not remember"), "{}", failure.message);
    }

    #[test]
    fn people_are_told_how_it_ended() {
        let ended = |end| Trail { end, ..trail() };
        let why = "/run/reboot-required is still there after the reboot for it";
        let answered = line("answered", Some(why));
        assert_eq!(ended(Some(End::Done)).state(None).as_deref(), Some("done"));
        assert_eq!(ended(Some(End::Done)).state(Some(&answered)), Some(format!("done: {why}")));
        assert_eq!(ended(Some(End::Cancelled)).state(Some(&answered)).as_deref(), Some("cancelled"));
        assert_eq!(ended(None).state(Some(&line("locked", None))), None);
        let checking = line("checking", Some("systemd says degraded"));
        assert_eq!(ended(None).state(Some(&checking)).as_deref(), Some("checking: systemd says degraded"));
    }
}
