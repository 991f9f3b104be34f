//! By what members know each other on the peer port, and for what they refuse each other. Decides and never acts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::raft::membership::founding::majority;

/// Who somebody is, as both ends of a connection say first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Card {
    /// Its cluster.
    pub cluster: u64,
    /// Its id.
    pub member: u64,
    /// The number of the founding that it belongs to.
    pub incarnation: u64,
    /// The number of its data folder.
    pub folder: u64,
    /// Its run: higher at each start.
    pub run: u64,
    /// The run before, as its data folder has it; 0 if there was none.
    pub previous: u64,
}
crate::format::extendable!(Card);

/// Why a member has nothing to do with another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// It was removed for good.
    #[error("it was removed from the cluster")]
    Removed,
    /// It belongs to another cluster.
    #[error("it belongs to another cluster")]
    OtherCluster,
    /// Another member is reached there.
    #[error("member {0:x} is looked for there, and another one answers")]
    OtherMember(u64),
    /// It belongs to an earlier or a later founding of the cluster.
    #[error("it belongs to another founding of the cluster, {0:x}")]
    OtherFounding(u64),
    /// It has another data folder than the one it was introduced with.
    #[error("its data folder is another than the one that it was introduced with")]
    OtherFolder,
    /// Its data folder does not know of a run that the others have seen.
    #[error("its data folder is an older copy: it has forgotten its run {0:x}")]
    OlderCopy(u64),
    /// It lacks entries that it has acknowledged.
    #[error("it has lost entries of the log that it had acknowledged: its data folder is older than that")]
    LostEntries,
    /// Its data folder is empty; it waits to be introduced.
    #[error("its data folder is empty, and it has not been introduced yet")]
    Blank,
    /// A cluster that was founded anew by force does not count it among its members.
    #[error("the cluster was forced to go on without it")]
    LeftBehind,
    /// Another node runs at the member's address with the same data folder, or a copy of it.
    #[error("another node with the same data runs at the address of this member")]
    Twice,
}

/// A refusal as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("member {by:x} has nothing to do with this one: {refusal}")]
#[serde(remote = "Self")]
pub struct Dismissal {
    /// For what reason.
    pub refusal: Refusal,
    /// The member that refuses.
    pub by: u64,
    /// It leads, and a quorum stands behind it.
    pub leading: bool,
}
crate::format::extendable!(Dismissal);

/// What a member knows of another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acquaintance {
    /// The data folder that it was introduced with, if it was.
    pub folder: Option<u64>,
    /// The newest runs of it that were heard of: from itself, and by the log.
    pub runs: [u64; 2],
    /// It has lost entries that it had acknowledged.
    pub lost: bool,
}

impl Card {
    /// Whether the one with this card has to do with the one that shows `other`, of whom it knows `known`.
    ///
    /// # Errors
    /// The reason why not.
    pub fn accepts(&self, other: &Self, known: Acquaintance) -> Result<(), Refusal> {
        if other.cluster != self.cluster {
            return Err(Refusal::OtherCluster);
        }
        if other.incarnation != self.incarnation {
            return Err(Refusal::OtherFounding(self.incarnation));
        }
        if known.folder.is_some_and(|folder| folder != other.folder) {
            return Err(Refusal::OtherFolder);
        }
        // Each by itself: the run of now may be in the log already, and hide one that the folder has forgotten.
        if let Some(forgotten) = known.runs.iter().find(|run| **run > other.previous && **run != other.run) {
            return Err(Refusal::OlderCopy(*forgotten));
        }
        if known.lost { Err(Refusal::LostEntries) } else { Ok(()) }
    }
}

/// The reason for which a member that is out of touch with the leader ends, after what the others told it: when the
/// acting leader refuses it, or so many of them that they are a majority without it. That a member was removed is in the
/// log of whoever says so, and that another one is looked for where it is, it sees itself: one voice is enough. Of
/// those that belong to another founding it takes a majority of all members, because one alone can found a cluster, and
/// lead it, that has nothing in common with this one but its name; `for_long`, with nobody else to be in touch with,
/// one is enough that was made to go on alone.
pub fn dismissal(
    me: u64,
    members: &[u64],
    told: &BTreeMap<u64, Dismissal>,
    for_long: bool,
) -> Option<Refusal> {
    let all = || told.values().map(|refused| refused.refusal);
    let certain = |refusal: &Refusal| matches!(refusal, Refusal::Removed | Refusal::OtherMember(_));
    if let Some(refusal) = all().filter(certain).min() {
        return Some(refusal);
    }
    let elsewhere = |refusal: &Refusal| matches!(refusal, Refusal::OtherFounding(_) | Refusal::LeftBehind);
    if all().filter(elsewhere).count() >= majority(members.len()) {
        return all().find(elsewhere);
    }
    if for_long && all().any(|refusal| refusal == Refusal::LeftBehind) {
        return Some(Refusal::LeftBehind);
    }
    let folder = |refused: &&Dismissal| {
        use Refusal::{LostEntries, OlderCopy, OtherFolder, Twice};
        matches!(refused.refusal, OtherFolder | OlderCopy(_) | LostEntries | Twice)
    };
    let told: Vec<&Dismissal> = told.values().filter(folder).collect();
    let others = members.iter().filter(|id| **id != me).count();
    let needed = majority(members.len()).min(others).max(1);
    let enough = told.iter().any(|refused| refused.leading) || told.len() >= needed;
    let first = told.iter().find(|refused| refused.leading).or_else(|| told.first());
    first.filter(|_| enough).map(|refused| refused.refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card() -> Card {
        Card { cluster: 1, member: 2, incarnation: 5, folder: 22, run: 30, previous: 20 }
    }

    fn mine() -> Card {
        Card { member: 1, folder: 11, ..card() }
    }

    #[test]
    fn a_member_is_known_by_its_cluster_its_founding_and_its_folder() {
        let known = Acquaintance { folder: Some(22), runs: [20, 0], lost: false };
        assert_eq!(mine().accepts(&card(), known), Ok(()));
        assert_eq!(
            mine().accepts(&card(), Acquaintance::default()),
            Ok(()),
            "whoever has the number was introduced"
        );
        let other = |change: fn(&mut Card)| {
            let mut other = card();
            change(&mut other);
            mine().accepts(&other, known)
        };
        assert_eq!(other(|card| card.cluster = 9), Err(Refusal::OtherCluster));
        assert_eq!(other(|card| card.incarnation = 4), Err(Refusal::OtherFounding(5)));
        assert_eq!(other(|card| card.folder = 23), Err(Refusal::OtherFolder));
        let lost = Acquaintance { lost: true, ..known };
        assert_eq!(mine().accepts(&card(), lost), Err(Refusal::LostEntries));
    }

    #[test]
    fn a_folder_that_has_forgotten_a_run_is_an_older_copy() {
        let seen = |run| Acquaintance { folder: Some(22), runs: [run, 0], lost: false };
        assert_eq!(mine().accepts(&card(), seen(30)), Ok(()), "the run of now was heard of already");
        assert_eq!(
            mine().accepts(&card(), seen(10)),
            Ok(()),
            "it ran in between without speaking to anybody"
        );
        assert_eq!(mine().accepts(&card(), seen(25)), Err(Refusal::OlderCopy(25)));
        assert_eq!(
            mine().accepts(&card(), seen(31)),
            Err(Refusal::OlderCopy(31)),
            "a newer one runs elsewhere"
        );
        let noted = Acquaintance { folder: Some(22), runs: [25, 30], lost: false };
        assert_eq!(
            mine().accepts(&card(), noted),
            Err(Refusal::OlderCopy(25)),
            "the log knows the run of now"
        );
    }

    fn told(by: &[(u64, Refusal, bool)]) -> BTreeMap<u64, Dismissal> {
        let refused = |(by, refusal, leading): &(u64, Refusal, bool)| {
            (*by, Dismissal { refusal: *refusal, by: *by, leading: *leading })
        };
        by.iter().map(refused).collect()
    }

    #[test]
    fn a_member_ends_when_a_majority_or_the_acting_leader_has_nothing_to_do_with_it_and_not_for_a_minority() {
        let other = Refusal::OtherFolder;
        let three = [1, 2, 3];
        let ends = |members: &[u64], by: &[_]| dismissal(1, members, &told(by), true);
        assert_eq!(ends(&three, &[(2, other, false)]), None);
        assert_eq!(ends(&three, &[(2, other, true)]), Some(other));
        assert_eq!(ends(&three, &[(2, other, false), (3, other, false)]), Some(other));
        assert_eq!(ends(&[1, 2], &[(2, other, false)]), Some(other), "the only other one");
        let five = [1, 2, 3, 4, 5];
        assert_eq!(ends(&five, &[(2, other, false), (3, other, false)]), None);
        let most = [(2, other, false), (3, other, false), (4, other, false)];
        assert_eq!(ends(&five, &most), Some(other));
        assert_eq!(ends(&three, &[]), None);
    }

    #[test]
    fn one_that_founded_another_cluster_alone_ends_nobody_even_if_it_leads_there() {
        let other = Refusal::OtherFounding(7);
        let ends = |members: &[u64], by: &[_]| dismissal(1, members, &told(by), true);
        assert_eq!(ends(&[1, 2, 3], &[(2, other, true)]), None);
        assert_eq!(ends(&[1, 2], &[(2, other, true)]), None, "each would end the other");
        assert_eq!(ends(&[1, 2, 3], &[(2, other, true), (3, other, false)]), Some(other));
        let grown = [1, 2, 3, 4, 5];
        assert_eq!(ends(&grown, &[(2, other, true), (3, other, false)]), None);
    }

    #[test]
    fn one_that_was_forced_to_go_on_alone_ends_only_who_has_had_nobody_else_for_long() {
        let by = told(&[(2, Refusal::LeftBehind, true)]);
        assert_eq!(dismissal(1, &[1, 2, 3], &by, false), None);
        assert_eq!(dismissal(1, &[1, 2, 3], &by, true), Some(Refusal::LeftBehind));
    }

    #[test]
    fn that_it_was_removed_or_is_taken_for_another_one_voice_may_say() {
        let three = [1, 2, 3];
        let ends = |by: &[_]| dismissal(1, &three, &told(by), false);
        assert_eq!(ends(&[(2, Refusal::Removed, false)]), Some(Refusal::Removed));
        let astray = Refusal::OtherMember(3);
        assert_eq!(ends(&[(2, astray, false)]), Some(astray));
        assert_eq!(ends(&[(2, Refusal::Blank, true), (3, Refusal::Blank, false)]), None);
    }
}
