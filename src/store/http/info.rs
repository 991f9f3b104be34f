//! Pages about the cluster and this node: members, machines, statistics, version, health.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use warp::http::StatusCode;
use warp::reply::Response;

use super::answer::{cluster_header, json, typed};
use crate::keyspace::Tally;
use crate::store::{Consistency, Member, Store};

/// The etcd release whose v2 API this is; what `/version` says, because clients decide by it.
const ETCD_SERVER: &str = "3.4.23";
const ETCD_CLUSTER: &str = "3.4.0";

/// How long `/health` waits for the quorum.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// `GET /v2/members`.
pub fn members(store: &Store) -> Response {
    #[derive(Serialize)]
    struct Page {
        members: Vec<Member>,
    }
    of_cluster(store, lined(&Page { members: store.members() }))
}

/// `GET /v2/members/leader`.
pub fn leader(store: &Store) -> Response {
    let leader = store.node().acting_leader().map(|id| format!("{id:x}"));
    match store.members().into_iter().find(|member| Some(&member.id) == leader.as_ref()) {
        Some(member) => of_cluster(store, lined(&member)),
        None => members_error(store, StatusCode::SERVICE_UNAVAILABLE, b"{\"message\":\"During election\"}"),
    }
}

/// `GET /v2/members/…` of anything else, real ids included.
pub fn no_member(store: &Store) -> Response {
    members_error(store, StatusCode::NOT_FOUND, b"{\"message\":\"Not found\"}")
}

/// Unlike the good answers, these have no line feed.
fn members_error(store: &Store, status: StatusCode, body: &'static [u8]) -> Response {
    let mut response = json(status, Bytes::from_static(body));
    cluster_header(response.headers_mut(), store.node().identity().cluster);
    response
}

/// `GET /v2/machines`.
pub fn machines(store: &Store) -> Response {
    let mut urls: Vec<String> = store.members().into_iter().flat_map(|member| member.client_urls).collect();
    urls.sort();
    typed(StatusCode::OK, "text/plain; charset=utf-8", urls.join(", ").into())
}

/// `GET /v2/stats/self`.
pub fn stats(store: &Store) -> Response {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Page {
        name: String,
        id: String,
        state: &'static str,
        start_time: String,
        leader_info: Leader,
        recv_append_request_cnt: u64,
        send_append_request_cnt: u64,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Leader {
        leader: String,
        uptime: String,
        start_time: String,
    }
    let node = store.node();
    let (started, _) = store.started();
    let (leading_since, uptime) = node.notes().leading_since();
    let (sent, received) = node.notes().counts();
    let page = Page {
        name: store.name().into(),
        id: format!("{:x}", node.identity().member),
        state: if node.is_leader() { "StateLeader" } else { "StateFollower" },
        start_time: started.to_string(),
        leader_info: Leader {
            leader: node.leader().map_or_else(String::new, |id| format!("{id:x}")),
            uptime: format!("{:.9}s", uptime.as_secs_f64()),
            start_time: leading_since.to_string(),
        },
        recv_append_request_cnt: received,
        send_append_request_cnt: sent,
    };
    json(StatusCode::OK, plain(&page))
}

/// `GET /version`.
pub fn version() -> Response {
    let body = format!("{{\"etcdserver\":\"{ETCD_SERVER}\",\"etcdcluster\":\"{ETCD_CLUSTER}\"}}");
    json(StatusCode::OK, body.into())
}

/// `GET /health`: healthy when this node can read what the whole cluster has acknowledged.
pub async fn health(store: &Store) -> Response {
    let check = tokio::time::timeout(HEALTH_TIMEOUT, store.wait_for(Consistency::Linearizable));
    match check.await {
        Ok(Ok(())) => {
            // etcd reads the root of its store to find out.
            store.count_gets(Tally { success: 1, fail: 0 });
            typed(StatusCode::OK, "text/plain; charset=utf-8", Bytes::from_static(b"{\"health\":\"true\"}"))
        }
        Ok(Err(_)) | Err(_) => {
            let body = Bytes::from_static(b"{\"health\":\"false\"}\n");
            typed(StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", body)
        }
    }
}

fn of_cluster(store: &Store, body: Bytes) -> Response {
    let mut response = json(StatusCode::OK, body);
    cluster_header(response.headers_mut(), store.node().identity().cluster);
    response
}

fn plain(page: &impl Serialize) -> Bytes {
    // These pages are structures of texts and numbers, which always can be written.
    serde_json::to_vec(page).unwrap_or_default().into()
}

fn lined(page: &impl Serialize) -> Bytes {
    let mut bytes = serde_json::to_vec(page).unwrap_or_default();
    bytes.push(b'\n');
    bytes.into()
}
