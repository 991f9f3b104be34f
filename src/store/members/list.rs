//! The members of the cluster, and how their ids come about.

use sha1::{Digest, Sha1};

use crate::client::Member;
use crate::keyspace::Seat;
use crate::raft::Node;

/// The id of a first member: the first eight bytes of the SHA-1 of its peer URLs, sorted, and the cluster's token
/// (etcd `etcdserver/api/membership/member.go`).
pub fn member_id(peer_urls: &[String], token: &str) -> u64 {
    let mut sorted = peer_urls.to_vec();
    sorted.sort();
    first_eight(Sha1::new().chain_update(sorted.concat()).chain_update(token))
}

/// The cluster's id: the first eight bytes of the SHA-1 of its first members' ids, ascending (etcd
/// `etcdserver/api/membership/cluster.go`).
pub fn cluster_id<'a>(members: impl IntoIterator<Item = &'a u64>) -> u64 {
    let mut ids: Vec<u64> = members.into_iter().copied().collect();
    ids.sort_unstable();
    first_eight(ids.iter().fold(Sha1::new(), |hash, id| hash.chain_update(id.to_be_bytes())))
}

/// The id of a member that is added later: as etcd's, from its URLs and the time (in nanoseconds here, so that two
/// members added in one second differ).
pub fn added_id(peer_urls: &[String], wall_nanos: i64) -> u64 {
    member_id(peer_urls, &wall_nanos.to_string()).max(1)
}

fn first_eight(hash: Sha1) -> u64 {
    let digest = hash.finalize();
    digest.iter().take(8).fold(0, |id, byte| id << 8 | u64::from(*byte))
}

/// All members in the order of their ids, as far as this node knows.
pub fn list(node: &Node) -> Vec<Member> {
    let replica = node.state().read();
    let view = |(id, seat): (&u64, &Seat)| {
        let attributes = replica.keyspace.members().get(*id);
        Member {
            id: format!("{id:x}"),
            name: replica.name_of(*id),
            peer_urls: seat.peer_urls.clone(),
            client_urls: attributes.map_or_else(Vec::new, |a| a.client_urls.clone()),
            is_learner: seat.replica,
        }
    };
    replica.keyspace.roster().members().iter().map(view).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_etcd() {
        // As a real etcd 3.4 prints them for its defaults.
        let id = member_id(&["http://localhost:2380".into()], "etcd-cluster");
        assert_eq!(format!("{id:x}"), "8e9e05c52164694d");
        assert_eq!(format!("{:x}", cluster_id(&[id])), "cdf818194e3a8c32");
        // As it registers with a discovery URL, which is the token then.
        let id = member_id(&["http://127.0.0.1:31382".into()], "http://127.0.0.1:31379/v2/keys/d");
        assert_eq!(format!("{id:x}"), "c9838b858e006d7a");
    }
}
