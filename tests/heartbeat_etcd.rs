//! Heartbeats against a real etcd.

mod common;

use std::convert::Infallible;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::etcd::Etcd;
use muster::client::{Client, GetOptions, Watch};
use muster::config::{ClientFragment, ClientSettings};
use muster::heartbeat::list::list;
use muster::heartbeat::pulse::{Beaten, Pulse};
use muster::heartbeat::tracker::{BeatChange, What};
use muster::heartbeat::watch::watch;
use muster::model::HEARTBEATS;
use muster::model::beat::{Beat, BeatName, Source};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const LIMIT: Duration = Duration::from_secs(30);

fn client(etcd: &Etcd) -> Client {
    let fragment = ClientFragment { endpoints: Some(vec![etcd.url()]), ..ClientFragment::default() };
    Client::new(&ClientSettings::try_from(fragment).expect("good settings")).expect("a client")
}

fn pulse(client: &Client, ttl: u64) -> Pulse {
    let machine = "m1".parse().expect("an id");
    Pulse::new(client.clone(), &name("web"), &machine, ttl, Source::Beat)
}

fn name(text: &str) -> BeatName {
    text.parse().expect("a name")
}

async fn next(events: &mut Watch) -> String {
    let event = tokio::time::timeout(LIMIT, events.next()).await.expect("an event in time");
    event.expect("an event").action
}

async fn beat_value(client: &Client) -> Beat {
    let answer = client.get("/muster/heartbeats/web/m1", &GetOptions::linearizable()).await.expect("the key");
    serde_json::from_str(answer.node.value.as_deref().expect("a value")).expect("a beat")
}

/// What a watcher is told, as it is told.
fn told(client: &Client) -> (mpsc::UnboundedReceiver<What>, JoinHandle<()>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let client = client.clone();
    let task = tokio::spawn(async move {
        let tell = |change: BeatChange| {
            sender.send(change.event).expect("the test listens");
            std::future::ready(Ok::<_, Infallible>(()))
        };
        match watch(&client, None, tell, |trouble| eprintln!("{trouble}")).await {
            Ok(never) | Err(never) => match never {},
        }
    });
    (receiver, task)
}

async fn hear(told: &mut mpsc::UnboundedReceiver<What>) -> What {
    tokio::time::timeout(LIMIT, told.recv()).await.expect("news in time").expect("the watcher lives")
}

#[tokio::test]
async fn a_heartbeat_of_five_seconds_expires_between_five_and_six_seconds_after_the_last_beat() {
    let Some(etcd) = Etcd::start() else { return };
    let client = client(&etcd);
    let pulse = pulse(&client, 5);
    assert_eq!(pulse.beat().await.expect("the first beat"), Beaten::Began);
    let mut events = client.watch(HEARTBEATS, true, None);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = Instant::now();
    assert_eq!(pulse.beat().await.expect("the last beat"), Beaten::Refreshed);
    let after = Instant::now();
    assert_eq!(next(&mut events).await, "expire");
    assert!(before.elapsed() >= Duration::from_secs(5), "after {:?}", before.elapsed());
    assert!(after.elapsed() <= Duration::from_secs(6), "after {:?}", after.elapsed());
}

#[tokio::test]
async fn a_beat_wakes_no_watcher_and_keeps_the_value() {
    let Some(etcd) = Etcd::start() else { return };
    let client = client(&etcd);
    let first = pulse(&client, 20).of_process(Some(7));
    first.beat().await.expect("the first beat");
    let since = beat_value(&client).await;
    let index = list(&client, None).await.expect("a list").1;
    for _ in 0..3 {
        first.beat().await.expect("a beat");
    }
    // Another TTL is worth an event: the value names it.
    pulse(&client, 30).beat().await.expect("a beat with another TTL");
    let mut events = client.watch(HEARTBEATS, true, Some(index));
    assert_eq!(next(&mut events).await, "compareAndSwap");
    assert_eq!((since.ttl, since.pid), (20, Some(7)));
    let now = beat_value(&client).await;
    assert_eq!((now.ttl, now.pid, now.source), (30, None, Source::Beat));
    let (lines, _) = list(&client, Some(&name("web"))).await.expect("a list");
    assert_eq!((lines.len(), lines[0].state), (1, "alive"));
    assert!(lines[0].left.is_some_and(|left| (28..=30).contains(&left)));
}

#[tokio::test]
async fn watchers_tell_lost_from_stopped_and_hear_who_is_back() {
    let Some(etcd) = Etcd::start() else { return };
    let client = client(&etcd);
    let pulse = pulse(&client, 1);
    pulse.beat().await.expect("a beat");
    let (mut told, watcher) = told(&client);
    assert_eq!(hear(&mut told).await, What::Lost);
    pulse.beat().await.expect("a beat");
    assert_eq!(hear(&mut told).await, What::Back);
    pulse.stop().await.expect("an end");
    assert_eq!(hear(&mut told).await, What::Stopped);
    pulse.stop().await.expect("a repeated end");
    watcher.abort();
}

#[tokio::test]
async fn a_watcher_outlives_the_store_and_learns_what_it_missed() {
    let Some(mut etcd) = Etcd::start() else { return };
    let client = client(&etcd);
    let lasting = pulse(&client, 600);
    lasting.beat().await.expect("a beat");
    let (mut told, watcher) = told(&client);
    // The watcher has seen it once this is heard.
    let other = Pulse::new(client.clone(), &name("other"), &"m1".parse().expect("an id"), 1, Source::Beat);
    other.beat().await.expect("a beat");
    assert_eq!(hear(&mut told).await, What::Lost);
    etcd.kill();
    etcd.restart_empty();
    assert_eq!(hear(&mut told).await, What::Lost);
    lasting.beat().await.expect("a beat");
    assert_eq!(hear(&mut told).await, What::Back);
    watcher.abort();
}

fn muster(etcd: &Etcd, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_muster"))
        .args(["--endpoints", &etcd.url(), "heartbeat"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("muster runs")
}

#[tokio::test]
async fn a_command_that_succeeds_has_stopped_and_one_that_fails_runs_out() {
    let Some(etcd) = Etcd::start() else { return };
    let client = client(&etcd);
    let beats = async || list(&client, None).await.expect("a list").0;

    // The command itself waits for its own heartbeat.
    let alive = format!(
        "until curl -sf {}/v2/keys/muster/heartbeats/sh/m1 > /dev/null; do sleep 0.05; done; exit",
        etcd.url()
    );
    let run = |status: &str| {
        let script = format!("{alive} {status}");
        muster(&etcd, &["--ttl", "60s", "--machine", "m1", "--", "sh", "-c", &script]).status.code()
    };
    assert_eq!(run("0"), Some(0));
    assert_eq!(beats().await, []);
    assert_eq!(run("3"), Some(3));
    let left = beats().await;
    assert_eq!((left.len(), left[0].beat.as_ref().map(|beat| beat.source)), (1, Some(Source::Command)));
    assert_eq!(run("0"), Some(0));
    assert_eq!(muster(&etcd, &["--machine", "m1", "--", "/no/such/program"]).status.code(), Some(127));
}

#[tokio::test]
async fn one_beat_is_one_command() {
    let Some(etcd) = Etcd::start() else { return };
    let beat = ["beat", "worker", "--ttl", "60s", "--machine", "m1"];
    assert!(muster(&etcd, &beat).status.success());
    assert!(muster(&etcd, &beat).status.success());
    let ls = muster(&etcd, &["ls"]);
    let text = String::from_utf8(ls.stdout).expect("text");
    assert!(text.lines().any(|line| line.starts_with("worker  m1") && line.contains("alive")), "{text}");
    let wrong = muster(&etcd, &["beat", "worker", "--ttl", "1500ms"]);
    assert_eq!(wrong.status.code(), Some(64));
}
