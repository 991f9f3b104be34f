//! `/v2/members`: who belongs to the cluster, with etcd's checks in etcd's order, and Muster's own pages about members
//! below `/muster/v1`.

use bytes::Bytes;
use serde::Serialize;
use warp::http::{HeaderMap, Method, StatusCode, header};
use warp::reply::Response;

use crate::format::{LOWEST, highest};
use crate::keyspace::{KeyError, MemberError, PEER_URLS_BYTES};
use crate::store::http::answer::{cluster_header, json, message, method_not_allowed, not_found, text_error};
use crate::store::http::body;
use crate::store::http::body::Pieces;
use crate::store::http::go::form::{Field, Form};
use crate::store::http::go::json::Json;
use crate::store::http::go::url;
use crate::store::http::head::Head;
use crate::store::{Member, Store, StoreError};

/// The page as Go's own error texts name the type of a member's request.
const GO_TYPE: &str = "struct { PeerURLs []string \"json:\\\"peerURLs\\\"\" }";

/// A refusal: status and words.
struct Refusal(StatusCode, String);

type Outcome = Result<Response, Refusal>;

/// What a request about a member names.
#[derive(Debug, PartialEq, Eq)]
struct MemberInput {
    peer_urls: Vec<String>,
    replica: bool,
}

/// Answers any request below `/v2/members`.
pub async fn answer(store: &Store, head: Head<'_>, body: impl Pieces) -> Response {
    let Head { method, path: rest, query, headers } = head;
    let rest = rest.strip_prefix(b"/").unwrap_or(rest);
    let outcome = match *method {
        Method::GET => list(store, rest),
        Method::POST => add(store, headers, body).await,
        Method::PUT | Method::DELETE if rest.is_empty() => {
            let response = text_error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
            return of_cluster(store, response);
        }
        Method::PUT => update(store, rest, headers, body).await,
        Method::DELETE => remove(store, rest, query).await,
        _ => return method_not_allowed("GET,POST,DELETE,PUT"),
    };
    of_cluster(store, outcome.unwrap_or_else(Refusal::into_response))
}

/// Answers a request below `/muster/v1`, where Muster's own pages about members are.
pub async fn answer_own(store: &Store, head: Head<'_>) -> Response {
    let Head { method, path: rest, query, .. } = head;
    let parts: Vec<&[u8]> = rest.split(|byte| *byte == b'/').skip(1).collect();
    let outcome = match (method, parts.as_slice()) {
        (&Method::GET, [b"members"]) => Ok(member_statuses(store).await),
        (&Method::GET, [b"version"]) => Ok(version(store)),
        (_, [b"members"] | [b"version"]) => return method_not_allowed("GET"),
        (&Method::POST, [b"members", id, b"promote"]) => promote(store, id).await,
        (&Method::POST, [b"leader"]) => move_leader(store, query).await,
        (_, [b"members", _, b"promote"] | [b"leader"]) => return method_not_allowed("POST"),
        _ => return not_found(),
    };
    of_cluster(store, outcome.unwrap_or_else(Refusal::into_response))
}

fn list(store: &Store, rest: &[u8]) -> Outcome {
    #[derive(Serialize)]
    struct Page {
        members: Vec<Member>,
    }
    match rest {
        b"" => Ok(lined(StatusCode::OK, &Page { members: store.members() })),
        b"leader" => {
            let leader = store.node().acting_leader().map(|id| format!("{id:x}"));
            let member = store.members().into_iter().find(|member| Some(&member.id) == leader.as_ref());
            let nobody = || Refusal(StatusCode::SERVICE_UNAVAILABLE, "During election".into());
            Ok(lined(StatusCode::OK, &member.ok_or_else(nobody)?))
        }
        // Real ids included, as in etcd.
        _ => Err(Refusal(StatusCode::NOT_FOUND, "Not found".into())),
    }
}

async fn add(store: &Store, headers: &HeaderMap, body: impl Pieces) -> Outcome {
    let wish = wish(store, headers, body).await?;
    let member = store.add_member(wish.peer_urls, wish.replica).await;
    let member = member.map_err(|error| refusal(error, ""))?;
    Ok(lined(StatusCode::CREATED, &member))
}

async fn update(store: &Store, rest: &[u8], headers: &HeaderMap, body: impl Pieces) -> Outcome {
    let id = member_id(rest)?;
    let wish = wish(store, headers, body).await?;
    match store.update_member(id, wish.peer_urls).await {
        Ok(()) => Ok(nothing()),
        // etcd has no words for this one.
        Err(error) if is_gone(&error) => Err(server_error()),
        Err(error) => Err(refusal(error, &format!("{id:x}"))),
    }
}

async fn remove(store: &Store, rest: &[u8], query: &str) -> Outcome {
    let id = member_id(rest)?;
    let force = parameter(query, Field::FORCE);
    match store.remove_member(id, force.as_deref() == Some("true")).await {
        Ok(()) => Ok(nothing()),
        // Whoever knows of force is told why; others are answered as etcd answers them.
        Err(StoreError::Unwilling(why)) if force.is_some() => Err(Refusal(StatusCode::CONFLICT, why)),
        Err(error) => Err(refusal(error, &format!("{id:x}"))),
    }
}

async fn member_statuses(store: &Store) -> Response {
    lined(StatusCode::OK, &store.member_statuses().await)
}

/// What this node is and can do, and what its cluster has reached.
fn version(store: &Store) -> Response {
    #[derive(Serialize)]
    struct Page {
        release: &'static str,
        version: String,
        lowest: String,
        cluster: String,
        /// What members of the next version say.
        #[cfg(debug_assertions)]
        #[serde(skip_serializing_if = "Vec::is_empty")]
        remarks: Vec<String>,
    }
    let page = Page {
        release: env!("CARGO_PKG_VERSION"),
        version: highest().to_string(),
        lowest: LOWEST.to_string(),
        cluster: store.node().state().versions().reached().to_string(),
        #[cfg(debug_assertions)]
        remarks: {
            let replica = store.node().state().read();
            let said = |id: &u64| {
                replica.keyspace.members().get(*id).and_then(|attributes| attributes.remark.clone())
            };
            replica.keyspace.roster().members().keys().filter_map(said).collect()
        },
    };
    lined(StatusCode::OK, &page)
}

async fn promote(store: &Store, id: &[u8]) -> Outcome {
    let id = member_id(id)?;
    match store.promote_member(id).await {
        Ok(()) => Ok(nothing()),
        Err(error) => Err(refusal(error, &format!("{id:x}"))),
    }
}

async fn move_leader(store: &Store, query: &str) -> Outcome {
    let to = parameter(query, Field::TO).map(|text| member_id(text.as_bytes())).transpose()?;
    match store.move_leader(to).await {
        Ok(member) => Ok(lined(StatusCode::OK, &member)),
        Err(StoreError::Unwilling(why)) => Err(Refusal(StatusCode::CONFLICT, why)),
        Err(error) => Err(refusal(error, &format!("{:x}", to.unwrap_or_default()))),
    }
}

/// A parameter of the query; one that cannot be read counts as absent.
fn parameter(query: &str, field: Field) -> Option<String> {
    let form = Form::parse(None, query).ok()?;
    form.get(field).map(|value| String::from_utf8_lossy(value).into_owned())
}

/// An id in hexadecimal.
fn member_id(text: &[u8]) -> Result<u64, Refusal> {
    let shown = String::from_utf8_lossy(text);
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_hexdigit);
    let id = digits.then(|| u64::from_str_radix(&shown, 16).ok()).flatten();
    id.ok_or_else(|| Refusal(StatusCode::NOT_FOUND, format!("No such member: {shown}")))
}

/// What the body asks for.
async fn wish(store: &Store, headers: &HeaderMap, body: impl Pieces) -> Result<MemberInput, Refusal> {
    check_type(headers)?;
    let bad = |words: String| Refusal(StatusCode::BAD_REQUEST, words);
    let body = body::read(body, headers, store.limits()).await;
    let body = body.map_err(|broken| {
        let (status, words) = broken.status();
        Refusal(status, words.unwrap_or("http: request body too large").into())
    })?;
    read_wish(&body.bytes).map_err(bad)
}

/// Only a type with parameters is trimmed and lower-cased, as in etcd.
fn check_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let given = headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes()).unwrap_or_default();
    let given = String::from_utf8_lossy(given);
    let media = match given.split_once(';') {
        Some((media, _)) => media.to_lowercase().trim().to_string(),
        None => given.into_owned(),
    };
    if media == "application/json" {
        return Ok(());
    }
    let words = format!("Bad Content-Type {media}, accept application/json");
    Err(Refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, words))
}

fn read_wish(bytes: &[u8]) -> Result<MemberInput, String> {
    let members = match crate::store::http::go::json::parse(bytes)? {
        Json::Object(members) => members,
        Json::Null => Vec::new(),
        other => {
            return Err(format!("json: cannot unmarshal {} into Go value of type {GO_TYPE}", other.kind()));
        }
    };
    let (mut texts, mut replica) = (Vec::new(), false);
    for (name, value) in members {
        match value {
            Json::Bool(value) if name == "isLearner" => replica = value,
            value if name.eq_ignore_ascii_case("peerURLs") => texts = url_texts(value)?,
            _ => {}
        }
    }
    Ok(MemberInput { peer_urls: url::peer_urls(&texts)?, replica })
}

fn url_texts(value: Json) -> Result<Vec<String>, String> {
    let mismatch = |value: &Json, wanted: &str| {
        format!("json: cannot unmarshal {} into Go struct field .peerURLs of type {wanted}", value.kind())
    };
    match value {
        Json::Null => Ok(Vec::new()),
        Json::List(items) => items
            .into_iter()
            .map(|item| match item {
                Json::Text(text) => Ok(text),
                Json::Null => Ok(String::new()),
                other => Err(mismatch(&other, "string")),
            })
            .collect(),
        other => Err(mismatch(&other, "[]string")),
    }
}

fn is_gone(error: &StoreError) -> bool {
    let StoreError::Refused(refusal) = error else { return false };
    refusal.error == KeyError::Member(MemberError::Removed)
}

fn server_error() -> Refusal {
    Refusal(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error".into())
}

/// etcd's words for what the store says about member `id`.
fn refusal(error: StoreError, id: &str) -> Refusal {
    let StoreError::Refused(refused) = &error else {
        tracing::warn!(%error, "members stay as they are");
        return server_error();
    };
    let KeyError::Member(error) = &refused.error else { return server_error() };
    let (status, words) = match error {
        MemberError::IdExists => (StatusCode::CONFLICT, "membership: ID exists".into()),
        MemberError::UrlExists => (StatusCode::CONFLICT, "membership: peerURL exists".into()),
        MemberError::TooLarge => {
            let most = PEER_URLS_BYTES >> 20;
            let words = format!("membership: the peer URLs of all members take more than {most} MiB");
            (StatusCode::BAD_REQUEST, words)
        }
        MemberError::NoSuchMember => (StatusCode::NOT_FOUND, format!("No such member: {id}")),
        MemberError::Removed => (StatusCode::GONE, format!("Member permanently removed: {id}")),
        MemberError::Voter => (StatusCode::CONFLICT, format!("Member {id} is no read replica")),
        // Members introduce themselves over their own port.
        MemberError::LastVoter | MemberError::Stale | MemberError::OtherFolder => return server_error(),
    };
    Refusal(status, words)
}

impl Refusal {
    /// Unlike the good answers, these have no line feed.
    fn into_response(self) -> Response {
        let Self(status, words) = self;
        message(status, words.as_bytes())
    }
}

fn of_cluster(store: &Store, mut response: Response) -> Response {
    cluster_header(response.headers_mut(), store.node().identity().cluster);
    response
}

fn nothing() -> Response {
    let mut response = Response::new(Bytes::new().into());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

fn lined(status: StatusCode, page: &impl Serialize) -> Response {
    // These pages are structures of texts and numbers, which always can be written.
    let text = serde_json::to_string(page).unwrap_or_default();
    // As Go's encoder does; these characters only stand in texts.
    let text = text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    json(status, (text + "\n").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_read_as_go_reads_them() {
        let urls = |text: &str| read_wish(text.as_bytes()).map(|wish| wish.peer_urls);
        assert_eq!(urls(r#"{"PEERurls":["http://h:1"],"x":5}"#), Ok(vec!["http://h:1".into()]));
        assert_eq!(
            urls(r#"{"peerURLs":["http://h:1"],"peerURLs":["http://i:1"]}"#),
            Ok(vec!["http://i:1".into()])
        );
        assert_eq!(urls("{}"), Err("no valid URLs given".into()));
        assert_eq!(urls("null"), Err("no valid URLs given".into()));
        assert_eq!(
            urls(r#"{"peerURLs":[5]}"#),
            Err("json: cannot unmarshal number into Go struct field .peerURLs of type string".into())
        );
        assert_eq!(
            urls(r#"{"peerURLs":"x"}"#),
            Err("json: cannot unmarshal string into Go struct field .peerURLs of type []string".into())
        );
        assert_eq!(
            urls("[]"),
            Err("json: cannot unmarshal array into Go value of type struct { PeerURLs []string \"json:\\\"peerURLs\\\"\" }".into())
        );
        let replica = read_wish(br#"{"peerURLs":["http://h:1"],"isLearner":true}"#).unwrap();
        assert!(replica.replica);
    }

    #[test]
    fn ids_are_hexadecimal_numbers_of_64_bits() {
        for (text, id) in [("ABC", 0xabc), ("00abc", 0xabc), ("ffffffffffffffff", u64::MAX)] {
            assert_eq!(member_id(text.as_bytes()).ok(), Some(id));
        }
        for text in ["0x12", "abc/def", "11112222333344445", "+1", "-1", "zz"] {
            let Err(Refusal(StatusCode::NOT_FOUND, words)) = member_id(text.as_bytes()) else {
                panic!("{text}")
            };
            assert_eq!(words, format!("No such member: {text}"));
        }
    }
}
