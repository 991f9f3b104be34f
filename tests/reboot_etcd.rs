//! The reboot lock and its coordinators against a real etcd, with machines that reboot in memory.

mod common;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::etcd::Etcd;
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
    let fragment = ClientFragment { endpoints: Some(vec![etcd.url()]), ..ClientFragment::default() };
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
    let Some(etcd) = Etcd::start() else { return };
    let client = client(&etcd);
    let machine = Machine::new("m1");
    let site = Arc::new(Site::default());
    let mut tasks = JoinSet::new();
    tasks.spawn(live(machine.clone(), site, client.clone(), settings()));
    *machine.comes_up.lock().expect("the state") = "degraded";
    ask(&client, &machine.id).await;
    let stuck = until(&client, "stuck", |o| o.machines.iter().any(|line| line.waits_for.is_some())).await;
    assert_eq!(stuck.available, 0);
    assert_eq!(stuck.machines[0].phase, "checking");
    assert_eq!(
        stuck.machines[0].waits_for.as_deref(),
        Some("systemd says degraded, before the reboot it said running")
    );
    machine.says("running");
    let free = until(&client, "free", |overview| overview.machines.is_empty()).await;
    assert_eq!(free.available, 1);
    assert_eq!(machine.boots(), 2);
}

#[tokio::test]
async fn a_coordinator_that_starts_anew_in_any_phase_goes_on_where_it_was() {
    let Some(etcd) = Etcd::start() else { return };
    let client = client(&etcd);
    let records = Records::new(client.clone(), Group::default());
    let lock = Lock::new(client.clone(), &Group::default());
    for phase in [
        Phase::WaitingForWindow,
        Phase::WaitingForLock,
        Phase::Draining,
        Phase::Leaving,
        Phase::Back,
        Phase::Checking,
        Phase::Releasing,
    ] {
        let machine = Machine::new("m1");
        ask(&client, &machine.id).await;
        let request_index =
            records.request(&machine.id).await.expect("the request").0.map(|(_, index)| index);
        if phase >= Phase::Draining {
            lock.acquire(&machine.id).await.expect("a free lock");
        }
        let holder = Holder {
            since: serde_json::from_str("\"2026-01-31T12:00:00Z\"").expect("a time"),
            boot_id: "boot-1".into(),
            reason: "test".into(),
            phase,
            system_before: Some("running".into()),
            member: None,
            request_index,
            sentinel: None,
            operators_lock: false,
            waits_for: None,
        };
        records.put_holder(&machine.id, &holder).await.expect("a record");
        let mut tasks = JoinSet::new();
        tasks.spawn(live(machine.clone(), Arc::default(), client.clone(), settings()));
        let free = until(&client, "free", |overview| overview.machines.is_empty()).await;
        assert_eq!(free.available, 1, "{phase}");
        let reboots = usize::from(phase <= Phase::Leaving);
        assert_eq!(machine.boots() - 1, reboots, "reboots after a start in {phase}");
        tasks.shutdown().await;
    }
}

#[tokio::test]
async fn the_lock_that_an_operator_took_outlives_a_reboot() {
    let Some(etcd) = Etcd::start() else { return };
    let client = client(&etcd);
    let machine = Machine::new("m1");
    let lock = Lock::new(client.clone(), &Group::default());
    lock.acquire(&machine.id).await.expect("a free lock");
    let mut tasks = JoinSet::new();
    tasks.spawn(live(machine.clone(), Arc::default(), client.clone(), settings()));
    ask(&client, &machine.id).await;
    let after = until(&client, "back", |overview| {
        machine.boots() == 2 && overview.machines.iter().all(|line| line.phase == "locked")
    });
    assert!(after.await.machines[0].holds);
}

#[tokio::test]
async fn a_request_that_is_taken_back_while_others_hold_the_lock_leaves_nothing() {
    let Some(etcd) = Etcd::start() else { return };
    let client = client(&etcd);
    let machine = Machine::new("m1");
    Lock::new(client.clone(), &Group::default()).acquire(&id("other")).await.expect("a free lock");
    let mut tasks = JoinSet::new();
    tasks.spawn(live(machine.clone(), Arc::default(), client.clone(), settings()));
    ask(&client, &machine.id).await;
    let waiting = until(&client, "waiting", |o| o.machines.iter().any(|line| line.waits_for.is_some())).await;
    assert_eq!(waiting.machines[1].waits_for.as_deref(), Some("the lock is taken: 1 of at most 1, by other"));
    let request = Group::default().request(&machine.id);
    client.delete(&request, &DeleteOptions::default()).await.expect("the request");
    let left = until(&client, "withdrawn", |overview| overview.machines.len() == 1).await;
    assert_eq!(left.machines[0].machine, id("other"));
    assert_eq!(machine.boots(), 1);
}

#[tokio::test]
async fn a_file_asks_for_a_reboot_too() {
    let Some(etcd) = Etcd::start() else { return };
    let client = client(&etcd);
    let machine = Machine::new("m1");
    let run = tempfile::tempdir().expect("a folder");
    let sentinel = run.path().join("reboot-required");
    let settings = RebootdSettings { sentinel: Some(sentinel.clone()), ..settings() };
    let mut tasks = JoinSet::new();
    tasks.spawn(live(machine.clone(), Arc::default(), client.clone(), settings));
    until(&client, "idle", |overview| overview.machines.is_empty()).await;
    std::fs::write(&sentinel, "").expect("the file");
    *machine.run_file.lock().expect("the file") = Some(sentinel);
    let seen = until(&client, "on its way", |overview| !overview.machines.is_empty()).await;
    assert!(seen.machines[0].reason.as_deref().is_some_and(|reason| reason.contains("reboot-required")));
    until(&client, "done", |overview| overview.machines.is_empty() && machine.boots() == 2).await;
}

#[tokio::test]
async fn a_machine_whose_store_node_is_needed_stays_and_takes_no_lock() {
    let Some(etcd) = Etcd::start() else { return };
    let client = client(&etcd);
    let machine = Machine::new("m1");
    let settings = RebootdSettings { keep_quorum: true, ..settings() };
    let mut tasks = JoinSet::new();
    tasks.spawn(live(machine.clone(), Arc::default(), client.clone(), settings));
    ask(&client, &machine.id).await;
    let stays = until(&client, "stays", |o| o.machines.iter().any(|line| line.waits_for.is_some())).await;
    let why = stays.machines[0].waits_for.as_deref().expect("a reason");
    assert!(why.starts_with("the store would lose its quorum: 0 of 1"), "{why}");
    assert_eq!((stays.available, machine.boots()), (1, 1));
}

/// Waits until the only machine on its way waits for what `wanted` names, and holds nothing.
async fn until_it_waits_for(client: &Client, wanted: &str) {
    let seen = until(client, wanted, |overview| {
        overview.machines.iter().any(|line| line.waits_for.as_deref() == Some(wanted))
    });
    let seen = seen.await;
    assert_eq!((seen.machines[0].phase.as_str(), seen.available), ("waiting-for-lock", 1), "{seen:?}");
}

#[tokio::test]
async fn a_machine_that_somebody_keeps_from_going_down_waits_without_the_lock_and_says_who() {
    let Some(etcd) = Etcd::start() else { return };
    let client = client(&etcd);
    let machine = Machine::new("m1");
    machine.inhibitors.lock().expect("the inhibitors").push("apt is at work".into());
    *machine.comes_late.lock().expect("the late one") = Some("backup is at work".into());
    let mut tasks = JoinSet::new();
    tasks.spawn(live(machine.clone(), Arc::default(), client.clone(), settings()));
    ask(&client, &machine.id).await;
    until_it_waits_for(&client, "apt is at work").await;
    // The next one comes when logind has been asked already.
    machine.inhibitors.lock().expect("the inhibitors").clear();
    until_it_waits_for(&client, "backup is at work").await;
    assert_eq!(machine.boots(), 1);
    machine.inhibitors.lock().expect("the inhibitors").clear();
    until(&client, "done", |overview| overview.machines.is_empty() && machine.boots() == 2).await;
}

#[tokio::test]
async fn a_reboot_for_a_machine_that_is_kept_from_going_down_can_be_taken_back() {
    let Some(etcd) = Etcd::start() else { return };
    let client = client(&etcd);
    let machine = Machine::new("m1");
    *machine.comes_late.lock().expect("the late one") = Some("backup is at work".into());
    let mut tasks = JoinSet::new();
    tasks.spawn(live(machine.clone(), Arc::default(), client.clone(), settings()));
    ask(&client, &machine.id).await;
    until_it_waits_for(&client, "backup is at work").await;
    let records = Records::new(client.clone(), Group::default());
    records.remove_request(&machine.id, None).await.expect("the request");
    until(&client, "withdrawn", |overview| overview.machines.is_empty()).await;
    assert_eq!(machine.boots(), 1);
}

#[tokio::test]
async fn a_file_that_outlives_the_reboot_for_it_does_not_reboot_the_machine_again_but_a_request_does() {
    let Some(etcd) = Etcd::start() else { return };
    let client = client(&etcd);
    let machine = Machine::new("m1");
    let disk = tempfile::tempdir().expect("a folder");
    let sentinel = disk.path().join("req");
    std::fs::write(&sentinel, "please").expect("the file");
    let settings = RebootdSettings { sentinel: Some(sentinel.clone()), ..settings() };
    let mut tasks = JoinSet::new();
    tasks.spawn(live(machine.clone(), Arc::default(), client.clone(), settings));
    let in_vain = |overview: &Overview| overview.machines.iter().any(|line| line.phase == "answered");
    let seen = until(&client, "answered", in_vain).await;
    let says = seen.machines[0].waits_for.as_deref().expect("a reason");
    assert!(says.contains("req is still there after the reboot for it"), "{says}");
    assert_eq!((machine.boots(), seen.available), (2, 1));

    ask(&client, &machine.id).await;
    until(&client, "rebooted by hand", |overview| machine.boots() == 3 && in_vain(overview)).await;
    // Another file of that name is too early, and is told from the one before.
    std::fs::write(&sentinel, "please, once more").expect("the file");
    until(&client, "early", |overview| {
        let says = overview.machines.first().and_then(|line| line.waits_for.as_deref());
        says.is_some_and(|says| says.contains("less than an hour after"))
    })
    .await;
    std::fs::remove_file(&sentinel).expect("the file");
    until(&client, "silent", |overview| overview.machines.is_empty()).await;
    assert_eq!(machine.boots(), 3);
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
    let Some(etcd) = Etcd::start() else { return };
    let client = client(&etcd);
    let machine = Machine::new("m1");
    announce(&client, "m1", 2).await;
    let alive = tokio::spawn({
        let client = client.clone();
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
    let (lock, records) =
        (Lock::new(client.clone(), &Group::default()), Records::new(client.clone(), Group::default()));
    lock.acquire(&machine.id).await.expect("a free lock");
    let holder: Holder = serde_json::from_str(
        r#"{"since":"2026-01-31T12:00:00Z","boot_id":"another","reason":"kernel","phase":"checking"}"#,
    )
    .expect("a record");
    let written = records.put_holder(&machine.id, &holder).await.expect("the record");
    ask(&client, &machine.id).await;

    let second = Driver::new(client.clone(), Boot(machine.clone()), machine.id.clone(), settings());
    let ended = tokio::time::timeout(LIMIT, second.run()).await.expect("an end");
    assert!(matches!(ended, Err(RebootError::Duplicate(_))), "{ended:?}");
    assert_eq!(records.holder(&machine.id).await.expect("the record"), Some((holder, written)));
    assert!(lock.read().await.expect("the lock").semaphore.holds(&machine.id));
    assert!(records.request(&machine.id).await.expect("the request").0.is_some());
    let note = client.get("/muster/refused/m1/boot-1", &GetOptions::linearizable()).await.expect("a note");
    let note: Refusal = serde_json::from_str(&note.node.value.unwrap_or_default()).expect("a refusal");
    assert_eq!(note.hostname, "host-m1");
    alive.abort();
}

#[tokio::test]
async fn a_machine_that_is_back_before_its_last_boots_presence_has_expired_goes_on() {
    let Some(etcd) = Etcd::start() else { return };
    let client = client(&etcd);
    let machine = Machine::new("m1");
    announce(&client, "m1", 2).await;
    ask(&client, &machine.id).await;
    let mut tasks = JoinSet::new();
    tasks.spawn(live(machine.clone(), Arc::default(), client.clone(), settings()));
    until(&client, "done", |overview| overview.machines.is_empty() && machine.boots() == 2).await;
}
