//! Users, roles, the switch, and who may do what while it is on.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Pair;
use crate::common::http::Connection;
use crate::common::store::Cluster;
use crate::common::wait_for;

const LIMIT: Duration = Duration::from_secs(20);

/// The value of an Authorization header.
fn basic(credentials: &str) -> String {
    format!("Basic {}", STANDARD.encode(credentials))
}

impl Pair {
    /// Sends requests one after the other with the credentials `user:password`; nobody's when empty.
    fn run_as(&mut self, credentials: &str, requests: &[&str]) -> &mut Self {
        let value = basic(credentials);
        let header = [("Authorization", value.as_str())];
        for request in requests {
            self.ask_as(if credentials.is_empty() { &[] } else { &header }, request);
        }
        self
    }

    /// Turns checks on, with root's password `r`.
    fn guarded() -> Option<Self> {
        let mut pair = Self::start()?;
        pair.run(&[r#"PUT /v2/auth/users/root {"user":"root","password":"r"}"#, "PUT /v2/auth/enable"]);
        Some(pair)
    }
}

#[test]
fn users_are_made_changed_and_removed() {
    let Some(mut pair) = Pair::start() else { return };
    pair.run(&[
        "GET /v2/auth/users",
        "GET /v2/auth/users/",
        "GET /v2/auth/users/u1",
        "GET ~/",
        r#"PUT /v2/auth/users/u1 {"user":"u1","password":"p"}"#,
        "GET ~/",
        r#"PUT /v2/auth/users/u1 {"user":"u1"}"#,
        r#"PUT /v2/auth/users/u1 {"user":"u1"}"#,
        r#"PUT /v2/auth/users/u1 {"user":"u1","password":"q"}"#,
        "GET /v2/auth/users/u1",
        "GET /v2/auth/users/u1/",
        r#"PUT /v2/auth/users/u2/ {"user":"u2","password":"p","roles":["b","a","a"]}"#,
        r#"PUT /v2/auth/users/u2 {"user":"u2","password":"p","roles":["x"]}"#,
        r#"PUT /v2/auth/users/u2 {"user":"u2","roles":["x"]}"#,
        r#"PUT /v2/auth/users/u3 {"user":"u3","password":"p","roles":[]}"#,
        r#"PUT /v2/auth/users/u3 {"user":"u3"}"#,
        r#"PUT /v2/auth/users/u4 {"user":"u4"}"#,
        r#"PUT /v2/auth/users/u4 {"user":"u4","password":""}"#,
        r#"PUT /v2/auth/users/u4 {"user":"u4","roles":["a"]}"#,
        r#"PUT /v2/auth/users/u4 {"user":"u4","password":"p","grant":["a"]}"#,
        "GET /v2/auth/users/u2",
        "GET /v2/auth/users",
        "GET ~/",
        r#"PUT /v2/auth/users/u2 {"user":"u2"}"#,
        r#"PUT /v2/auth/users/u2 {"user":"u2","grant":["c"],"revoke":["a"]}"#,
        r#"PUT /v2/auth/users/u2 {"user":"u2","grant":["c"]}"#,
        r#"PUT /v2/auth/users/u2 {"user":"u2","revoke":["z"]}"#,
        r#"PUT /v2/auth/users/u2 {"user":"u2","grant":["z"],"revoke":["z"]}"#,
        r#"PUT /v2/auth/users/u2 {"user":"u2","grant":["z"],"revoke":["z"],"password":"n"}"#,
        r#"PUT /v2/auth/users/u2 {"user":"u2","grant":["z"],"roles":["y"]}"#,
        r#"PUT /v2/auth/users/u2 {"user":"u2","revoke":["b","c"]}"#,
        "GET /v2/auth/users/u2",
        "GET ~/",
        "DELETE /v2/auth/users/u2",
        "DELETE /v2/auth/users/u2",
        "DELETE /v2/auth/users/%ff%3C%22",
        "GET /v2/auth/users/%ff%3C%22",
        r#"PUT /v2/auth/users/_h {"user":"_h","password":"p"}"#,
        r#"PUT /v2/auth/users/%C3%A4%20%3C {"user":"ä <","password":"p"}"#,
        "GET /v2/auth/users",
        "GET /v2/auth/users/_h",
        "GET ~/",
    ]);
    pair.finish();
}

#[test]
fn roles_are_made_changed_and_removed() {
    let Some(mut pair) = Pair::start() else { return };
    pair.run(&[
        "GET /v2/auth/roles",
        "GET /v2/auth/roles/",
        "GET /v2/auth/roles/root",
        "GET /v2/auth/roles/r",
        r#"PUT /v2/auth/roles/root {"role":"root"}"#,
        r#"PUT /v2/auth/roles/root {"role":"root","grant":{"kv":{"read":["/a"]}}}"#,
        "DELETE /v2/auth/roles/root",
        r#"PUT /v2/auth/roles/r {"role":"r","grant":{"kv":{"read":["/a"]}}}"#,
        "GET ~/",
        "DELETE /v2/auth/roles/r",
        "GET ~/",
        r#"PUT /v2/auth/roles/r {"role":"r"}"#,
        r#"PUT /v2/auth/roles/r {"role":"r"}"#,
        "GET /v2/auth/roles/r",
        r#"PUT /v2/auth/roles/r {"role":"r","grant":{"kv":{"read":["/b","/a"],"write":["/w"]}}}"#,
        r#"PUT /v2/auth/roles/r {"role":"r","grant":{"kv":{"read":["/a"]}}}"#,
        r#"PUT /v2/auth/roles/r {"role":"r","grant":{"kv":{"write":["/x","/w"]}}}"#,
        r#"PUT /v2/auth/roles/r {"role":"r","grant":{"kv":{"write":["/x","/x"]}}}"#,
        r#"PUT /v2/auth/roles/r {"role":"r","revoke":{"kv":{"read":["/none"]}}}"#,
        r#"PUT /v2/auth/roles/r {"role":"r","revoke":{"kv":{"read":["/a","/b"],"write":["/w"]}}}"#,
        r#"PUT /v2/auth/roles/r {"role":"r","grant":{"kv":{"read":["/c"]}},"revoke":{"kv":{"read":["/c"]}}}"#,
        r#"PUT /v2/auth/roles/r {"role":"r","grant":{"kv":{"read":["/c"]}},"permissions":{"kv":{"read":["/d"]}}}"#,
        r#"PUT /v2/auth/roles/s {"role":"s","permissions":{"kv":{"read":["/b","/a","/a"]}},"grant":{}}"#,
        r#"PUT /v2/auth/roles/t {"role":"t","permissions":{"kv":{"read":[],"write":["<&>"]}},"revoke":{"kv":{"read":[]}}}"#,
        "GET /v2/auth/roles/s",
        r#"PUT /v2/auth/roles/s {"role":"s","revoke":{"kv":{"read":["/none"]}}}"#,
        r#"PUT /v2/auth/roles/s {"role":"s","revoke":{"kv":{"read":["/none"]}}}"#,
        r#"PUT /v2/auth/roles/guest {"role":"guest","permissions":{"kv":{"read":["/a"],"write":null}}}"#,
        r#"PUT /v2/auth/roles/_h {"role":"_h"}"#,
        "GET /v2/auth/roles",
        r#"PUT /v2/auth/users/u {"user":"u","password":"p","roles":["s","none","root"]}"#,
        "GET /v2/auth/users",
        "GET /v2/auth/users/u",
        "DELETE /v2/auth/roles/r/",
        "DELETE /v2/auth/roles/r",
        "DELETE /v2/auth/roles/%ff",
        "GET /v2/auth/roles",
        "GET ~/",
    ]);
    pair.finish();
}

#[test]
fn bodies_are_json_whatever_they_are_called() {
    let Some(mut pair) = Pair::start() else { return };
    for body in [
        "",
        "{",
        "[]",
        "5",
        "null",
        "\"u\"",
        "{}",
        "{,}",
        "nonsense",
        r#"{"user":"u"}"#,
        r#"{"user":"other","password":"p"}"#,
        r#"{"user":1}"#,
        r#"{"user":"u","roles":"a"}"#,
        r#"{"user":"u","roles":{}}"#,
        r#"{"user":"u","password":null}"#,
        r#"{"user":"u","password":["p"]}"#,
        r#"{"role":"u"}"#,
        r#"{"role":"u","permissions":[]}"#,
        r#"{"role":"u","permissions":{"kv":{"read":"/a"}}}"#,
        r#"{"role":"u","permissions":{"kv":{"read":[1]}}}"#,
    ] {
        for kind in ["users", "roles"] {
            pair.exchange("PUT", &format!("/v2/auth/{kind}/u"), &[], Some(body.as_bytes()));
        }
    }
    let bodies: [(&str, &[u8]); 7] = [
        ("users/a", br#" {"User":"a","PASSWORD":"p","roles":null,"x":{"y":[1,2.5e3]}} {"user":"b"}"#),
        ("users/b", br#"{"user":"x","user":"b","password":"p","password":null,"roles":["r"]}"#),
        ("users/c", b"{\"user\":\"c\",\"password\":\"\xff\",\"x\":\"\xff\"}"),
        ("users/%EF%BF%BD", b"{\"user\":\"\xff\",\"password\":\"p\"}"),
        ("users/%ff", b"{\"user\":\"\xff\",\"password\":\"p\"}"),
        ("roles/a", br#"{"ROLE":"a","Permissions":{"KV":{"READ":["/a"],"write":null},"x":1}}"#),
        ("roles/b", br#"{"role":"b","permissions":null,"grant":null,"revoke":{"kv":null}}"#),
    ];
    for (page, body) in bodies {
        pair.exchange("PUT", &format!("/v2/auth/{page}"), &[("Content-Type", "text/plain")], Some(body));
    }
    pair.run(&["GET /v2/auth/users", "GET /v2/auth/roles", "GET ~/"]);
    pair.finish();
}

#[test]
fn pages_methods_and_paths() {
    let Some(mut pair) = Pair::start() else { return };
    for path in [
        "users",
        "users/",
        "users/u",
        "users/u/",
        "users/a/b",
        "users/a%2Fb/c",
        "roles",
        "roles/",
        "roles/r",
        "roles/a/b/",
        "enable",
        "enable/",
        "enabled",
        "",
        "usersx",
        "users/u?a=%zz",
        "users?a=%zz",
        "roles?a=%zz",
        "roles/root?a=%zz",
        "users?a;b",
        "enable?a=%zz",
        "users//u",
        "users/../roles",
        "users?recursive=x",
    ] {
        for method in ["GET", "HEAD", "POST", "PATCH", "OPTIONS", "DELETE", "PUT"] {
            pair.ask(&format!("{method} /v2/auth/{path}"));
        }
        pair.ask("GET ~/");
    }
    pair.finish();
}

#[test]
fn the_switch_needs_root_and_makes_the_guest() {
    let Some(mut pair) = Pair::start() else { return };
    pair.run(&[
        "GET /v2/auth/enable",
        "PUT /v2/auth/enable",
        "DELETE /v2/auth/enable",
        "GET ~/",
        r#"PUT /v2/auth/users/root {"user":"root","password":"r","roles":["a"]}"#,
        r#"PUT /v2/auth/users/root {"user":"root","revoke":["root"]}"#,
        r#"PUT /v2/auth/users/root {"user":"root","revoke":["root"]}"#,
        r#"PUT /v2/auth/users/root {"user":"root","grant":["root"]}"#,
        "GET /v2/auth/users/root",
        "GET /v2/auth/users",
        "GET ~/",
        "PUT /v2/auth/enable",
        "GET /v2/auth/enable",
        "PUT /v2/auth/enable",
        "DELETE /v2/auth/enable",
    ]);
    pair.run_as(
        "root:r",
        &[
            "GET ~/",
            "PUT /v2/auth/enable",
            "GET /v2/auth/roles",
            "DELETE /v2/auth/users/root",
            "DELETE /v2/auth/roles/guest",
            "DELETE /v2/auth/enable",
        ],
    );
    pair.run(&["GET ~/", "DELETE /v2/auth/enable", "PUT /v2/auth/enable", "GET ~/"]);
    pair.run_as("root:r", &["GET /v2/auth/roles", "DELETE /v2/auth/enable"]);
    pair.run(&["DELETE /v2/auth/users/root", "PUT /v2/auth/enable", "GET ~/"]);
    pair.finish();
}

#[test]
fn what_only_root_may_and_what_stays_open() {
    let Some(mut pair) = Pair::guarded() else { return };
    pair.run_as(
        "root:r",
        &[
            r#"PUT /v2/auth/users/u {"user":"u","password":"p"}"#,
            r#"PUT /v2/auth/users/admin {"user":"admin","password":"p","roles":["root"]}"#,
        ],
    );
    for credentials in ["", "u:p", "root:wrong", "nobody:p", "admin:p"] {
        pair.run_as(
            credentials,
            &[
                "GET /v2/auth/users",
                "GET /v2/auth/users/u",
                "GET /v2/auth/users/none",
                "GET /v2/auth/roles",
                "GET /v2/auth/roles/none",
                "HEAD /v2/auth/users",
                "POST /v2/auth/users/u",
                "PUT /v2/auth/users/u nonsense",
                "PUT /v2/auth/roles/u nonsense",
                "DELETE /v2/auth/users/none",
                "DELETE /v2/auth/roles/none",
                "GET /v2/auth/users/a/b",
                "GET /v2/auth/enable",
                "PUT /v2/auth/enable",
                "GET /version",
                "GET /health",
                "GET /v2/stats",
                "POST /v2/stats/store",
                "GET /v2/members/x",
                "GET ~/",
            ],
        );
    }
    pair.finish();
}

#[test]
fn credentials_of_every_shape() {
    let Some(mut pair) = Pair::guarded() else { return };
    pair.run_as(
        "root:r",
        &[
            r#"PUT /v2/auth/users/u {"user":"u","password":"p:q ä\u0000"}"#,
            r#"PUT /v2/auth/roles/all {"role":"all","permissions":{"kv":{"read":["*"],"write":["/*"]}}}"#,
            r#"PUT /v2/auth/users/u {"user":"u","grant":["all"]}"#,
            r#"PUT /v2/auth/roles/guest {"role":"guest","revoke":{"kv":{"write":["/*"]}}}"#,
        ],
    );
    let good = basic("u:p:q ä\0");
    let values = [
        "",
        " ",
        "Basic",
        "Basic ",
        "Basic x",
        "Bearer x",
        "u:p",
        "basic dTpwOnEgw6QA",
        "BASIC dTpwOnEgw6QA",
        "Basic  dTpwOnEgw6QA",
        "Basic dTpwOnEgw6QB",
        "Basic dTpw",
        "Basic dQ==",
        "Basic cm9vdDpy",
        "Basic cm9vdDpz",
        "Basic cm9vdDpyAA==",
        "Basic cm9vdDo=",
        "Basic cm9vdDpyy",
        "Basic\tcm9vdDpy",
        &good,
    ];
    for value in values {
        for request in ["PUT ~/a value=1", "GET ~/a", "GET ~", "GET ~/a?ttl=x", "GET /v2/auth/roles"] {
            pair.ask_as(&[("Authorization", value)], request);
        }
    }
    let two = [("Authorization", good.as_str()), ("Authorization", "nonsense")];
    pair.ask_as(&two, "PUT ~/a value=2");
    pair.ask_as(&[two[1], two[0]], "PUT ~/a value=3");
    pair.finish();
}

#[test]
fn patterns_decide_on_keys() {
    let Some(mut pair) = Pair::guarded() else { return };
    pair.run_as("root:r", &[
        r#"PUT /v2/auth/roles/guest {"role":"guest","revoke":{"kv":{"read":["/*"],"write":["/*"]}}}"#,
        r#"PUT /v2/auth/roles/guest {"role":"guest","grant":{"kv":{"read":["/open","/x/*"],"write":["/open/*"]}}}"#,
        r#"PUT /v2/auth/roles/r {"role":"r","permissions":{"kv":{"read":["/x/*","/exact","/d/"],"write":["/w*"]}}}"#,
        r#"PUT /v2/auth/roles/all {"role":"all","permissions":{"kv":{"read":["*"],"write":["*"]}}}"#,
        r#"PUT /v2/auth/users/u {"user":"u","password":"p","roles":["none","r"]}"#,
        r#"PUT /v2/auth/users/v {"user":"v","password":"p","roles":["none","r","all"]}"#,
        r#"PUT /v2/auth/users/w {"user":"w","password":"p"}"#,
        "PUT ~/x/a value=1", "PUT ~/exact value=1", "PUT ~/open value=1", "PUT ~/d/x value=1", "PUT ~/w/x value=1",
    ]);
    for credentials in ["", "u:p", "v:p"] {
        for path in [
            "", "/", "/x", "/x/", "/x/a", "/x/a/", "/x%2Fa", "/exact", "/exact/", "/open", "/d", "/d/",
            "/w/x",
        ] {
            // etcd hashes the password for each request, so there are few with one.
            pair.run_as(credentials, &[&format!("GET ~{path}"), &format!("GET ~{path}?recursive=true")]);
            if credentials.is_empty() {
                pair.run(&[&format!("HEAD ~{path}"), &format!("GET ~{path}?recursive=true&quorum=true")]);
            }
        }
        for path in ["/x/n", "/wn", "/open/n"] {
            pair.run_as(
                credentials,
                &[
                    &format!("PUT ~{path} value=1"),
                    &format!("PUT ~{path}?prevExist=true value=2"),
                    &format!("PUT ~{path}?prevValue=2 value=3"),
                    &format!("PUT ~{path}?recursive=true value=3"),
                    &format!("POST ~{path} value=4"),
                    &format!("DELETE ~{path}?prevIndex=1"),
                    &format!("DELETE ~{path}?recursive=true"),
                    &format!("PATCH ~{path}"),
                    &format!("PUT ~{path}?ttl=x"),
                    &format!("GET ~{path}?wait=true&waitIndex=1&quorum=true"),
                ],
            );
        }
    }
    for credentials in ["w:p", "root:r", "u:wrong"] {
        pair.run_as(credentials, &["GET ~/x/a", "GET ~?recursive=true", "PUT ~/x/n value=1", "DELETE ~/x/n"]);
    }
    pair.finish();
}

/// A watch on one server that has been accepted.
fn watch(url: &str, credentials: &str, target: &str) -> Connection {
    let mut connection = Connection::open(url).expect("a connection");
    let authorization = if credentials.is_empty() {
        String::new()
    } else {
        format!("Authorization: {}\r\n", basic(credentials))
    };
    let request = format!("GET /v2/keys{target} HTTP/1.1\r\nHost: h\r\n{authorization}\r\n");
    connection.send_raw(request.as_bytes()).expect("sent");
    assert_eq!(connection.read_head().expect("headers at once").status, 200);
    connection
}

#[test]
fn watches_are_checked_when_they_begin() {
    let Some(mut pair) = Pair::guarded() else { return };
    pair.run_as(
        "root:r",
        &[
            r#"PUT /v2/auth/roles/guest {"role":"guest","revoke":{"kv":{"read":["/*"],"write":["/*"]}}}"#,
            r#"PUT /v2/auth/roles/r {"role":"r","permissions":{"kv":{"read":["/x/*"],"write":null}}}"#,
            r#"PUT /v2/auth/users/u {"user":"u","password":"p","roles":["r"]}"#,
            "PUT ~/x/a value=1",
        ],
    );
    for credentials in ["", "u:wrong"] {
        pair.run_as(credentials, &["GET ~/x/a?wait=true&waitIndex=1", "GET ~/x/a?wait=true"]);
    }
    pair.run_as(
        "u:p",
        &["GET ~/y?wait=true", "GET ~/x?wait=true&recursive=true", "GET ~/x/a?wait=true&waitIndex={i}"],
    );
    pair.finish();
}

#[test]
fn an_open_watch_ends_when_it_is_no_longer_allowed() {
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    let root = |request: &str| {
        let mut words = request.splitn(3, ' ');
        let (method, path) = (words.next().expect("a method"), words.next().expect("a path"));
        let body = words.next().unwrap_or_default();
        let mut connection = Connection::open(&node.url()).expect("a connection");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: h\r\nAuthorization: {}\r\nContent-Length: {}\r\n\r\n{body}",
            basic("root:r"),
            body.len()
        );
        connection.send_raw(head.as_bytes()).expect("sent");
        let head = connection.read_head().expect("an answer");
        let answer = connection.read_body(method, head).expect("an answer");
        assert!(answer.status < 300, "{request}: {}", answer.text());
    };
    let ended = |connection: &mut Connection| {
        connection.set_patience(LIMIT).expect("a connection");
        connection.chunk().expect("the end of the answer").is_none()
    };
    root(r#"PUT /v2/auth/users/root {"user":"root","password":"r"}"#);
    root(r#"PUT /v2/auth/roles/r {"role":"r","permissions":{"kv":{"read":["/*"]}}}"#);
    for user in ["a", "b", "c"] {
        root(&format!(r#"PUT /v2/auth/users/{user} {{"user":"{user}","password":"p","roles":["r"]}}"#));
    }
    // Opened while nothing is checked, with a password that is wrong.
    let mut wrong = watch(&node.url(), "a:wrong", "/k?wait=true&stream=true");
    let mut guest = watch(&node.url(), "", "/k?wait=true&stream=true");
    root("PUT /v2/auth/enable");
    assert!(ended(&mut wrong));
    let mut users =
        ["a:p", "b:p", "c:p", "root:r"].map(|who| watch(&node.url(), who, "/k?wait=true&stream=true"));
    root("PUT /v2/keys/k?value=1");
    for connection in users.iter_mut().chain([&mut guest]) {
        assert!(connection.chunk().expect("an event").is_some());
    }
    let [a, b, c, of_root] = &mut users;
    root(r#"PUT /v2/auth/users/a {"user":"a","revoke":["r"]}"#);
    assert!(ended(a));
    root(r#"PUT /v2/auth/users/b {"user":"b","password":"other"}"#);
    assert!(ended(b));
    root("DELETE /v2/auth/roles/guest");
    assert!(ended(&mut guest));
    root("PUT /v2/keys/k?value=2");
    for connection in [&mut *c, &mut *of_root] {
        assert!(connection.chunk().expect("an event").is_some(), "still allowed");
    }
    root("DELETE /v2/auth/users/c");
    assert!(ended(c));
    root("DELETE /v2/auth/enable");
    root("PUT /v2/keys/k?value=3");
    assert!(of_root.chunk().expect("an event").is_some());
}

/// One request to a node, with credentials or without.
fn status(url: &str, credentials: &str, method: &str, target: &str, body: &str) -> u16 {
    let mut connection = Connection::open(url).expect("a connection");
    let authorization = format!("Authorization: {}\r\n", basic(credentials));
    let authorization = if credentials.is_empty() { "" } else { &authorization };
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: h\r\n{authorization}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.send_raw(request.as_bytes()).expect("sent");
    connection.read_head().expect("an answer").status
}

#[test]
fn users_of_one_node_are_users_of_all_and_outlive_restarts_and_snapshots() {
    let mut cluster = Cluster::start(3, &["--snapshot-count", "20"]);
    let url = |cluster: &Cluster, node: usize| cluster.nodes[node].url();
    let put = |cluster: &Cluster, node, who: &str, page: &str, body: &str| {
        status(&url(cluster, node), who, "PUT", page, body)
    };
    assert_eq!(put(&cluster, 0, "", "/v2/auth/users/root", r#"{"user":"root","password":"r"}"#), 201);
    assert_eq!(put(&cluster, 1, "", "/v2/auth/enable", ""), 200);
    // The very next request on another node, with no pause in between.
    for round in 0..10 {
        let (made_on, used_on) = (round % 3, (round + 1) % 3);
        let user = format!("u{round}");
        let body = format!(r#"{{"user":"{user}","password":"p","roles":["guest"]}}"#);
        assert_eq!(put(&cluster, made_on, "root:r", &format!("/v2/auth/users/{user}"), &body), 200);
        let credentials = format!("{user}:p");
        assert_eq!(
            put(&cluster, used_on, &credentials, "/v2/keys/k?value=1", ""),
            if round == 0 { 201 } else { 200 }
        );
        assert_eq!(put(&cluster, used_on, &format!("{user}:wrong"), "/v2/keys/k?value=1", ""), 401);
    }
    for n in 0..30 {
        assert!(put(&cluster, n % 3, "root:r", &format!("/v2/keys/n{n}?value=1"), "") < 300);
    }
    let snapshots = cluster.folder().join("n0/snapshots");
    wait_for("a snapshot", LIMIT, || std::fs::read_dir(&snapshots).is_ok_and(|files| files.count() > 0));
    for node in &mut cluster.nodes {
        node.kill();
    }
    for node in &mut cluster.nodes {
        node.launch();
    }
    for node in &mut cluster.nodes {
        node.wait_until_healthy();
    }
    for node in 0..3 {
        assert_eq!(put(&cluster, node, "u3:p", "/v2/keys/k?value=1", ""), 200);
        assert_eq!(put(&cluster, node, "u3:q", "/v2/keys/k?value=1", ""), 401);
        assert_eq!(status(&url(&cluster, node), "", "GET", "/v2/auth/users", ""), 401);
    }
    let log = std::fs::read_to_string(cluster.folder().join("n0.log")).expect("a log");
    assert!(!log.contains("$2b$"), "no hash in the log");
}

#[test]
fn a_check_is_not_paid_for_with_every_request() {
    let Some(mut pair) = Pair::guarded() else { return };
    let [ours, _] = pair.urls();
    assert_eq!(status(&ours, "root:r", "PUT", "/v2/keys/a?value=1", ""), 201);
    let began = std::time::Instant::now();
    for _ in 0..200 {
        assert_eq!(status(&ours, "root:r", "GET", "/v2/keys/a?quorum=false", ""), 200);
    }
    assert!(began.elapsed() < Duration::from_secs(8), "200 checks took {:?}", began.elapsed());
    pair.run_as("root:r", &[r#"PUT /v2/auth/users/root {"user":"root","password":"new"}"#]);
    assert_eq!(status(&ours, "root:r", "GET", "/v2/auth/users", ""), 401, "the old password counts no more");
    assert_eq!(status(&ours, "root:new", "GET", "/v2/auth/users", ""), 200);
    pair.finish();
}

/// Requests at which etcd's handler breaks off and the connection ends without an answer.
#[test]
fn where_etcd_breaks_off_there_is_an_answer() {
    let Some(mut pair) = Pair::start() else { return };
    let [ours, theirs] = pair.urls();
    pair.run(&[
        r#"PUT /v2/auth/users/root {"user":"root","password":"r"}"#,
        r#"PUT /v2/auth/users/u {"user":"u","password":"p","roles":[""]}"#,
        r#"PUT /v2/auth/users/v {"user":"v","password":"p","roles":["e"]}"#,
        r#"PUT /v2/auth/roles/e {"role":"e","permissions":{"kv":{"read":[""]}}}"#,
        "PUT /v2/auth/enable",
    ]);
    pair.finish();
    for (credentials, target, answer) in [
        (":", "/v2/keys/a", 401),
        ("u:p", "/v2/keys/a", 401),
        ("v:p", "/v2/keys/a", 401),
        ("root:r", "/v2/auth/users/u", 404),
        ("root:r", "/v2/auth/users", 200),
    ] {
        assert_eq!(status(&ours, credentials, "GET", target, ""), answer, "{credentials} {target}");
        let mut connection = Connection::open(&theirs).expect("a connection");
        let head =
            format!("GET {target} HTTP/1.1\r\nHost: h\r\nAuthorization: {}\r\n\r\n", basic(credentials));
        connection.send_raw(head.as_bytes()).expect("sent");
        assert!(connection.read_head().is_err(), "etcd answers {credentials} {target}");
    }
}
