//! `--discovery-srv`: a domain's SRV records name the endpoints. The programs ask the servers of `/etc/resolv.conf`, so
//! they run with another one in its place.

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::four::{Ending, Programs, command, ending, normal};
use crate::common::dns::NameServer;
use crate::common::etcd::Etcd;
use crate::common::http;
use crate::common::ports::free_ports;
use crate::common::store::Cluster;

/// In a mount namespace of its own: the first argument in place of `/etc/resolv.conf`, then the rest as a command.
const ELSEWHERE: &str = "mount --bind \"$1\" /etc/resolv.conf && shift && exec \"$@\"";

/// What the domains below `.test` announce.
struct Domains {
    _names: NameServer,
    folder: TempDir,
    urls: [(&'static str, String); 2],
}

impl Domains {
    /// `etcd.test` and `muster.test` with what their subdomains are good for, and a key in both servers.
    fn start(etcd: &Etcd, ours: &Cluster) -> Self {
        let urls = [("etcd", etcd.url()), ("muster", ours.nodes[0].url())];
        let nobody = free_ports(1)[0];
        let mut services: Vec<(String, Vec<(&str, u16)>)> = Vec::new();
        for (server, url) in &urls {
            http::request(url, "PUT", "/v2/keys/a", Some("value=x")).expect("written");
            let port = url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
            let live = ("node.test", port);
            let dead = ("node.test", nobody);
            let mut announce = |service: &str, below: &str, targets: Vec<(&'static str, u16)>| {
                services.push((format!("_etcd-client{service}._tcp.{below}{server}.test"), targets));
            };
            announce("", "", vec![live]);
            announce("", "half.", vec![dead, live]);
            announce("", "dead.", vec![dead]);
            announce("", "lost.", vec![("nowhere.test", port)]);
            announce("-blue", "named.", vec![live]);
            announce("-ssl", "tls.", vec![live]);
            announce("-ssl", "both.", vec![dead]);
            announce("", "both.", vec![live]);
        }
        let services: Vec<_> = services.iter().map(|(name, targets)| (name.as_str(), &targets[..])).collect();
        let names = NameServer::start_on_the_usual_port(&services, &["node.test"]);
        let address = names.address().trim_end_matches(":53");
        let folder = TempDir::new().expect("a folder");
        let text = format!("nameserver {address}\nsearch test\n");
        std::fs::write(folder.path().join("resolv.conf"), text).expect("written");
        Self { _names: names, folder, urls }
    }

    /// A command that asks this name server; `DOMAIN` stands for the server's own. Nothing else tells it an endpoint.
    fn run(&self, program: &Path, server: usize, variables: &[(&str, &str)], words: &[&str]) -> Ending {
        let (name, url) = &self.urls[server];
        let own = |text: &str| {
            text.replace("DOMAIN", &format!("{name}.test")).replace("SHORT", name).replace("URL", url)
        };
        let words: Vec<String> = words.iter().map(|word| own(word)).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let plain = command(program, "", &words);
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", ELSEWHERE, "sh"]).arg(self.folder.path().join("resolv.conf"));
        command.arg(plain.get_program()).args(plain.get_args());
        command.env("ETCDCTL_API", "2").env_remove("ETCDCTL_ENDPOINTS");
        for (variable, value) in variables {
            command.env(variable, own(value));
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().expect("unshare can be run");
        let ending = ending(child, "");
        Ending { stdout: normal(url, ending.stdout), ..ending }
    }
}

const INSECURE: &str = "--insecure-discovery";

#[test]
fn the_endpoints_of_a_domain_are_found_as_etcdctl_finds_them() {
    let Some(programs) = Programs::find() else { return };
    let Some(etcd) = Etcd::start() else { return };
    let ours = Cluster::start(1, &[]);
    let domains = Domains::start(&etcd, &ours);
    let [(_, theirs), (_, link)] = programs.both();
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str], i32);
    let cases: &[Case<'_>] = &[
        (&[], &["-D", "DOMAIN", INSECURE, "get", "/a"], 0),
        (&[], &["--discovery-srv=DOMAIN", INSECURE, "--no-sync", "get", "/a"], 0),
        (&[], &["-D", "DOMAIN.", INSECURE, "-o", "extended", "get", "/none"], 4),
        (&[], &["-D", "SHORT", INSECURE, "get", "/a"], 0),
        (&[], &["-D", "DOMAIN", INSECURE, "set", "/b"], 1),
        (&[], &["-D", "DOMAIN", INSECURE, "ls", "--sort", "/"], 0),
        (&[], &["-D", "DOMAIN", INSECURE, "member", "list"], 0),
        (&[], &["-D", "DOMAIN", INSECURE, "cluster-health"], 0),
        (&[], &["-D", "half.DOMAIN", INSECURE, "get", "/a"], 0),
        (&[], &["-D", "half.DOMAIN", INSECURE, "--no-sync", "get", "/a"], 0),
        (&[], &["-D", "dead.DOMAIN", INSECURE, "get", "/a"], 2),
        (&[], &["-D", "dead.DOMAIN", INSECURE, "--no-sync", "get", "/a"], 4),
        (&[], &["-D", "dead.DOMAIN", INSECURE, "cluster-health"], 4),
        (&[], &["-D", "lost.DOMAIN", INSECURE, "get", "/a"], 2),
        // A domain weighs more than endpoints that are given, even when it has none.
        (&[], &["-D", "DOMAIN", INSECURE, "--endpoints", "http://127.0.0.1:1", "get", "/a"], 0),
        (&[], &["-D", "none.DOMAIN", INSECURE, "--endpoints", "URL", "get", "/a"], 1),
        (&[], &["-D", "named.DOMAIN", INSECURE, "--endpoints", "URL", "get", "/a"], 1),
        (&[], &["-D", "", "--endpoints", "URL", "get", "/a"], 0),
        (&[], &["-D", "DOMAIN", INSECURE, "--ca-file", "/no/such/file", "get", "/a"], 1),
        // Endpoints without TLS count only when they are asked for.
        (&[], &["-D", "DOMAIN", "--endpoints", "URL", "get", "/a"], 0),
        (&[], &["-D", "DOMAIN", "--endpoints", "http://127.0.0.1:1", "get", "/a"], 2),
        (&[("ETCDCTL_ENDPOINTS", "URL")], &["-D", "DOMAIN", "get", "/a"], 0),
        (&[("ETCDCTL_INSECURE_DISCOVERY", "true")], &["-D", "DOMAIN", "get", "/a"], 0),
        // As in etcdctl: whatever it says.
        (&[("ETCDCTL_INSECURE_DISCOVERY", "false")], &["-D", "DOMAIN", "get", "/a"], 0),
        (&[("ETCDCTL_DISCOVERY_SRV", "DOMAIN")], &[INSECURE, "get", "/a"], 0),
        (&[("ETCDCTL_DISCOVERY_SRV", "none.DOMAIN")], &["-D", "DOMAIN", INSECURE, "get", "/a"], 0),
        (&[("ETCDCTL_DISCOVERY_SRV_NAME", "blue")], &["-D", "named.DOMAIN", INSECURE, "get", "/a"], 0),
        (&[("ETCDCTL_DISCOVERY_SRV_NAME", "blue")], &["-D", "DOMAIN", INSECURE, "get", "/a"], 1),
    ];
    for (variables, words, status) in cases {
        let mut all = Vec::new();
        for server in 0..2 {
            let expected = domains.run(theirs, server, variables, words);
            assert_eq!(expected.status, *status, "etcdctl {variables:?} {words:?}: {expected:?}");
            let seen = domains.run(link, server, variables, words);
            assert_eq!(
                (seen.status, &seen.stdout),
                (expected.status, &expected.stdout),
                "{variables:?} {words:?}: {seen:?}"
            );
            assert_eq!(
                seen.stderr.is_empty(),
                expected.stderr.is_empty(),
                "{words:?}: {seen:?} {expected:?}"
            );
            all.push(expected.stdout);
        }
        assert_eq!(all[0], all[1], "etcd and Muster: {words:?}");
    }
}

#[test]
fn a_domain_with_endpoints_for_tls_alone_is_refused_and_no_other_cluster_is_asked() {
    let Some(programs) = Programs::find() else { return };
    let Some(etcd) = Etcd::start() else { return };
    let ours = Cluster::start(1, &[]);
    let domains = Domains::start(&etcd, &ours);
    let [_, (_, link)] = programs.both();
    for words in [
        &["-D", "tls.DOMAIN", "--endpoints", "URL", "get", "/a"][..],
        &["-D", "tls.DOMAIN", INSECURE, "--endpoints", "URL", "get", "/a"],
        &["-D", "both.DOMAIN", "--endpoints", "URL", "get", "/a"],
    ] {
        let ending = domains.run(link, 1, &[], words);
        assert_eq!((ending.status, ending.stdout.as_str()), (4, ""), "{words:?}: {ending:?}");
        assert!(ending.stderr.contains("TLS is not supported yet"), "{words:?}: {ending:?}");
    }
    let ending = domains.run(link, 1, &[], &["-D", "both.DOMAIN", INSECURE, "get", "/a"]);
    assert_eq!((ending.status, ending.stdout.as_str()), (0, "x\n"), "{ending:?}");
}
