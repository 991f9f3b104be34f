//! Clusters that come together without being told their members: by a discovery URL, by SRV records, by joining.

mod common;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::daemon::Daemon;
use common::dns::NameServer;
use common::etcd::Etcd;
use common::http::{self, Answer};
use common::ports::free_ports;
use common::store::Cluster;
use common::wait_for;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(60);

/// A node to be started: its place, its ports.
struct Place {
    name: String,
    folder: TempDir,
    client: String,
    peer: String,
}

impl Place {
    fn new(name: &str) -> Self {
        let ports = free_ports(2);
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let folder = TempDir::new().expect("a folder");
        Self { name: name.into(), folder, client: url(ports[0]), peer: url(ports[1]) }
    }

    fn several(count: usize) -> Vec<Self> {
        (0..count).map(|number| Self::new(&format!("n{number}"))).collect()
    }

    fn said(&self) -> std::path::PathBuf {
        self.folder.path().join("said")
    }

    /// The flags that etcd and Muster have in common.
    fn flags(&self, command: &mut Command) {
        command
            .current_dir(self.folder.path())
            .args(["--name", &self.name, "--data-dir"])
            .arg(self.folder.path().join("data"))
            .args(["--listen-client-urls", &self.client, "--advertise-client-urls", &self.client])
            .args(["--listen-peer-urls", &self.peer, "--initial-advertise-peer-urls", &self.peer]);
    }

    fn muster(&self, more: &[&str]) -> Daemon {
        let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
        command.arg("store");
        self.flags(&mut command);
        Daemon::start(command.args(more), &self.said())
    }

    fn etcd(&self, more: &[&str]) -> Daemon {
        let mut command = Command::new("etcd");
        self.flags(&mut command);
        command.env("ETCD_UNSUPPORTED_ARCH", std::env::consts::ARCH.replace("aarch64", "arm64"));
        Daemon::start(command.arg("--enable-v2").args(more), &self.said())
    }

    fn get(&self, target: &str) -> Answer {
        http::request(&self.client, "GET", target, None)
            .unwrap_or_else(|e| panic!("{} {target}: {e}", self.name))
    }

    fn put(&self, target: &str, form: &str) -> Answer {
        http::request(&self.client, "PUT", target, Some(form)).expect("an answer")
    }
}

/// A registry for `size` members at a running Muster.
fn new_registry(service: &Cluster, size: &str) -> String {
    let answer = service.nodes[0].request("GET", &format!("/new?size={size}"), None);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

/// Waits until all nodes answer, and checks that they are one cluster of themselves which takes writes.
fn assert_one_cluster(places: &[Place], daemons: &mut [Daemon]) {
    for (place, daemon) in places.iter().zip(daemons.iter_mut()) {
        daemon.wait_until_answers(&place.client, "/health");
    }
    wait_for("all members to be known with their names", LIMIT, || {
        let names = names(&places[0]);
        names.len() == places.len() && names.iter().all(|name| !name.is_empty())
    });
    let put = places[0].put("/v2/keys/shared", "value=x");
    assert_eq!(put.status, 201, "{}", put.text());
    for place in places {
        let got = place.get("/v2/keys/shared?quorum=true");
        assert_eq!(got.json()["node"]["value"], "x", "{}", place.name);
        assert_eq!(got.header("x-etcd-cluster-id"), put.header("x-etcd-cluster-id"));
    }
}

fn names(place: &Place) -> Vec<String> {
    let members = place.get("/v2/members").json();
    let members = members["members"].as_array().expect("members").clone();
    members.iter().map(|member| member["name"].as_str().unwrap_or_default().to_string()).collect()
}

#[test]
fn three_nodes_find_each_other_at_muster_and_a_fourth_becomes_a_read_replica() {
    let service = Cluster::start(1, &[]);
    let url = new_registry(&service, "3");
    let places = Place::several(3);
    let mut nodes: Vec<Daemon> = places.iter().map(|place| place.muster(&["--discovery", &url])).collect();
    assert_one_cluster(&places, &mut nodes);
    let registered = http::request(&service.nodes[0].url(), "GET", &url[url.find("/v2").unwrap()..], None);
    let registered = registered.expect("an answer").json();
    assert_eq!(registered["node"]["nodes"].as_array().map(Vec::len), Some(3), "{registered}");

    let surplus = Place::new("n3");
    let mut fourth = surplus.muster(&["--discovery", &url]);
    fourth.wait_until_answers(&surplus.client, "/v2/keys/shared");
    assert_eq!(surplus.get("/v2/keys/shared").json()["node"]["value"], "x");
    wait_for("the replica to be a member", LIMIT, || names(&places[0]).contains(&"n3".to_string()));
    let members = places[0].get("/v2/members").json();
    let learners: Vec<_> =
        members["members"].as_array().unwrap().iter().filter(|m| m["isLearner"] == true).collect();
    assert_eq!(learners.len(), 1, "{members}");
    assert_eq!(learners[0]["name"], "n3");

    // With data, nobody needs the service any more.
    drop(service);
    assert!(nodes[1].terminate().success());
    assert!(fourth.terminate().success());
    nodes[1] = places[1].muster(&["--discovery", &url]);
    nodes[1].wait_until_answers(&places[1].client, "/health");
    nodes[1].wait_until_said("discovery is not asked");
    let mut fourth = surplus.muster(&["--discovery", &url]);
    fourth.wait_until_answers(&surplus.client, "/v2/keys/shared");
}

#[test]
fn three_nodes_find_each_other_at_a_real_etcd() {
    let Some(service) = Etcd::start() else { return };
    let registry = "/v2/keys/any/where/token";
    http::request(&service.url(), "PUT", &format!("{registry}/_config/size"), Some("value=3"))
        .expect("an answer");
    let url = format!("{}{registry}", service.url());
    let places = Place::several(3);
    let mut nodes: Vec<Daemon> = places.iter().map(|place| place.muster(&["--discovery", &url])).collect();
    assert_one_cluster(&places, &mut nodes);
}

#[test]
fn three_real_etcds_find_each_other_at_muster() {
    if !Etcd::is_installed() {
        return;
    }
    let service = Cluster::start(1, &[]);
    let url = new_registry(&service, "3");
    let places = Place::several(3);
    let mut nodes: Vec<Daemon> = places.iter().map(|place| place.etcd(&["--discovery", &url])).collect();
    assert_one_cluster(&places, &mut nodes);

    // It falls back to a proxy, which needs the registry, too.
    let surplus = Place::new("n3");
    let mut fourth = surplus.etcd(&["--discovery", &url]);
    fourth.wait_until_answers(&surplus.client, "/v2/keys/shared");
}

#[test]
fn a_node_that_is_stopped_while_it_waits_goes_on_waiting_at_its_next_start() {
    let service = Cluster::start(1, &[]);
    let url = new_registry(&service, "2");
    let places = Place::several(2);
    let mut first = places[0].muster(&["--discovery", &url]);
    first.wait_until_said("waiting for other members");
    assert!(first.terminate().success());
    let first = places[0].muster(&["--discovery", &url]);
    let mut nodes = [first, places[1].muster(&["--discovery", &url])];
    assert_one_cluster(&places, &mut nodes);
}

#[test]
fn a_registry_that_does_not_answer_yet_is_asked_again() {
    let [client, peer] = free_ports(2)[..] else { unreachable!() };
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let place = Place::new("n0");
    let registry = format!("{}/v2/keys/t", url(client));
    let mut service = Place::new("service");
    (service.client, service.peer) = (url(client), url(peer));
    let mut served = service.muster(&[]);
    served.wait_until_answers(&service.client, "/health");
    assert_eq!(service.put("/v2/keys/t/_config/size", "value=1").status, 201);
    assert!(served.terminate().success());
    let mut node = place.muster(&["--discovery", &registry]);
    node.wait_until_said("asking again in 2 s");
    let _served = service.muster(&[]);
    node.wait_until_answers(&place.client, "/health");
}

/// What a node says that cannot be started.
fn refused(place: &Place, more: &[&str], code: i32) -> String {
    let mut node = place.muster(more);
    let status = node.wait_for_end();
    assert_eq!(status.code(), Some(code), "{}", node.said());
    node.said()
}

#[test]
fn what_is_wrong_with_a_registry_or_a_registration_is_said_in_etcds_words() {
    let service = Cluster::start(1, &[]);
    let base = format!("{}/v2/keys", service.nodes[0].url());
    let place = Place::new("n0");
    let said = refused(&place, &["--discovery", &format!("{base}/nothing")], 1);
    assert!(said.contains("discovery: ") && said.contains("100: Key not found (/nothing)"), "{said}");
    service.nodes[0].request("PUT", "/v2/keys/bad/_config/size", Some("value=many"));
    let said = refused(&place, &["--discovery", &format!("{base}/bad")], 1);
    assert!(said.contains("discovery: size key is bad"), "{said}");

    let url = new_registry(&service, "1");
    let mut only = place.muster(&["--discovery", &url]);
    only.wait_until_answers(&place.client, "/health");
    let late = Place::new("late");
    let said = refused(&late, &["--discovery", &url, "--discovery-fallback", "exit"], 1);
    assert!(said.contains("discovery: cluster is full"), "{said}");

    // The same URLs without the data.
    assert!(only.terminate().success());
    std::fs::remove_dir_all(place.folder.path().join("data")).expect("the data can be removed");
    let said = refused(&place, &["--discovery", &url], 4);
    assert!(
        said.contains("discovery: found duplicate id") && said.contains("previously registered"),
        "{said}"
    );
    assert!(said.contains("muster member remove"), "{said}");

    let url = new_registry(&service, "2");
    let (one, other) = (Place::new("same"), Place::new("same"));
    let _waiting = one.muster(&["--discovery", &url]);
    let said = refused(&other, &["--discovery", &url], 1);
    assert!(said.contains("discovery: found duplicate name"), "{said}");

    let path = url[url.find("/v2").unwrap()..].to_string();
    let url = new_registry(&service, "2");
    let broken = url[url.find("/v2").unwrap()..].to_string();
    assert_ne!(path, broken);
    service.nodes[0].request("PUT", &format!("{broken}/1f"), Some("value=x=ftp://h:1"));
    let said = refused(&Place::new("n1"), &["--discovery", &url], 1);
    assert!(said.contains("discovery: invalid URL"), "{said}");

    let twice = ["--discovery", &url, "--initial-cluster", "n2=http://127.0.0.1:1"];
    let said = refused(&Place::new("n2"), &twice, 64);
    assert!(said.contains("store.discovery") && said.contains("store.initial_cluster"), "{said}");
}

#[test]
fn new_registries_are_handed_out_for_sizes_that_make_sense() {
    let service = Cluster::start(1, &[]);
    let node = &service.nodes[0];
    for (target, size) in [("/new", "3"), ("/new?size=5", "5"), ("/new?size=1", "1")] {
        let answer = node.request("GET", target, None);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/plain; charset=utf-8")));
        let url = answer.text();
        let token = url
            .strip_prefix(&format!("{}/v2/keys/_etcd/registry/", node.url()))
            .expect("a URL of this store");
        assert!(token.len() == 32 && token.bytes().all(|b| b.is_ascii_hexdigit()), "{url}");
        let kept = node.request("GET", &format!("/v2/keys/_etcd/registry/{token}/_config/size"), None);
        assert_eq!(kept.json()["node"]["value"], size);
    }
    for bad in ["/new?size=0", "/new?size=x", "/new?size=100000", "/new?size="] {
        let answer = node.request("GET", bad, None);
        assert!(answer.status == 400 && answer.text().contains("size must be"), "{bad}: {}", answer.text());
    }
    assert_eq!(node.request("DELETE", "/new", None).status, 405);
}

#[test]
fn the_members_are_read_as_in_etcd_0_4_and_cannot_be_written_there() {
    let service = Cluster::start(1, &[]);
    let node = &service.nodes[0];
    // A member has no name until it has published it.
    wait_for("the member's name", LIMIT, || {
        node.request("GET", "/v2/keys/_etcd/machines", None).text().contains("/_etcd/machines/n0")
    });
    let listing = node.request("GET", "/v2/keys/_etcd/machines", None);
    assert!(listing.status == 200 && listing.header("x-etcd-index").is_some());
    let machine = listing.json()["node"]["nodes"][0].clone();
    assert_eq!(machine["key"], "/_etcd/machines/n0");
    let value = machine["value"].as_str().expect("a value").to_string();
    let escaped = node.url().replace(':', "%3A").replace('/', "%2F");
    assert!(value.starts_with(&format!("etcd={escaped}&raft=http%3A%2F%2F")), "{value}");
    let one = node.request("GET", "/v2/keys/_etcd/machines/n0/?quorum=true&sorted=true", None);
    assert_eq!(one.json()["node"]["value"], value);
    assert_eq!(node.request("HEAD", "/v2/keys/_etcd/machines?recursive=true", None).status, 200);
    let missing = node.request("GET", "/v2/keys/_etcd/machines/n9", None);
    assert_eq!((missing.status, &missing.json()["errorCode"]), (404, &100.into()));
    for (method, target) in [
        ("PUT", "/v2/keys/_etcd/machines/n0"),
        ("POST", "/v2/keys/_etcd/machines"),
        ("DELETE", "/v2/keys/_etcd/machines?recursive=true"),
    ] {
        let refused = node.request(method, target, Some("value=x"));
        assert_eq!((refused.status, &refused.json()["errorCode"]), (400, &107.into()), "{method} {target}");
    }
    let watch = node.request("GET", "/v2/keys/_etcd/machines?wait=true", None);
    assert_eq!((watch.status, &watch.json()["errorCode"]), (400, &209.into()));
    assert_eq!(node.request("PUT", "/v2/keys/_etcd/other", Some("value=x")).status, 201);
}

#[test]
fn three_nodes_find_each_other_by_srv_records() {
    let places: Vec<Place> = Place::several(3);
    let port =
        |place: &Place| place.peer.rsplit(':').next().and_then(|p| p.parse::<u16>().ok()).expect("a port");
    let targets: Vec<(&str, u16)> = places.iter().map(|place| ("localhost", port(place))).collect();
    let names = NameServer::start("_etcd-server._tcp.example.test", &targets);
    let more = ["--discovery-srv", "example.test", "--discovery-srv-resolver", names.address()];
    let mut nodes: Vec<Daemon> = places.iter().map(|place| place.muster(&more)).collect();
    assert_one_cluster(&places, &mut nodes);
    let members = places[0].get("/v2/members").text();
    assert_eq!(members.matches("http://localhost:").count(), 3, "{members}");

    let stranger = Place::new("stranger");
    let said = refused(&stranger, &more, 1);
    assert!(said.contains("none of the SRV records of example.test"), "{said}");
    let elsewhere = ["--discovery-srv", "other.test", "--discovery-srv-resolver", names.address()];
    let said = refused(&stranger, &elsewhere, 1);
    assert!(said.contains("_etcd-server._tcp.other.test"), "{said}");
    let tls = NameServer::start("_etcd-server-ssl._tcp.example.test", &targets);
    let said = refused(
        &stranger,
        &["--discovery-srv", "example.test", "--discovery-srv-resolver", tls.address()],
        1,
    );
    assert!(said.contains("no TLS"), "{said}");
}

#[test]
fn three_nodes_come_together_by_joining_one() {
    let places = Place::several(3);
    let mut nodes = vec![places[0].muster(&[])];
    nodes.extend(places[1..].iter().map(|place| place.muster(&["--join", &places[0].client])));
    assert_one_cluster(&places, &mut nodes);
}

#[test]
fn the_variables_of_a_cloud_init_drop_in_are_enough() {
    let service = Cluster::start(1, &[]);
    let url = new_registry(&service, "1");
    let place = Place::new("unused");
    let address = |url: &str| url.trim_start_matches("http://").to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    command
        .arg("store")
        .current_dir(place.folder.path())
        .env("ETCD_ADDR", address(&place.client))
        .env("ETCD_PEER_ADDR", address(&place.peer))
        .env("ETCD_DISCOVERY", &url);
    let mut node = Daemon::start(&mut command, &place.said());
    node.wait_until_said("ready to serve client requests");
    let member = place.get("/v2/members").json()["members"][0].clone();
    assert_ne!(member["name"], "default");
    assert_eq!(
        (&member["clientURLs"][0], &member["peerURLs"][0]),
        (&place.client.clone().into(), &place.peer.clone().into())
    );
    let name = member["name"].as_str().expect("a name");
    assert!(place.folder.path().join(format!("{name}.muster")).is_dir());
}

#[test]
fn the_old_ports_are_served_as_well() {
    // They are fixed, so this runs in a network of its own.
    let folder = TempDir::new().expect("a folder");
    let script = r#"
        ip link set lo up
        "$1" store --legacy-ports --data-dir "$2/data" &
        until curl -sf http://127.0.0.1:4001/health && curl -sf http://127.0.0.1:2379/health; do
            kill -0 $! || exit 1
            sleep 0.1
        done
        bash -c 'exec 3<>/dev/tcp/127.0.0.1/7001' && bash -c 'exec 3<>/dev/tcp/127.0.0.1/2380' || exit 2
        kill $! && wait $!
    "#;
    let output = Command::new("unshare")
        .args(["--net", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh"])
        .args([Path::new(env!("CARGO_BIN_EXE_muster")), folder.path()])
        .output()
        .expect("unshare can be run");
    assert!(output.status.success(), "{:?} {}", output.status, String::from_utf8_lossy(&output.stderr));
}
