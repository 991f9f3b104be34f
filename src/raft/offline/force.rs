//! Disaster recovery: makes a node's data that of a cluster of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use openraft::{EntryPayload, LogId, Membership};

use crate::clock::{Stamp, wall_nanos};
use crate::keyspace::{Command, batch};
use crate::raft::membership::admission::Admission;
use crate::raft::peer::card::Refusal;
use crate::raft::state::snapshot;
use crate::raft::storage::{DISMISSED, Storage};
use crate::raft::types::{Peer, Proposal, RaftEntry, RaftLogId, RaftMembership, Ticket};

impl Storage {
    /// Writes into the log that this node is the only member of its cluster, behind whatever else is there: entries
    /// that were never acknowledged are committed with it, as in etcd. Keys, index and the cluster's id stay. Where
    /// the node is reached stays, too; `peer_urls` is for data that does not know.
    ///
    /// # Errors
    /// There is no data, or the disk fails.
    pub fn force_new_cluster(&mut self, peer_urls: &[String]) -> io::Result<()> {
        let nothing = || io::Error::new(io::ErrorKind::NotFound, "there is no data to start a cluster from");
        let identity = self.identity.clone().ok_or_else(nothing)?;
        let me = identity.member;
        let saved = match self.folder.newest()? {
            Some(path) => Some(snapshot::read_meta(&path)?),
            None => None,
        };
        let in_snapshot = saved.as_ref().and_then(|meta| meta.last);
        let last: RaftLogId = self.log.last_id()?.max(in_snapshot).ok_or_else(nothing)?;
        let known: Option<Membership<u64, Peer>> = match self.log.last_membership()? {
            Some(membership) => Some(membership),
            None => saved.map(|meta| RaftMembership::membership(&meta.membership).clone()),
        };
        let peer = known.as_ref().and_then(|membership| membership.get_node(&me)).cloned();
        let peer = peer.unwrap_or_else(|| Peer { name: String::new(), peer_urls: peer_urls.to_vec() });

        let incarnation = crate::raft::unique()?;
        let folders = BTreeMap::from([(me, self.folder_id)]);
        let alone = Command::KeepOnlyMember { id: me, peer_urls: peer.peer_urls.clone() };
        let founded = Command::Found { incarnation, folders: folders.clone() };
        let commands = batch::encode(&[alone, founded], self.version).map_err(io::Error::other)?.into();
        // The clock's reading of the data is kept: time does not go back for a stamp that is older.
        let at = Stamp { clock: i64::MIN, wall: wall_nanos() };
        // A run of its own, between the earlier ones and this one.
        let session = self.run;
        self.run = self.identity_store.next_run(session)?;
        let ticket = Ticket { node: me, session, seq: 1 };
        let alone = Membership::new(vec![BTreeSet::from([me])], BTreeMap::from([(me, peer)]));
        let alone = alone.map_err(io::Error::other)?;
        let place = |further: u64| LogId::new(*last.committed_leader_id(), last.index + further);
        let entries = [
            RaftEntry { log_id: place(1), payload: EntryPayload::Membership(alone) },
            RaftEntry { log_id: place(2), payload: EntryPayload::Normal(Proposal { at, ticket, commands }) },
        ];
        // From here on it is another founding, with which the members that it had have nothing to do.
        let founders = BTreeMap::new();
        self.admit(Admission { identity, incarnation, folders, founds: true, founders })?;
        self.identity_store.write(DISMISSED, &None::<Refusal>)?;
        self.dismissed = None;
        self.log.append_durably(last, &entries)?;
        Ok(())
    }
}
