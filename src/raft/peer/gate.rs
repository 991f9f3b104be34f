//! Whom this member has to do with: what it knows of the others, and what they say of it.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::card::{Acquaintance, Card, Dismissal, Refusal};
use crate::raft::identity::IdentityStore;
use crate::raft::state::machine::StateMachine;

/// The name under which the newest run of every other member is kept.
const RUNS: &str = "runs";

/// What another member said longer ago does not count any more: it is asked every second.
const TOLD_LATELY: Duration = Duration::from_secs(10);

/// How often something is said again that goes on.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// Keeps the peer port.
pub struct Gate {
    card: Card,
    folders: BTreeMap<u64, u64>,
    state: StateMachine,
    store: IdentityStore,
    /// The newest run of every other member that spoke to this one; on disk before anything is answered.
    runs: tokio::sync::Mutex<BTreeMap<u64, u64>>,
    /// How far each member's log agreed with this leader's, by what it acknowledged in the term.
    acknowledged: Mutex<BTreeMap<u64, (u64, u64)>>,
    /// Members that have lost what they had acknowledged.
    lost: Mutex<BTreeMap<u64, u64>>,
    told: Mutex<BTreeMap<u64, (Dismissal, Instant)>>,
    dismissed: watch::Sender<Option<Refusal>>,
    said: Mutex<BTreeMap<(u64, Refusal), Said>>,
}

/// When something was said last, and how often it happened since.
struct Said {
    at: Instant,
    since: u64,
}

impl Gate {
    /// The gate of the member with `card`, which knows of `folders` as well as what is in `state`.
    ///
    /// # Errors
    /// The disk fails.
    pub fn open(
        card: Card,
        folders: BTreeMap<u64, u64>,
        state: StateMachine,
        store: IdentityStore,
    ) -> io::Result<Self> {
        let runs = store.read(RUNS)?.unwrap_or_default();
        Ok(Self {
            card,
            folders,
            state,
            store,
            runs: tokio::sync::Mutex::new(runs),
            acknowledged: Mutex::default(),
            lost: Mutex::default(),
            told: Mutex::default(),
            dismissed: watch::Sender::new(None),
            said: Mutex::default(),
        })
    }

    /// What this member shows of itself.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// Whether nobody has told of this run of a member yet.
    pub async fn is_news(&self, other: &Card) -> bool {
        self.runs.lock().await.get(&other.member).is_none_or(|noted| *noted < other.run)
    }

    /// Whether this member has to do with the one that shows `other`. If so, its run is noted, durably.
    ///
    /// # Errors
    /// The disk fails; or what it carries is a [`Refusal`].
    pub async fn admit(&self, other: &Card) -> Result<(), Refusal> {
        let mut runs = self.runs.lock().await;
        let noted = runs.get(&other.member).copied().unwrap_or_default();
        let (gone, known) = {
            let replica = self.state.read();
            let roster = replica.keyspace.roster();
            let seat = roster.get(other.member);
            let folder = seat.map(|seat| seat.folder).filter(|folder| *folder != 0);
            let folder = folder.or_else(|| self.folders.get(&other.member).copied());
            let runs = [noted, seat.map_or(0, |seat| seat.run)];
            let lost = lock(&self.lost).get(&other.member) == Some(&other.folder);
            let gone = roster.is_removed(other.member) && !replica.has_member(other.member);
            (gone, Acquaintance { folder, runs, lost })
        };
        if gone && other.cluster == self.card.cluster {
            // Those that a forced one left behind may go on as well, and know better.
            let same = other.incarnation == self.card.incarnation;
            return Err(if same { Refusal::Removed } else { Refusal::LeftBehind });
        }
        let judged = self.card.accepts(other, known);
        if judged.is_ok() && other.run > noted {
            let store = self.store.clone();
            let write = move |runs: &BTreeMap<u64, u64>| store.write(RUNS, runs);
            if let Err(error) = note_run(&mut runs, other, write).await {
                // Without the note the member could be taken for another one later.
                tracing::warn!(%error, "cannot note which run of a member this is");
                return Err(Refusal::Blank);
            }
        }
        judged
    }

    /// Another member refuses this one.
    pub fn was_told(&self, refused: Dismissal) {
        lock(&self.told).insert(refused.by, (refused, Instant::now()));
        if refused.refusal == Refusal::Removed {
            self.dismiss(Refusal::Removed);
        }
        let what = match refused.refusal {
            Refusal::Blank => "another member does not take part yet",
            Refusal::OtherMember(_) => "the cluster looks for another member here",
            _ => "another member has nothing to do with this one",
        };
        self.say(refused.by, refused.refusal, what);
    }

    /// Another member has to do with this one.
    pub fn was_taken(&self, by: u64) {
        let mut told = lock(&self.told);
        if told.get(&by).is_some_and(|(refused, _)| !matches!(refused.refusal, Refusal::OtherMember(_))) {
            told.remove(&by);
        }
    }

    /// What the others say of this member of late: those that refuse it, or look for another one where it is.
    pub fn told(&self) -> BTreeMap<u64, Dismissal> {
        let mut told = lock(&self.told);
        told.retain(|_, (_, at)| at.elapsed() < TOLD_LATELY);
        told.iter().map(|(by, (refused, _))| (*by, *refused)).collect()
    }

    /// The cluster has nothing more to do with this member.
    pub fn dismiss(&self, refusal: Refusal) {
        self.dismissed.send_replace(Some(refusal));
    }

    /// Follows whether, and why, the cluster has nothing more to do with this member.
    pub fn dismissal(&self) -> watch::Receiver<Option<Refusal>> {
        self.dismissed.subscribe()
    }

    /// Says why this member and `member` have nothing to do with each other: once, and then how often.
    pub fn say(&self, member: u64, refusal: Refusal, what: &str) {
        let mut said = lock(&self.said);
        let now = Instant::now();
        let often = match said.get_mut(&(member, refusal)) {
            Some(said) if now - said.at < SAY_EVERY => {
                said.since += 1;
                return;
            }
            Some(said) => std::mem::replace(said, Said { at: now, since: 0 }).since,
            None => {
                said.insert((member, refusal), Said { at: now, since: 0 });
                0
            }
        };
        drop(said);
        let member = format!("{member:x}");
        match often {
            0 => tracing::warn!(member, why = %refusal, "{what}"),
            often => tracing::warn!(member, why = %refusal, often, "{what}, still"),
        }
    }

    /// As the leader of `term`: a member has acknowledged that it has the log up to `index`.
    pub fn acknowledges(&self, member: u64, term: u64, index: u64) {
        let mut acknowledged = lock(&self.acknowledged);
        let known = acknowledged.entry(member).or_insert((term, index));
        *known = if known.0 == term { (term, known.1.max(index)) } else { (term, index) };
    }

    /// As the leader of `term`: a member says that it does not have the entry at `index`. Whether it had acknowledged
    /// that one in the same term, in which nobody else can have taken it away. If so, it is refused from now on.
    pub fn lacks(&self, member: u64, term: u64, index: u64) -> bool {
        let known = lock(&self.acknowledged).get(&member).copied();
        let lost = known.is_some_and(|(of, upto)| of == term && index <= upto);
        let folder = self.folder_of(member);
        if let Some(folder) = folder.filter(|_| lost)
            && lock(&self.lost).insert(member, folder) != Some(folder)
        {
            let (member, acknowledged) = (format!("{member:x}"), known.map_or(0, |(_, upto)| upto));
            tracing::error!(
                member,
                acknowledged,
                missing = index,
                "a member has lost entries that it had acknowledged: its data folder is older than that; remove it \
                 (muster member remove), empty its folder and add it again"
            );
        }
        lost
    }

    /// Whether a member has lost what it had acknowledged.
    pub fn has_lost(&self, member: u64) -> bool {
        lock(&self.lost).contains_key(&member)
    }

    fn folder_of(&self, member: u64) -> Option<u64> {
        let known = self.state.read().keyspace.roster().get(member).map(|seat| seat.folder);
        known.filter(|folder| *folder != 0).or_else(|| self.folders.get(&member).copied())
    }
}

/// Notes the run of the member that shows `other`: on disk by `write`, and only then in `runs`.
async fn note_run(
    runs: &mut BTreeMap<u64, u64>,
    other: &Card,
    write: impl FnOnce(&BTreeMap<u64, u64>) -> io::Result<()> + Send + 'static,
) -> io::Result<()> {
    let mut noted = runs.clone();
    noted.insert(other.member, other.run);
    let work = move || write(&noted).map(|()| noted);
    *runs = tokio::task::spawn_blocking(work).await.map_err(io::Error::other)??;
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("the peer port's gate lock poisoned")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_run_that_cannot_be_noted_leaves_the_one_that_was_noted_before() {
        let mut runs = BTreeMap::from([(2, 7)]);
        let card = |member, run| Card { member, run, ..Card::default() };
        let fail = |_: &BTreeMap<u64, u64>| Err(io::Error::other("on purpose"));
        assert!(note_run(&mut runs, &card(2, 9), fail).await.is_err());
        assert!(note_run(&mut runs, &card(3, 1), fail).await.is_err());
        assert_eq!(runs, BTreeMap::from([(2, 7)]));
        note_run(&mut runs, &card(2, 9), |_| Ok(())).await.unwrap();
        assert_eq!(runs, BTreeMap::from([(2, 9)]));
    }
}
