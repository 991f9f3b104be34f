//! Agents with service managers in memory, against a real etcd: several machines in one process.

mod common;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::etcd::Etcd;
use common::relay::{Act, Relay};
use muster::agent::{self, AgentError};
use muster::client::{Client, DeleteOptions, GetOptions, Node, PutOptions};
use muster::config::{AgentFragment, AgentSettings, ClientSettings};
use muster::ids::UnitName;
use muster::model::machine::{MachineInfo, Refusal};
use muster::model::options::Options;
use muster::model::unit::{Desired, ScheduleRecord, UnitRecord, UnitState};
use muster::model::{self, unitfile};
use muster::systemd::fake::Fake;
use muster::systemd::{Origin, Systemd};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio_util::sync::CancellationToken;

const TTL: Duration = Duration::from_secs(3);
const LIMIT: Duration = Duration::from_secs(30);

/// A machine whose systemd and disk outlive its agent.
struct Machine {
    name: String,
    boot: String,
    disk: tempfile::TempDir,
    systemd: Fake,
    agent: Option<(CancellationToken, JoinHandle<Result<(), AgentError>>)>,
}

impl Machine {
    fn new(name: &str) -> Self {
        let disk = tempfile::tempdir().expect("a folder");
        Self {
            name: name.into(),
            boot: format!("boot-of-{name}"),
            disk,
            systemd: Fake::default(),
            agent: None,
        }
    }

    fn start_agent(&mut self, etcd: &Etcd) {
        self.start_agent_at(&etcd.url());
    }

    fn start_agent_at(&mut self, url: &str) {
        let fragment: AgentFragment =
            toml::from_str("presence_ttl = '3s'\nlease_ttl = '2s'").expect("settings");
        let mut settings: AgentSettings = fragment.try_into().expect("settings");
        settings.run_directory = self.disk.path().join("run");
        settings.systemd_directory = self.disk.path().join("systemd");
        let info: MachineInfo = serde_json::from_value(serde_json::json!({
            "id": self.name, "hostname": self.name, "boot_id": self.boot,
        }))
        .expect("a machine");
        let (client, systemd, stop) =
            (client_with(url, LIMIT), Systemd::new(self.systemd.clone()), CancellationToken::new());
        let ending = stop.clone();
        let run = async move { agent::run(&settings, client, systemd, info, ending).await };
        self.agent = Some((stop, spawn_local(run)));
    }

    /// The agent, or the whole machine, is gone without a word.
    fn kill_agent(&mut self) {
        if let Some((_, task)) = self.agent.take() {
            task.abort();
        }
    }

    async fn stop_agent(&mut self) -> Result<(), AgentError> {
        let (stop, task) = self.agent.take().expect("an agent");
        stop.cancel();
        task.await.expect("no panic")
    }

    fn active(&self, unit: &str) -> bool {
        self.systemd.get(&name(unit)).is_some_and(|status| status.active == "active")
    }
}

fn name(unit: &str) -> UnitName {
    unit.parse().expect("a unit's name")
}

/// The test's own client, patient with a slow disk.
fn client(etcd: &Etcd) -> Client {
    client_with(&etcd.url(), LIMIT)
}

fn client_with(url: &str, request_timeout: Duration) -> Client {
    let endpoints = vec![url.parse().expect("a URL")];
    Client::new(&ClientSettings { endpoints, request_timeout, credentials: None }).expect("a client")
}

/// Stores a unit's text and what is wanted of it.
async fn want(client: &Client, unit: &str, text: &str, desired: Desired, generation: u64) {
    let (unit, hash) = (name(unit), unitfile::hash(text));
    let put = |value: String| PutOptions { value: Some(value), ..Default::default() };
    client.put(&model::file(&hash), &put(text.into())).await.expect("a text");
    let options = Options::read(&unit, text).expect("options");
    let record = UnitRecord { hash, options, desired, generation, partition: Default::default() };
    let value = serde_json::to_string(&record).expect("a record");
    client.put(&model::unit(&unit), &put(value)).await.expect("a record");
}

async fn launch(client: &Client, unit: &str, text: &str) {
    want(client, unit, text, Desired::Launched, 1).await;
}

async fn read<T: serde::de::DeserializeOwned>(client: &Client, key: &str) -> Option<T> {
    let answer = client.get(key, &GetOptions::linearizable()).await.ok()?;
    serde_json::from_str(answer.node.value.as_deref()?).ok()
}

async fn schedule(client: &Client, unit: &str) -> Option<ScheduleRecord> {
    read(client, &model::schedule(&name(unit))).await
}

async fn state(client: &Client, machine: &str, unit: &str) -> Option<UnitState> {
    read(client, &model::machine_unit(&machine.parse().expect("an id"), &name(unit))).await
}

/// Waits until `holds`, and says how long that took.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < LIMIT, "waited {LIMIT:?} in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    began.elapsed()
}

fn in_a_cluster<F: Future<Output = ()>>(test: impl FnOnce(Etcd) -> F) {
    let Some(etcd) = Etcd::start() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, test(etcd));
}

/// A cluster of one machine whose agent has been started.
fn with_a_machine<F: Future<Output = ()>>(test: impl FnOnce(Etcd, Machine, Client) -> F) {
    in_a_cluster(async |etcd| {
        let mut machine = Machine::new("m1");
        machine.start_agent(&etcd);
        let client = client(&etcd);
        test(etcd, machine, client).await;
    });
}

const PLAIN: &str = "[Service]\nExecStart=/bin/sleep infinity\n";
const SHY: &str = "[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nConflicts=web@*.service\n";

#[test]
fn units_spread_move_when_a_machine_dies_and_wait_with_a_reason() {
    in_a_cluster(async |etcd| {
        let mut machines = ["m1", "m2", "m3"].map(Machine::new);
        machines.iter_mut().for_each(|machine| machine.start_agent(&etcd));
        let client = client(&etcd);
        for unit in ["web@1.service", "web@2.service", "web@3.service"] {
            launch(&client, unit, SHY).await;
        }
        launch(&client, "free.service", PLAIN).await;
        let up = |machines: &[Machine], unit: &str| machines.iter().position(|machine| machine.active(unit));
        let units = ["web@1.service", "web@2.service", "web@3.service", "free.service"];
        until("four active units", async || units.iter().all(|unit| up(&machines, unit).is_some())).await;
        let mut homes: Vec<_> = units[..3].iter().map(|unit| up(&machines, unit)).collect();
        homes.sort();
        assert_eq!(homes, [Some(0), Some(1), Some(2)]);

        // The machine with the free unit dies, and its web unit finds no other place.
        let dead = up(&machines, "free.service").expect("a machine");
        let homeless = units[..3].iter().find(|unit| machines[dead].active(unit)).expect("a web unit");
        machines[dead].kill_agent();
        let survivors: Vec<&Machine> =
            machines.iter().enumerate().filter(|(n, _)| *n != dead).map(|(_, machine)| machine).collect();
        let took =
            until("the free unit elsewhere", async || survivors.iter().any(|m| m.active("free.service")))
                .await;
        assert!(took <= TTL + Duration::from_secs(2), "it took {took:?}");
        until("a reason", async || {
            schedule(&client, homeless).await.is_some_and(|record| record.machine.is_none())
        })
        .await;
        let reason = schedule(&client, homeless).await.expect("a record").reason;
        assert!(reason.contains("conflicts with web@"), "{reason}");
        let calls = survivors.iter().flat_map(|machine| machine.systemd.calls()).collect::<Vec<_>>();
        assert!(!calls.iter().any(|call| call.starts_with("stop")), "{calls:?}");
    });
}

#[test]
fn a_restarted_agent_adopts_what_runs() {
    with_a_machine(async |etcd, mut machine, client| {
        launch(&client, "a.service", PLAIN).await;
        until("the unit", async || machine.active("a.service")).await;
        until("its state", async || state(&client, "m1", "a.service").await.is_some_and(|s| s.request == 1))
            .await;
        let before = machine.systemd.get(&name("a.service"));

        machine.stop_agent().await.expect("an orderly end");
        let info: MachineInfo = read(&client, "/muster/machines/m1/info").await.expect("still present");
        assert!(info.agent_stopped);
        machine.systemd.clear_calls();
        machine.start_agent(&etcd);
        until("the agent", async || {
            read::<MachineInfo>(&client, "/muster/machines/m1/info")
                .await
                .is_some_and(|info| !info.agent_stopped)
        })
        .await;
        // A second unit shows that the agent has looked at everything.
        launch(&client, "b.service", PLAIN).await;
        until("another unit", async || machine.active("b.service")).await;
        assert_eq!(machine.systemd.get(&name("a.service")), before);
        let calls = machine.systemd.calls();
        assert!(!calls.iter().any(|call| call.contains("a.service")), "{calls:?}");
    });
}

#[test]
fn a_store_that_is_away_longer_than_the_ttl_moves_and_stops_nothing() {
    in_a_cluster(async |mut etcd| {
        let mut machines = ["m1", "m2"].map(Machine::new);
        machines.iter_mut().for_each(|machine| machine.start_agent(&etcd));
        let units = ["a.service", "b.service", "c.service"];
        for unit in units {
            launch(&client(&etcd), unit, PLAIN).await;
        }
        let homes = |machines: &[Machine]| -> BTreeMap<&str, Vec<Option<u32>>> {
            let pid =
                |unit: &str, machine: &Machine| machine.systemd.get(&name(unit)).and_then(|s| s.main_pid);
            units.iter().map(|unit| (*unit, machines.iter().map(|m| pid(unit, m)).collect())).collect()
        };
        until("three units", async || units.iter().all(|unit| machines.iter().any(|m| m.active(unit)))).await;
        let before = homes(&machines);

        etcd.kill();
        let away = Instant::now();
        until("an outage longer than the TTL", async || away.elapsed() > TTL * 2).await;
        assert_eq!(homes(&machines), before);
        etcd.restart();
        let client = client(&etcd);
        until("both machines", async || {
            let mut present = 0;
            for machine in ["m1", "m2"] {
                let info = read::<MachineInfo>(&client, &format!("/muster/machines/{machine}/info")).await;
                present += usize::from(info.is_some());
            }
            present == 2
        })
        .await;
        launch(&client, "late.service", PLAIN).await;
        until("work goes on", async || machines.iter().any(|machine| machine.active("late.service"))).await;
        let back = Instant::now();
        until("time enough to bury the living", async || back.elapsed() > TTL + Duration::from_secs(1)).await;
        assert_eq!(homes(&machines), before);
    });
}

#[test]
fn a_wiped_or_broken_registry_stops_nothing() {
    with_a_machine(async |_etcd, machine, client| {
        launch(&client, "a.service", PLAIN).await;
        launch(&client, "b.service", PLAIN).await;
        until("both units", async || machine.active("a.service") && machine.active("b.service")).await;
        machine.systemd.clear_calls();

        let nonsense = PutOptions { value: Some("nonsense".into()), ..Default::default() };
        client.put("/muster/units/a.service", &nonsense).await.expect("a write");
        // The engine and the agent look at everything to place this one.
        launch(&client, "c.service", PLAIN).await;
        until("a third unit", async || machine.active("c.service")).await;
        let everything = DeleteOptions { recursive: true, ..Default::default() };
        client.delete("/muster/units", &everything).await.expect("a removal");
        let since = Instant::now();
        until("time to do harm", async || since.elapsed() > Duration::from_secs(1)).await;
        let calls = machine.systemd.calls();
        assert!(!calls.iter().any(|call| call.starts_with("stop")), "{calls:?}");
    });
}

#[test]
fn a_unit_that_hangs_or_fails_holds_up_nobody_and_one_stopped_by_hand_is_not_fought() {
    with_a_machine(async |_etcd, machine, client| {
        machine.systemd.hang(&name("hangs.service"));
        machine.systemd.fail_start(&name("fails.service"));
        machine.systemd.refuse_start(&name("refused.service"), "Unit has a bad setting.");
        for unit in ["fails.service", "hangs.service", "refused.service", "works.service"] {
            launch(&client, unit, PLAIN).await;
        }
        until("the unit that works", async || machine.active("works.service")).await;
        until("the failure", async || {
            state(&client, "m1", "fails.service")
                .await
                .is_some_and(|s| s.active == "failed" && s.request == 1)
        })
        .await;
        until("the refusal", async || {
            let refused = state(&client, "m1", "refused.service").await;
            refused.is_some_and(|state| state.problem.contains("bad setting") && state.request == 1)
        })
        .await;
        assert!(!machine.active("hangs.service"));
        machine.systemd.release();
        until("the unit that hung", async || machine.active("hangs.service")).await;

        machine.systemd.set(&name("works.service"), "inactive");
        until("what was done by hand", async || {
            state(&client, "m1", "works.service").await.is_some_and(|state| state.active == "inactive")
        })
        .await;
        want(&client, "works.service", PLAIN, Desired::Launched, 2).await;
        until("the unit, asked for again", async || machine.active("works.service")).await;
        let starts = machine.systemd.calls().iter().filter(|call| *call == "start works.service").count();
        assert_eq!(starts, 2);
    });
}

#[test]
fn stopped_means_loaded_and_destroyed_means_gone() {
    with_a_machine(async |_etcd, machine, client| {
        launch(&client, "a.service", PLAIN).await;
        until("the unit", async || machine.active("a.service")).await;
        let file = machine.disk.path().join("run/units/a.service");
        let drop_in = machine.disk.path().join("systemd/a.service.d/50-muster.conf");
        let token = std::fs::read_to_string(&drop_in).expect("a drop-in");
        let generation = schedule(&client, "a.service").await.expect("a placement").generation;
        assert!(token.contains(&format!("MUSTER_GENERATION={generation}\n")), "{token}");

        want(&client, "a.service", PLAIN, Desired::Loaded, 2).await;
        until("the stop", async || state(&client, "m1", "a.service").await.is_some_and(|s| s.request == 2))
            .await;
        assert!(!machine.active("a.service") && file.exists());

        client.delete("/muster/units/a.service", &DeleteOptions::default()).await.expect("a removal");
        until("the end of it", async || !file.exists() && !drop_in.exists()).await;
        until("silence about it", async || state(&client, "m1", "a.service").await.is_none()).await;
        assert!(schedule(&client, "a.service").await.is_none());

        // A unit of the same name has a greater token, although nothing is left of the old one.
        launch(&client, "a.service", PLAIN).await;
        until("the unit again", async || machine.active("a.service")).await;
        assert!(schedule(&client, "a.service").await.expect("a placement").generation > generation);
    });
}

#[test]
fn a_second_machine_with_the_same_id_touches_nothing_and_is_named_to_those_who_look_at_the_first() {
    in_a_cluster(async |etcd| {
        let mut one = Machine::new("twin");
        one.start_agent(&etcd);
        let client = client(&etcd);
        launch(&client, "a.service", PLAIN).await;
        until("the first's unit", async || {
            state(&client, "twin", "a.service").await.is_some_and(|state| state.active == "active")
        })
        .await;
        let before = present(&client, "twin").await.expect("the first");
        // More than once: whoever comes second must not win by chance.
        for round in 0..3 {
            let mut two = Machine { boot: format!("another-{round}"), ..Machine::new("twin") };
            two.start_agent(&etcd);
            let (_, task) = two.agent.take().expect("an agent");
            let ended = tokio::time::timeout(LIMIT, task).await.expect("an end").expect("no panic");
            let error = ended.expect_err("a refusal");
            assert!(matches!(error, AgentError::Duplicate(_)), "{error:?}");
            assert!(error.to_string().contains("in use by the living machine twin"), "{error}");
            assert_eq!(two.systemd.calls(), Vec::<String>::new());
            let note = format!("/muster/refused/twin/another-{round}");
            assert_eq!(read::<Refusal>(&client, &note).await.expect("a note").hostname, "twin");
        }
        assert_eq!(present(&client, "twin").await.expect("the first"), before);
        assert!(one.active("a.service"));
    });
}

#[test]
fn a_machine_that_reboots_before_its_presence_has_expired_waits_for_that_and_is_no_duplicate() {
    with_a_machine(async |etcd, mut machine, client| {
        until("the machine", async || present(&client, "m1").await.is_some()).await;
        machine.kill_agent();
        machine.boot = "the-next-boot".into();
        machine.start_agent(&etcd);
        until("its next boot", async || {
            read::<MachineInfo>(&client, "/muster/machines/m1/info")
                .await
                .is_some_and(|info| info.boot_id == "the-next-boot" && !info.registering)
        })
        .await;
        machine.stop_agent().await.expect("it was no duplicate");
    });
}

#[test]
fn a_machine_that_was_cut_off_while_another_took_its_id_ends_and_harms_nobody() {
    in_a_cluster(async |etcd| {
        let way = Relay::start(&etcd.url(), |_| Act::Pass);
        let mut one = Machine::new("twin");
        one.start_agent_at(&way.url);
        let client = client(&etcd);
        launch(&client, "a.service", PLAIN).await;
        until("the first's unit", async || one.active("a.service")).await;
        way.cut();
        until("the end of its presence", async || present(&client, "twin").await.is_none()).await;
        let mut two = Machine { boot: "another".into(), ..Machine::new("twin") };
        two.start_agent(&etcd);
        until("the second", async || {
            present(&client, "twin").await.is_some_and(|(boot_id, _)| boot_id == "another")
        })
        .await;
        // What is placed there now is the second's, and the first hears of it as soon as it hears anything.
        one.systemd.clear_calls();
        launch(&client, "b.service", PLAIN).await;
        until("the second's unit", async || two.active("b.service")).await;
        way.heal();
        let (_, task) = one.agent.take().expect("an agent");
        let ended = tokio::time::timeout(LIMIT, task).await.expect("an end").expect("no panic");
        assert!(matches!(ended, Err(AgentError::Duplicate(_))), "{ended:?}");
        assert_eq!(one.systemd.calls(), Vec::<String>::new());
        assert!(one.active("a.service"), "what it had goes on");
        let info: MachineInfo = read(&client, "/muster/machines/twin/info").await.expect("the second");
        assert_eq!((info.boot_id.as_str(), info.agent_stopped), ("another", false));
        two.stop_agent().await.expect("the second goes on");
    });
}

#[test]
fn a_machine_stays_present_while_the_states_of_many_units_are_published_slowly() {
    in_a_cluster(async |etcd| {
        let slow = Relay::start(&etcd.url(), |line| match line {
            line if line.starts_with("PUT") && line.contains("/units/") => {
                Act::Delay(Duration::from_millis(300))
            }
            _ => Act::Pass,
        });
        let mut machine = Machine::new("m1");
        machine.start_agent_at(&slow.url);
        let client = client(&etcd);
        until("the machine", async || present(&client, "m1").await.is_some()).await;
        let (_, created) = present(&client, "m1").await.expect("the machine");
        // One after the other they would take ten times as long as the machine's presence lasts.
        let units: Vec<String> = (0..100).map(|n| format!("u{n}.service")).collect();
        for unit in &units {
            launch(&client, unit, PLAIN).await;
        }
        until("all states", async || {
            let all = GetOptions::linearizable();
            let states = client.get("/muster/machines/m1/units", &all).await;
            let active =
                |node: &Node| node.value.as_deref().is_some_and(|v| v.contains("\"active\":\"active\""));
            states.is_ok_and(|states| states.node.nodes.iter().filter(|node| active(node)).count() == 100)
        })
        .await;
        assert_eq!(present(&client, "m1").await.expect("the machine").1, created, "it was never absent");
    });
}

#[test]
fn a_unit_whose_name_the_host_has_or_needs_is_refused_with_a_reason_and_the_hosts_own_is_left_alone() {
    with_a_machine(async |_etcd, machine, client| {
        let (id, fragment) = ("host.service".into(), "/usr/lib/systemd/system/host.service".into());
        let origin = Origin { id, load: "loaded".into(), fragment, active: "active".into() };
        machine.systemd.give_host(&name("host.service"), origin);
        for (unit, why) in [
            (
                "host.service",
                "this machine has loaded a unit of that name (/usr/lib/systemd/system/host.service)",
            ),
            // Whoever writes keys by hand is told by the machine.
            ("dbus.service", "every machine needs its own"),
        ] {
            launch(&client, unit, PLAIN).await;
            until("the refusal", async || {
                let refused = state(&client, "m1", unit).await;
                refused.is_some_and(|s| s.refused && s.request == 1 && s.problem.contains(why))
            })
            .await;
            client
                .delete(&format!("/muster/units/{unit}"), &DeleteOptions::default())
                .await
                .expect("a removal");
            until("silence about it", async || state(&client, "m1", unit).await.is_none()).await;
        }
        assert_eq!(machine.systemd.calls(), Vec::<String>::new());
        assert!(!machine.disk.path().join("run/units/host.service").exists());
        assert!(!machine.disk.path().join("systemd/host.service.d").exists());
    });
}

#[test]
fn files_that_systemd_does_not_read_are_a_failure_of_their_units_and_read_before_these_start() {
    with_a_machine(async |_etcd, machine, client| {
        launch(&client, "a.service", PLAIN).await;
        until("the unit", async || machine.active("a.service")).await;
        machine.systemd.clear_calls();
        machine.systemd.refuse_reload(Some("no space in /run"));
        want(&client, "a.service", SHY, Desired::Launched, 2).await;
        until("the failure", async || {
            state(&client, "m1", "a.service").await.is_some_and(|state| {
                state.problem.contains("did not read its files") && state.problem.contains("no space in /run")
            })
        })
        .await;
        launch(&client, "b.service", PLAIN).await;
        until("another unit", async || machine.active("b.service")).await;
        assert!(!machine.systemd.calls().contains(&"start a.service".into()), "it has the old text");
        machine.systemd.refuse_reload(None);
        until("the new text", async || {
            let state = state(&client, "m1", "a.service").await;
            state.is_some_and(|s| s.active == "active" && s.request == 2 && s.problem.is_empty())
        })
        .await;

        // Nor is a unit gone before systemd has forgotten it.
        machine.systemd.refuse_reload(Some("no space in /run"));
        client.delete("/muster/units/a.service", &DeleteOptions::default()).await.expect("a removal");
        until("the failure", async || {
            state(&client, "m1", "a.service").await.is_some_and(|s| s.problem.contains("no space in /run"))
        })
        .await;
        machine.systemd.refuse_reload(None);
        until("silence about it", async || state(&client, "m1", "a.service").await.is_none()).await;
    });
}

#[test]
fn a_name_is_looked_at_again_when_systemd_reads_its_files() {
    with_a_machine(async |_etcd, machine, client| {
        let folder = machine.disk.path().join("lib");
        std::fs::create_dir(&folder).expect("a folder");
        let file = folder.join("web.service");
        std::fs::write(&file, PLAIN).expect("a file");
        machine.systemd.search(&[folder]);
        launch(&client, "web.service", PLAIN).await;
        until("the refusal", async || {
            let refused = state(&client, "m1", "web.service").await;
            refused.is_some_and(|s| {
                s.refused && s.problem.contains(&format!("this machine has {}", file.display()))
            })
        })
        .await;
        std::fs::remove_file(&file).expect("the file is there");
        Systemd::new(machine.systemd.clone()).reload().await.expect("nothing refuses it");
        until("the unit", async || machine.active("web.service")).await;

        // Nor does a name stay free that was.
        let (text, record) = (format!("{PLAIN}# late\n"), model::unit(&name("late.service")));
        want(&client, "late.service", &text, Desired::Inactive, 1).await;
        let key = model::file(&unitfile::hash(&text));
        client.delete(&key, &DeleteOptions::default()).await.expect("a removal");
        let mut wanted: UnitRecord = read(&client, &record).await.expect("a record");
        (wanted.desired, wanted.generation) = (Desired::Launched, 2);
        let put = |value: String| PutOptions { value: Some(value), ..Default::default() };
        client.put(&record, &put(serde_json::to_string(&wanted).expect("a record"))).await.expect("a record");
        until("the agent to miss the text", async || {
            state(&client, "m1", "late.service").await.is_some_and(|s| s.problem.contains("not in the store"))
        })
        .await;
        let (id, fragment) = ("late.service".into(), "/etc/systemd/system/late.service".into());
        let origin = Origin { id, load: "loaded".into(), fragment, active: "active".into() };
        machine.systemd.give_host(&name("late.service"), origin);
        Systemd::new(machine.systemd.clone()).reload().await.expect("nothing refuses it");
        client.put(&key, &put(text)).await.expect("a text");
        until("the refusal", async || state(&client, "m1", "late.service").await.is_some_and(|s| s.refused))
            .await;
        let calls = machine.systemd.calls();
        assert!(!calls.iter().any(|call| call.contains("late.service")), "{calls:?}");
    });
}

#[test]
fn while_systemd_does_not_tell_whose_a_name_is_nothing_of_the_hosts_own_unit_is_published() {
    with_a_machine(async |_etcd, machine, client| {
        let (id, fragment) = ("host.service".into(), "/etc/systemd/system/host.service".into());
        let origin = Origin { id, load: "loaded".into(), fragment, active: "active".into() };
        machine.systemd.give_host(&name("host.service"), origin);
        machine.systemd.set(&name("host.service"), "active");
        machine.systemd.refuse_origins(Some("too busy"));
        launch(&client, "host.service", PLAIN).await;
        let mut told = None;
        until("what is in the way", async || {
            told = state(&client, "m1", "host.service").await;
            told.is_some()
        })
        .await;
        let told = told.expect("the condition held");
        assert!(told.problem.contains("too busy"), "{told:?}");
        assert_eq!(
            (told.load.as_str(), told.active.as_str(), told.main_pid),
            ("not-found", "inactive", None)
        );
        machine.systemd.refuse_origins(None);
        until("the refusal", async || state(&client, "m1", "host.service").await.is_some_and(|s| s.refused))
            .await;
    });
}

#[test]
fn a_unit_that_systemd_does_not_find_before_it_reads_its_files_starts_when_it_has_read_them() {
    with_a_machine(async |_etcd, machine, client| {
        machine.systemd.hide(&name("a.service"));
        machine.systemd.refuse_reload(Some("no space in /run"));
        launch(&client, "a.service", PLAIN).await;
        until("the failure", async || {
            let state = state(&client, "m1", "a.service").await;
            state.is_some_and(|s| s.problem.contains("did not read its files: ") && s.request == 0)
        })
        .await;
        machine.systemd.refuse_reload(None);
        until("the unit", async || {
            let state = state(&client, "m1", "a.service").await;
            state.is_some_and(|s| s.active == "active" && s.request == 1 && s.problem.is_empty())
        })
        .await;
    });
}

/// A machine's boot id, and the index at which its presence was made.
async fn present(client: &Client, machine: &str) -> Option<(String, u64)> {
    let dir = client.get(&format!("/muster/machines/{machine}"), &GetOptions::linearizable()).await.ok()?;
    let info = dir.node.nodes.iter().find(|node| node.key.ends_with("/info"))?;
    let info: MachineInfo = serde_json::from_str(info.value.as_deref()?).ok()?;
    Some((info.boot_id, dir.node.created_index))
}
