//! How a node with an empty data folder comes to take part: what it has heard of the other first members decides
//! whether it founds a cluster with them, is introduced to one that is there, or must not start. Decides and never
//! acts.
//!
//! Those who found a cluster agree on a [`Charter`] first: the one of them with the smallest id draws it up, the others
//! accept it, once, and each begins when it knows that a majority has accepted the same. So all that take part in raft
//! before the log says who they are, are named in one charter with their data folders; whoever comes back without its
//! folder is known by that.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What those who found a cluster agree on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Charter {
    /// The number of this founding, drawn by chance, never 0.
    pub incarnation: u64,
    /// Who drew it up.
    pub by: u64,
    /// Who founds, and the number of the data folder of each.
    pub folders: BTreeMap<u64, u64>,
}
crate::format::extendable!(Charter);

/// What a member tells a stranger of itself and of the stranger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub enum Word {
    /// Its data folder is empty; it waits to found a cluster or to be introduced.
    Blank {
        /// The number of its data folder.
        folder: u64,
    },
    /// It has accepted a charter, and does not know yet whether the cluster was founded.
    Bound {
        /// The charter that it has accepted.
        charter: Charter,
        /// It takes part in raft already.
        begun: bool,
    },
    /// It belongs to a cluster that was founded.
    Founded {
        /// The number of its founding.
        incarnation: u64,
        /// What it knows of the member that the stranger says to be.
        you: Known,
        /// The member that is reached at the stranger's URLs.
        seat: Option<u64>,
    },
}
crate::format::extendable!(Word);

/// What a founded cluster knows of a member that comes with an empty data folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Known {
    /// There is no such member, and never was.
    Stranger,
    /// It has not been introduced yet.
    Unintroduced,
    /// It was introduced with this folder.
    Same,
    /// It was introduced with another folder.
    Other,
    /// It was removed for good.
    Removed,
}

/// What was heard of another first member of late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It has not been asked yet.
    Nothing,
    /// Nobody is reached there.
    Away,
    /// It takes connections and does not answer.
    Late,
    /// It was told of other first members, or belongs to another cluster, and says this.
    Foreign {
        /// That cluster's id.
        cluster: u64,
        /// What it says.
        word: Word,
    },
    /// It belongs to a cluster of a version that this node does not know, in its words.
    Newer(String),
    /// It answered.
    Said(Word),
}

/// How long a majority of empty members has been waiting for the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Patience {
    /// The others may still answer.
    Fresh,
    /// Whoever has not answered is left out.
    Over,
    /// Not even the one that should have drawn up the charter has done so.
    LongOver,
}

/// What a node with an empty data folder knows.
#[derive(Clone, Debug)]
pub struct Scene<'a> {
    /// The node.
    pub me: u64,
    /// The number of its data folder.
    pub folder: u64,
    /// All first members, this one among them.
    pub listed: &'a BTreeSet<u64>,
    /// It may found a cluster, and is not only to find one.
    pub founds: bool,
    /// It founds with all of them or not at all.
    pub with_all: bool,
    /// The charter it has accepted.
    pub bound: Option<&'a Charter>,
    /// What was heard of each of the others.
    pub heard: &'a BTreeMap<u64, Heard>,
    /// Members of the cluster that are not listed and have called of late, and for which member.
    pub callers: &'a BTreeMap<u64, u64>,
    /// How long a majority has been waiting.
    pub patience: Patience,
    /// Those who belong to a cluster have not known this node for longer than one of them may lag behind.
    pub unknown_for_long: bool,
}

/// What the node does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It asks to be introduced to the cluster that is there; when given, as this member.
    Introduce(Option<u64>),
    /// The cluster that is there has another id than its first members would give it, because it has grown since or comes
    /// from a backup, and has a member at this node's place: it asks anew, as that one.
    Become {
        /// The cluster's id.
        cluster: u64,
        /// The member's.
        member: u64,
    },
    /// It must not start.
    Refuse(Known),
    /// A majority has accepted the charter: it takes part in raft from now on.
    Begin(Charter),
    /// It accepts a charter, in place of the one before if it had one.
    Accept(Charter),
    /// It gives the charter up that it has accepted: no majority can accept it any more.
    Forget,
    /// It draws up a charter with these members and their folders.
    Propose(BTreeMap<u64, u64>),
    /// Nothing but wait.
    Wait(Waiting),
}

/// What a node with an empty data folder waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// For these to answer.
    Answers(BTreeSet<u64>),
    /// For this one to draw up a charter.
    Charter(u64),
    /// For a majority to accept the charter, which these have not.
    Acceptance(BTreeSet<u64>),
    /// For these, who found the cluster without this node, to have done so.
    Founding(BTreeSet<u64>),
    /// For members of the cluster that is there to know this node.
    Recognition,
    /// For these to be told of the same first members: they belong to a cluster that does not know this node.
    Strangers(BTreeSet<u64>),
    /// For somebody to call who knows this member, which is about to found a cluster alone.
    Callers,
    /// For listed members who know better: these are members, and not listed, so the cluster was founded before.
    Knowing(BTreeSet<u64>),
}

/// What to do.
pub fn decide(scene: &Scene<'_>) -> Decision {
    founded(scene).or_else(|| elsewhere(scene)).or_else(|| called(scene)).unwrap_or_else(|| {
        match scene.bound {
            Some(charter) => bound(scene, charter),
            None => unbound(scene),
        }
    })
}

/// How many of so many are a majority.
pub fn majority(count: usize) -> usize {
    count / 2 + 1
}

impl<'a> Scene<'a> {
    fn words(&self) -> impl Iterator<Item = (u64, &'a Word)> {
        self.heard.iter().filter_map(|(id, heard)| match heard {
            Heard::Said(word) => Some((*id, word)),
            _ => None,
        })
    }

    /// What it decides once it has asked each of the others.
    fn once_all_are_asked(&self, decision: Decision) -> Decision {
        let unasked = self.heard.iter().filter(|(_, heard)| **heard == Heard::Nothing);
        let unasked: BTreeSet<u64> = unasked.map(|(id, _)| *id).collect();
        if unasked.is_empty() { decision } else { Decision::Wait(Waiting::Answers(unasked)) }
    }

    /// Other charters than `mine` that name this node with its folder, by whose.
    fn offers(&self, mine: u64) -> BTreeMap<u64, &'a Charter> {
        let charters = self.words().filter_map(|(_, word)| match word {
            Word::Bound { charter, .. } => Some(charter),
            _ => None,
        });
        charters
            .filter(|c| c.incarnation != mine && c.folders.get(&self.me) == Some(&self.folder))
            .map(|c| (c.by, c))
            .collect()
    }
}

/// What follows when somebody belongs to a founded cluster. What is known of a folder or a removal never becomes
/// untrue, so the one who says it is right, whoever else knows less: a member that lags behind knows of a folder, and not
/// yet that the member was removed, and whoever knows of the removal may not know yet that it was added anew.
fn founded(scene: &Scene<'_>) -> Option<Decision> {
    let words = || {
        scene.words().filter_map(|(_, word)| match word {
            Word::Founded { you, seat, .. } => Some((*you, seat.filter(|seat| *seat != scene.me))),
            _ => None,
        })
    };
    let said = |what: Known| words().any(|(you, _)| you == what);
    // As another member, if it was added anew.
    let seat = |of: Known| words().filter(|(you, _)| *you == of).find_map(|(_, seat)| seat);
    let refuse = |known| scene.once_all_are_asked(Decision::Refuse(known));
    let decision = if said(Known::Removed) {
        let seat = seat(Known::Removed);
        seat.map_or_else(|| refuse(Known::Removed), |seat| Decision::Introduce(Some(seat)))
    } else if said(Known::Other) {
        refuse(Known::Other)
    } else if said(Known::Same) || said(Known::Unintroduced) {
        Decision::Introduce(None)
    } else if !said(Known::Stranger) {
        return None;
    } else if scene.unknown_for_long {
        let seat = seat(Known::Stranger);
        seat.map_or_else(|| refuse(Known::Stranger), |seat| Decision::Introduce(Some(seat)))
    } else {
        Decision::Wait(Waiting::Recognition)
    };
    Some(decision)
}

/// What follows when somebody who is listed belongs to a cluster that has other first members than were listed here.
fn elsewhere(scene: &Scene<'_>) -> Option<Decision> {
    let words = || {
        scene.heard.iter().filter_map(|(id, heard)| match heard {
            Heard::Foreign { cluster, word: Word::Founded { you, seat, .. } } => {
                Some((*id, *cluster, *you, *seat))
            }
            _ => None,
        })
    };
    if !scene.founds || words().next().is_none() {
        return None;
    }
    if let Some((cluster, member)) = words().find_map(|(_, cluster, _, seat)| Some((cluster, seat?))) {
        return Some(Decision::Become { cluster, member });
    }
    // The id comes from this node's URLs and the token alone: it was a member there.
    for known in [Known::Removed, Known::Other] {
        if words().any(|(_, _, you, _)| you == known) {
            return Some(scene.once_all_are_asked(Decision::Refuse(known)));
        }
    }
    Some(Decision::Wait(Waiting::Strangers(words().map(|(id, ..)| id).collect())))
}

/// What follows when members call that are not listed: the cluster has been founded before, and has grown since. They
/// cannot be asked, because nobody says where. One that founded alone is known to all that came later; one of several
/// may just not have been introduced yet.
fn called(scene: &Scene<'_>) -> Option<Decision> {
    if !scene.founds || scene.callers.is_empty() {
        return None;
    }
    if scene.listed.len() > 1 {
        return Some(Decision::Wait(Waiting::Knowing(scene.callers.keys().copied().collect())));
    }
    let known = scene.callers.values().any(|sought| *sought == scene.me);
    Some(Decision::Refuse(if known { Known::Other } else { Known::Stranger }))
}

fn bound(scene: &Scene<'_>, mine: &Charter) -> Decision {
    let (mut with_me, mut elsewhere, mut within_reach, mut blank) = (1, 0, 1, 1);
    let mut missing: BTreeSet<u64> = mine.folders.keys().copied().filter(|id| *id != scene.me).collect();
    for (id, word) in scene.words() {
        match word {
            Word::Bound { charter, .. } if charter.incarnation == mine.incarnation => {
                with_me += 1;
                within_reach += 1;
                missing.remove(&id);
            }
            Word::Bound { .. } => elsewhere += 1,
            Word::Blank { folder } => {
                blank += 1;
                let named = mine.folders.get(&id) == Some(folder);
                within_reach += usize::from(named);
                // It has lost its folder since, or never was named, and will never accept this one.
                elsewhere += usize::from(!named);
            }
            Word::Founded { .. } => {}
        }
    }
    let needed = majority(scene.listed.len());
    if with_me >= needed {
        return Decision::Begin(mine.clone());
    }
    let (left, offers) = (scene.listed.len() - elsewhere, scene.offers(mine.incarnation));
    let stalled = missing.iter().any(|id| scene.heard.get(id) == Some(&Heard::Late));
    match offers.first_key_value() {
        Some((by, offer)) if *by < mine.by && scene.patience > Patience::Fresh && within_reach < needed => {
            Decision::Accept((*offer).clone())
        }
        _ if left < needed => Decision::Forget,
        // Those it was drawn up with do not come back. Nobody has had this one's vote by it: it has not begun.
        _ if scene.patience == Patience::LongOver && blank >= needed && !stalled => Decision::Forget,
        _ => Decision::Wait(Waiting::Acceptance(missing)),
    }
}

fn unbound(scene: &Scene<'_>) -> Decision {
    if let Some((_, offer)) = scene.offers(0).first_key_value() {
        return Decision::Accept((*offer).clone());
    }
    let mut blank = BTreeMap::from([(scene.me, scene.folder)]);
    for (id, word) in scene.words() {
        match word {
            Word::Blank { folder } => drop(blank.insert(id, *folder)),
            Word::Bound { charter, begun } => {
                let other = charter.folders.get(&scene.me).is_some_and(|folder| *folder != scene.folder);
                // Whoever has begun may have counted this member's vote.
                let lost = other && *begun;
                let founders = || charter.folders.keys().copied().collect();
                return match lost {
                    true => Decision::Refuse(Known::Other),
                    false => Decision::Wait(Waiting::Founding(founders())),
                };
            }
            Word::Founded { .. } => {}
        }
    }
    blank.retain(|id, _| scene.listed.contains(id));
    let missing: BTreeSet<u64> = scene.listed.iter().copied().filter(|id| !blank.contains_key(id)).collect();
    // Who takes connections is there, and may know better.
    let asked = !scene.heard.values().any(|heard| matches!(heard, Heard::Nothing | Heard::Late));
    let enough = blank.len() >= majority(scene.listed.len()) && !scene.with_all;
    let patient = scene.patience > Patience::Fresh;
    if scene.founds && scene.listed.len() == 1 && !patient {
        return Decision::Wait(Waiting::Callers);
    }
    let complete = missing.is_empty() || enough && asked && patient;
    if !scene.founds || !complete {
        return Decision::Wait(Waiting::Answers(missing));
    }
    match blank.keys().next() {
        Some(first) if *first != scene.me && scene.patience < Patience::LongOver => {
            Decision::Wait(Waiting::Charter(*first))
        }
        _ => Decision::Propose(blank),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Member 1 of three, whose folder is 11, in front of members 2 (22) and 3 (33).
    struct Fixture {
        me: u64,
        listed: BTreeSet<u64>,
        founds: bool,
        with_all: bool,
        bound: Option<Charter>,
        heard: BTreeMap<u64, Heard>,
        callers: BTreeMap<u64, u64>,
        patience: Patience,
        unknown_for_long: bool,
    }

    fn of(count: u64) -> Fixture {
        let listed: BTreeSet<u64> = (1..=count).collect();
        let heard = (2..=count).map(|id| (id, Heard::Away)).collect();
        Fixture {
            me: 1,
            listed,
            founds: true,
            with_all: false,
            bound: None,
            heard,
            callers: BTreeMap::new(),
            patience: Patience::Fresh,
            unknown_for_long: false,
        }
    }

    fn charter(incarnation: u64, by: u64, members: &[u64]) -> Charter {
        Charter { incarnation, by, folders: members.iter().map(|id| (*id, id * 11)).collect() }
    }

    fn blank(id: u64) -> Word {
        Word::Blank { folder: id * 11 }
    }

    fn founded(you: Known) -> Word {
        Word::Founded { incarnation: 9, you, seat: Some(1) }
    }

    fn bound_to(charter: &Charter, begun: bool) -> Word {
        Word::Bound { charter: charter.clone(), begun }
    }

    impl Fixture {
        fn says(mut self, id: u64, word: Word) -> Self {
            self.heard.insert(id, Heard::Said(word));
            self
        }

        fn hears(mut self, id: u64, heard: Heard) -> Self {
            self.heard.insert(id, heard);
            self
        }

        fn called_by(mut self, caller: u64, sought: u64) -> Self {
            self.callers.insert(caller, sought);
            self
        }

        fn seen_by(mut self, me: u64) -> Self {
            self.heard.remove(&me);
            self.me = me;
            self
        }

        fn after(mut self, patience: Patience) -> Self {
            self.patience = patience;
            self
        }

        fn decides(&self) -> Decision {
            decide(&Scene {
                me: self.me,
                folder: self.me * 11,
                listed: &self.listed,
                founds: self.founds,
                with_all: self.with_all,
                bound: self.bound.as_ref(),
                heard: &self.heard,
                callers: &self.callers,
                patience: self.patience,
                unknown_for_long: self.unknown_for_long,
            })
        }
    }

    fn waits(members: &[u64]) -> Decision {
        Decision::Wait(Waiting::Answers(members.iter().copied().collect()))
    }

    #[test]
    fn all_together_they_found_at_once_and_the_first_of_them_draws_the_charter_up() {
        let all = || of(3).says(2, blank(2)).says(3, blank(3));
        assert_eq!(all().decides(), Decision::Propose(charter(0, 0, &[1, 2, 3]).folders));
        let second = all().says(1, blank(1)).seen_by(2);
        assert_eq!(second.decides(), Decision::Wait(Waiting::Charter(1)));
        assert_eq!(
            second.after(Patience::LongOver).decides(),
            Decision::Propose(charter(0, 0, &[1, 2, 3]).folders),
            "the first does not see them, so another one does it"
        );
    }

    #[test]
    fn a_majority_founds_without_those_that_do_not_come_but_not_before_they_had_time() {
        let two = || of(3).says(2, blank(2));
        assert_eq!(two().decides(), waits(&[3]));
        assert_eq!(two().after(Patience::Over).decides(), Decision::Propose(charter(0, 0, &[1, 2]).folders));
        let third = |heard| two().hears(3, heard).after(Patience::LongOver).decides();
        assert_eq!(third(Heard::Nothing), waits(&[3]), "not even asked");
        assert_eq!(third(Heard::Late), waits(&[3]), "it is there, and may know better");
        assert_eq!(of(3).after(Patience::LongOver).decides(), waits(&[2, 3]), "one of three is none");
        let half = of(4).says(2, blank(2)).after(Patience::LongOver);
        assert_eq!(half.decides(), waits(&[3, 4]));
    }

    #[test]
    fn with_all_nobody_is_left_out_however_long_it_takes() {
        let mut two = of(3).says(2, blank(2)).after(Patience::LongOver);
        two.with_all = true;
        assert_eq!(two.decides(), waits(&[3]));
        assert!(matches!(two.says(3, blank(3)).decides(), Decision::Propose(_)));
    }

    #[test]
    fn one_alone_founds_unless_somebody_calls_who_knows_it() {
        assert_eq!(of(1).decides(), Decision::Wait(Waiting::Callers));
        let over = || of(1).after(Patience::Over);
        assert_eq!(over().decides(), Decision::Propose(charter(0, 0, &[1]).folders));
        assert_eq!(of(1).called_by(7, 1).decides(), Decision::Refuse(Known::Other));
        assert_eq!(over().called_by(7, 1).decides(), Decision::Refuse(Known::Other));
        assert_eq!(over().called_by(7, 8).decides(), Decision::Refuse(Known::Stranger), "added anew");
        let mut bound = over();
        bound.bound = Some(charter(5, 1, &[1]));
        assert_eq!(bound.decides(), Decision::Begin(charter(5, 1, &[1])));
    }

    #[test]
    fn several_do_not_found_a_cluster_anew_that_members_who_joined_it_live_in() {
        let two = || of(3).says(2, blank(2)).after(Patience::LongOver);
        let waits = Decision::Wait(Waiting::Knowing([7].into()));
        assert_eq!(two().called_by(7, 1).decides(), waits);
        let mut bound = two().says(2, bound_to(&charter(5, 1, &[1, 2]), false));
        bound.bound = Some(charter(5, 1, &[1, 2]));
        assert_eq!(bound.called_by(7, 1).decides(), waits);
        let told = two().says(3, founded(Known::Unintroduced)).called_by(7, 1);
        assert_eq!(told.decides(), Decision::Introduce(None), "one that knows has answered");
    }

    #[test]
    fn whoever_was_told_of_other_members_does_not_count() {
        let foreign = || Heard::Foreign { cluster: 77, word: blank(2) };
        let two = of(3).hears(2, foreign()).after(Patience::LongOver);
        assert_eq!(two.decides(), waits(&[2, 3]));
        let enough = of(3).hears(2, foreign()).says(3, blank(3)).after(Patience::LongOver);
        assert_eq!(enough.decides(), Decision::Propose(charter(0, 0, &[1, 3]).folders));
    }

    #[test]
    fn nothing_is_founded_beside_a_cluster_that_has_grown_or_comes_from_a_backup() {
        let foreign = |you, seat| {
            let word = Word::Founded { incarnation: 9, you, seat };
            let heard = Heard::Foreign { cluster: 77, word };
            of(3).hears(2, heard).says(3, blank(3)).after(Patience::LongOver)
        };
        let became = Decision::Become { cluster: 77, member: 8 };
        assert_eq!(foreign(Known::Stranger, Some(8)).decides(), became);
        let same = Decision::Become { cluster: 77, member: 1 };
        assert_eq!(foreign(Known::Other, Some(1)).decides(), same);
        assert_eq!(foreign(Known::Other, None).decides(), Decision::Refuse(Known::Other));
        assert_eq!(foreign(Known::Removed, None).decides(), Decision::Refuse(Known::Removed));
        let other = foreign(Known::Stranger, None);
        assert_eq!(other.decides(), Decision::Wait(Waiting::Strangers([2].into())));
        let mut bound = foreign(Known::Stranger, None).says(3, bound_to(&charter(5, 1, &[1, 3]), false));
        bound.bound = Some(charter(5, 1, &[1, 3]));
        assert_eq!(bound.decides(), Decision::Wait(Waiting::Strangers([2].into())));
        let own = foreign(Known::Stranger, Some(8)).says(3, founded(Known::Unintroduced));
        assert_eq!(own.decides(), Decision::Introduce(None), "its own cluster is there as well");
    }

    #[test]
    fn one_that_only_looks_for_a_cluster_never_founds_one() {
        let mut all = of(3).says(2, blank(2)).says(3, blank(3)).after(Patience::LongOver);
        all.founds = false;
        assert_eq!(all.decides(), waits(&[]));
    }

    #[test]
    fn one_voice_that_knows_of_a_founded_cluster_is_enough() {
        let two = || of(3).says(2, blank(2)).after(Patience::LongOver);
        assert_eq!(two().says(3, founded(Known::Unintroduced)).decides(), Decision::Introduce(None));
        assert_eq!(
            two().says(3, founded(Known::Same)).decides(),
            Decision::Introduce(None),
            "it broke off before"
        );
        assert_eq!(two().says(3, founded(Known::Other)).decides(), Decision::Refuse(Known::Other));
        let mut unknown = two().says(3, founded(Known::Stranger));
        assert_eq!(unknown.decides(), Decision::Wait(Waiting::Recognition), "it may lag behind");
        unknown.unknown_for_long = true;
        assert_eq!(unknown.decides(), Decision::Refuse(Known::Stranger));
    }

    #[test]
    fn a_lost_folder_is_refused_by_the_one_who_knows_even_if_others_know_less() {
        let both = of(3).says(2, founded(Known::Unintroduced)).says(3, founded(Known::Other));
        assert_eq!(both.decides(), Decision::Refuse(Known::Other));
        let mut bound = of(3).says(2, founded(Known::Other)).says(3, founded(Known::Unintroduced));
        bound.bound = Some(charter(5, 1, &[1, 2, 3]));
        assert_eq!(bound.decides(), Decision::Refuse(Known::Other));
    }

    #[test]
    fn a_member_that_was_removed_may_be_added_anew_and_then_is_another() {
        assert_eq!(of(3).says(2, founded(Known::Removed)).decides(), Decision::Refuse(Known::Removed));
        assert_eq!(of(3).says(2, anew()).decides(), Decision::Introduce(Some(8)));
    }

    /// What is said of member 1 that was removed and added anew as member 8.
    fn anew() -> Word {
        Word::Founded { incarnation: 9, you: Known::Removed, seat: Some(8) }
    }

    #[test]
    fn members_that_lag_behind_do_not_decide_what_others_know_better() {
        let before = || of(3).says(2, founded(Known::Other));
        assert_eq!(before().says(3, anew()).decides(), Decision::Introduce(Some(8)), "removed since");
        assert_eq!(before().hears(3, Heard::Nothing).decides(), waits(&[3]), "it may know better");
        let between = Word::Founded { incarnation: 9, you: Known::Removed, seat: None };
        let removed = || of(3).says(2, between.clone());
        assert_eq!(removed().says(3, anew()).decides(), Decision::Introduce(Some(8)), "added since");
        assert_eq!(removed().hears(3, Heard::Nothing).decides(), waits(&[3]));
        // As the new member it is unknown to one that has not seen it added, and knows the old one there.
        let old = Word::Founded { incarnation: 9, you: Known::Stranger, seat: Some(1) };
        let mut new = of(3).says(2, old);
        new.me = 8;
        assert_eq!(new.decides(), Decision::Wait(Waiting::Recognition));
        assert_eq!(new.says(3, founded(Known::Unintroduced)).decides(), Decision::Introduce(None));
    }

    #[test]
    fn a_charter_is_accepted_and_begun_once_a_majority_has() {
        let drawn = charter(5, 1, &[1, 2, 3]);
        let second = || of(3).says(3, blank(3)).says(1, bound_to(&drawn, false)).seen_by(2);
        assert_eq!(second().decides(), Decision::Accept(drawn.clone()));
        let mut third = of(3).says(1, blank(1)).says(2, blank(2)).seen_by(3);
        third.bound = Some(drawn.clone());
        assert_eq!(third.decides(), Decision::Wait(Waiting::Acceptance([1, 2].into())));
        assert_eq!(third.says(1, bound_to(&drawn, false)).decides(), Decision::Begin(drawn));
    }

    #[test]
    fn one_that_a_charter_does_not_name_waits_until_the_others_have_founded() {
        let others = charter(5, 1, &[1, 2]);
        let third = || of(3).says(1, bound_to(&others, true)).says(2, bound_to(&others, false)).seen_by(3);
        assert_eq!(
            third().after(Patience::LongOver).decides(),
            Decision::Wait(Waiting::Founding([1, 2].into()))
        );
        assert_eq!(third().says(1, founded(Known::Unintroduced)).decides(), Decision::Introduce(None));
    }

    #[test]
    fn a_folder_that_is_lost_while_the_cluster_is_founded_is_noticed() {
        let mut with_another = charter(5, 1, &[1, 2, 3]);
        with_another.folders.insert(2, 99);
        let second = |begun| of(3).says(1, bound_to(&with_another, begun)).says(3, blank(3)).seen_by(2);
        assert_eq!(second(true).decides(), Decision::Refuse(Known::Other));
        let all = Waiting::Founding([1, 2, 3].into());
        assert_eq!(second(false).decides(), Decision::Wait(all), "nobody has counted its vote");
        let mut first = of(3).says(2, blank(2)).says(3, Word::Blank { folder: 34 });
        first.bound = Some(with_another);
        assert_eq!(first.decides(), Decision::Forget, "two of three are gone that it was drawn up with");
    }

    #[test]
    fn a_charter_is_given_up_when_those_it_was_drawn_up_with_do_not_come_back() {
        // The first drew it up with the second, and lost its folder; the third came late.
        let drawn = charter(5, 1, &[1, 2]);
        let second = |first: Heard| {
            let mut second = of(3).says(3, blank(3)).hears(1, first).seen_by(2);
            second.bound = Some(drawn.clone());
            second
        };
        assert_eq!(second(Heard::Said(Word::Blank { folder: 99 })).decides(), Decision::Forget);
        let gone = second(Heard::Away);
        assert_eq!(gone.decides(), Decision::Wait(Waiting::Acceptance([1].into())));
        assert_eq!(gone.after(Patience::LongOver).decides(), Decision::Forget);
        let stalled = second(Heard::Late).after(Patience::LongOver);
        assert_eq!(stalled.decides(), Decision::Wait(Waiting::Acceptance([1].into())), "it is there");
    }

    #[test]
    fn of_two_charters_the_one_gives_way_that_cannot_win() {
        let (one, two) = (charter(5, 1, &[1, 2, 3]), charter(6, 2, &[1, 2, 3]));
        let mut second = of(3).says(1, bound_to(&one, false)).seen_by(2);
        second.bound = Some(two.clone());
        let waits = |missing: &[u64]| Decision::Wait(Waiting::Acceptance(missing.iter().copied().collect()));
        assert_eq!(second.decides(), waits(&[1, 3]), "the third may accept it yet");
        assert_eq!(second.after(Patience::Over).decides(), Decision::Accept(one.clone()));
        let mut first = of(3).says(2, bound_to(&two, false)).after(Patience::LongOver);
        first.bound = Some(one.clone());
        assert_eq!(first.decides(), waits(&[2, 3]), "the first waits for the second to give way");
        let mut even = of(4)
            .says(2, bound_to(&one, false))
            .says(3, bound_to(&two, false))
            .says(4, bound_to(&two, false));
        even.bound = Some(one);
        assert_eq!(even.decides(), Decision::Forget, "two of four can never be three");
    }
}
