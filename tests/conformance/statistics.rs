//! `/v2/stats/store`: what each request counts as, oddities included.

use std::time::Duration;

use serde_json::Value;

use super::Pair;
use crate::common::etcd::Etcd;
use crate::common::http;
use crate::common::store::Cluster;
use crate::common::wait_for;

const LIMIT: Duration = Duration::from_secs(20);

fn page(url: &str) -> Value {
    http::request(url, "GET", "/v2/stats/store", None).expect("an answer").json()
}

/// The counters of both at one time, ours first.
pub struct Counted([Value; 2]);

impl Counted {
    /// What they are now.
    pub fn now(pair: &Pair) -> Self {
        Self(pair.urls().map(|url| page(&url)))
    }

    /// How far each counter has come since `before`. How many watchers wait is no count, and depends on when one looks.
    pub fn since(&self, before: &Self) -> [Vec<(String, i64)>; 2] {
        let mut steps = between(&self.0, &before.0);
        steps.iter_mut().for_each(|steps| steps.retain(|(name, step)| name != "watchers" && *step != 0));
        steps
    }
}

fn between(now: &[Value; 2], before: &[Value; 2]) -> [Vec<(String, i64)>; 2] {
    [0, 1].map(|server| {
        let members = now[server].as_object().expect("an object");
        let step = |(name, value): (&String, &Value)| {
            let before = before[server][name].as_i64().expect("a number");
            (name.clone(), value.as_i64().expect("a number") - before)
        };
        members.iter().map(step).collect()
    })
}

/// How far each counter of both has come since `before`, ours first.
fn steps(pair: &Pair, before: &[Value; 2]) -> [Vec<(String, i64)>; 2] {
    between(&pair.urls().map(|url| page(&url)), before)
}

/// Sends requests and compares what they count as after each.
fn compare(pair: &mut Pair, requests: &[&str]) {
    let start = pair.urls().map(|url| page(&url));
    for request in requests {
        pair.ask(request);
        let [ours, theirs] = steps(pair, &start);
        assert_eq!(ours, theirs, "after {request}");
    }
}

#[test]
fn a_fresh_server_has_counted_its_own_start() {
    let Some(etcd) = Etcd::start() else { return };
    let cluster = Cluster::start(1, &[]);
    let [mut ours, mut theirs] = [cluster.nodes[0].url(), etcd.url()].map(|url| {
        // etcd sets the cluster's version a moment after it says that it is well.
        wait_for("the first writes", LIMIT, || page(&url)["setsSuccess"] == 2);
        page(&url)
    });
    for page in [&mut ours, &mut theirs] {
        // Depends on how often it was asked for its health.
        page["getsSuccess"] = Value::Null;
    }
    assert_eq!(ours, theirs);
}

#[test]
fn the_page_and_its_methods() {
    let Some(mut pair) = Pair::start() else { return };
    for method in ["HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"] {
        pair.ask(&format!("{method} /v2/stats/store"));
    }
    pair.ask("GET /v2/stats/store/");
    pair.finish();
    let [ours, theirs] = pair.urls().map(|url| {
        let answer = http::request(&url, "GET", "/v2/stats/store", None).expect("an answer");
        let names: Vec<String> = answer.text().split('"').skip(1).step_by(2).map(str::to_string).collect();
        assert!(!answer.text().ends_with('\n'));
        (answer.status, answer.header("Content-Type").map(str::to_string), names)
    });
    assert_eq!(ours, theirs, "status, type, and the members in their order");
}

#[test]
fn operations_count_as_in_etcd() {
    let Some(mut pair) = Pair::start() else { return };
    let start = pair.urls().map(|url| page(&url));
    for target in ["/v2/members", "/v2/machines", "/v2/stats/store", "/v2/stats/self", "/nowhere"] {
        for url in pair.urls() {
            http::request(&url, "GET", target, None).expect("an answer");
        }
    }
    let [ours, theirs] = steps(&pair, &start);
    assert_eq!(ours, theirs);
    compare(
        &mut pair,
        &[
            "GET ~/none",
            "HEAD ~/none",
            "GET ~/none?quorum=true",
            "GET ~/",
            "GET ~/?quorum=true",
            "GET ~/none?ttl=x",
            "PUT ~/a value=1",
            "PUT ~/a value=2",
            "PUT ~/a?prevExist=false value=1",
            "PUT ~/b?prevExist=false value=1",
            "PUT ~/a/b value=1",
            "PUT ~/a/b?prevExist=false value=1",
            "PUT ~/a/b/c?prevExist=true value=1",
            "POST ~/a value=1",
            "POST ~/q value=1",
            "POST ~/ value=1",
            "PUT ~/d?dir=true",
            "PUT ~/d value=1",
            "PUT ~/d?dir=true",
            "PUT ~/d?prevExist=true value=1",
            "PUT ~/d?prevExist=true",
            "PUT ~/d?prevValue=1 value=2",
            "PUT ~/a?prevExist=true value=3",
            "PUT ~/none?prevExist=true value=3",
            "PUT ~/a?prevValue=3 value=4",
            "PUT ~/a?prevValue=9 value=4",
            "PUT ~/a?prevIndex=1 value=4",
            "PUT ~/none?prevIndex=1 value=4",
            "PUT ~/a?refresh=true&ttl=100",
            "PUT ~/none?refresh=true&ttl=100",
            "PUT ~/a?refresh=true&prevExist=true&ttl=100",
            "PUT ~/ value=1",
            "PUT ~/?prevExist=false value=1",
            "PUT ~/?prevExist=true value=1",
            "PUT ~/?prevValue=1 value=1",
            "DELETE ~/",
            "DELETE ~/?recursive=true",
            "DELETE ~/?prevValue=1",
            "DELETE ~/d",
            "DELETE ~/none",
            "DELETE ~/a/b",
            "PUT ~/d/x value=1",
            "DELETE ~/d?dir=true",
            "DELETE ~/d?prevValue=1",
            "DELETE ~/a?prevValue=9",
            "DELETE ~/none?prevValue=9",
            "DELETE ~/a/b?prevValue=9",
            "DELETE ~/a?prevIndex=1",
            "DELETE ~/a?prevValue=4",
            "DELETE ~/d?recursive=true",
            "GET /health",
            "GET /version",
            "PATCH ~/a",
            "GET ~/d?wait=true&waitIndex={i}",
        ],
    );
    pair.finish();
}

#[test]
fn what_runs_out_and_who_watches_is_counted() {
    let Some(mut pair) = Pair::start() else { return };
    let start = pair.urls().map(|url| page(&url));
    pair.run(&["PUT ~/e?ttl=1 value=1", "PUT ~/f/g?ttl=1 value=1", "PUT ~/h?dir=true&ttl=1"]);
    let watch = pair.watch("/w?wait=true");
    for url in pair.urls() {
        wait_for("three keys to run out", LIMIT, || page(&url)["expireCount"] == 3);
        wait_for("a watcher", LIMIT, || page(&url)["watchers"] == 1);
    }
    pair.level();
    let [ours, theirs] = steps(&pair, &start);
    assert_eq!(ours, theirs);
    pair.ask("PUT ~/w value=1");
    pair.hear(&mut { watch });
    for url in pair.urls() {
        wait_for("no watcher", LIMIT, || page(&url)["watchers"] == 0);
    }
    pair.finish();
}

#[test]
fn users_and_roles_are_operations_on_the_store() {
    let Some(mut pair) = Pair::start() else { return };
    compare(
        &mut pair,
        &[
            "GET ~/",
            "GET /v2/auth/enable",
            "GET /v2/auth/users",
            "GET /v2/auth/roles",
            "GET /v2/auth/users/u",
            "GET /v2/auth/roles/r",
            "GET /v2/auth/roles/root",
            "PUT /v2/auth/enable",
            "DELETE /v2/auth/enable",
            r#"PUT /v2/auth/users/u {"user":"u","grant":["r"]}"#,
            r#"PUT /v2/auth/users/u {"user":"u"}"#,
            "DELETE /v2/auth/users/u",
            "GET ~/",
            "DELETE /v2/auth/roles/r",
            r#"PUT /v2/auth/users/u {"user":"u","password":"p"}"#,
            r#"PUT /v2/auth/users/u {"user":"u","password":"p"}"#,
            r#"PUT /v2/auth/users/v {"user":"v","password":"p","roles":["r","s","root","t"]}"#,
            r#"PUT /v2/auth/users/v {"user":"v","password":"p","roles":["r"]}"#,
            r#"PUT /v2/auth/users/v {"user":"v","grant":["r"]}"#,
            r#"PUT /v2/auth/users/v {"user":"v","grant":["x"]}"#,
            r#"PUT /v2/auth/roles/r {"role":"r","permissions":{"kv":{"read":["/a"]}}}"#,
            r#"PUT /v2/auth/roles/r {"role":"r"}"#,
            r#"PUT /v2/auth/roles/r {"role":"r","grant":{"kv":{"read":["/a"]}}}"#,
            r#"PUT /v2/auth/roles/r {"role":"r","grant":{"kv":{"read":["/b"]}}}"#,
            "GET /v2/auth/users",
            "GET /v2/auth/users/v",
            "GET /v2/auth/users/u",
            "GET /v2/auth/roles",
            "GET /v2/auth/roles/r",
            r#"PUT /v2/auth/users/root {"user":"root","password":"r"}"#,
            "PUT /v2/auth/enable",
            "GET ~/a",
            "PUT ~/a value=1",
            "GET /v2/auth/users",
            "GET /v2/auth/enable",
            "DELETE /v2/auth/enable",
        ],
    );
    let before = pair.urls().map(|url| page(&url));
    for (credentials, request) in [
        ("cm9vdDpy", "GET ~/a"),
        ("cm9vdDp4", "GET ~/a"),
        ("dTpw", "GET ~/a"),
        ("djpw", "GET ~/a"),
        ("eDpw", "GET ~/a"),
        ("eDpw", "GET /v2/auth/users"),
        ("djpw", "PUT ~/a value=1"),
        ("cm9vdDpy", "GET /v2/auth/users"),
        ("cm9vdDpy", "DELETE /v2/auth/users/root"),
        ("cm9vdDpy", "PUT /v2/auth/enable"),
        ("cm9vdDpy", "DELETE /v2/auth/roles/guest"),
        ("", "GET ~/a"),
        ("cm9vdDpy", "DELETE /v2/auth/enable"),
    ] {
        let value = format!("Basic {credentials}");
        let header = [("Authorization", value.as_str())];
        pair.ask_as(if credentials.is_empty() { &[] } else { &header }, request);
        let [ours, theirs] = steps(&pair, &before);
        assert_eq!(ours, theirs, "after {request} by {credentials}");
    }
    pair.finish();
}
