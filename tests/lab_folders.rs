//! Data folders of the store that are emptied or older than they were, on real machines: the unit stands there as
//! failed, its journal says what to do, doing so brings the machine back, and nothing acknowledged is lost.

mod common;

use std::time::Duration;

use common::lab::{Lab, Machine};
use common::wait_for;

const SOON: Duration = Duration::from_secs(90);
const STORE: &str = "muster-store.service";

#[test]
fn folders_that_are_emptied_or_older_fail_the_unit_until_somebody_does_what_it_says() {
    let lab = Lab::up(3);
    let mut keys = Keys::default();
    keys.write(lab.machine(1));
    one_is_emptied(&lab, &mut keys);
    one_is_older(&lab, &mut keys);
    two_are_emptied_at_once(&lab, &mut keys);
    lab.machines().for_each(|machine| keys.assert_on(machine));
}

fn one_is_emptied(lab: &Lab, keys: &mut Keys) {
    let (first, emptied) = (lab.machine(1), lab.machine(3));
    let old = id(first, "m3");
    emptied.ok(&["systemctl", "stop", STORE]);
    emptied.ok(&["rm", "-rf", "/var/lib/muster/store"]);
    assert_refused(emptied, &format!("muster member remove {old}"));
    keys.write(first);
    keys.assert_on(first);
    first.ok(&["muster", "member", "remove", "m3"]);
    first.ok(&["muster", "member", "add", "m3", "http://10.77.0.13:2380"]);
    emptied.ok(&["systemctl", "start", STORE]);
    wait_for_voter(first, "m3");
    assert_ne!(id(first, "m3"), old);
    keys.assert_on(emptied);
}

fn one_is_older(lab: &Lab, keys: &mut Keys) {
    let older = lab.machine(2);
    older.ok(&["systemctl", "stop", STORE]);
    older.ok(&["cp", "-a", "/var/lib/muster/store", "/var/lib/muster/copy"]);
    older.ok(&["systemctl", "start", STORE]);
    keys.write(older);
    older.ok(&["systemctl", "stop", STORE]);
    older.ok(&["mv", "/var/lib/muster/store", "/var/lib/muster/newest"]);
    older.ok(&["mv", "/var/lib/muster/copy", "/var/lib/muster/store"]);
    assert_refused(older, "its data folder is an older copy");
    keys.write(lab.machine(1));
    older.ok(&["rm", "-rf", "/var/lib/muster/store"]);
    older.ok(&["mv", "/var/lib/muster/newest", "/var/lib/muster/store"]);
    older.ok(&["systemctl", "start", STORE]);
    wait_for_voter(lab.machine(1), "m2");
    keys.assert_on(older);
}

fn two_are_emptied_at_once(lab: &Lab, keys: &mut Keys) {
    lab.machine(1).ok(&["muster", "member", "move-leader", "m1"]);
    keys.write(lab.machine(1));
    let both = [lab.machine(2), lab.machine(3)];
    for machine in both {
        machine.ok(&["systemctl", "kill", "--signal=KILL", STORE]);
        machine.ok(&["systemctl", "stop", STORE]);
        machine.ok(&["mv", "/var/lib/muster/store", "/var/lib/muster/newest"]);
    }
    both.iter().for_each(|machine| start(*machine));
    for machine in both {
        wait_until_refused(machine, "has run before with another data folder");
    }
    // One that gets its folder back is enough for a majority; the other becomes a member anew.
    let (back, anew) = (both[0], both[1]);
    back.ok(&["rm", "-rf", "/var/lib/muster/store"]);
    back.ok(&["mv", "/var/lib/muster/newest", "/var/lib/muster/store"]);
    back.ok(&["systemctl", "start", STORE]);
    keys.write(back);
    back.ok(&["muster", "member", "remove", "m3"]);
    back.ok(&["muster", "member", "add", "m3", "http://10.77.0.13:2380"]);
    anew.ok(&["rm", "-rf", "/var/lib/muster/store"]);
    anew.ok(&["systemctl", "start", STORE]);
    wait_for_voter(back, "m3");
}

/// What was acknowledged.
#[derive(Default)]
struct Keys(usize);

impl Keys {
    /// Five more, as soon as the store takes writes.
    #[track_caller]
    fn write(&mut self, machine: Machine<'_>) {
        for number in self.0..self.0 + 5 {
            wait_for("a write", SOON, || {
                machine.succeeds(&["muster", "kv", "set", &format!("/folders/{number}"), "x"])
            });
        }
        self.0 += 5;
    }

    #[track_caller]
    fn assert_on(&self, machine: Machine<'_>) {
        let listed = machine.ok(&["muster", "--endpoints", &machine.url(), "kv", "ls", "/folders"]);
        assert_eq!(listed.lines().count(), self.0, "on {}: {listed}", machine.name());
    }
}

fn start(machine: Machine<'_>) {
    machine.ok(&["systemctl", "start", "--no-block", STORE]);
}

/// Starts the store, which must not come up, and must say `words`.
#[track_caller]
fn assert_refused(machine: Machine<'_>, words: &str) {
    start(machine);
    wait_until_refused(machine, words);
}

#[track_caller]
fn wait_until_refused(machine: Machine<'_>, words: &str) {
    let shown = |property: &str| machine.ok(&["systemctl", "show", "-P", property, STORE]);
    wait_for("the store to fail", SOON, || shown("ActiveState") == "failed");
    assert_eq!((shown("ExecMainStatus"), shown("NRestarts")), ("4".into(), "0".into()));
    let invocation = shown("InvocationID");
    let journal = machine.ok(&["journalctl", "-o", "cat", &format!("_SYSTEMD_INVOCATION_ID={invocation}")]);
    assert!(journal.contains(words), "{words:?} is not said:\n{journal}");
}

fn members(machine: Machine<'_>) -> Vec<serde_json::Value> {
    let listed = machine.ok(&["muster", "member", "ls", "-o", "json"]);
    serde_json::from_str(&listed).expect("a list of members")
}

/// The id of a member by its name.
#[track_caller]
fn id(machine: Machine<'_>, name: &str) -> String {
    let member = members(machine).into_iter().find(|member| member["name"] == name).expect("such a member");
    member["id"].as_str().expect("an id").to_string()
}

#[track_caller]
fn wait_for_voter(machine: Machine<'_>, name: &str) {
    wait_for(&format!("{name} being a voter"), SOON, || {
        members(machine).iter().any(|m| m["name"] == name && m["role"] == "voter" && m["running"] == true)
    });
}
