//! What Muster must not do to a machine, on real ones: take over what is the host's own, reboot it in the middle of
//! somebody's work or for ever, take it for another, or act beside another machine with the same id.

mod common;

use std::time::Duration;

use common::lab::{Lab, Machine};
use common::wait_for;

const SOON: Duration = Duration::from_secs(60);
const HOSTS_OWN: &str = "[Service]\nExecStart=/bin/sleep 1001\n[Install]\nAlias=nick.service";
const ANOTHER: &str = "[Service]\nExecStart=/bin/sleep 2002";
const REBOOTD: &str = "[rebootd]\nkeep_quorum = false\nsentinel = \"/root/req\"";

#[test]
fn a_unit_whose_name_is_the_hosts_or_vital_is_refused_and_the_hosts_own_runs_on() {
    let lab = Lab::up(1);
    let machine = lab.machine(1);
    machine.write("/usr/lib/systemd/system/host.service", HOSTS_OWN);
    machine.ok(&["systemctl", "daemon-reload"]);
    machine.ok(&["systemctl", "enable", "--quiet", "host.service"]);
    machine.ok(&["systemctl", "start", "host.service"]);
    machine.ok(&["systemd-run", "--quiet", "--unit=loose.service", "sleep", "infinity"]);
    let before = processes(machine);
    for (unit, why) in [
        ("host.service", "this machine has /lib/systemd/system/host.service"),
        ("nick.service", "this machine has /etc/systemd/system/nick.service"),
        ("loose.service", "this machine has /run/systemd/transient/loose.service"),
    ] {
        let file = format!("/root/units/{unit}");
        machine.write(&file, ANOTHER);
        // The machine finds out, then everybody knows.
        let why = why.trim_start_matches("this machine has /lib");
        for _ in 0..2 {
            assert!(refused(machine, &["muster", "unit", "start", &file]).contains(why), "{unit}");
        }
        let listed = machine.ok(&["muster", "unit", "ls"]);
        assert!(listed.contains(&format!("{unit} is refused")) && listed.contains(why), "{listed}");
        assert_eq!(machine.ok(&["muster", "unit", "destroy", unit]), format!("{unit}: gone"));
    }
    for unit in ["dbus.service", "muster-agent.service", "multi-user.target", "-.slice", "init.scope"] {
        let file = format!("/root/units/{unit}");
        machine.write(&file, ANOTHER);
        for verb in ["submit", "start"] {
            let said = refused(machine, &["muster", "unit", verb, &file]);
            assert!(said.starts_with(&format!("muster: {unit} is refused: ")), "{said}");
        }
    }
    // Past the command line, by hand.
    let text = "/muster/files/7b3ba9a0a1ca6ee6e2bc8d8b5ea3d0b0e5d1f0aa";
    machine.ok(&["muster", "kv", "set", text, ANOTHER]);
    let hash = text.rsplit('/').next().expect("a hash");
    let record = format!(r#"{{"hash":"{hash}","options":{{}},"desired":"launched","generation":1}}"#);
    machine.ok(&["muster", "kv", "set", "/muster/units/dbus.service", &record]);
    wait_for("the machine to refuse", SOON, || {
        machine.ok(&["muster", "unit", "ls"]).contains("dbus.service is refused")
    });
    machine.ok(&["muster", "unit", "destroy", "dbus.service"]);
    assert_eq!(processes(machine), before, "everything of the host's runs as it did");
    for left in ["units/host.service", "units/dbus.service"] {
        assert!(!machine.succeeds(&["test", "-e", &format!("/run/muster/{left}")]));
    }
    // A name of the cluster's own is as good as ever, also when systemd reads its files meanwhile.
    machine.write("/root/units/web.service", ANOTHER);
    machine.ok(&["muster", "unit", "start", "/root/units/web.service"]);
    machine.ok(&["systemctl", "daemon-reload"]);
    machine.ok(&["systemctl", "restart", "muster-agent.service"]);
    machine.ok(&["muster", "unit", "start", "web"]);
    // Nor is a running unit a stranger because its file was lost.
    let running = processes(machine);
    machine.ok(&[
        "sh",
        "-c",
        "systemctl stop muster-agent && rm -r /run/muster/* && systemctl start muster-agent",
    ]);
    machine.ok(&["muster", "unit", "start", "web"]);
    let main = |text: &str| text.split("\n\n").find(|unit| unit.contains("Id=web")).map(str::to_string);
    assert_eq!(main(&processes(machine)), main(&running));
    machine.ok(&["muster", "unit", "destroy", "web"]);
    assert!(!machine.succeeds(&["systemctl", "is-active", "--quiet", "web.service"]));
}

#[test]
fn a_reboot_waits_for_who_blocks_it_and_is_not_repeated_for_a_file_that_stays() {
    let lab = Lab::up(1);
    let machine = lab.machine(1);
    machine.write("/etc/muster/muster.toml.d/rebootd.toml", REBOOTD);
    machine.ok(&["systemctl", "restart", "muster-rebootd.service"]);
    names(machine);

    let first = machine.boot_id();
    let inhibit = ["systemd-inhibit", "--what=shutdown", "--who=apt", "--why=upgrade", "--mode=block"];
    let run = ["systemd-run", "--quiet", "--unit=upgrade.service"];
    machine.ok(&[&run[..], &inhibit[..], &["sleep", "infinity"]].concat());
    wait_for("the inhibitor", SOON, || machine.ok(&["systemd-inhibit", "--list"]).contains("apt"));
    machine.ok(&["muster", "reboot", "request"]);
    wait_for("the machine to say who blocks it", SOON, || {
        status(machine).contains("apt blocks a shutdown: upgrade")
    });
    assert!(status(machine).starts_with("Available: 1\n"), "others may go meanwhile");
    assert_eq!(machine.boot_id(), first);
    machine.ok(&["systemctl", "stop", "upgrade.service"]);
    machine.wait_until_booted(first.as_deref());
    wait_for("the end of that reboot", SOON, || is_idle(machine));

    let second = machine.boot_id();
    machine.write("/root/req", "please");
    machine.wait_until_booted(second.as_deref());
    wait_for("the file to be seen", SOON, || {
        status(machine).contains("/root/req is still there after the reboot for it")
    });
    let third = machine.boot_id();
    assert_ne!(second, third);
    machine.ok(&["muster", "reboot", "request"]);
    machine.wait_until_booted(third.as_deref());
    wait_for("the file to be seen again", SOON, || status(machine).contains("is still there"));
    // From the first on: for the request, for the file, by hand.
    let boots = machine.ok(&["journalctl", "--list-boots", "--no-pager", "-q"]);
    let fourth = machine.boot_id();
    assert!(boots.is_empty() || boots.lines().count() <= 4, "{boots}");
    machine.ok(&["rm", "/root/req"]);
    wait_for("the end of it", SOON, || is_idle(machine));
    assert_eq!(machine.boot_id(), fourth);
}

/// Machines and groups that there are not are errors, and change nothing.
fn names(machine: Machine<'_>) {
    wait_for("the machine to be present", SOON, || machine.ok(&["muster", "machine", "ls"]).contains("m1"));
    let id = machine.ok(&["cat", "/etc/machine-id"]);
    for words in [
        &["lock", "m3"][..],
        &["unlock", "m3"],
        &["request", "--machine", "m3"],
        &["request", "--machine", "m"],
        &["request", "--machine", "m1,deadbeef"],
        &["cancel", "--machine", "deadbeef"],
    ] {
        let said = refused(machine, &[&["muster", "reboot"], words].concat());
        assert!(
            said.contains("no machine is called") && said.contains(&format!("m1/{}", &id[..8])),
            "{said}"
        );
    }
    for words in [&["lock"][..], &["unlock"], &["request"], &["request", "--all"], &["cancel"], &["status"]] {
        let said = refused(machine, &[&["muster", "reboot", "--group", "nope"], words].concat());
        assert!(said.contains("there is no group \"nope\""), "{said}");
    }
    assert!(refused(machine, &["muster", "reboot", "cancel"]).contains("not asked to reboot"));
    assert!(is_idle(machine));
    for name in ["m1", &id[..6], &id, &format!("m1/{}", &id[..8])] {
        machine.ok(&["muster", "reboot", "lock", name]);
        assert!(status(machine).contains(&format!("m1/{}", &id[..8])));
        machine.ok(&["muster", "reboot", "unlock", name]);
    }
    // Somebody who will never be there, such as one that locksmith locked for.
    let semaphore = "/coreos.com/updateengine/rebootlock/semaphore";
    machine.ok(&["muster", "kv", "set", semaphore, r#"{"semaphore":0,"max":1,"holders":["gone"]}"#]);
    machine.ok(&["muster", "reboot", "unlock", "gone"]);
    assert!(is_idle(machine));
}

#[test]
fn of_two_machines_with_one_id_the_second_does_nothing_and_the_first_names_it() {
    let lab = Lab::up(2);
    let (first, second) = (lab.machine(1), lab.machine(2));
    let daemons = ["muster-agent.service", "muster-rebootd.service"];
    first.write("/root/units/web.service", ANOTHER);
    second.ok(&["systemctl", "stop", daemons[0], daemons[1]]);
    first.ok(&["muster", "unit", "start", "/root/units/web.service"]);
    let id = first.ok(&["cat", "/etc/machine-id"]);
    first.ok(&["muster", "reboot", "lock"]);
    let before = (first.ok(&["muster", "kv", "get", "/muster/schedule/web.service"]), processes(first));

    second.write("/etc/machine-id", &id);
    let boot = second.boot_id().expect("it runs");
    second.run(&["systemctl", "start", "--no-block", daemons[0], daemons[1]]);
    for daemon in daemons {
        wait_for(&format!("{daemon} to end"), SOON, || {
            second.ok(&["systemctl", "show", "-P", "ActiveState", daemon]) == "failed"
        });
        let shown = |property: &str| second.ok(&["systemctl", "show", "-P", property, daemon]);
        assert_eq!((shown("ExecMainStatus"), shown("NRestarts")), ("64".into(), "0".into()));
    }
    // By hand, to see what it says: the journal goes by machine-id, too.
    let agent = second.run(&["muster", "agent"]);
    let said = String::from_utf8_lossy(&agent.stderr);
    assert_eq!(agent.status.code(), Some(64), "{said}");
    assert!(said.contains(&format!("machine id {id} is in use by the living machine m1")), "{said}");
    assert!(!second.succeeds(&["systemctl", "cat", "web.service"]), "nothing was started here");
    let told = first.ok(&["muster", "status"]);
    assert!(told.contains("m2 at 10.77.0.12") && told.contains(&boot), "{told}");
    let after = (first.ok(&["muster", "kv", "get", "/muster/schedule/web.service"]), processes(first));
    assert_eq!(after, before);
    assert!(status(first).contains("locked"), "the first still holds the lock");
    for daemon in daemons {
        assert!(first.succeeds(&["systemctl", "is-active", "--quiet", daemon]));
    }
}

/// Runs a command that must fail with status 1, and returns what it said.
#[track_caller]
fn refused(machine: Machine<'_>, words: &[&str]) -> String {
    let output = machine.run(words);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
    said
}

/// What `muster reboot status` prints; empty while nobody answers.
fn status(machine: Machine<'_>) -> String {
    String::from_utf8_lossy(&machine.run(&["muster", "reboot", "status"]).stdout).into_owned()
}

/// Whether nobody holds the lock or wants to reboot.
fn is_idle(machine: Machine<'_>) -> bool {
    status(machine) == "Available: 1\nMax: 1\n"
}

/// What runs of the units that no test may touch, with main processes.
fn processes(machine: Machine<'_>) -> String {
    let words = ["systemctl", "show", "-p", "Id,MainPID,ActiveState,FragmentPath"];
    let units = ["host.service", "loose.service", "web.service", "dbus.service", "muster-agent.service"];
    machine.ok(&[&words[..], &units[..]].concat())
}
