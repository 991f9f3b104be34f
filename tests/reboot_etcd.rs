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
use muster::model::reboot::{Group, Holder, Phase, Request};
use muster::reboot::host::Host;
use muster::reboot::lock::Lock;
use muster::reboot::overview::Overview;
use muster::reboot::records::Records;
use muster::reboot::semaphore::Outcome;
use muster::reboot::{Driver, RebootError};
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

    async fn reboot(&self) -> Result<(), RebootError> {
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
