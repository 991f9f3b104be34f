//! The systemd units, as packages install them: they load without complaint, come up at boot, and end quickly.

mod common;

use std::time::{Duration, Instant};

use common::lab::Lab;
use common::wait_for;

const DAEMONS: [&str; 3] = ["muster-store.service", "muster-agent.service", "muster-rebootd.service"];

#[test]
fn the_daemons_come_up_at_boot_and_go_down_without_delay() {
    let lab = Lab::up(1);
    let machine = lab.machine(1);
    assert_eq!(machine.state(), "running");
    machine.ok(&[
        "systemd-analyze",
        "verify",
        DAEMONS[0],
        DAEMONS[1],
        DAEMONS[2],
        "muster-heartbeat@a.service",
    ]);
    for daemon in DAEMONS {
        assert_eq!(
            machine.ok(&["systemctl", "show", "-P", "NRestarts", daemon]),
            "0",
            "{daemon} started once"
        );
    }
    assert_eq!(machine.ok(&["stat", "-c", "%U", "/var/lib/muster/store"]), "muster");
    let main = machine.ok(&["systemctl", "show", "-P", "MainPID", DAEMONS[0]]);
    assert_eq!(
        machine.ok(&["stat", "-c", "%U", &format!("/proc/{main}")]),
        "muster",
        "the store is not root"
    );

    let before = machine.boot_id();
    let began = Instant::now();
    machine.ok(&["systemctl", "reboot"]);
    machine.wait_until_booted(before.as_deref());
    assert!(began.elapsed() < Duration::from_secs(20), "a reboot took {:?}", began.elapsed());
}

#[test]
fn a_heartbeat_instance_beats_for_the_unit_it_is_named_after() {
    let lab = Lab::up(1);
    let machine = lab.machine(1);
    machine.ok(&["systemd-run", "--quiet", "--unit=my-web@1.service", "sleep", "infinity"]);
    machine.ok(&["systemctl", "start", "muster-heartbeat@my-web@1.service.service"]);
    wait_for("the heartbeat to be listed", Duration::from_secs(20), || {
        machine.ok(&["muster", "heartbeat", "ls"]).contains("my-web@1.service")
    });
}

#[test]
fn no_daemon_takes_another_along_when_it_stops() {
    let lab = Lab::up(1);
    let machine = lab.machine(1);
    machine.ok(&["systemctl", "stop", DAEMONS[0]]);
    for daemon in &DAEMONS[1..] {
        assert_eq!(machine.ok(&["systemctl", "is-active", daemon]), "active");
    }
    machine.ok(&["systemctl", "start", DAEMONS[0]]);
    assert_eq!(machine.ok(&["systemctl", "is-active", DAEMONS[1], DAEMONS[2]]), "active\nactive");
}
