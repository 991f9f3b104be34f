//! The lab keeps its promises: machines boot, reach each other, are cut off, reboot, die, come back, and leave nothing.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::lab::{Lab, Machine};
use common::wait_for;

const SOON: Duration = Duration::from_secs(20);

fn reaches(from: Machine<'_>, to: Machine<'_>) -> bool {
    from.succeeds(&["ping", "-q", "-c1", "-W1", &to.address()])
}

/// Mount tables and cgroups of this computer that still name the lab.
fn leftovers(lab: &str) -> Vec<String> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").expect("/proc is mounted").flatten() {
        let mounts = fs::read_to_string(process.path().join("mountinfo")).unwrap_or_default();
        if mounts.contains(lab) {
            found.push(process.path().display().to_string());
        }
    }
    let mounts = fs::read_to_string("/proc/self/mounts").expect("/proc is mounted");
    let cgroups = mounts.lines().filter(|line| line.contains(" cgroup")).filter_map(|l| l.split(' ').nth(1));
    let places = cgroups.map(|mount| format!("{mount}/muster-lab/{lab}"));
    let places =
        places.chain([format!("/run/netns/muster-{lab}"), format!("/var/lib/muster-lab/labs/{lab}")]);
    found.extend(places.filter(|place| Path::new(place).exists()));
    found
}

#[test]
fn machines_reach_each_other_until_one_is_cut_off() {
    let lab = Lab::up_bare(2);
    let (one, two) = (lab.machine(1), lab.machine(2));
    for machine in lab.machines() {
        assert_eq!(machine.state(), "running");
        assert_eq!(machine.ok(&["hostname"]), machine.name());
    }
    assert!(reaches(one, two) && reaches(two, one));

    two.cut();
    assert!(!reaches(one, two) && !reaches(two, one));
    assert!(reaches(two, two), "a machine that is cut off still has its own address");

    let before = two.boot_id();
    two.ok(&["systemctl", "reboot"]);
    two.wait_until_booted(before.as_deref());
    assert!(!reaches(two, one), "a cut lasts over a reboot");

    two.heal();
    wait_for("the machines to reach each other again", SOON, || reaches(one, two) && reaches(two, one));
}

#[test]
fn a_reboot_keeps_the_files_and_the_identity_and_changes_the_boot_id() {
    let lab = Lab::up_bare(1);
    let machine = lab.machine(1);
    machine.ok(&["sh", "-c", "echo kept >/root/file"]);
    let identity = machine.ok(&["cat", "/etc/machine-id"]);
    let before = machine.boot_id();
    let mut sleeper = machine.spawn(&["sleep", "infinity"]);

    machine.ok(&[
        "busctl",
        "call",
        "org.freedesktop.login1",
        "/org/freedesktop/login1",
        "org.freedesktop.login1.Manager",
        "Reboot",
        "b",
        "false",
    ]);
    machine.wait_until_booted(before.as_deref());
    assert!(!sleeper.wait().unwrap().success(), "a command from outside does not hold up the reboot");
    assert_eq!(machine.ok(&["cat", "/root/file"]), "kept");
    assert_eq!(machine.ok(&["cat", "/etc/machine-id"]), identity);
    assert!(machine.ok(&["journalctl", "--list-boots"]).lines().count() >= 2);
}

#[test]
fn a_killed_machine_stays_down_until_it_is_started() {
    let lab = Lab::up_bare(2);
    let (one, two) = (lab.machine(1), lab.machine(2));
    let before = two.boot_id();
    let mut sleeper = two.spawn(&["sleep", "infinity"]);

    two.kill();
    assert!(!sleeper.wait().unwrap().success(), "what ran on it is gone");
    assert_eq!(two.boot_id(), None);
    assert!(!reaches(one, two));

    two.start();
    two.wait_until_booted(before.as_deref());
    wait_for("it to be reached", SOON, || reaches(one, two));

    two.run(&["systemctl", "poweroff"]);
    wait_for("it to be off", SOON, || two.boot_id().is_none());
    two.start();
    two.wait_until_booted(before.as_deref());
}

#[test]
fn a_paused_machine_answers_nobody_and_goes_on_later() {
    let lab = Lab::up_bare(2);
    let (one, two) = (lab.machine(1), lab.machine(2));
    let before = two.boot_id();
    two.pause();
    // Its kernel still answers to pings: ask a process.
    let frozen = two.spawn(&["echo", "alive"]);
    assert!(reaches(one, one));
    two.resume();
    assert_eq!(frozen.wait_with_output().unwrap().stdout, b"alive\n");
    assert_eq!(two.boot_id(), before);

    two.pause();
    two.kill();
    assert_eq!(two.boot_id(), None);
    two.start();
    two.wait_until_booted(before.as_deref());
}

#[test]
fn commands_pass_their_status_and_die_with_their_caller() {
    let lab = Lab::up_bare(1);
    let machine = lab.machine(1);
    assert_eq!(machine.run(&["sh", "-c", "exit 7"]).status.code(), Some(7));

    let mut sleeper = machine.spawn(&["sleep", "4242"]);
    let runs = || machine.succeeds(&["pgrep", "-f", "^sleep 4242"]);
    wait_for("the command to run", SOON, runs);
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    wait_for("the command to end", SOON, || !runs());
}

#[test]
fn two_labs_live_side_by_side_and_leave_nothing() {
    let first = Lab::up_bare(1);
    let second = Lab::up_bare(1);
    assert_ne!(first.machine(1).boot_id(), second.machine(1).boot_id());
    assert!(first.exec(&["ip", "-brief", "address"]).output().unwrap().status.success());
    let names = [first.name().to_string(), second.name().to_string()];
    assert!(!leftovers(&names[0]).is_empty(), "the search for leftovers finds what is there");

    drop(first);
    assert_eq!(leftovers(&names[0]), Vec::<String>::new());
    assert_eq!(second.machine(1).state(), "running");
    drop(second);
    assert_eq!(leftovers(&names[1]), Vec::<String>::new());
}

#[test]
fn a_lab_whose_owner_is_gone_is_removed_by_the_next_one() {
    let name = format!("orphan-{}", std::process::id());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/lab");
    // The shell is the owner, and gone when the lab is up.
    let boot = format!("MUSTER_LAB_OWNER=$$ {script} up --bare 1");
    common::lab::expect_success(Command::new("sh").args(["-c", &boot]).env("MUSTER_LAB", &name));
    assert!(!leftovers(&name).is_empty());

    let _next = Lab::up_bare(1);
    assert_eq!(leftovers(&name), Vec::<String>::new());
}
