//! Who is connected to the peer port, and how much of it one may take up: a caller that has not said who it is gets
//! little, and no single address or member can crowd out the others.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use super::incoming::Transfers;
use crate::repeats::Repeats;

/// Connections whose caller is not known to be a member, from one address and in all.
const UNKNOWN_PER_ADDRESS: usize = 32;
const UNKNOWN: usize = 128;

/// Connections of one member: one for each of its lanes, and those that broke and have not been noticed yet.
const CONNECTIONS_PER_MEMBER: usize = 16;

/// Connections of all members.
const CONNECTIONS: usize = 192;

/// Why a connection is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Crowded {
    /// Too many come from one address and have not said who they are.
    #[error("{UNKNOWN_PER_ADDRESS} connections from its address have not said who they are")]
    Address,
    /// Too many have not said who they are.
    #[error("{UNKNOWN} connections have not said who they are")]
    Unknown,
    /// The member has too many.
    #[error("the member has {CONNECTIONS_PER_MEMBER} connections already")]
    Member,
    /// There are too many.
    #[error("there are {CONNECTIONS} connections of members already")]
    All,
}

/// The callers of one node. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Callers {
    counts: Arc<Mutex<Counts>>,
    /// The snapshots that they send.
    pub transfers: Transfers,
    complaints: Arc<Repeats<(IpAddr, String)>>,
    /// Why none could be accepted, by the system's number.
    pub unaccepted: Arc<Repeats<Option<i32>>>,
    /// Why no snapshot of theirs could be installed.
    pub uninstalled: Arc<Repeats<ErrorKind>>,
}

#[derive(Debug, Default)]
struct Counts {
    unknown: BTreeMap<IpAddr, usize>,
    members: BTreeMap<u64, usize>,
}

/// The place of one connection, free again when this is dropped.
#[derive(Debug)]
pub struct Seat {
    counts: Arc<Mutex<Counts>>,
    holder: Holder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Unknown(IpAddr),
    Member(u64),
}

impl Callers {
    /// A place for a new connection from an address.
    ///
    /// # Errors
    /// `Address` and `Unknown`: it is to be closed.
    pub fn arrive(&self, from: IpAddr) -> Result<Seat, Crowded> {
        let mut counts = self.counts.lock().expect("peer callers lock poisoned");
        if counts.unknown.values().sum::<usize>() >= UNKNOWN {
            return Err(Crowded::Unknown);
        }
        if counts.unknown.get(&from).is_some_and(|count| *count >= UNKNOWN_PER_ADDRESS) {
            return Err(Crowded::Address);
        }
        *counts.unknown.entry(from).or_default() += 1;
        Ok(Seat { counts: self.counts.clone(), holder: Holder::Unknown(from) })
    }

    /// Whether to log that something is wrong with callers from an address, and how many times it was not logged since
    /// the last time.
    pub fn complain(&self, from: IpAddr, what: &dyn std::fmt::Display) -> Option<u64> {
        self.complaints.say(&(from, what.to_string()))
    }
}

impl Seat {
    /// The caller has said who it is, and is taken for that.
    ///
    /// # Errors
    /// `Member` and `All`: it is to be closed.
    pub fn belongs_to(&mut self, member: u64) -> Result<(), Crowded> {
        let mut counts = self.counts.lock().expect("peer callers lock poisoned");
        if counts.members.values().sum::<usize>() >= CONNECTIONS {
            return Err(Crowded::All);
        }
        if counts.members.get(&member).is_some_and(|count| *count >= CONNECTIONS_PER_MEMBER) {
            return Err(Crowded::Member);
        }
        *counts.members.entry(member).or_default() += 1;
        counts.leave(self.holder);
        self.holder = Holder::Member(member);
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // After a panic under the lock nobody is counted any more, and a panic here could come on top of another.
        if let Ok(mut counts) = self.counts.lock() {
            counts.leave(self.holder);
        }
    }
}

impl Counts {
    fn leave(&mut self, holder: Holder) {
        fn less<K: Ord>(counts: &mut BTreeMap<K, usize>, key: K) {
            if let Some(count) = counts.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&key);
                }
            }
        }
        match holder {
            Holder::Unknown(from) => less(&mut self.unknown, from),
            Holder::Member(id) => less(&mut self.members, id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn one_address_cannot_crowd_out_the_others_and_a_place_is_free_again() {
        let callers = Callers::default();
        let mut seats: Vec<Seat> =
            (0..UNKNOWN_PER_ADDRESS).map(|_| callers.arrive(address(1)).unwrap()).collect();
        assert_eq!(callers.arrive(address(1)).unwrap_err(), Crowded::Address);
        seats.push(callers.arrive(address(2)).unwrap());
        seats.remove(0);
        assert!(callers.arrive(address(1)).is_ok());
        drop(seats);
        assert!(callers.counts.lock().unwrap().unknown.is_empty());
    }

    #[test]
    fn those_that_do_not_say_who_they_are_take_no_place_of_a_member() {
        let callers = Callers::default();
        let seat = |number: usize| callers.arrive(address(u8::try_from(number % 9).unwrap()));
        let seats: Vec<Seat> = (0..UNKNOWN).map(|number| seat(number).unwrap()).collect();
        assert_eq!(seat(8).unwrap_err(), Crowded::Unknown);
        drop(seats);
        let mut known = Vec::new();
        for _ in 0..CONNECTIONS_PER_MEMBER {
            let mut seat = seat(0).unwrap();
            seat.belongs_to(7).unwrap();
            known.push(seat);
        }
        let mut more = seat(0).unwrap();
        assert_eq!(more.belongs_to(7).unwrap_err(), Crowded::Member);
        more.belongs_to(8).unwrap();
        assert_eq!(callers.counts.lock().unwrap().members, BTreeMap::from([(7, 16), (8, 1)]));
        assert!(callers.counts.lock().unwrap().unknown.is_empty());
        for id in 100..100 + (CONNECTIONS - known.len() - 1) as u64 {
            let mut seat = seat(0).unwrap();
            seat.belongs_to(id).unwrap();
            known.push(seat);
        }
        assert_eq!(seat(0).unwrap().belongs_to(99).unwrap_err(), Crowded::All);
    }
}
