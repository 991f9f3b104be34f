//! The list of members under random commands: what holds whatever comes, and by how much the index goes up.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::format::LOWEST;

/// What is asked for about members.
#[derive(Clone, Debug)]
enum Ask {
    Publish(u64, &'static str),
    Add(u64, Vec<&'static str>, bool),
    Update(u64, Vec<&'static str>),
    /// With how many versions ago the list was looked at, if that counts.
    Remove(u64, Option<u64>),
    Promote(u64),
    KeepOnly(u64, Vec<&'static str>),
}

/// A member by its addresses, and whether it never votes.
type Place = (Vec<&'static str>, bool);

#[derive(Debug, Default)]
struct Naive {
    members: BTreeMap<u64, Place>,
    removed: BTreeSet<u64>,
    names: BTreeMap<u64, &'static str>,
    index: u64,
}

fn id() -> impl Strategy<Value = u64> {
    1u64..6
}

fn urls() -> impl Strategy<Value = Vec<&'static str>> {
    vec(prop::sample::select(vec!["http://a:2380", "http://b:2380", "http://c:2380", "http://d:2380"]), 1..3)
}

fn ask() -> impl Strategy<Value = Ask> {
    let name = prop::sample::select(vec!["m1", "m2", ""]);
    prop_oneof![
        3 => (id(), name).prop_map(|(id, name)| Ask::Publish(id, name)),
        5 => (id(), urls(), any::<bool>()).prop_map(|(id, urls, replica)| Ask::Add(id, urls, replica)),
        3 => (id(), urls()).prop_map(|(id, urls)| Ask::Update(id, urls)),
        3 => (id(), prop::option::of(0u64..3)).prop_map(|(id, seen)| Ask::Remove(id, seen)),
        2 => id().prop_map(Ask::Promote),
        1 => (id(), urls()).prop_map(|(id, urls)| Ask::KeepOnly(id, urls)),
    ]
}

fn texts(urls: &[&str]) -> Vec<String> {
    urls.iter().map(|url| url.to_string()).collect()
}

fn command(ask: &Ask, version: u64) -> Command {
    match ask {
        Ask::Publish(id, name) => {
            let (id, name, client_urls) = (*id, name.to_string(), vec![format!("http://{name}:2379")]);
            Command::Publish { id, name, client_urls, version: LOWEST, remark: None }
        }
        Ask::Add(id, urls, replica) => {
            Command::AddMember { id: *id, peer_urls: texts(urls), replica: *replica }
        }
        Ask::Update(id, urls) => Command::UpdateMember { id: *id, peer_urls: texts(urls) },
        Ask::Remove(id, ago) => {
            Command::RemoveMember { id: *id, seen: ago.map(|ago| version.saturating_sub(ago)) }
        }
        Ask::Promote(id) => Command::PromoteMember { id: *id },
        Ask::KeepOnly(id, urls) => Command::KeepOnlyMember { id: *id, peer_urls: texts(urls) },
    }
}

impl Naive {
    /// Whether others than `id` are reached at one of the addresses.
    fn is_taken(&self, id: u64, urls: &[&str]) -> bool {
        self.members
            .iter()
            .any(|(other, (theirs, _))| *other != id && theirs.iter().any(|url| urls.contains(url)))
    }

    fn there(&self, id: u64) -> Result<(), MemberError> {
        match (self.removed.contains(&id), self.members.contains_key(&id)) {
            (true, _) => Err(MemberError::Removed),
            (false, true) => Ok(()),
            (false, false) => Err(MemberError::NoSuchMember),
        }
    }

    fn take(&mut self, ask: &Ask) -> Result<(), MemberError> {
        match ask {
            Ask::Publish(id, _) if self.removed.contains(id) => {}
            Ask::Publish(id, name) => {
                self.names.insert(*id, name);
                self.index += 1;
            }
            Ask::Add(id, urls, replica) => {
                match self.there(*id) {
                    Ok(()) => return Err(MemberError::IdExists),
                    Err(MemberError::NoSuchMember) => {}
                    Err(other) => return Err(other),
                }
                if self.is_taken(*id, urls) {
                    return Err(MemberError::UrlExists);
                }
                self.members.insert(*id, (urls.clone(), *replica));
                self.index += 1;
            }
            Ask::Update(id, urls) => {
                self.there(*id)?;
                if self.is_taken(*id, urls) {
                    return Err(MemberError::UrlExists);
                }
                self.members.entry(*id).and_modify(|(old, _)| old.clone_from(urls));
                self.index += 1;
            }
            Ask::Remove(id, ago) => {
                self.there(*id)?;
                if ago.is_some_and(|ago| ago > 0) {
                    return Err(MemberError::Stale);
                }
                if !self.members.iter().any(|(other, (_, replica))| other != id && !replica) {
                    return Err(MemberError::LastVoter);
                }
                self.members.remove(id);
                self.names.remove(id);
                self.removed.insert(*id);
                self.index += 2;
            }
            Ask::Promote(id) => {
                self.there(*id)?;
                match self.members.get_mut(id) {
                    Some((_, replica)) if *replica => *replica = false,
                    _ => return Err(MemberError::Voter),
                }
                self.index += 1;
            }
            Ask::KeepOnly(id, urls) => {
                for gone in self.members.keys().copied().filter(|other| other != id).collect::<Vec<_>>() {
                    self.removed.insert(gone);
                    self.names.remove(&gone);
                    self.index += 2;
                }
                self.removed.remove(id);
                self.members = BTreeMap::from([(*id, (urls.clone(), false))]);
            }
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn random_changes_of_members_do_what_a_list_on_paper_would(asks in vec(ask(), 1..40)) {
        let (mut naive, mut keyspace) = (Naive::default(), Keyspace::new(10));
        keyspace.seed_roster([(1, texts(&["http://a:2380"]))]);
        naive.members.insert(1, (vec!["http://a:2380"], false));
        for ask in &asks {
            let version = keyspace.roster().version();
            let before = keyspace.roster().clone();
            let expected = naive.take(ask);
            let result = keyspace.apply(&command(ask, version), Stamp::default(), &mut Vec::new());
            prop_assert_eq!(keyspace.index(), naive.index, "{:?}", ask);
            match (expected, result) {
                (Ok(()), Ok(applied)) => prop_assert!(applied.event.is_none() && applied.index == naive.index),
                (Err(expected), Err(refusal)) => {
                    prop_assert_eq!(refusal.error, KeyError::Member(expected), "{:?}", ask);
                    prop_assert_eq!(keyspace.roster(), &before, "a refusal has changed something");
                }
                (expected, result) => prop_assert!(false, "{:?}: {:?} instead of {:?}", ask, result, expected),
            }
            let roster = keyspace.roster();
            let held: BTreeMap<u64, (Vec<String>, bool)> =
                roster.members().iter().map(|(id, seat)| (*id, (seat.peer_urls.clone(), seat.replica))).collect();
            let wanted: BTreeMap<u64, (Vec<String>, bool)> =
                naive.members.iter().map(|(id, (urls, replica))| (*id, (texts(urls), *replica))).collect();
            prop_assert_eq!(&held, &wanted);
            for id in 0..8 {
                prop_assert_eq!(roster.is_removed(id), naive.removed.contains(&id));
                prop_assert!(!(roster.is_removed(id) && roster.get(id).is_some()), "{} is both", id);
                let name = keyspace.members().get(id).map(|attributes| attributes.name.as_str());
                prop_assert_eq!(name, naive.names.get(&id).copied());
            }
            // Whatever comes, somebody votes, and no address is two members'.
            prop_assert!(held.values().any(|(_, replica)| !replica));
            let urls: Vec<&String> = held.values().flat_map(|(urls, _)| urls.iter().collect::<BTreeSet<_>>()).collect();
            prop_assert_eq!(urls.iter().collect::<BTreeSet<_>>().len(), urls.len());
            // A change is a new version; what is none leaves the version as it is.
            let is_change = &before != roster;
            prop_assert_eq!(roster.version() > version, is_change);
        }
        let mut copy = Keyspace::new(10);
        keyspace.freeze().records().for_each(|record| copy.restore(record).expect("a record"));
        prop_assert_eq!((copy.roster(), copy.members(), copy.index()), (keyspace.roster(), keyspace.members(), naive.index));
    }
}
