//! Pages about the cluster and this node: machines, statistics, version, health.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use warp::http::StatusCode;
use warp::reply::Response;

use crate::keyspace::Tally;
use crate::raft::Latency;
use crate::store::http::answer::{json, typed};
use crate::store::{Consistency, Store};

/// The etcd release whose v2 API this is; what `/version` says, because clients decide by it.
pub const ETCD_SERVER: &str = "3.4.23";
const ETCD_CLUSTER: &str = "3.4.0";

/// The version whose capabilities etcd says that it has enabled, once a cluster of that release is up.
pub const ETCD_CAPABILITIES: &str = "3.4";

/// How long `/health` waits for the quorum.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

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
        #[serde(skip_serializing_if = "Option::is_none")]
        recv_pkg_rate: Option<f64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        recv_bandwidth_rate: Option<f64>,
        send_append_request_cnt: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        send_pkg_rate: Option<f64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        send_bandwidth_rate: Option<f64>,
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
    let (leading_since, uptime) = node.statistics().leading_since();
    let (sent, received) = node.statistics().counts();
    let [sending, receiving] = node.statistics().rates();
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
        recv_pkg_rate: receiving.map(|(messages, _)| messages),
        recv_bandwidth_rate: receiving.map(|(_, bytes)| bytes),
        send_append_request_cnt: sent,
        send_pkg_rate: sending.map(|(messages, _)| messages),
        send_bandwidth_rate: sending.map(|(_, bytes)| bytes),
    };
    json(StatusCode::OK, plain(&page))
}

/// `GET /v2/stats/leader`: how the followers answer; only the leader knows. Times are in milliseconds.
pub fn leader_stats(store: &Store) -> Response {
    #[derive(Serialize)]
    struct Page {
        leader: String,
        followers: BTreeMap<String, Follower>,
    }
    #[derive(Serialize)]
    struct Follower {
        latency: Times,
        counts: Counts,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Times {
        current: f64,
        average: f64,
        standard_deviation: f64,
        minimum: f64,
        maximum: f64,
    }
    #[derive(Serialize)]
    struct Counts {
        fail: u64,
        success: u64,
    }
    let node = store.node();
    if !node.is_leader() {
        return json(StatusCode::FORBIDDEN, Bytes::from_static(b"{\"message\":\"not current leader\"}"));
    }
    let members = node.members();
    let followers = node.statistics().followers().into_iter().filter(|(id, _)| members.contains_key(id));
    let follower = |(id, latency): (u64, Latency)| {
        let Latency { current, average, minimum, maximum, fail, success, .. } = latency;
        let standard_deviation = latency.standard_deviation();
        let latency = Times { current, average, standard_deviation, minimum, maximum };
        (format!("{id:x}"), Follower { latency, counts: Counts { fail, success } })
    };
    let leader = format!("{:x}", node.identity().member);
    json(StatusCode::OK, plain(&Page { leader, followers: followers.map(follower).collect() }))
}

/// `GET /version`.
pub fn version() -> Response {
    let body = format!("{{\"etcdserver\":\"{ETCD_SERVER}\",\"etcdcluster\":\"{ETCD_CLUSTER}\"}}");
    json(StatusCode::OK, body.into())
}

/// `GET /health`: healthy when this node can read what the whole cluster has acknowledged, and has made itself known.
pub async fn health(store: &Store) -> Response {
    let check = tokio::time::timeout(HEALTH_TIMEOUT, store.wait_for(Consistency::Linearizable));
    let checked = check.await;
    store.metrics().health.count(matches!(checked, Ok(Ok(()))) && store.is_published());
    match checked {
        Ok(Ok(())) if store.is_published() => {
            // etcd reads the root of its store to find out.
            store.count_gets(Tally { success: 1, fail: 0 });
            typed(StatusCode::OK, "text/plain; charset=utf-8", Bytes::from_static(b"{\"health\":\"true\"}"))
        }
        _ => {
            let body = Bytes::from_static(b"{\"health\":\"false\"}\n");
            typed(StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", body)
        }
    }
}

fn plain(page: &impl Serialize) -> Bytes {
    // These pages are structures of texts and numbers, which always can be written.
    serde_json::to_vec(page).unwrap_or_default().into()
}
