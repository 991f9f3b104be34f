//! The client against a real etcd: every method, and watches over its crash.

mod common;

use std::time::Duration;

use common::etcd::Etcd;
use muster::client::{Client, ClientError, DeleteOptions, Event, GetOptions, PutOptions, Watch};
use muster::config::{ClientFragment, ClientSettings, Span};

fn client(endpoints: &[&str]) -> Client {
    let fragment = ClientFragment {
        endpoints: Some(endpoints.iter().map(|url| url.to_string()).collect()),
        request_timeout: Some(Span(Duration::from_secs(5))),
        ..ClientFragment::default()
    };
    Client::new(&ClientSettings::try_from(fragment).expect("good settings")).expect("a client")
}

fn value(text: &str) -> PutOptions {
    PutOptions { value: Some(text.into()), ..PutOptions::default() }
}

async fn soon(watch: &mut Watch) -> Event {
    tokio::time::timeout(Duration::from_secs(20), watch.next())
        .await
        .expect("an event in time")
        .expect("an event")
}

#[tokio::test]
async fn keys_are_written_read_and_removed_under_conditions() {
    let Some(etcd) = Etcd::start() else { return };
    let client = client(&[&etcd.url()]);
    let quorum = GetOptions::linearizable();

    let made = client.put("/a/b", &value("one")).await.expect("a new key");
    assert_eq!(
        (made.action.as_str(), made.node.value.as_deref(), made.prev_node),
        ("set", Some("one"), None)
    );
    assert!(made.index >= 1 && made.raft_index >= made.index && made.raft_term >= 1);

    let read = client.get("a/b", &quorum).await.expect("the key");
    assert_eq!((read.node.key.as_str(), read.node.modified_index), ("/a/b", made.node.modified_index));

    let missing = client.get("/a/none", &quorum).await.expect_err("no such key");
    assert!(
        missing.is_not_found() && missing.api().is_some_and(|api| api.cause == "/a/none" && api.index > 0)
    );

    let again = PutOptions { prev_exist: Some(false), ..value("two") };
    assert!(client.put("/a/b", &again).await.expect_err("it exists").is_exists());

    let swap = PutOptions { prev_index: Some(made.node.modified_index), ..value("two") };
    let swapped = client.put("/a/b", &swap).await.expect("the index holds");
    assert_eq!(swapped.prev_node.and_then(|node| node.value).as_deref(), Some("one"));
    assert!(client.put("/a/b", &swap).await.expect_err("the index moved").is_compare_failed());
    let by_value = PutOptions { prev_value: Some("two".into()), ..value("three") };
    assert_eq!(client.put("/a/b", &by_value).await.expect("the value holds").action, "compareAndSwap");

    let wrong = DeleteOptions { prev_value: Some("x".into()), ..DeleteOptions::default() };
    assert!(client.delete("/a/b", &wrong).await.expect_err("another value").is_compare_failed());
    let dir_left = client.delete("/a", &DeleteOptions { dir: true, ..DeleteOptions::default() }).await;
    assert_eq!(dir_left.expect_err("not empty").api().map(|api| api.code), Some(108));
    let gone = client.delete("/a", &DeleteOptions { recursive: true, ..DeleteOptions::default() }).await;
    assert_eq!(gone.expect("the tree is gone").action, "delete");
}

#[tokio::test]
async fn any_key_and_any_value_survive_the_round_trip() {
    let Some(etcd) = Etcd::start() else { return };
    let client = client(&[&etcd.url()]);
    for key in [
        "/sp ace",
        "/a?b=c&d#e",
        "/100%41",
        "/gr\u{fc}n/\u{1F980}",
        "/new\nline",
        "/plus+;:@=",
        "/unit@1.service",
    ] {
        let text = format!("{key} & = + % ; \u{e4}\u{1F980}\r\n\t\"\\\u{2028}</b>");
        client.put(key, &value(&text)).await.unwrap_or_else(|error| panic!("{key}: {error}"));
        let read =
            client.get(key, &GetOptions::default()).await.unwrap_or_else(|error| panic!("{key}: {error}"));
        assert_eq!((read.node.key.as_str(), read.node.value), (key, Some(text)));
    }
}

#[tokio::test]
async fn directories_are_listed_and_ordered_keys_sort_by_creation() {
    let Some(etcd) = Etcd::start() else { return };
    let client = client(&[&etcd.url()]);
    client.put("/d/sub", &PutOptions { dir: true, ..PutOptions::default() }).await.expect("a directory");
    let first = client.post("/d/queue", "first", None).await.expect("a job");
    let second = client.post("/d/queue", "second", Some(100)).await.expect("a job");
    assert!(first.node.key < second.node.key && first.action == "create");
    assert_eq!(second.node.ttl, Some(100));

    let all = GetOptions { recursive: true, sorted: true, quorum: Some(true) };
    let tree = client.get("/d", &all).await.expect("the tree").node;
    assert!(tree.dir && tree.value.is_none());
    assert_eq!(tree.nodes.iter().map(|node| node.key.as_str()).collect::<Vec<_>>(), ["/d/queue", "/d/sub"]);
    let jobs: Vec<_> = tree.nodes[0].nodes.iter().filter_map(|node| node.value.as_deref()).collect();
    assert_eq!(jobs, ["first", "second"]);
    let flat = client.get("/d", &GetOptions::default()).await.expect("the directory").node;
    assert!(flat.nodes.iter().all(|node| node.dir && node.nodes.is_empty()));
}

#[tokio::test]
async fn a_refresh_keeps_the_value_and_moves_the_expiry() {
    let Some(etcd) = Etcd::start() else { return };
    let client = client(&[&etcd.url()]);
    client.put("/beat", &PutOptions { ttl: Some(5), ..value("alive") }).await.expect("a key that expires");
    let refresh =
        PutOptions { refresh: true, ttl: Some(500), prev_exist: Some(true), ..PutOptions::default() };
    let refreshed = client.put("/beat", &refresh).await.expect("a refresh");
    assert_eq!((refreshed.node.value.as_deref(), refreshed.node.ttl), (Some("alive"), Some(500)));
    assert!(refreshed.node.expiration.is_some());
    assert!(client.put("/none", &refresh).await.expect_err("nothing to refresh").is_not_found());
}

#[tokio::test]
async fn members_the_leader_and_raw_pages_are_read() {
    let Some(etcd) = Etcd::start() else { return };
    let client = client(&[&etcd.url()]);
    let members = client.members().await.expect("members");
    let leader = client.leader().await.expect("a leader");
    assert_eq!(members, std::slice::from_ref(&leader));
    assert_eq!((leader.name.as_str(), leader.client_urls), ("default", vec![etcd.url()]));
    let endpoint = &client.endpoints()[0];
    assert_eq!(client.get_raw(endpoint, "/health").await.expect("health").0, 200);
    assert_eq!(client.get_raw(endpoint, "/no/such/page").await.expect("an answer").0, 404);
}

#[tokio::test]
async fn a_watch_tells_every_change_once_and_in_order_even_between_calls() {
    let Some(etcd) = Etcd::start() else { return };
    let client = client(&[&etcd.url()]);
    let start = client.put("/w/zero", &value("0")).await.expect("a key").index;
    for n in 1..=20 {
        client.put(&format!("/w/{n}"), &value(&n.to_string())).await.expect("a key");
        client.put("/elsewhere", &value("x")).await.expect("a key");
    }
    let mut watch = client.watch("/w", true, Some(start));
    assert_eq!(watch.index(), Some(start));
    for n in 1..=20 {
        let event = soon(&mut watch).await;
        assert_eq!(event.node.value, Some(n.to_string()));
        assert_eq!(watch.index(), Some(event.node.modified_index));
    }
    client.delete("/w/3", &DeleteOptions::default()).await.expect("removed");
    let event = soon(&mut watch).await;
    assert_eq!((event.action.as_str(), event.node.key.as_str()), ("delete", "/w/3"));
    assert_eq!(event.prev_node.and_then(|node| node.value).as_deref(), Some("3"));
}

#[tokio::test]
async fn a_watch_from_now_may_be_dropped_and_taken_up_again_without_loss() {
    let Some(etcd) = Etcd::start() else { return };
    let client = client(&[&etcd.url()]);
    client.put("/w", &value("old")).await.expect("a key");
    let mut watch = client.watch("/w", false, None);
    assert_eq!(watch.index(), None);
    // Given up while it waits, several times: as in the branches of a select.
    for _ in 0..3 {
        assert!(tokio::time::timeout(Duration::from_millis(200), watch.next()).await.is_err());
    }
    client.put("/w", &value("new")).await.expect("a key");
    assert_eq!(soon(&mut watch).await.node.value.as_deref(), Some("new"));
}

#[tokio::test]
async fn a_watch_goes_on_over_a_crash_of_the_server_without_loss() {
    let Some(mut etcd) = Etcd::start() else { return };
    let client = client(&[&etcd.url()]);
    client.put("/w", &value("0")).await.expect("a key");
    let mut watch = client.watch("/w", false, None);
    assert!(tokio::time::timeout(Duration::from_millis(300), watch.next()).await.is_err());
    etcd.kill();
    // The watch notices and starts to look for a server.
    assert!(tokio::time::timeout(Duration::from_millis(500), watch.next()).await.is_err());
    assert!(
        client.get("/w", &GetOptions::linearizable()).await.expect_err("nobody is there").is_unavailable()
    );
    etcd.restart();
    client.put("/w", &value("1")).await.expect("a key");
    client.put("/w", &value("2")).await.expect("a key");
    assert_eq!(soon(&mut watch).await.node.value.as_deref(), Some("1"));
    assert_eq!(soon(&mut watch).await.node.value.as_deref(), Some("2"));
}

#[tokio::test]
async fn a_watch_whose_history_is_gone_says_so() {
    let Some(etcd) = Etcd::start() else { return };
    let client = client(&[&etcd.url()]);
    let start = client.put("/w", &value("0")).await.expect("a key").index;
    for n in 0..1100 {
        client.put("/elsewhere", &value(&n.to_string())).await.expect("a key");
    }
    let mut watch = client.watch("/w", false, Some(start));
    let error =
        tokio::time::timeout(Duration::from_secs(20), watch.next()).await.expect("soon").expect_err("gone");
    assert!(
        matches!(&error, ClientError::Cleared { refusal } if refusal.code == 401 && refusal.index > 1000)
    );
}

#[tokio::test]
async fn a_watch_on_a_store_that_was_set_up_anew_says_so() {
    let Some(mut etcd) = Etcd::start() else { return };
    let client = client(&[&etcd.url()]);
    let mut last = 0;
    for n in 0..30 {
        last = client.put("/w", &value(&n.to_string())).await.expect("a key").index;
    }
    let mut watch = client.watch("/w", false, Some(last));
    assert!(tokio::time::timeout(Duration::from_millis(300), watch.next()).await.is_err());
    etcd.kill();
    etcd.restart_empty();
    let error =
        tokio::time::timeout(Duration::from_secs(20), watch.next()).await.expect("soon").expect_err("gone");
    assert!(matches!(&error, ClientError::Cleared { .. }), "{error}");
}

#[tokio::test]
async fn dead_endpoints_are_passed_over_and_the_living_one_is_asked_first_afterwards() {
    let Some(etcd) = Etcd::start() else { return };
    // Nobody listens on port 1.
    let client = client(&["http://127.0.0.1:1", &etcd.url()]);
    client.put("/a", &value("1")).await.expect("the second endpoint takes the write");
    assert_eq!(
        client.get("/a", &GetOptions::default()).await.expect("a key").node.value.as_deref(),
        Some("1")
    );
}
