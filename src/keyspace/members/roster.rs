//! Who belongs to the cluster, as its log decided: members with their addresses, and those that were removed for good.
//!
//! Raft's own membership follows this list (see `raft`): it has every member here, votes with those that have caught
//! up, and drops whoever is no longer here.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Bytes that the peer URLs of all members may take together: the members are one record of a snapshot.
pub const PEER_URLS_BYTES: usize = 1 << 20;

/// A member's place in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Seat {
    /// Where other members reach it, in the order in which they are shown.
    pub peer_urls: Vec<String>,
    /// It gets every change and never votes: a read replica.
    pub replica: bool,
    /// The number of the data folder that it was introduced with; 0 until it was.
    pub folder: u64,
    /// Its newest run that the cluster was told of; 0 before the first.
    pub run: u64,
}

impl Seat {
    /// The seat of a member that has not started yet.
    fn empty(peer_urls: Vec<String>, replica: bool) -> Self {
        Self { peer_urls, replica, folder: 0, run: 0 }
    }
}

crate::format::extendable!(Seat);

/// Why a change of members is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// Another member has the id.
    #[error("a member with this id exists")]
    IdExists,
    /// Another member is reached at one of the URLs.
    #[error("another member has one of these peer URLs")]
    UrlExists,
    /// The members would have too many or too long peer URLs.
    #[error("the peer URLs of all members take more than {} MiB", PEER_URLS_BYTES >> 20)]
    TooLarge,
    /// There is no such member.
    #[error("there is no such member")]
    NoSuchMember,
    /// The member was removed; ids are never used again.
    #[error("the member was removed for good")]
    Removed,
    /// The member is no read replica.
    #[error("the member is a voter already")]
    Voter,
    /// Nobody would be left to vote.
    #[error("it is the last member that votes")]
    LastVoter,
    /// The members have changed since the caller looked at them.
    #[error("the members have changed meanwhile")]
    Stale,
    /// The member was introduced with another data folder, which it no longer has.
    #[error("the member has run before with another data folder")]
    OtherFolder,
}

/// The members and the ids that were removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roster {
    members: BTreeMap<u64, Seat>,
    removed: BTreeSet<u64>,
    version: u64,
    incarnation: u64,
}

impl Roster {
    /// The members, by id.
    pub fn members(&self) -> &BTreeMap<u64, Seat> {
        &self.members
    }

    /// One member.
    pub fn get(&self, id: u64) -> Option<&Seat> {
        self.members.get(&id)
    }

    /// Whether anybody was ever removed.
    pub fn has_removed(&self) -> bool {
        !self.removed.is_empty()
    }

    /// Whether `id` was a member and was removed.
    pub fn is_removed(&self, id: u64) -> bool {
        self.removed.contains(&id)
    }

    /// Counts the changes: what was decided on one version can be bound to it.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The number drawn when the cluster was founded; 0 before that is known.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// The data folder that every member was introduced with; without those that were not yet.
    pub fn folders(&self) -> BTreeMap<u64, u64> {
        let introduced = self.members.iter().filter(|(_, seat)| seat.folder != 0);
        introduced.map(|(id, seat)| (*id, seat.folder)).collect()
    }

    /// Takes over the first members, or those of data that was written before there was a roster.
    pub(in crate::keyspace) fn seed(&mut self, members: impl IntoIterator<Item = (u64, Vec<String>)>) {
        assert!(self.members.is_empty(), "only an empty roster is seeded");
        let seat = |(id, peer_urls)| (id, Seat::empty(peer_urls, false));
        self.members = members.into_iter().map(seat).collect();
        self.version += 1;
    }

    pub(in crate::keyspace) fn add(
        &mut self,
        id: u64,
        peer_urls: &[String],
        replica: bool,
    ) -> Result<(), MemberError> {
        if self.removed.contains(&id) {
            return Err(MemberError::Removed);
        }
        if self.members.contains_key(&id) {
            return Err(MemberError::IdExists);
        }
        self.check_urls(id, peer_urls)?;
        self.members.insert(id, Seat::empty(peer_urls.to_vec(), replica));
        self.version += 1;
        Ok(())
    }

    pub(in crate::keyspace) fn update(&mut self, id: u64, peer_urls: &[String]) -> Result<(), MemberError> {
        self.check_there(id)?;
        self.check_urls(id, peer_urls)?;
        if let Some(seat) = self.members.get_mut(&id) {
            seat.peer_urls = peer_urls.to_vec();
        }
        self.version += 1;
        Ok(())
    }

    /// Removes `id` for good; with `seen`, only if nothing has changed since that version.
    pub(in crate::keyspace) fn remove(&mut self, id: u64, seen: Option<u64>) -> Result<(), MemberError> {
        self.check_there(id)?;
        if seen.is_some_and(|seen| seen != self.version) {
            return Err(MemberError::Stale);
        }
        if !self.members.iter().any(|(other, seat)| *other != id && !seat.replica) {
            return Err(MemberError::LastVoter);
        }
        self.members.remove(&id);
        self.removed.insert(id);
        self.version += 1;
        Ok(())
    }

    pub(in crate::keyspace) fn promote(&mut self, id: u64) -> Result<(), MemberError> {
        self.check_there(id)?;
        match self.members.get_mut(&id) {
            Some(seat) if seat.replica => seat.replica = false,
            _ => return Err(MemberError::Voter),
        }
        self.version += 1;
        Ok(())
    }

    /// Removes everybody but `id`, which votes from now on even if it did not or was removed. Returns who was removed.
    pub(in crate::keyspace) fn keep_only(&mut self, id: u64, peer_urls: &[String]) -> Vec<u64> {
        let gone: Vec<u64> = self.members.keys().copied().filter(|other| *other != id).collect();
        self.removed.extend(&gone);
        self.removed.remove(&id);
        self.members = BTreeMap::from([(id, Seat::empty(peer_urls.to_vec(), false))]);
        self.version += 1;
        gone
    }

    /// The cluster is that of this founding from now on; what was known of data folders belongs to an earlier one.
    /// Nothing that was decided on an earlier version is harmed by it.
    pub(in crate::keyspace) fn found(&mut self, incarnation: u64, folders: &BTreeMap<u64, u64>) {
        self.incarnation = incarnation;
        for (id, seat) in &mut self.members {
            let folder = folders.get(id).copied().unwrap_or_default();
            if seat.folder != folder {
                (seat.folder, seat.run) = (folder, 0);
            }
        }
    }

    /// A member says which data folder it has: the first that it says counts until it is removed.
    pub(in crate::keyspace) fn introduce(
        &mut self,
        id: u64,
        folder: u64,
        run: u64,
    ) -> Result<(), MemberError> {
        self.check_there(id)?;
        match self.members.get_mut(&id) {
            Some(seat) if seat.folder == 0 || seat.folder == folder => {
                (seat.folder, seat.run) = (folder, seat.run.max(run));
                Ok(())
            }
            _ => Err(MemberError::OtherFolder),
        }
    }

    fn check_there(&self, id: u64) -> Result<(), MemberError> {
        if self.removed.contains(&id) {
            return Err(MemberError::Removed);
        }
        if self.members.contains_key(&id) { Ok(()) } else { Err(MemberError::NoSuchMember) }
    }

    fn check_urls(&self, id: u64, peer_urls: &[String]) -> Result<(), MemberError> {
        let others = self.members.iter().filter(|(other, _)| **other != id);
        let mut others = others.flat_map(|(_, seat)| &seat.peer_urls);
        if others.clone().chain(peer_urls).map(String::len).sum::<usize>() > PEER_URLS_BYTES {
            return Err(MemberError::TooLarge);
        }
        if others.any(|url| peer_urls.contains(url)) { Err(MemberError::UrlExists) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(n: u64) -> Vec<String> {
        vec![format!("http://10.0.0.{n}:2380")]
    }

    fn two() -> Roster {
        let mut roster = Roster::default();
        roster.seed([(1, urls(1)), (2, urls(2))]);
        roster
    }

    #[test]
    fn an_id_is_used_once_for_ever() {
        let mut roster = two();
        assert_eq!(roster.add(2, &urls(9), false), Err(MemberError::IdExists));
        roster.remove(2, None).unwrap();
        assert!(roster.is_removed(2) && roster.get(2).is_none());
        assert_eq!(roster.add(2, &urls(9), false), Err(MemberError::Removed));
        assert_eq!(roster.remove(2, None), Err(MemberError::Removed));
        assert_eq!(roster.update(2, &urls(9)), Err(MemberError::Removed));
        assert_eq!(roster.remove(7, None), Err(MemberError::NoSuchMember));
    }

    #[test]
    fn a_url_belongs_to_one_member() {
        let mut roster = two();
        assert_eq!(roster.add(3, &urls(1), false), Err(MemberError::UrlExists));
        assert_eq!(roster.update(2, &urls(1)), Err(MemberError::UrlExists));
        roster.update(2, &urls(2)).unwrap();
        roster.remove(1, None).unwrap();
        roster.add(3, &urls(1), false).unwrap();
    }

    #[test]
    fn the_urls_of_all_members_fit_into_a_record() {
        let mut roster = two();
        let long = |id: u64| vec![format!("http://{}{id}", "x".repeat(PEER_URLS_BYTES / 3))];
        roster.add(3, &long(3), false).unwrap();
        roster.update(2, &long(2)).unwrap();
        let before = roster.clone();
        assert_eq!(roster.add(4, &long(4), true), Err(MemberError::TooLarge));
        assert_eq!(roster.update(1, &long(1)), Err(MemberError::TooLarge));
        assert_eq!(roster, before);
        roster.update(2, &urls(2)).unwrap();
        roster.add(4, &long(4), true).unwrap();
    }

    #[test]
    fn somebody_must_be_left_who_votes() {
        let mut roster = two();
        roster.add(3, &urls(3), true).unwrap();
        roster.remove(1, None).unwrap();
        assert_eq!(roster.remove(2, None), Err(MemberError::LastVoter));
        roster.promote(3).unwrap();
        assert_eq!(roster.promote(3), Err(MemberError::Voter));
        roster.remove(2, None).unwrap();
        assert_eq!(roster.members().len(), 1);
    }

    #[test]
    fn a_removal_that_rests_on_an_older_list_is_refused() {
        let mut roster = two();
        roster.add(3, &urls(3), false).unwrap();
        let seen = roster.version();
        roster.remove(1, Some(seen)).unwrap();
        assert_eq!(roster.remove(2, Some(seen)), Err(MemberError::Stale));
        assert!(roster.get(2).is_some());
    }

    #[test]
    fn a_member_is_introduced_once_and_with_another_folder_only_after_it_was_removed_and_added() {
        let mut roster = two();
        roster.found(77, &BTreeMap::from([(1, 11)]));
        assert_eq!((roster.incarnation(), roster.folders()), (77, BTreeMap::from([(1, 11)])));
        roster.introduce(2, 22, 5).unwrap();
        roster.introduce(2, 22, 9).unwrap();
        roster.introduce(2, 22, 7).unwrap();
        assert_eq!(
            roster.get(2).map(|seat| (seat.folder, seat.run)),
            Some((22, 9)),
            "said late, it counts for nothing"
        );
        assert_eq!(roster.introduce(2, 23, 10), Err(MemberError::OtherFolder));
        assert_eq!(roster.introduce(1, 12, 1), Err(MemberError::OtherFolder));
        roster.remove(2, None).unwrap();
        assert_eq!(roster.introduce(2, 22, 10), Err(MemberError::Removed));
        assert_eq!(roster.introduce(3, 23, 10), Err(MemberError::NoSuchMember));
        roster.add(3, &urls(2), false).unwrap();
        roster.introduce(3, 23, 10).unwrap();
    }

    #[test]
    fn a_founding_anew_forgets_the_folders_of_the_one_before() {
        let mut roster = two();
        roster.found(77, &BTreeMap::from([(1, 11), (2, 22)]));
        roster.introduce(1, 11, 4).unwrap();
        roster.keep_only(1, &urls(1));
        roster.found(78, &BTreeMap::from([(1, 11)]));
        assert_eq!(roster.get(1).map(|seat| (seat.folder, seat.run)), Some((11, 0)));
        assert_eq!(roster.incarnation(), 78);
    }

    #[test]
    fn the_one_that_is_kept_votes_even_if_it_was_removed() {
        let mut roster = two();
        roster.remove(2, None).unwrap();
        assert_eq!(roster.keep_only(2, &urls(2)), [1]);
        assert!(!roster.is_removed(2) && roster.is_removed(1));
        assert_eq!(roster.members().len(), 1);
    }
}
