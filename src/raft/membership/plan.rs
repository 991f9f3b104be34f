//! What the leader has to do next so that raft's membership follows the roster. Decides and never acts.

use std::collections::{BTreeMap, BTreeSet};

use crate::keyspace::Roster;
use crate::raft::types::Peer;

/// What the leader sees.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// The leader.
    pub me: u64,
    /// Who belongs to the cluster.
    pub roster: &'a Roster,
    /// Who votes in raft's membership; in a joint one, who votes in either half.
    pub voters: BTreeSet<u64>,
    /// Raft is between two memberships.
    pub joint: bool,
    /// Everybody in raft's membership.
    pub nodes: BTreeMap<u64, Peer>,
    /// Who has answered lately; the leader is among them.
    pub running: BTreeSet<u64>,
    /// Whose log is close to the leader's.
    pub caught_up: BTreeSet<u64>,
}

/// One change of raft's membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Finish a change that an earlier leader has begun.
    Settle,
    /// Send everything to a new member.
    Learn(u64, Peer),
    /// Reach a member elsewhere.
    Readdress(u64, Peer),
    /// Send nothing more to those that were removed and do not vote.
    Forget(BTreeSet<u64>),
    /// Let another lead: the leader was removed.
    HandOver,
    /// These vote from now on, and nobody else.
    Vote(BTreeSet<u64>),
}

/// The next step, if there is any to take at present.
pub fn next(seen: &Seen<'_>) -> Option<Step> {
    if seen.roster.members().is_empty() {
        return None;
    }
    if seen.joint {
        return Some(Step::Settle);
    }
    addresses(seen).or_else(|| forget(seen)).or_else(|| vote(seen))
}

/// Members that raft does not know, or knows under other addresses.
fn addresses(seen: &Seen<'_>) -> Option<Step> {
    seen.roster.members().iter().find_map(|(id, seat)| match seen.nodes.get(id) {
        None => Some(Step::Learn(*id, Peer { name: String::new(), peer_urls: seat.peer_urls.clone() })),
        Some(known) if known.peer_urls != seat.peer_urls => {
            Some(Step::Readdress(*id, Peer { name: known.name.clone(), peer_urls: seat.peer_urls.clone() }))
        }
        Some(_) => None,
    })
}

fn forget(seen: &Seen<'_>) -> Option<Step> {
    let gone = |id: &&u64| seen.roster.get(**id).is_none() && !seen.voters.contains(id);
    let gone: BTreeSet<u64> = seen.nodes.keys().filter(gone).copied().collect();
    (!gone.is_empty()).then_some(Step::Forget(gone))
}

/// Who was removed stops voting, and who has caught up begins, but only as long as a majority of those that will vote
/// is there to go on: a change that would lose the quorum waits.
fn vote(seen: &Seen<'_>) -> Option<Step> {
    let stay: BTreeSet<u64> =
        seen.voters.iter().filter(|id| seen.roster.get(**id).is_some()).copied().collect();
    if stay != seen.voters && has_quorum(&stay, &seen.running) {
        return Some(if stay.contains(&seen.me) { Step::Vote(stay) } else { Step::HandOver });
    }
    let ready = |(id, seat): &(&u64, &crate::keyspace::Seat)| {
        !seat.replica && !seen.voters.contains(id) && seen.running.contains(id) && seen.caught_up.contains(id)
    };
    let (newcomer, _) = seen.roster.members().iter().find(ready)?;
    let mut voters = seen.voters.clone();
    voters.insert(*newcomer);
    has_quorum(&voters, &seen.running).then_some(Step::Vote(voters))
}

/// Whether those of `voters` that are running are a majority of them.
pub fn has_quorum(voters: &BTreeSet<u64>, running: &BTreeSet<u64>) -> bool {
    !voters.is_empty() && voters.intersection(running).count() > voters.len() / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Stamp;
    use crate::keyspace::{Command, Keyspace};

    fn peer(id: u64) -> Peer {
        Peer { name: String::new(), peer_urls: vec![format!("http://10.0.0.{id}:2380")] }
    }

    /// Three voters that all run; member 1 leads.
    struct Scene {
        keyspace: Keyspace,
        voters: BTreeSet<u64>,
        nodes: BTreeMap<u64, Peer>,
        running: BTreeSet<u64>,
        caught_up: BTreeSet<u64>,
        joint: bool,
    }

    impl Scene {
        fn new() -> Self {
            let ids = BTreeSet::from([1, 2, 3]);
            let nodes: BTreeMap<u64, Peer> = ids.iter().map(|id| (*id, peer(*id))).collect();
            let mut keyspace = Keyspace::new(10);
            keyspace.seed_roster(nodes.iter().map(|(id, peer)| (*id, peer.peer_urls.clone())));
            Self { keyspace, voters: ids.clone(), nodes, running: ids.clone(), caught_up: ids, joint: false }
        }

        fn apply(&mut self, command: Command) {
            self.keyspace.apply(&command, Stamp::default(), &mut Vec::new()).expect("it is accepted");
        }

        fn add(&mut self, id: u64, replica: bool) {
            self.apply(Command::AddMember { id, peer_urls: peer(id).peer_urls, replica });
        }

        fn remove(&mut self, id: u64) {
            self.apply(Command::RemoveMember { id, seen: None });
        }

        fn next(&self) -> Option<Step> {
            next(&Seen {
                me: 1,
                roster: self.keyspace.roster(),
                voters: self.voters.clone(),
                joint: self.joint,
                nodes: self.nodes.clone(),
                running: self.running.clone(),
                caught_up: self.caught_up.clone(),
            })
        }
    }

    #[test]
    fn nothing_is_to_do_when_raft_has_what_the_roster_says() {
        assert_eq!(Scene::new().next(), None);
    }

    #[test]
    fn a_new_member_learns_first_and_votes_once_it_has_caught_up_and_runs() {
        let mut scene = Scene::new();
        scene.add(4, false);
        assert_eq!(scene.next(), Some(Step::Learn(4, peer(4))));
        scene.nodes.insert(4, peer(4));
        assert_eq!(scene.next(), None, "it has not caught up");
        scene.caught_up.insert(4);
        assert_eq!(scene.next(), None, "it has not answered");
        scene.running.insert(4);
        assert_eq!(scene.next(), Some(Step::Vote(BTreeSet::from([1, 2, 3, 4]))));
    }

    #[test]
    fn a_read_replica_learns_for_ever_unless_it_is_promoted() {
        let mut scene = Scene::new();
        scene.add(4, true);
        scene.nodes.insert(4, peer(4));
        scene.caught_up.insert(4);
        scene.running.insert(4);
        assert_eq!(scene.next(), None);
        scene.apply(Command::PromoteMember { id: 4 });
        assert_eq!(scene.next(), Some(Step::Vote(BTreeSet::from([1, 2, 3, 4]))));
    }

    #[test]
    fn a_removed_member_stops_voting_and_then_is_forgotten() {
        let mut scene = Scene::new();
        scene.remove(3);
        assert_eq!(scene.next(), Some(Step::Vote(BTreeSet::from([1, 2]))));
        scene.voters.remove(&3);
        assert_eq!(scene.next(), Some(Step::Forget(BTreeSet::from([3]))));
    }

    #[test]
    fn a_leader_that_was_removed_hands_over() {
        let mut scene = Scene::new();
        scene.remove(1);
        assert_eq!(scene.next(), Some(Step::HandOver));
    }

    #[test]
    fn a_removal_that_would_lose_the_quorum_waits_until_it_does_not() {
        let mut scene = Scene::new();
        scene.running.remove(&3);
        scene.remove(2);
        assert_eq!(scene.next(), None, "1 and 3 would have to agree, and 3 is gone");
        scene.remove(3);
        assert_eq!(scene.next(), Some(Step::Vote(BTreeSet::from([1]))), "both leave in one change");
    }

    #[test]
    fn a_change_that_was_begun_is_finished_first() {
        let mut scene = Scene::new();
        scene.add(4, false);
        scene.joint = true;
        assert_eq!(scene.next(), Some(Step::Settle));
    }

    #[test]
    fn other_addresses_are_told_to_raft() {
        let mut scene = Scene::new();
        scene.apply(Command::UpdateMember { id: 2, peer_urls: peer(9).peer_urls });
        assert_eq!(scene.next(), Some(Step::Readdress(2, peer(9))));
    }

    #[test]
    fn a_quorum_is_more_than_half_of_the_voters() {
        let set = |ids: &[u64]| ids.iter().copied().collect::<BTreeSet<u64>>();
        assert!(has_quorum(&set(&[1]), &set(&[1])));
        assert!(!has_quorum(&set(&[1, 2]), &set(&[1])));
        assert!(has_quorum(&set(&[1, 2, 3]), &set(&[1, 3, 9])));
        assert!(!has_quorum(&set(&[]), &set(&[1])));
    }
}
