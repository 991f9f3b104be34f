//! What Muster is for, on three real machines in one go: they form a cluster and run units, one of them is lost and
//! comes back, all reboot under the lock, a service falls silent, and the store is away for a minute.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use common::http::{self, Connection};
use common::lab::{Lab, Machine};
use common::wait_for;
use common::writer::{Writer, Written};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(30);
/// How long a machine that says nothing is believed to be there.
const PRESENCE_TTL: Duration = Duration::from_secs(10);
/// What a decision and a start may take after that.
const REACTION: Duration = Duration::from_secs(2);
/// Three reboots, one after the other.
const REBOOTS: Duration = Duration::from_secs(180);
/// How long the store is away in the end.
const OUTAGE: Duration = Duration::from_secs(60);
/// The silence after which the service's heartbeat counts as lost.
const BEAT_TTL: Duration = Duration::from_secs(5);

const WEB: [&str; 3] = ["web@1.service", "web@2.service", "web@3.service"];
const ROAM: [&str; 3] = ["roam@1.service", "roam@2.service", "roam@3.service"];
const STORE: &str = "muster-store.service";
const SEMAPHORE: &str = "/v2/keys/coreos.com/updateengine/rebootlock/semaphore";

const WEB_TEXT: &str = "[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nConflicts=web@*.service";
const ROAM_TEXT: &str = "[Service]\nExecStart=/bin/sleep infinity";
/// Beats once a second and notes when its last beat began and when that was acknowledged, in nanoseconds.
const BEATER_TEXT: &str = r#"[Service]
ExecStart=/bin/sh -c 'while :; do began=$$(date +%%s%%N); \
    muster heartbeat beat beater --ttl 5s && echo $${began} $$(date +%%s%%N) >/run/beat.new && mv /run/beat.new /run/beat; sleep 1; done'"#;
/// Freezes the service just after a beat, so that none is on its way, and tells of that beat.
const FREEZE: &str = "last=$(cat /run/beat); while [ \"$(cat /run/beat)\" = \"$last\" ]; do sleep 0.02; done
    systemctl kill --signal=STOP beater.service && cat /run/beat";
const HOOK_TEXT: &str = "echo $MUSTER_HEARTBEAT_NAME $MUSTER_HEARTBEAT_EVENT $(date +%s%N) >>/root/events";

#[test]
fn three_machines_stay_one_cluster_through_a_loss_reboots_a_silence_and_an_outage() {
    let lab = Lab::up(3);
    lab.enter_network();
    let tell = |step: &str, run: fn(&Lab)| {
        let began = Instant::now();
        println!("{step}");
        run(&lab);
        println!("  took {:.1?}", began.elapsed());
    };
    tell("a. each machine sees the same cluster", one_cluster);
    tell("b. units find their places", units_are_spread);
    tell("c. a machine is lost", a_machine_is_lost);
    tell("d. it comes back", the_machine_returns);
    tell("e. all ask for a reboot at once", all_reboot_in_turn);
    tell("f. a service falls silent", a_service_falls_silent);
    tell("g. the store is away", the_store_is_away);
}

fn one_cluster(lab: &Lab) {
    let mut seen = BTreeSet::new();
    wait_for("each machine to see three members and the same leader", SOON, || {
        seen = lab.machines().map(members_and_leaders).collect();
        let three =
            |(members, leaders): &(Vec<String>, Vec<String>)| members.len() == 3 && leaders.len() == 1;
        seen.len() == 1 && seen.iter().all(three)
    });
    println!("  members and leader: {seen:?}");
}

fn units_are_spread(lab: &Lab) {
    let two = lab.machine(2);
    two.write("/root/units/web@.service", WEB_TEXT);
    two.write("/root/units/roam@.service", ROAM_TEXT);
    two.ok(&["muster", "unit", "submit", "/root/units/web@.service", "/root/units/roam@.service"]);
    two.ok(&["muster", "unit", "start", WEB[0], WEB[1], WEB[2]]);
    two.ok(&["muster", "unit", "start", ROAM[0], ROAM[1], ROAM[2]]);
    for machine in lab.machines() {
        let said = machine.run(&["systemctl", "is-active", WEB[0], WEB[1], WEB[2]]).stdout;
        let active = String::from_utf8_lossy(&said).lines().filter(|line| *line == "active").count();
        assert_eq!(active, 1, "systemd of {} runs one web@", machine.name());
    }
    let running: BTreeSet<_> = running(lab).into_keys().collect();
    assert_eq!(listed(two), running, "what muster lists as active is what systemd runs");
}

fn a_machine_is_lost(lab: &Lab) {
    let (one, two, three) = (lab.machine(1), lab.machine(2), lab.machine(3));
    let (web, roam) = (unit_on(three, "web@"), unit_on(three, "roam@"));
    let led = leader(one).as_deref() == Some("m3");
    let writer = Writer::start(urls(lab), "loss");

    let began = Instant::now();
    three.kill();
    let is_active = |machine: Machine<'_>| machine.succeeds(&["systemctl", "is-active", "--quiet", &roam]);
    wait_for(&format!("{roam} to run elsewhere"), SOON, || is_active(one) || is_active(two));
    let moved = began.elapsed();
    assert!(moved <= PRESENCE_TTL + REACTION, "{roam} ran elsewhere only after {moved:?}");

    wait_for(&format!("the reason why {web} cannot be placed"), REACTION, || {
        let units = json(one, &["muster", "-o", "json", "unit", "ls"]);
        let row = units.as_array().and_then(|rows| rows.iter().find(|row| row["unit"] == web.as_str()));
        row.is_some_and(|row| {
            row["machine"].is_null() && row["note"].as_str().is_some_and(|note| note.contains("conflicts"))
        })
    });
    let written = writer.stop();
    println!(
        "  m3 {} the store; {roam} ran elsewhere after {moved:.1?}",
        if led { "led" } else { "followed" }
    );
    report(&written);
    for machine in [one, two] {
        assert_nothing_lost(&written, machine);
    }
    assert!(written.longest_gap() < PRESENCE_TTL, "the store goes on");
}

fn the_machine_returns(lab: &Lab) {
    let three = lab.machine(3);
    let before = running(lab);
    assert_eq!(before.len(), WEB.len() + ROAM.len() - 1, "all but one run on two machines: {before:?}");
    let began = Instant::now();
    three.start();
    three.wait_until_booted(None);
    let booted = began.elapsed();
    wait_for("the same index on all three", SOON, || same_index(lab));
    let caught_up = began.elapsed();
    wait_for("the unit of m3 to run again", SOON, || {
        running(lab).keys().any(|(machine, unit)| machine == "m3" && unit.starts_with("web@"))
    });
    println!(
        "  booted after {booted:.1?}, store caught up after {caught_up:.1?}, unit after {:.1?}",
        began.elapsed()
    );
    assert_kept(lab, &before);
}

fn all_reboot_in_turn(lab: &Lab) {
    let before: Vec<String> = lab.machines().map(|machine| machine.boot_id().expect("it runs")).collect();
    let writer = Writer::start(urls(lab), "reboots");
    let index = http::request(&lab.machine(1).url(), "GET", SEMAPHORE, None).expect("an answer").index();
    let lock = thread::spawn({
        let urls = urls(lab);
        move || holders_until_all_had_the_lock(&urls, index + 1)
    });

    let began = Instant::now();
    let requests: Vec<_> =
        lab.machines().map(|machine| machine.spawn(&["muster", "reboot", "request"])).collect();
    for mut request in requests {
        assert!(request.wait().expect("it ends").success(), "a request for a reboot is taken");
    }
    let mut unavailable = Vec::new();
    wait_for("three new boots and a free lock", REBOOTS, || {
        let boots: Vec<Option<String>> = lab.machines().map(|machine| machine.boot_id()).collect();
        let away: Vec<usize> = (1..=3).filter(|number| boots[number - 1].is_none()).collect();
        assert!(away.len() <= 1, "away at the same time: {away:?}");
        if !away.is_empty() && unavailable.last() != Some(&away) {
            unavailable.push(away);
        }
        let new =
            |(boot, before): (&Option<String>, &String)| boot.as_ref().is_some_and(|boot| boot != before);
        boots.iter().zip(&before).all(new) && lock.is_finished()
    });
    let written = writer.stop();
    let history = lock.join().expect("the lock could be watched");
    println!(
        "  done after {:.1?}; holders of the lock: {history:?}; seen away: {unavailable:?}",
        began.elapsed()
    );
    report(&written);

    let mut held: Vec<String> = history.into_iter().flatten().collect();
    held.sort();
    let mut ids: Vec<String> =
        lab.machines().map(|machine| machine.ok(&["cat", "/etc/machine-id"])).collect();
    ids.sort();
    assert_eq!(held, ids, "each machine held the lock once");
    let status = json(lab.machine(1), &["muster", "-o", "json", "reboot", "status"]);
    assert_eq!(status["available"], 1, "{status}");
    wait_for("the same index on all three", SOON, || same_index(lab));
    for machine in lab.machines() {
        assert_nothing_lost(&written, machine);
    }
    wait_for("every unit to run again", SOON, || running(lab).len() == WEB.len() + ROAM.len());
}

fn a_service_falls_silent(lab: &Lab) {
    let two = lab.machine(2);
    two.write("/root/units/beater.service", BEATER_TEXT);
    two.ok(&["muster", "unit", "start", "/root/units/beater.service"]);
    let is_active =
        |machine: &Machine<'_>| machine.succeeds(&["systemctl", "is-active", "--quiet", "beater"]);
    let home = lab.machines().find(is_active).expect("a machine runs the service");
    let watcher = lab.machines().find(|machine| machine.name() != home.name()).expect("there are others");
    watcher.write("/root/hook", HOOK_TEXT);
    let watch = ["muster", "heartbeat", "watch", "--exec", "sh /root/hook", "beater"];
    watcher.ok(&[&["systemd-run", "--quiet", "--unit=watcher"], &watch[..]].concat());
    let key = format!("/v2/keys/muster/heartbeats/beater/{}", home.ok(&["cat", "/etc/machine-id"]));
    let is_there = || {
        let answer = http::request(&watcher.url(), "GET", &key, None);
        answer.is_ok_and(|answer| answer.status == 200)
    };
    wait_for("the first beat", SOON, is_there);

    let beat = home.ok(&["sh", "-c", FREEZE]);
    let lost = wait_for_event(watcher, "lost");
    assert!(!is_there(), "the key is gone");
    assert!(is_active(&home), "systemd still calls the service active");
    let beat: Vec<u64> = beat.split(' ').map(|word| word.parse().expect("nanoseconds")).collect();
    // The store counts from a moment between the two.
    let [since_begun, since_acknowledged] = [beat[0], beat[1]].map(|at| Duration::from_nanos(lost - at));
    println!(
        "  the hook ran {since_acknowledged:.2?} after the last beat was acknowledged, {since_begun:.2?} after it began"
    );
    assert!(since_begun >= BEAT_TTL, "lost too early");
    assert!(since_acknowledged <= BEAT_TTL + Duration::from_secs(1), "lost too late");

    home.ok(&["systemctl", "kill", "--signal=CONT", "beater.service"]);
    wait_for_event(watcher, "back");
    assert!(is_there(), "the key is there again");
}

fn the_store_is_away(lab: &Lab) {
    let before = running(lab);
    assert_eq!(before.len(), WEB.len() + ROAM.len() + 1, "{before:?}");
    let stops: Vec<_> = lab.machines().map(|machine| machine.spawn(&["systemctl", "stop", STORE])).collect();
    for mut stop in stops {
        assert!(stop.wait().expect("it ends").success(), "the store stops");
    }
    assert_kept_for(lab, &before, OUTAGE);
    for machine in lab.machines() {
        assert!(
            !machine.succeeds(&["systemctl", "is-active", "--quiet", STORE]),
            "the store was away all the time"
        );
        machine.ok(&["systemctl", "start", "--no-block", STORE]);
    }
    let began = Instant::now();
    wait_for("the store to serve again", SOON, || same_index(lab));
    let served = began.elapsed();
    wait_for("every machine to be registered and every unit listed again", SOON, || {
        listed(lab.machine(1)) == before.keys().cloned().collect()
    });
    println!("  the store served after {served:.1?}, all was listed after {:.1?}", began.elapsed());
    // As long as it would take to give up a machine by mistake.
    assert_kept_for(lab, &before, PRESENCE_TTL + REACTION);
}

/// Machine and unit, with the process and the start of it that systemd runs there.
type Running = BTreeMap<(String, String), String>;

/// The story's units that are active, as each machine's systemd says.
fn running(lab: &Lab) -> Running {
    let mut all = Running::new();
    let words = ["systemctl", "show", "-p", "Id,ActiveState,MainPID,InvocationID"];
    for machine in lab.machines() {
        // A machine that is down runs nothing.
        let said = machine.run(&[&words[..], &["web@*", "roam@*", "beater*"]].concat()).stdout;
        for block in String::from_utf8_lossy(&said).split("\n\n") {
            let fields: BTreeMap<&str, &str> =
                block.lines().filter_map(|line| line.split_once('=')).collect();
            if fields.get("ActiveState") == Some(&"active") {
                let run = format!("process {} of run {}", fields["MainPID"], fields["InvocationID"]);
                all.insert((machine.name(), fields["Id"].to_string()), run);
            }
        }
    }
    all
}

/// Nothing of what ran before was stopped or started anew.
#[track_caller]
fn assert_kept(lab: &Lab, before: &Running) {
    let mut now = running(lab);
    now.retain(|place, _| before.contains_key(place));
    assert_eq!(&now, before);
}

#[track_caller]
fn assert_kept_for(lab: &Lab, before: &Running, time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        assert_kept(lab, before);
        thread::sleep(Duration::from_secs(1));
    }
    assert_kept(lab, before);
}

/// Machine and unit of what `muster unit ls` calls active.
fn listed(from: Machine<'_>) -> BTreeSet<(String, String)> {
    let units = json(from, &["muster", "-o", "json", "unit", "ls"]);
    let active = units.as_array().into_iter().flatten().filter(|row| row["active"] == "active");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    active.map(|row| (text(&row["hostname"]), text(&row["unit"]))).collect()
}

#[track_caller]
fn unit_on(machine: Machine<'_>, prefix: &str) -> String {
    let places = listed(machine);
    let mut here = places.iter().filter(|(name, unit)| *name == machine.name() && unit.starts_with(prefix));
    here.next().unwrap_or_else(|| panic!("{} runs one of {prefix}: {places:?}", machine.name())).1.clone()
}

/// What a command on a machine prints as JSON; null when it fails.
fn json(machine: Machine<'_>, words: &[&str]) -> Value {
    let output = machine.run(words);
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// The names of the store's members and of those that lead, as `muster status` on a machine shows them.
fn members_and_leaders(machine: Machine<'_>) -> (Vec<String>, Vec<String>) {
    let status = json(machine, &["muster", "-o", "json", "status"]);
    let members = status["members"].as_array().cloned().unwrap_or_default();
    let name = |member: &Value| member["name"].as_str().unwrap_or_default().to_string();
    let leaders = members.iter().filter(|member| member["leader"] == true).map(name).collect();
    (members.iter().map(name).collect(), leaders)
}

fn leader(machine: Machine<'_>) -> Option<String> {
    members_and_leaders(machine).1.pop()
}

fn urls(lab: &Lab) -> Vec<String> {
    lab.machines().map(|machine| machine.url()).collect()
}

/// Whether the own copies of all nodes have the same `X-Etcd-Index`.
fn same_index(lab: &Lab) -> bool {
    let index = |url: String| {
        let mut connection = Connection::open_within(&url, Duration::from_secs(2)).ok()?;
        let answer = connection.request("GET", "/v2/keys/?quorum=false", None).ok()?;
        (answer.status == 200).then(|| answer.index())
    };
    let indexes: BTreeSet<Option<u64>> = urls(lab).into_iter().map(index).collect();
    indexes.len() == 1 && !indexes.contains(&None)
}

fn report(written: &Written) {
    println!(
        "  the longest gap between two of {} successful writes: {:.0?}",
        written.count(),
        written.longest_gap()
    );
}

#[track_caller]
fn assert_nothing_lost(written: &Written, machine: Machine<'_>) {
    let missing = written.missing_on(&machine.url());
    assert!(missing.is_empty(), "{} has lost acknowledged writes: {missing:?}", machine.name());
}

/// Follows the semaphore from an index on, change by change, until three machines have had it and it is free.
/// Returns the holders after each change.
///
/// # Panics
/// When there is more than one, when a change is missed, and when it takes too long.
fn holders_until_all_had_the_lock(urls: &[String], mut index: u64) -> Vec<Vec<String>> {
    let began = Instant::now();
    let mut history: Vec<Vec<String>> = Vec::new();
    let mut had: BTreeSet<String> = BTreeSet::new();
    let mut nodes = urls.iter().cycle();
    while had.len() < urls.len() || history.last().is_some_and(|holders| !holders.is_empty()) {
        assert!(began.elapsed() < REBOOTS, "holders of the lock so far: {history:?}");
        let target = format!("{SEMAPHORE}?wait=true&waitIndex={index}");
        let url = nodes.next().expect("there is a node");
        // A node that is on its way down or up has no answer: the next one is asked for the same index.
        let answer = Connection::open_within(url, Duration::from_secs(5))
            .and_then(|mut connection| connection.request("GET", &target, None));
        let Ok(answer) = answer else { continue };
        assert!(answer.status == 200 || answer.status >= 500, "{}", answer.text());
        let Ok(event) = serde_json::from_slice::<Value>(&answer.body) else { continue };
        let Some(at) = event["node"]["modifiedIndex"].as_u64() else { continue };
        let document = event["node"]["value"].as_str().expect("the semaphore is a document");
        let document: Value = serde_json::from_str(document).expect("the document is JSON");
        let holders = document["holders"].as_array().into_iter().flatten();
        let holders: Vec<String> = holders.filter_map(|id| id.as_str().map(str::to_string)).collect();
        assert!(holders.len() <= 1, "more than one holds the lock: {holders:?}");
        had.extend(holders.iter().cloned());
        history.push(holders);
        index = at + 1;
    }
    history
}

/// Waits until the hook on a machine has told of an event of the service; when that was, in nanoseconds.
#[track_caller]
fn wait_for_event(machine: Machine<'_>, event: &str) -> u64 {
    let mut at = None;
    wait_for(&format!("the hook to tell that the service is {event}"), SOON, || {
        let told = machine.run(&["cat", "/root/events"]).stdout;
        let told = String::from_utf8_lossy(&told);
        let mut times = told.lines().filter_map(|line| line.strip_prefix(&format!("beater {event} ")));
        at = times.next().and_then(|time| time.parse().ok());
        at.is_some()
    });
    at.expect("the condition held")
}
