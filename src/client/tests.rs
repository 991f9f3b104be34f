//! Fail-over and watches against servers that misbehave on purpose.

use std::time::{Duration, Instant};

use super::canned::{Act, Canned};
use super::*;

fn client(endpoints: &[&Url], timeout: Duration) -> Client {
    let endpoints = endpoints.iter().map(|url| (*url).clone()).collect();
    Client::new(&ClientSettings { endpoints, request_timeout: timeout, credentials: None }).expect("a client")
}

/// A URL on which nobody listens.
async fn dead() -> Url {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    Url::parse(&format!("http://{}", listener.local_addr().expect("its address"))).expect("a URL")
}

fn got(value: &str) -> Act {
    let body = format!(
        r#"{{"action":"get","node":{{"key":"/k","value":"{value}","modifiedIndex":3,"createdIndex":3}}}}"#
    );
    Act::Answer(200, 3, body)
}

fn event(index: u64) -> Act {
    let body = format!(
        r#"{{"action":"set","node":{{"key":"/k","value":"v","modifiedIndex":{index},"createdIndex":{index}}}}}"#
    );
    Act::Answer(200, index, body)
}

fn no_quorum() -> Act {
    let body = r#"{"errorCode":300,"message":"Raft Internal Error","cause":"etcdserver: request timed out","index":0}"#;
    Act::Answer(500, 0, body.into())
}

fn refused(status: u16, code: u32) -> Act {
    Act::Answer(status, 9, format!(r#"{{"errorCode":{code},"message":"m","cause":"c","index":9}}"#))
}

fn put() -> PutOptions {
    PutOptions { value: Some("v".into()), ..PutOptions::default() }
}

const LIMIT: Duration = Duration::from_secs(5);

#[tokio::test]
async fn reads_pass_over_dead_endpoints_and_those_without_a_quorum_and_remember_who_answered() {
    let (isolated, living) = (Canned::start([no_quorum()]).await, Canned::start([got("1"), got("2")]).await);
    let client = client(&[&dead().await, &isolated.url, &living.url], LIMIT);
    for expected in ["1", "2"] {
        let answer = client.get("/k", &GetOptions::linearizable()).await.expect("the living one answers");
        assert_eq!(answer.node.value.as_deref(), Some(expected));
    }
    assert_eq!(isolated.seen(), ["GET /v2/keys/k?quorum=true&recursive=false&sorted=false"]);
    assert_eq!(living.seen().len(), 2);
}

#[tokio::test]
async fn a_silent_endpoint_costs_a_read_a_second_and_later_ones_nothing() {
    let (silent, living) = (Canned::start([]).await, Canned::start([got("1"), got("2")]).await);
    let client = client(&[&silent.url, &living.url], LIMIT);
    let started = Instant::now();
    client.get("/k", &GetOptions::default()).await.expect("the living one answers");
    let first = started.elapsed();
    assert!(first >= Duration::from_millis(900) && first < Duration::from_secs(3), "{first:?}");
    client.get("/k", &GetOptions::default()).await.expect("the living one answers");
    assert_eq!((silent.seen().len(), living.seen().len()), (1, 2));
}

#[tokio::test]
async fn nobody_answering_is_told_with_every_endpoint_and_its_problem() {
    let (dead, isolated) = (dead().await, Canned::start([no_quorum(), no_quorum()]).await);
    let client = client(&[&dead, &isolated.url], LIMIT);
    let error = client.get("/k", &GetOptions::default()).await.expect_err("nobody can");
    assert!(error.is_unavailable());
    let text = error.to_string();
    assert!(text.contains("Connection refused") && text.contains("request timed out"), "{text}");
}

#[tokio::test]
async fn writes_go_on_when_nothing_was_sent_or_the_server_had_no_leader() {
    let election =
        Act::Answer(500, 0, r#"{"errorCode":301,"message":"During Leader Election","index":0}"#.into());
    let (leaderless, living) = (Canned::start([election]).await, Canned::start([got("v")]).await);
    let client = client(&[&dead().await, &leaderless.url, &living.url], LIMIT);
    client.put("/k", &put()).await.expect("the living one takes it");
    assert_eq!(living.seen(), ["PUT /v2/keys/k value=v"]);
}

#[tokio::test]
async fn writes_without_an_answer_are_not_repeated_and_their_outcome_is_called_unknown() {
    for act in [Act::HangUp, Act::Silence, no_quorum()] {
        let (bad, living) = (Canned::start([act.clone()]).await, Canned::start([got("v")]).await);
        let client = client(&[&bad.url, &living.url], Duration::from_millis(500));
        let error = client.put("/k", &put()).await.expect_err("nobody knows");
        assert!(matches!(error, ClientError::UnknownOutcome { .. }), "{act:?}: {error}");
        assert!(living.seen().is_empty(), "{act:?} was repeated");
        client.put("/k", &put()).await.expect("the next write goes to the other endpoint at once");
    }
}

#[tokio::test]
async fn refreshes_are_repeated_because_twice_is_as_good_as_once() {
    let (bad, living) = (Canned::start([Act::HangUp]).await, Canned::start([got("v")]).await);
    let client = client(&[&bad.url, &living.url], LIMIT);
    let refresh =
        PutOptions { refresh: true, ttl: Some(10), prev_exist: Some(true), ..PutOptions::default() };
    client.put("/k", &refresh).await.expect("the living one takes it");
    assert_eq!(living.seen(), ["PUT /v2/keys/k?prevExist=true&refresh=true ttl=10"]);
}

#[tokio::test]
async fn a_refusal_is_final() {
    let (first, second) = (Canned::start([refused(412, 101)]).await, Canned::start([got("v")]).await);
    let client = client(&[&first.url, &second.url], LIMIT);
    assert!(client.put("/k", &put()).await.expect_err("it said no").is_compare_failed());
    assert!(second.seen().is_empty());
}

#[tokio::test]
async fn redirects_to_the_leader_are_followed_with_the_body() {
    let leader = Canned::start([got("v")]).await;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let follower =
        Url::parse(&format!("http://{}", listener.local_addr().expect("its address"))).expect("a URL");
    let target = leader.url.join("/v2/keys/k").expect("a URL");
    let redirect = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let _ = stream.read(&mut [0; 4096]).await;
        let answer = format!("HTTP/1.1 307 x\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.expect("sent");
    });
    client(&[&follower], LIMIT).put("/k", &put()).await.expect("the leader takes it");
    redirect.await.expect("the follower was asked");
    assert_eq!(leader.seen(), ["PUT /v2/keys/k value=v"]);
}

#[tokio::test]
async fn a_watch_from_now_learns_the_index_first_so_that_a_broken_poll_skips_nothing() {
    let server = Canned::start([refused(404, 100), Act::HangUp, Act::AcceptThenHangUp(9), event(12)]).await;
    let mut watch = client(&[&server.url], LIMIT).watch("/k", true, None);
    assert_eq!(watch.next().await.expect("an event").node.modified_index, 12);
    let poll = "GET /v2/keys/k?recursive=true&wait=true&waitIndex=10";
    assert_eq!(server.seen(), ["GET /v2/keys/k?quorum=true&recursive=false&sorted=false", poll, poll, poll]);
    assert_eq!(watch.index(), Some(12));
}

#[tokio::test]
async fn a_watch_goes_on_at_another_endpoint_behind_its_last_event() {
    let (first, second) = (Canned::start([event(5), Act::HangUp]).await, Canned::start([event(8)]).await);
    let mut watch = client(&[&first.url, &second.url], LIMIT).watch("/k", false, Some(4));
    assert_eq!(watch.next().await.expect("an event").node.modified_index, 5);
    assert_eq!(watch.next().await.expect("an event").node.modified_index, 8);
    assert_eq!(second.seen(), ["GET /v2/keys/k?recursive=false&wait=true&waitIndex=6"]);
}

#[tokio::test]
async fn a_waiting_watch_leaves_an_endpoint_that_fails_other_requests() {
    let cut_off = Canned::start([Act::Accept(4), no_quorum()]).await;
    let living = Canned::start([got("v"), event(8)]).await;
    let client = client(&[&cut_off.url, &living.url], LIMIT);
    let mut watch = client.watch("/k", false, Some(4));
    assert!(tokio::time::timeout(Duration::from_millis(200), watch.next()).await.is_err(), "it waits");
    client.get("/k", &GetOptions::linearizable()).await.expect("the living one answers");
    assert_eq!(watch.next().await.expect("an event").node.modified_index, 8);
}

#[tokio::test]
async fn a_silent_poll_is_renewed_further_on_and_the_old_one_is_kept_when_history_is_too_short() {
    let server = Canned::start([
        Act::Accept(50),
        refused(400, 401),
        Act::Accept(90),
        Act::AcceptThenHangUp(95),
        event(100),
    ])
    .await;
    let mut client = client(&[&server.url], LIMIT);
    client.renewal = Duration::from_millis(200);
    let event = client.watch("/k", false, Some(4)).next().await.expect("an event");
    assert_eq!(event.node.modified_index, 100);
    let asked: Vec<String> = server
        .seen()
        .iter()
        .filter_map(|seen| seen.rsplit_once("waitIndex="))
        .map(|(_, n)| n.into())
        .collect();
    assert_eq!(asked, ["5", "51", "51", "91", "91"]);
}

#[tokio::test]
async fn a_watch_that_is_refused_says_so_and_one_whose_history_is_gone_too() {
    let server =
        Canned::start([refused(401, 110), refused(400, 401), Act::Answer(200, 1, "<html>".into())]).await;
    let client = client(&[&server.url], LIMIT);
    let mut watch = client.watch("/k", false, Some(4));
    assert!(matches!(watch.next().await, Err(ClientError::Refused(api)) if api.code == 110));
    assert!(matches!(watch.next().await, Err(ClientError::Cleared { .. })));
    assert_eq!(watch.index(), Some(4));
}

#[tokio::test]
async fn a_copy_whose_watch_is_refused_each_time_is_read_anew_less_and_less_often() {
    let listed = Act::Answer(200, 7, r#"{"action":"get","node":{"key":"/d","dir":true}}"#.into());
    let script = (0..50).flat_map(|_| [listed.clone(), refused(400, 401)]);
    let server = Canned::start(script).await;
    let started = Instant::now();
    let _mirror = crate::client::Mirror::open(&client(&[&server.url], LIMIT), "/d");
    let watches = || server.seen().iter().filter(|seen| seen.contains("wait=true")).count();
    while watches() < 5 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Four pauses of 100, 200, 400 and 800 ms, of each of which chance takes up to a half.
    assert!(started.elapsed() >= Duration::from_millis(750), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_write_waits_a_second_for_a_connection_and_then_goes_on() {
    // A listener whose queue of waiting connections is full lets further ones hang, as a dead network does.
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let listener = socket.listen(1).expect("a listener");
    let address = listener.local_addr().expect("its address");
    let mut queued = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(100), tokio::net::TcpStream::connect(address)).await
    {
        queued.push(stream);
    }
    let hole = Url::parse(&format!("http://{address}")).expect("a URL");
    let living = Canned::start([got("v")]).await;
    let started = Instant::now();
    client(&[&hole, &living.url], LIMIT).put("/k", &put()).await.expect("the living one takes it");
    let elapsed = started.elapsed();
    assert!(elapsed >= Duration::from_millis(900) && elapsed < Duration::from_secs(3), "{elapsed:?}");
}
