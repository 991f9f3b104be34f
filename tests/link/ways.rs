//! How the store is found and asked: members first, several endpoints, users, and what is shown of it.

use super::tool::{Link, finish, kv, run_kv, text};
use crate::common::etcd::Etcd;
use crate::common::store::Cluster;

#[test]
fn the_members_client_urls_are_used_unless_told_not_to() {
    let (link, cluster) = (Link::new(), Cluster::start(3, &[]));
    let urls: Vec<String> = cluster.nodes.iter().map(|node| node.url()).collect();
    let output = link.run(&urls[0], &["--debug", "set", "/a", "x y"]);
    let log = text(&output.stderr);
    assert!(log.contains(&format!("start to sync cluster using endpoints({})\n", urls[0])), "{log}");
    assert!(log.contains(&format!("cURL Command: curl -X GET {}/v2/members\n", urls[0])), "{log}");
    let after = log.split_once("got endpoints(").expect("the members").1;
    for url in &urls {
        assert!(after.contains(url), "{log}");
    }
    assert!(log.contains("/v2/keys/a -d \"value=x+y\"\n"), "{log}");
    let output = link.run(&urls[0], &["--debug", "--no-sync", "get", "/a"]);
    assert_eq!(
        text(&output.stderr),
        format!(
            "Cluster-Endpoints: {0}\ncURL Command: curl -X GET \
             {0}/v2/keys/a?quorum=false&recursive=false&sorted=false\n",
            urls[0]
        )
    );
}

#[test]
fn one_dead_member_does_not_matter() {
    let (link, mut cluster) = (Link::new(), Cluster::start(3, &[]));
    let urls: Vec<String> = cluster.nodes.iter().map(|node| node.url()).collect();
    cluster.nodes[0].kill();
    cluster.leader();
    for n in 0..6 {
        assert_eq!(link.prints(&urls.join(","), &["set", "/a", &n.to_string()]), format!("{n}\n"));
        assert_eq!(link.prints(&urls.join(","), &["get", "-q", "/a"]), format!("{n}\n"));
    }
    let output = link.run(&urls[1], &["cluster-health"]);
    assert_eq!(output.status.code(), Some(5));
    assert!(text(&output.stdout).ends_with("cluster is degraded\n"), "{output:?}");
    let output = run_kv(&urls[1], &["-o", "json", "cluster-health"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((json["cluster"].as_str(), output.status.code()), (Some("degraded"), Some(5)));
}

#[test]
fn a_store_that_controls_access_is_told_who_asks() {
    let Some(etcd) = Etcd::start() else { return };
    let (link, url) = (Link::new(), etcd.url());
    let printed = |words: &[&str]| {
        let output = run_kv(&url, words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        text(&output.stdout)
    };
    assert_eq!(printed(&["user", "add", "root:secret"]), "User root created\n");
    assert_eq!(printed(&["role", "add", "reader"]), "Role reader created\n");
    assert_eq!(printed(&["role", "grant", "reader", "--path", "/x/*", "--read"]), "Role reader updated\n");
    assert_eq!(
        printed(&["-o", "json", "role", "get", "reader"]),
        "{\"read\":[\"/x/*\"],\"role\":\"reader\",\"write\":[]}\n"
    );
    assert_eq!(printed(&["auth", "enable"]), "Authentication Enabled\n");
    assert_eq!(
        printed(&["-u", "root:secret", "role", "revoke", "guest", "--path", "/*", "--readwrite"]),
        "Role guest updated\n"
    );

    assert_eq!(run_kv(&url, &["set", "/x/a", "1"]).status.code(), Some(4));
    assert_eq!(printed(&["-u", "root:secret", "set", "/x/a", "1"]), "1\n");
    let with = |variables: &[(&str, &str)], words: &[&str], input: &str| {
        let mut command = kv(&url);
        finish(command.envs(variables.iter().copied()).args(words).spawn().expect("it runs"), input)
    };
    let output = with(&[("MUSTER_USERNAME", "root:secret")], &["get", "/x/a"], "");
    assert_eq!(text(&output.stdout), "1\n");
    let output = with(&[("MUSTER_USERNAME", "root"), ("MUSTER_PASSWORD", "secret")], &["get", "/x/a"], "");
    assert_eq!(text(&output.stdout), "1\n");
    let client = [("MUSTER_CLIENT_USERNAME", "root"), ("MUSTER_CLIENT_PASSWORD", "secret")];
    assert_eq!(text(&with(&client, &["get", "/x/a"], "").stdout), "1\n");
    // The question does not mix with the value.
    let output = with(&[], &["-u", "root", "get", "/x/a"], "secret\n");
    assert_eq!((text(&output.stdout), text(&output.stderr)), ("1\n".into(), "Password: \n".into()));
    let mut command = link.command(&url);
    let child = command.env("ETCDCTL_USERNAME", "root").args(["get", "/x/a"]).spawn().expect("it runs");
    assert_eq!(text(&finish(child, "secret\n").stdout), "Password: \n1\n");
    assert_eq!(link.prints(&url, &["-u", "root:secret", "auth", "disable"]), "Authentication Disabled\n");
}

#[test]
fn tls_is_refused_in_plain_words() {
    let link = Link::new();
    let output = link.run("https://127.0.0.1:1", &["get", "/a"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).contains("TLS is not supported"), "{output:?}");
}

#[test]
fn muster_kv_keeps_its_status_for_wrong_use() {
    for words in [
        &["member"][..],
        &["member", "add", "x"],
        &["role", "grant", "r", "--path", "x", "--read"],
        &["role", "grant", "r", "--path", "/x"],
        &["nope"],
    ] {
        assert_eq!(run_kv("http://127.0.0.1:1", words).status.code(), Some(64), "{words:?}");
    }
}
