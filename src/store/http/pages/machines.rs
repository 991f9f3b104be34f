//! `/v2/keys/_etcd/machines`: the members as etcd 0.4 kept them among the keys, for clients of that time such as
//! node-etcd. Made from the list of members at each read; nothing is stored, and nothing can be written.

use url::form_urlencoded::byte_serialize;
use warp::http::{Method, StatusCode};
use warp::reply::Response;

use super::params::Params;
use crate::keyspace::{Key, KeyError, Refusal, json_string};
use crate::store::http::Api;
use crate::store::http::answer;
use crate::store::http::answer::{ApiError, Indexes};
use crate::store::{Consistency, Member, StoreError};

const DIRECTORY: &[u8] = b"/_etcd/machines";

/// Whether `key` belongs to this page and not to the keyspace.
pub fn has(key: &Key) -> bool {
    key.as_bytes() == DIRECTORY || key.is_below(DIRECTORY)
}

/// Answers a request for a key of this page.
///
/// # Errors
/// 107 for every write; 209 for a watch; 100 for a member that is not there; 104 below one.
pub async fn answer(api: &Api, method: &Method, key: &Key, params: &Params) -> Result<Response, ApiError> {
    let store = &api.store;
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Err(ApiError::request(107, key.as_bytes()));
    }
    if params.wait && params.quorum != Some(true) {
        let cause = "the members are no keys that could be watched: read them again, or ask for /v2/members";
        return Err(ApiError::request(209, cause));
    }
    let consistency =
        if params.quorum == Some(false) { Consistency::Local } else { Consistency::Linearizable };
    store.wait_for(consistency).await?;
    let (raft_term, raft_index, index) = {
        let (term, _) = store.node().progress();
        let replica = store.node().state().read();
        (term, replica.applied.map_or(0, |id| id.index), replica.keyspace.index())
    };
    let refused = |error| ApiError::from(StoreError::Refused(Refusal { error, index }));
    let body = page(&store.members(), key).map_err(refused)?;
    let indexes = Indexes { etcd: index, raft: raft_index, term: raft_term };
    Ok(answer::keys(StatusCode::OK, body.into(), store.node().identity().cluster, indexes))
}

/// The whole directory, or one member.
fn page(members: &[Member], key: &Key) -> Result<Vec<u8>, KeyError> {
    let mut machines: Vec<(String, String)> =
        members.iter().filter(|member| !member.name.is_empty()).map(machine).collect();
    machines.sort();
    let mut out = b"{\"action\":\"get\",\"node\":{".to_vec();
    if key.as_bytes() == DIRECTORY {
        out.extend_from_slice(b"\"key\":\"/_etcd/machines\",\"dir\":true");
        for (position, (name, value)) in machines.iter().enumerate() {
            out.extend_from_slice(if position == 0 { b",\"nodes\":[{" } else { b",{" });
            file(&mut out, name, value);
            out.push(b'}');
        }
        if !machines.is_empty() {
            out.push(b']');
        }
        out.extend_from_slice(INDEXES);
    } else {
        let below = &key.as_bytes()[DIRECTORY.len() + 1..];
        let (name, deeper) = match below.iter().position(|byte| *byte == b'/') {
            Some(end) => (&below[..end], true),
            None => (below, false),
        };
        let full = [DIRECTORY, b"/", name].concat();
        let missing = || Key::parse(&full).expect("a part of a key is a key");
        let Some((name, value)) = machines.iter().find(|(known, _)| known.as_bytes() == name) else {
            return Err(KeyError::NotFound { missing: missing() });
        };
        if deeper {
            return Err(KeyError::NotDirectory { file: missing() });
        }
        file(&mut out, name, value);
    }
    out.extend_from_slice(b"}}\n");
    Ok(out)
}

/// Nobody wrote these nodes, so no change of the store is theirs.
const INDEXES: &[u8] = b",\"modifiedIndex\":1,\"createdIndex\":1";

fn file(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(b"\"key\":");
    json_string(out, format!("/_etcd/machines/{name}").as_bytes());
    out.extend_from_slice(b",\"value\":");
    json_string(out, value.as_bytes());
    out.extend_from_slice(INDEXES);
}

/// A member's name, or its id where the name is no component of a key, and its first URLs as 0.4 wrote them.
fn machine(member: &Member) -> (String, String) {
    let unfit = member.name.contains('/') || matches!(member.name.as_str(), "." | "..");
    let name = if unfit { member.id.clone() } else { member.name.clone() };
    let first = |urls: &[String]| -> String {
        byte_serialize(urls.first().map_or("", String::as_str).as_bytes()).collect()
    };
    (name, format!("etcd={}&raft={}", first(&member.client_urls), first(&member.peer_urls)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str) -> Member {
        Member {
            id: "1f".into(),
            name: name.into(),
            peer_urls: vec!["http://10.0.0.1:2380".into()],
            client_urls: vec!["http://10.0.0.1:2379".into()],
            is_learner: false,
        }
    }

    fn read(members: &[Member], key: &str) -> Result<String, KeyError> {
        page(members, &Key::parse(key.as_bytes()).unwrap()).map(|body| String::from_utf8(body).unwrap())
    }

    #[test]
    fn the_directory_lists_members_by_name_as_etcd_0_4_did() {
        let listing = read(&[member("b"), member(""), member("a")], "/_etcd/machines").unwrap();
        let value = "etcd=http%3A%2F%2F10.0.0.1%3A2379\\u0026raft=http%3A%2F%2F10.0.0.1%3A2380";
        let node = |name: &str| {
            format!(
                r#"{{"key":"/_etcd/machines/{name}","value":"{value}","modifiedIndex":1,"createdIndex":1}}"#
            )
        };
        let wanted = format!(
            r#"{{"action":"get","node":{{"key":"/_etcd/machines","dir":true,"nodes":[{},{}],"modifiedIndex":1,"createdIndex":1}}}}"#,
            node("a"),
            node("b")
        );
        assert_eq!(listing, wanted + "\n");
        assert_eq!(
            read(&[member("a")], "/_etcd/machines/a").unwrap(),
            format!(r#"{{"action":"get","node":{}}}"#, node("a")) + "\n"
        );
    }

    #[test]
    fn members_that_are_not_there_are_not_found() {
        let refused = |key: &str| read(&[member("a")], key).unwrap_err();
        assert!(
            matches!(refused("/_etcd/machines/b"), KeyError::NotFound { missing } if missing.as_bytes() == b"/_etcd/machines/b")
        );
        assert!(
            matches!(refused("/_etcd/machines/a/x"), KeyError::NotDirectory { file } if file.as_bytes() == b"/_etcd/machines/a")
        );
    }

    #[test]
    fn a_name_that_is_no_component_gives_way_to_the_id() {
        assert!(read(&[member("a/b")], "/_etcd/machines/1f").is_ok());
    }

    #[test]
    fn only_the_directory_and_what_is_below_belong_here() {
        let has = |key: &str| has(&Key::parse(key.as_bytes()).unwrap());
        assert!(has("/_etcd/machines") && has("/_etcd/machines/a/b"));
        assert!(!has("/_etcd") && !has("/_etcd/machinesX") && !has("/_etcd/registry/x"));
    }
}
