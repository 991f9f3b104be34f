//! The reboot lock and its coordinators against a real etcd, with machines that reboot in memory.

mod common;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::etcd::Etcd;
use common::relay::{Act, Relay};
use muster::client::{Client, DeleteOptions, GetOptions, PutOptions};
use muster::config::{ClientFragment, ClientSettings, RebootdFragment, RebootdSettings};
use muster::ids::MachineId;
use muster::model::REBOOT;
use muster::model::machine::Refusal;
use muster::model::reboot::{Group, Holder, Phase, Request};
use muster::reboot::host::Host;
use muster::reboot::lock::Lock;
use muster::reboot::overview::Overview;
use muster::reboot::records::Records;
use muster::reboot::semaphore::Outcome;
use muster::reboot::{Driver, RebootError};
use muster::systemd::BusError;
use tokio::task::JoinSet;

const LIMIT: Duration = Duration::from_secs(60);

fn id(text: &str) -> MachineId {
    text.parse().expect("a machine id")
}

fn client(etcd: &Etcd) -> Client {
    client_of(&etcd.url())
}

fn client_of(url: &str) -> Client {
    let fragment = ClientFragment { endpoints: Some(vec![url.into()]), ..ClientFragment::default() };
    Client::new(&ClientSettings::try_from(fragment).expect("good settings")).expect("a client")
}

fn settings() -> RebootdSettings {
    // The only member runs on this very machine: it can never be spared.
    let fragment =
        RebootdFragment { keep_quorum: Some(false), use_sentinel: Some(false), ..RebootdFragment::default() };
    let settings = RebootdSettings::try_from(fragment).expect("good settings");
    RebootdSettings { check_interval: Duration::from_millis(50), ..settings }
}

/// What all machines of a test share: how many are away.
#[derive(Default)]
struct Site {
    away: AtomicUsize,
    most_away: AtomicUsize,
}

/// A machine whose reboot is the end of one boot of it.
struct Machine {
    id: MachineId,
    boots: AtomicUsize,
    system: Mutex<&'static str>,
    /// What systemd says after a reboot.
    comes_up: Mutex<&'static str>,
    /// Who keeps it from going down.
    inhibitors: Mutex<Vec<String>>,
    /// Who does so only when it is about to.
    comes_late: Mutex<Option<String>>,
    /// A lock that goes to another machine as soon as this one looks how its system is.
    loses: Mutex<Option<Lock>>,
    /// A file that does not outlive a reboot.
    run_file: Mutex<Option<PathBuf>>,
    down: tokio::sync::Notify,
}

impl Machine {
    fn new(name: &str) -> Arc<Self> {
        Arc::new(Self {
            id: id(name),
            boots: AtomicUsize::new(1),
            system: Mutex::new("running"),
            comes_up: Mutex::new("running"),
            inhibitors: Mutex::default(),
            comes_late: Mutex::default(),
            loses: Mutex::default(),
            run_file: Mutex::default(),
            down: tokio::sync::Notify::new(),
        })
    }

    fn says(&self, state: &'static str) {
        *self.system.lock().expect("the state") = state;
    }

    fn boots(&self) -> usize {
        self.boots.load(Ordering::SeqCst)
    }
}

struct Boot(Arc<Machine>);

impl Host for Boot {
    fn boot_id(&self) -> Result<String, RebootError> {
        Ok(format!("boot-{}", self.0.boots()))
    }

    fn addresses(&self) -> Result<BTreeSet<IpAddr>, RebootError> {
        Ok(BTreeSet::new())
    }

    async fn system_state(&self) -> Result<String, RebootError> {
        let loses = self.0.loses.lock().expect("the lock").take();
        if let Some(lock) = loses {
            lock.release(&self.0.id).await?;
            lock.acquire(&id("another")).await?;
        }
        Ok(self.0.system.lock().expect("the state").to_string())
    }

    fn hostname(&self) -> String {
        format!("host-{}", self.0.id)
    }

    async fn inhibitors(&self) -> Result<Vec<String>, RebootError> {
        Ok(self.0.inhibitors.lock().expect("the inhibitors").clone())
    }

    async fn reboot(&self) -> Result<(), RebootError> {
        let mut inhibitors = self.0.inhibitors.lock().expect("the inhibitors");
        inhibitors.extend(self.0.comes_late.lock().expect("the late one").take());
        if !inhibitors.is_empty() {
            return Err(RebootError::Bus(BusError::Refused {
                what: "RebootWithFlags".into(),
                name: "org.freedesktop.DBus.Error.AccessDenied".into(),
                message: "Access denied to root due to active block inhibitor".into(),
            }));
        }
        self.0.down.notify_one();
        Ok(())
    }
}

/// Boot after boot of one machine.
async fn live(machine: Arc<Machine>, site: Arc<Site>, client: Client, settings: RebootdSettings) {
    loop {
        let driver = Driver::new(client.clone(), Boot(machine.clone()), machine.id.clone(), settings.clone());
        tokio::select! {
            ended = driver.run() => panic!("{}: {ended:?}", machine.id),
            () = machine.down.notified() => {}
        }
        drop(driver);
        let away = site.away.fetch_add(1, Ordering::SeqCst) + 1;
        site.most_away.fetch_max(away, Ordering::SeqCst);
        // As long as this machine takes to boot.
        tokio::time::sleep(Duration::from_millis(300)).await;
        if let Some(file) = machine.run_file.lock().expect("the file").take() {
            std::fs::remove_file(file).expect("the file is there");
        }
        machine.says(*machine.comes_up.lock().expect("the state"));
        machine.boots.fetch_add(1, Ordering::SeqCst);
        site.away.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn ask(client: &Client, machine: &MachineId) {
    let records = Records::new(client.clone(), Group::default());
    let request = Request { since: None, reason: "test".into() };
    records.put_request(machine, &request).await.expect("a request");
}

/// One machine beside a store of its own.
struct Story {
    client: Client,
    machine: Arc<Machine>,
    tasks: JoinSet<()>,
    etcd: Etcd,
}

impl Story {
    /// `None` where there is no etcd.
    fn begin() -> Option<Self> {
        let etcd = Etcd::start()?;
        Some(Self { client: client(&etcd), machine: Machine::new("m1"), tasks: JoinSet::new(), etcd })
    }

    fn lock(&self) -> Lock {
        Lock::new(self.client.clone(), &Group::default())
    }

    fn records(&self) -> Records {
        Records::new(self.client.clone(), Group::default())
    }

    /// The machine's coordinator runs from now on, boot after boot.
    fn live(&mut self, settings: RebootdSettings) {
        let (machine, client) = (self.machine.clone(), self.client.clone());
        self.tasks.spawn(live(machine, Arc::default(), client, settings));
    }

    /// Asks the machine to reboot.
    async fn ask(&self) {
        ask(&self.client, &self.machine.id).await;
    }

    async fn until(&self, what: &str, wanted: impl Fn(&Overview) -> bool) -> Overview {
        until(&self.client, what, wanted).await
    }

    /// Waits until nothing is left of a reboot, after which the machine is in its boot of this number.
    async fn until_done(&self, boots: usize) {
        self.until("done", |overview| overview.machines.is_empty() && self.machine.boots() == boots).await;
    }
}

/// Waits until what `wanted` says of the overview holds.
async fn until(client: &Client, what: &str, wanted: impl Fn(&Overview) -> bool) -> Overview {
    let mut last = None;
    let look = async {
        loop {
            let index = match client.get(REBOOT, &GetOptions::linearizable()).await {
                Ok(answer) => answer.index,
                Err(error) => error.api().expect("the store answers").index,
            };
            let overview = Overview::read(client, &Group::default()).await.expect("an overview");
            if wanted(&overview) {
                return overview;
            }
            last = Some(overview);
            let mut watch = client.watch("/", true, Some(index));
            let _ = tokio::time::timeout(Duration::from_secs(1), watch.next()).await;
        }
    };
    let seen = tokio::time::timeout(LIMIT, look).await;
    seen.unwrap_or_else(|_| panic!("not {what}: {last:?}"))
}

/// Whether a machine on its way says what it waits for.
fn does_not_get_on(overview: &Overview) -> bool {
    overview.machines.iter().any(|line| line.phase != "requested" && line.waits_for.is_some())
}

#[tokio::test]
async fn no_slot_is_given_twice_however_many_ask_at_once() {
    let Some(etcd) = Etcd::start() else { return };
    let lock = Lock::new(client(&etcd), &Group::default());
    lock.set_max(2).await.expect("a maximum of two");
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut tasks = JoinSet::new();
    for name in ["a", "b", "c", "d", "e", "f"] {
        let (lock, inside, most) = (lock.clone(), inside.clone(), most.clone());
        tasks.spawn(async move {
            for _ in 0..5 {
                while lock.acquire(&id(name)).await.is_err() {
                    tokio::task::yield_now().await;
                }
                most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                lock.read().await.expect("the lock");
                inside.fetch_sub(1, Ordering::SeqCst);
                while lock.release(&id(name)).await.is_err() {}
            }
        });
    }
    tokio::time::timeout(LIMIT, tasks.join_all()).await.expect("all got their turns");
    assert!((1..=2).contains(&most.load(Ordering::SeqCst)));
    assert_eq!(lock.read().await.expect("the lock").semaphore.available(), 2);
}

#[tokio::test]
async fn the_document_is_the_one_that_locksmiths_clients_read_and_write() {
    let Some(etcd) = Etcd::start() else { return };
    let client = client(&etcd);
    let lock = Lock::new(client.clone(), &Group::default());
    let key = "/coreos.com/updateengine/rebootlock/semaphore";
    let null = PutOptions {
        value: Some(r#"{"semaphore":1,"max":1,"holders":null}"#.into()),
        ..PutOptions::default()
    };
    client.put(key, &null).await.expect("as locksmith creates it");
    assert_eq!(lock.acquire(&id("b")).await.expect("free").outcome, Outcome::Made);
    assert_eq!(lock.acquire(&id("b")).await.expect("a repeat").outcome, Outcome::None);
    let value = client.get(key, &GetOptions::linearizable()).await.expect("the document").node.value;
    assert_eq!(value.as_deref(), Some(r#"{"semaphore":0,"max":1,"holders":["b"]}"#));
    assert!(lock.acquire(&id("a")).await.expect_err("full").to_string().contains("taken"));
    assert!(lock.set_max(0).await.is_err());
}

#[tokio::test]
async fn three_machines_that_ask_at_once_go_one_after_the_other() {
    let Some(etcd) = Etcd::start() else { return };
    let client = client(&etcd);
    let site = Arc::new(Site::default());
    let machines = ["m1", "m2", "m3"].map(Machine::new);
    for machine in &machines {
        ask(&client, &machine.id).await;
    }
    let mut tasks = JoinSet::new();
    for machine in &machines {
        tasks.spawn(live(machine.clone(), site.clone(), client.clone(), settings()));
    }
    let all = until(&client, "all back", |overview| {
        overview.machines.is_empty() && machines.iter().all(|machine| machine.boots() == 2)
    });
    tokio::select! {
        overview = all => assert_eq!((overview.available, overview.max), (1, 1)),
        ended = tasks.join_next() => panic!("a coordinator ended: {ended:?}"),
    }
    assert_eq!(site.most_away.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_machine_that_is_not_well_keeps_the_lock_and_says_why() {
    let Some(mut story) = Story::begin() else { return };
    story.live(settings());
    *story.machine.comes_up.lock().expect("the state") = "degraded";
    story.ask().await;
    let stuck = story.until("stuck", does_not_get_on).await;
    assert_eq!(stuck.available, 0);
    assert_eq!(stuck.machines[0].phase, "checking");
    assert_eq!(
        stuck.machines[0].waits_for.as_deref(),
        Some("systemd says degraded, before the reboot it said running")
    );
    story.machine.says("running");
    let free = story.until("free", |overview| overview.machines.is_empty()).await;
    assert_eq!(free.available, 1);
    assert_eq!(story.machine.boots(), 2);
}

/// A machine on its way that has come to `phase` in its first boot.
fn on_its_way(phase: Phase) -> Holder {
    Holder {
        since: serde_json::from_str("\"2026-01-31T12:00:00Z\"").expect("a time"),
        boot_id: "boot-1".into(),
        reason: "test".into(),
        phase,
        system_before: Some("running".into()),
        member: None,
        request_index: None,
        sentinel: None,
        sentinel_state: None,
        hostname: None,
        operators_lock: false,
        waits_for: None,
    }
}

#[tokio::test]
async fn a_coordinator_that_starts_anew_in_any_phase_goes_on_where_it_was() {
    let Some(mut story) = Story::begin() else { return };
    let (lock, records) = (story.lock(), story.records());
    for phase in [
        Phase::WaitingForWindow,
        Phase::WaitingForLock,
        Phase::Draining,
        Phase::Leaving,
        Phase::Back,
        Phase::Checking,
        Phase::Releasing,
    ] {
        story.machine = Machine::new("m1");
        let id = story.machine.id.clone();
        story.ask().await;
        let request_index = records.request(&id).await.expect("the request").0.map(|(_, index)| index);
        if phase >= Phase::Draining {
            lock.acquire(&id).await.expect("a free lock");
        }
        let holder = Holder { request_index, ..on_its_way(phase) };
        records.put_holder(&id, &holder).await.expect("a record");
        story.live(settings());
        let free = story.until("free", |overview| overview.machines.is_empty()).await;
        assert_eq!(free.available, 1, "{phase}");
        let reboots = usize::from(phase <= Phase::Leaving);
        assert_eq!(story.machine.boots() - 1, reboots, "reboots after a start in {phase}");
        story.tasks.shutdown().await;
    }
}

#[tokio::test]
async fn a_reboot_can_be_taken_back_while_the_machine_waits_for_the_quorum_just_before_it_leaves() {
    let Some(mut story) = Story::begin() else { return };
    let (id, records) = (story.machine.id.clone(), story.records());
    story.lock().acquire(&id).await.expect("a free lock");
    story.ask().await;
    let holder = Holder { sentinel: Some("/run/reboot-required".into()), ..on_its_way(Phase::Leaving) };
    records.put_holder(&id, &holder).await.expect("a record");
    story.live(RebootdSettings { keep_quorum: true, ..settings() });
    let seen = story.until("waiting", does_not_get_on).await;
    assert_eq!((seen.machines[0].phase.as_str(), seen.available), ("leaving", 0));
    records.remove_request(&id, None).await.expect("the request");
    story.until_done(1).await;
    assert_eq!(records.answered(&id).await.expect("a look"), None, "no reboot has answered the file");
}

#[tokio::test]
async fn a_machine_whose_lock_is_taken_away_just_before_it_leaves_waits_for_it_again() {
    let Some(mut story) = Story::begin() else { return };
    let id = story.machine.id.clone();
    story.lock().acquire(&id).await.expect("a free lock");
    story.ask().await;
    story.records().put_holder(&id, &on_its_way(Phase::Leaving)).await.expect("a record");
    *story.machine.loses.lock().expect("the lock") = Some(story.lock());
    story.live(settings());
    let waits = |overview: &Overview| {
        overview.machines.iter().any(|line| line.phase == "waiting-for-lock" && line.waits_for.is_some())
    };
    story.until("waiting", waits).await;
    assert_eq!(story.machine.boots(), 1);
}

#[tokio::test]
async fn a_machine_that_is_going_down_keeps_the_lock_though_nobody_wants_its_reboot_any_longer() {
    let Some(mut story) = Story::begin() else { return };
    let id = story.machine.id.clone();
    story.lock().acquire(&id).await.expect("a free lock");
    story.records().put_holder(&id, &on_its_way(Phase::Leaving)).await.expect("a record");
    // The coordinator before this one has asked logind.
    story.machine.says("stopping");
    story.live(settings());
    story.until_done(2).await;
}

#[tokio::test]
async fn a_coordinator_that_cannot_write_the_groups_document_at_its_start_tries_again() {
    let Some(mut story) = Story::begin() else { return };
    let failures = Arc::new(AtomicUsize::new(0));
    let relay = Relay::start(&story.etcd.url(), {
        let failures = failures.clone();
        move |line| {
            let creates = line.starts_with("PUT") && line.contains("/rebootlock/semaphore");
            if creates && failures.fetch_add(1, Ordering::SeqCst) < 2 { Act::HangUp } else { Act::Pass }
        }
    });
    let direct = std::mem::replace(&mut story.client, client_of(&relay.url));
    story.live(settings());
    story.client = direct;
    let document = async {
        loop {
            let found = story.client.get(&Group::default().semaphore(), &GetOptions::linearizable()).await;
            match found {
                Ok(answer) => return answer.node.value,
                Err(error) => assert!(error.is_not_found(), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        found = tokio::time::timeout(LIMIT, document) => {
            assert_eq!(found.expect("the document").as_deref(), Some(r#"{"semaphore":1,"max":1,"holders":[]}"#));
        }
        ended = story.tasks.join_next() => panic!("the coordinator ended: {ended:?}"),
    }
    assert!(failures.load(Ordering::SeqCst) > 2);
}

#[tokio::test]
async fn the_lock_that_an_operator_took_outlives_a_reboot() {
    let Some(mut story) = Story::begin() else { return };
    story.lock().acquire(&story.machine.id).await.expect("a free lock");
    story.live(settings());
    story.ask().await;
    let after = story.until("back", |overview| {
        story.machine.boots() == 2 && overview.machines.iter().all(|line| line.phase == "locked")
    });
    assert!(after.await.machines[0].holds);
}

#[tokio::test]
async fn a_request_that_is_taken_back_while_others_hold_the_lock_leaves_nothing() {
    let Some(mut story) = Story::begin() else { return };
    story.lock().acquire(&id("other")).await.expect("a free lock");
    story.live(settings());
    story.ask().await;
    let waiting = story.until("waiting", does_not_get_on).await;
    assert_eq!(waiting.machines[1].waits_for.as_deref(), Some("the lock is taken: 1 of at most 1, by other"));
    let request = Group::default().request(&story.machine.id);
    story.client.delete(&request, &DeleteOptions::default()).await.expect("the request");
    let left = story.until("withdrawn", |overview| overview.machines.len() == 1).await;
    assert_eq!(left.machines[0].machine, id("other"));
    assert_eq!(story.machine.boots(), 1);
}

#[tokio::test]
async fn a_file_asks_for_a_reboot_too() {
    let Some(mut story) = Story::begin() else { return };
    let run = tempfile::tempdir().expect("a folder");
    let sentinel = run.path().join("reboot-required");
    story.live(RebootdSettings { sentinel: Some(sentinel.clone()), ..settings() });
    story.until("idle", |overview| overview.machines.is_empty()).await;
    std::fs::write(&sentinel, "").expect("the file");
    *story.machine.run_file.lock().expect("the file") = Some(sentinel);
    let seen = story.until("on its way", |overview| !overview.machines.is_empty()).await;
    assert!(seen.machines[0].reason.as_deref().is_some_and(|reason| reason.contains("reboot-required")));
    story.until_done(2).await;
}

#[tokio::test]
async fn a_machine_whose_store_node_is_needed_stays_and_takes_no_lock() {
    let Some(mut story) = Story::begin() else { return };
    story.live(RebootdSettings { keep_quorum: true, ..settings() });
    story.ask().await;
    let stays = story.until("stays", does_not_get_on).await;
    let why = stays.machines[0].waits_for.as_deref().expect("a reason");
    assert!(why.starts_with("the store would lose its quorum: 0 of 1"), "{why}");
    assert_eq!((stays.available, story.machine.boots()), (1, 1));
}

/// Waits until the only machine on its way waits for what `wanted` names, and holds nothing.
async fn until_it_waits_for(story: &Story, wanted: &str) {
    let seen = story.until(wanted, |overview| {
        overview.machines.iter().any(|line| line.waits_for.as_deref() == Some(wanted))
    });
    let seen = seen.await;
    assert_eq!((seen.machines[0].phase.as_str(), seen.available), ("waiting-for-lock", 1), "{seen:?}");
}

#[tokio::test]
async fn a_machine_that_somebody_keeps_from_going_down_waits_without_the_lock_and_says_who() {
    let Some(mut story) = Story::begin() else { return };
    story.machine.inhibitors.lock().expect("the inhibitors").push("apt is at work".into());
    *story.machine.comes_late.lock().expect("the late one") = Some("backup is at work".into());
    story.live(settings());
    story.ask().await;
    until_it_waits_for(&story, "apt is at work").await;
    // The next one comes when logind has been asked already.
    story.machine.inhibitors.lock().expect("the inhibitors").clear();
    until_it_waits_for(&story, "backup is at work").await;
    assert_eq!(story.machine.boots(), 1);
    story.machine.inhibitors.lock().expect("the inhibitors").clear();
    story.until_done(2).await;
}

#[tokio::test]
async fn a_reboot_for_a_machine_that_is_kept_from_going_down_can_be_taken_back() {
    let Some(mut story) = Story::begin() else { return };
    *story.machine.comes_late.lock().expect("the late one") = Some("backup is at work".into());
    story.live(settings());
    story.ask().await;
    until_it_waits_for(&story, "backup is at work").await;
    story.records().remove_request(&story.machine.id, None).await.expect("the request");
    story.until_done(1).await;
}

/// Whether the only machine is one whose file is not obeyed, for a reason that `why` names.
fn is_not_obeyed(overview: &Overview, why: &str) -> bool {
    let line = overview.machines.first().filter(|line| line.phase == "answered");
    line.and_then(|line| line.waits_for.as_deref()).is_some_and(|says| says.contains(why))
}

const STAYS: &str = "req is still there after the reboot for it";
const EARLY: &str = "less than an hour after";

#[tokio::test]
async fn a_file_that_outlives_the_reboot_for_it_does_not_reboot_the_machine_again_but_a_request_does() {
    let Some(mut story) = Story::begin() else { return };
    let disk = tempfile::tempdir().expect("a folder");
    let sentinel = disk.path().join("req");
    std::fs::write(&sentinel, "please").expect("the file");
    story.live(RebootdSettings { sentinel: Some(sentinel.clone()), ..settings() });
    let seen = story.until("answered", |overview| is_not_obeyed(overview, STAYS)).await;
    assert_eq!((story.machine.boots(), seen.available), (2, 1));

    story.ask().await;
    story
        .until("rebooted by hand", |overview| story.machine.boots() == 3 && is_not_obeyed(overview, STAYS))
        .await;
    // Another file of that name is too early, and is told from the one before.
    std::fs::write(&sentinel, "please, once more").expect("the file");
    story.until("early", |overview| is_not_obeyed(overview, EARLY)).await;
    std::fs::remove_file(&sentinel).expect("the file");
    story.until("silent", |overview| overview.machines.is_empty()).await;
    assert_eq!(story.machine.boots(), 3);
}

#[tokio::test]
async fn a_file_that_appears_after_the_boot_is_not_taken_for_what_that_was_for() {
    let Some(mut story) = Story::begin() else { return };
    let run = tempfile::tempdir().expect("a folder");
    let sentinel = run.path().join("req");
    std::fs::write(&sentinel, "please").expect("the file");
    *story.machine.run_file.lock().expect("the file") = Some(sentinel.clone());
    *story.machine.comes_up.lock().expect("the state") = "degraded";
    story.live(RebootdSettings { sentinel: Some(sentinel.clone()), ..settings() });
    story
        .until("checking", |o| o.machines.iter().any(|l| l.phase == "checking" && l.waits_for.is_some()))
        .await;
    assert!(!sentinel.exists(), "the boot has taken the first one away");
    std::fs::write(&sentinel, "please").expect("the file");
    story.machine.says("running");
    story.until("early", |overview| is_not_obeyed(overview, EARLY)).await;
}

/// The presence of another boot of a machine.
async fn announce(client: &Client, machine: &str, ttl: u64) {
    let dir = format!("/muster/machines/{machine}");
    let make = PutOptions { dir: true, ttl: Some(ttl), ..PutOptions::default() };
    client.put(&dir, &make).await.expect("a directory");
    let info = format!(r#"{{"id":"{machine}","hostname":"first","boot_id":"another"}}"#);
    let put = PutOptions { value: Some(info), ..PutOptions::default() };
    client.put(&format!("{dir}/info"), &put).await.expect("a description");
}

#[tokio::test]
async fn a_coordinator_whose_machine_id_is_anothers_takes_neither_its_record_nor_its_lock() {
    let Some(story) = Story::begin() else { return };
    announce(&story.client, "m1", 2).await;
    let alive = tokio::spawn({
        let client = story.client.clone();
        async move {
            let refresh = PutOptions {
                dir: true,
                refresh: true,
                ttl: Some(2),
                prev_exist: Some(true),
                ..PutOptions::default()
            };
            loop {
                client.put("/muster/machines/m1", &refresh).await.expect("it is there");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    });
    // The first is in the middle of a reboot's checks.
    let (lock, records, machine) = (story.lock(), story.records(), story.machine.clone());
    lock.acquire(&machine.id).await.expect("a free lock");
    let holder: Holder = serde_json::from_str(
        r#"{"since":"2026-01-31T12:00:00Z","boot_id":"another","reason":"kernel","phase":"checking"}"#,
    )
    .expect("a record");
    let written = records.put_holder(&machine.id, &holder).await.expect("the record");
    story.ask().await;

    let second = Driver::new(story.client.clone(), Boot(machine.clone()), machine.id.clone(), settings());
    let ended = tokio::time::timeout(LIMIT, second.run()).await.expect("an end");
    assert!(matches!(ended, Err(RebootError::Duplicate(_))), "{ended:?}");
    assert_eq!(records.holder(&machine.id).await.expect("the record"), Some((holder, written)));
    assert!(lock.read().await.expect("the lock").semaphore.holds(&machine.id));
    assert!(records.request(&machine.id).await.expect("the request").0.is_some());
    let note =
        story.client.get("/muster/refused/m1/boot-1", &GetOptions::linearizable()).await.expect("a note");
    let note: Refusal = serde_json::from_str(&note.node.value.unwrap_or_default()).expect("a refusal");
    assert_eq!(note.hostname, "host-m1");
    alive.abort();
}

#[tokio::test]
async fn a_machine_that_is_back_before_its_last_boots_presence_has_expired_goes_on() {
    let Some(mut story) = Story::begin() else { return };
    announce(&story.client, "m1", 2).await;
    story.ask().await;
    story.live(settings());
    story.until_done(2).await;
}

/// What `muster reboot` with these words ends with, and all that it says.
fn on_the_command_line(story: &Story, words: &[&str]) -> (Option<i32>, String) {
    run(command(story, words))
}

fn command(story: &Story, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    command.args(["--endpoints", &story.etcd.url(), "reboot"]).args(words).env("MUSTER_CONFIG", "/dev/null");
    command
}

fn run(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().expect("the program can be run");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[tokio::test]
async fn who_waits_for_a_reboot_is_told_whether_there_was_one() {
    let Some(mut story) = Story::begin() else { return };
    story.ask().await;
    let by_hand = |reason: &'static str| {
        let words = ["request", "--machine", "m1", "--reason", reason, "--wait"];
        let command = command(&story, &words);
        tokio::task::spawn_blocking(move || run(command))
    };
    let is_asked = |reason: &'static str| {
        move |overview: &Overview| overview.machines.iter().any(|line| line.reason.as_deref() == Some(reason))
    };
    let waiting = by_hand("first");
    let asked = story.until("asked", is_asked("first")).await;
    let why = asked.machines[0].waits_for.as_deref().unwrap_or_default();
    assert!(why.contains("its rebootd has not taken it up"), "{why}");
    story.records().remove_request(&story.machine.id, None).await.expect("the request");
    let (code, said) = waiting.await.expect("an end");
    assert!(code == Some(1) && said.contains("m1 cancelled\n") && said.contains("taken back: m1"), "{said}");

    story.ask().await;
    let waiting = by_hand("second");
    story.until("asked", is_asked("second")).await;
    story.live(settings());
    let (code, said) = waiting.await.expect("an end");
    assert!(code == Some(0) && said.ends_with("m1 done\n"), "{said}");
    assert_eq!(story.machine.boots(), 2);
}

#[tokio::test]
async fn a_machine_that_loses_the_lock_too_late_is_told_of() {
    let Some(story) = Story::begin() else { return };
    for (phase, late) in [(Phase::Leaving, true), (Phase::Draining, false)] {
        story.lock().acquire(&story.machine.id).await.expect("a free lock");
        story.records().put_holder(&story.machine.id, &on_its_way(phase)).await.expect("a record");
        let (code, said) = on_the_command_line(&story, &["unlock", "m1"]);
        assert_eq!((code, said.contains("it reboots without the lock")), (Some(0), late), "{phase}: {said}");
    }
}

#[tokio::test]
async fn a_group_or_a_machine_that_there_is_not_is_an_error_before_anything_is_done() {
    let Some(story) = Story::begin() else { return };
    announce(&story.client, "m1", 60).await;
    let (code, said) = on_the_command_line(&story, &["request", "--all", "--group", "typo"]);
    assert!(code == Some(1) && said.contains("there is no group \"typo\""), "{said}");
    let this = std::fs::read_to_string("/etc/machine-id").expect("a machine-id");
    let unknown = format!("this machine ({}) is not known: does its agent run?", this.trim());
    for verb in ["request", "lock", "unlock", "cancel"] {
        let (code, said) = on_the_command_line(&story, &[verb]);
        assert!(code == Some(1) && said.contains(&unknown), "{verb}: {said}");
    }
    story.until("untouched", |overview| overview.machines.is_empty() && overview.available == 1).await;

    // A clone would mean the machine whose id it has.
    announce(&story.client, this.trim(), 60).await;
    for verb in ["request", "lock", "unlock", "cancel"] {
        let (code, said) = on_the_command_line(&story, &[verb]);
        assert!(code == Some(1) && said.contains("is in use by first (boot id another)"), "{verb}: {said}");
    }
    story.until("untouched", |overview| overview.machines.is_empty() && overview.available == 1).await;
    let delete = DeleteOptions { recursive: true, ..DeleteOptions::default() };
    story.client.delete(&format!("/muster/machines/{}", this.trim()), &delete).await.expect("a presence");

    // A holder that has gone is known by its slot.
    story.lock().acquire(&id(this.trim())).await.expect("a free lock");
    let (code, said) = on_the_command_line(&story, &["unlock"]);
    assert!(code == Some(0) && said.contains("does not hold the lock any longer, 1 of 1 free"), "{said}");
    let (code, said) = on_the_command_line(&story, &["request", "--all", "--reason", "kernel"]);
    assert_eq!((code, said.as_str()), (Some(0), "first/m1 was asked to reboot: kernel\n"));
    let (code, said) = on_the_command_line(&story, &["cancel", "--machine", "first"]);
    assert_eq!((code, said.as_str()), (Some(0), "first/m1 is not asked to reboot any longer\n"));
}
