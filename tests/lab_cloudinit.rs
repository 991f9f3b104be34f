//! Machines whose only configuration is the drop-in that cloud-init wrote for etcd 0.4 come together as a cluster.

mod common;

use std::time::Duration;

use common::http;
use common::lab::{Lab, Machine};
use common::wait_for;

const LIMIT: Duration = Duration::from_secs(60);

/// Where cloud-init put it for etcd's unit.
const DROP_IN: &str = "20-cloudinit.conf";

/// Leaves nothing of the lab's own settings and data.
fn strip(machine: Machine<'_>) {
    machine.ok(&[
        "systemctl",
        "stop",
        "muster-agent.service",
        "muster-rebootd.service",
        "muster-store.service",
    ]);
    machine.ok(&["sh", "-c", "rm -rf /etc/muster /var/lib/muster/*"]);
}

fn store_url(machine: Machine<'_>) -> String {
    format!("http://{}:4001", machine.address())
}

#[test]
fn three_machines_with_nothing_but_the_same_drop_in_become_a_cluster() {
    let lab = Lab::up(4);
    lab.machines().for_each(strip);
    lab.enter_network();
    let service = lab.machine(4);
    service.write("/etc/muster/muster.toml", "[store]\nlisten_client_urls = [\"http://0.0.0.0:2379\"]");
    service.ok(&["systemctl", "start", "muster-store.service"]);
    let url = http::request(&service.url(), "GET", "/new?size=3", None).expect("an answer").text();

    for number in 1..=3 {
        let machine = lab.machine(number);
        let address = machine.address();
        let drop_in = format!(
            "[Service]\nEnvironment=\"ETCD_ADDR={address}:4001\"\nEnvironment=\"ETCD_PEER_ADDR={address}:7001\"\n\
             Environment=\"ETCD_DISCOVERY={url}\"\n"
        );
        // One machine calls the unit by etcd's name, for which cloud-init meant it.
        let unit = if number == 3 { "etcd.service" } else { "muster-store.service" };
        if number == 3 {
            let link = "/etc/systemd/system/etcd.service";
            machine.ok(&["ln", "-s", "/usr/lib/systemd/system/muster-store.service", link]);
        }
        machine.write(&format!("/run/systemd/system/{unit}.d/{DROP_IN}"), &drop_in);
        machine.ok(&["systemctl", "daemon-reload"]);
        // It is ready once the cluster is, and that needs the others.
        machine.ok(&["systemctl", "start", "--no-block", unit]);
    }
    for number in 1..=3 {
        let machine = lab.machine(number);
        wait_for("the unit to be ready", LIMIT, || {
            machine.succeeds(&["systemctl", "is-active", "--quiet", "muster-store.service"])
        });
    }
    let members =
        http::request(&store_url(lab.machine(1)), "GET", "/v2/members", None).expect("an answer").json();
    for number in 1..=3 {
        let machine = lab.machine(number);
        let members = members["members"].as_array().expect("members");
        let own =
            members.iter().find(|member| member["name"] == machine.name().as_str()).expect("it is a member");
        assert_eq!(own["clientURLs"][0], store_url(machine));
        assert_eq!(own["peerURLs"][0], format!("http://{}:7001", machine.address()));
        machine.ok(&["test", "-d", &format!("/var/lib/muster/{}.muster", machine.name())]);
    }

    // The drop-in stays when the service that brought them together has gone.
    service.kill();
    let second = lab.machine(2);
    second.ok(&["systemctl", "restart", "muster-store.service"]);
    let put = http::request(&store_url(second), "PUT", "/v2/keys/a", Some("value=x")).expect("an answer");
    assert_eq!(put.status, 201, "{}", put.text());
}
