//! Pages for whoever looks after a node: figures for Prometheus, variables, the log's level.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use nix::sys::resource::{Resource, getrlimit};
use serde::{Deserialize, Serialize};
use warp::http::StatusCode;
use warp::reply::Response;

use crate::store::http::answer::{message, text_error, typed};
use crate::store::http::body;
use crate::store::http::body::Pieces;
use crate::store::{Store, log_level};

/// Most bytes of a request to set the log's level.
const LEVEL_BYTES: usize = 64 << 10;

/// `/metrics`, by any method.
pub async fn metrics(store: &Arc<Store>) -> Response {
    let asked = store.clone();
    // It looks at files.
    let text = tokio::task::spawn_blocking(move || asked.metrics_text()).await;
    match text.map_err(|error| error.to_string()).and_then(|text| text) {
        Ok(text) => typed(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text.into()),
        Err(error) => {
            tracing::warn!(error, "no figures for Prometheus");
            text_error(StatusCode::INTERNAL_SERVER_ERROR, "the figures could not be gathered, see the log\n")
        }
    }
}

/// `GET /debug/vars`: what Go programs publish there (`expvar`), as far as it means something here.
pub fn variables(store: &Store) -> Response {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Raft {
        id: String,
        term: u64,
        vote: String,
        commit: u64,
        lead: String,
        raft_state: &'static str,
        applied: u64,
        progress: BTreeMap<String, u64>,
    }
    /// In bytes; the members of Go's that a process without a collector has.
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Memory {
        alloc: u64,
        sys: u64,
        heap_alloc: u64,
        heap_sys: u64,
    }
    let status = store.node().status();
    let hex = |id: u64| format!("{id:x}");
    let raft = Raft {
        id: hex(store.node().identity().member),
        term: status.term,
        vote: hex(status.voted_for),
        commit: status.committed,
        lead: hex(status.leader.unwrap_or_default()),
        raft_state: match (status.is_leader, status.is_learner) {
            (true, _) => "StateLeader",
            (false, true) => "StateLearner",
            (false, false) => "StateFollower",
        },
        applied: status.applied,
        progress: status.matched.iter().map(|(id, index)| (hex(*id), *index)).collect(),
    };
    let (size, resident) = memory();
    let memory = Memory { alloc: resident, sys: size, heap_alloc: resident, heap_sys: size };
    let command: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
    let mut out = b"{\n".to_vec();
    let pairs = [
        ("cmdline", text(&command)),
        ("file_descriptor_limit", text(&files)),
        ("memstats", text(&memory)),
        ("raft.status", text(&raft)),
    ];
    for (at, (name, value)) in pairs.into_iter().enumerate() {
        let comma = if at == 0 { "" } else { ",\n" };
        out.extend_from_slice(format!("{comma}\"{name}\": ").as_bytes());
        out.extend_from_slice(&value);
    }
    out.extend_from_slice(b"\n}\n");
    typed(StatusCode::OK, "application/json; charset=utf-8", out.into())
}

fn text(value: &impl Serialize) -> Vec<u8> {
    // These are structures of texts and numbers, which always can be written.
    serde_json::to_vec(value).unwrap_or_default()
}

/// The process's size and what of it is in memory, in bytes (proc(5), statm).
fn memory() -> (u64, u64) {
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096);
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = statm.split(' ').map(|count| count.parse().unwrap_or(0) * page.cast_unsigned());
    (pages.next().unwrap_or_default(), pages.next().unwrap_or_default())
}

/// `PUT /config/local/log`: sets the log's level for this run. Whoever may call it has been decided before.
pub async fn set_level(content: impl Pieces) -> Response {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "lowercase")]
    struct LevelInput {
        #[serde(default)]
        level: Option<String>,
    }
    let bytes = match body::read_up_to(content, LEVEL_BYTES).await {
        Ok(bytes) => bytes,
        Err(broken) => {
            let (status, words) = broken.status();
            return message(status, words.unwrap_or("Invalid json body").as_bytes());
        }
    };
    // Like Go: names in any case, what follows the first value is not looked at, null is nothing.
    let first = serde_json::Deserializer::from_slice(&bytes).into_iter::<serde_json::Value>().next();
    let wish = match first {
        Some(Ok(serde_json::Value::Object(members))) => {
            let lower = members.into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect();
            serde_json::from_value(serde_json::Value::Object(lower)).ok()
        }
        Some(Ok(serde_json::Value::Null)) => Some(LevelInput::default()),
        _ => None,
    };
    let Some(wish) = wish else { return message(StatusCode::BAD_REQUEST, b"Invalid json body") };
    let name = wish.level.unwrap_or_default();
    let Some(level) = log_level::parse(&name.to_uppercase()) else {
        return message(StatusCode::BAD_REQUEST, format!("Invalid log level {name}").as_bytes());
    };
    match log_level::set(level) {
        Ok(()) => {
            tracing::info!(%level, "log level set by a client");
            let mut response = Response::new(Bytes::new().into());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        Err(error) => message(StatusCode::INTERNAL_SERVER_ERROR, error.as_bytes()),
    }
}
