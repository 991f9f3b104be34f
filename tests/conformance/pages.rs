//! What is not a key: version, health, members, methods that do not exist, pages that do not exist.

use super::{Pair, difference};
use crate::common::http;

#[test]
fn pages_that_exist_and_pages_that_do_not() {
    let Some(mut pair) = Pair::start() else { return };
    for path in
        ["/version", "/health", "/", "/v2", "/v2/", "/v2/leader", "/v2/keysX", "/v2/machines/", "/version/"]
    {
        for method in ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"] {
            pair.ask(&format!("{method} {path}"));
        }
    }
    for path in [
        "/v2/stats",
        "/v2/auth",
        "/favicon.ico",
        "/v2/members/x",
        "/v2/members/x/",
        "/v2/members/1/2",
        "/health/",
        "/v2/membersX",
        "/x?a=b",
    ] {
        pair.ask(&format!("GET {path}"));
    }
    pair.finish();
}

#[test]
fn methods_that_a_page_does_not_have() {
    let Some(mut pair) = Pair::start() else { return };
    for method in ["PATCH", "TRACE", "FOO", "get", "OPTIONS"] {
        for path in
            ["/v2/keys", "/v2/keys/", "/v2/keys/a", "/v2/machines", "/version", "/health", "/v2/stats/self"]
        {
            pair.ask(&format!("{method} {path}"));
            pair.ask(&format!("{method} {path}?ttl=x"));
        }
    }
    for method in ["PUT", "POST", "DELETE", "HEAD"] {
        for path in ["/v2/machines", "/version", "/health", "/v2/stats/self"] {
            if (method, path) != ("HEAD", "/v2/machines") {
                pair.ask(&format!("{method} {path}"));
            }
        }
    }
    let origin = [("Origin", "http://other"), ("Access-Control-Request-Method", "PUT")];
    pair.exchange("OPTIONS", "/v2/keys/a", &origin, None);
    pair.exchange("GET", "/v2/keys/a", &origin, None);
    pair.exchange("OPTIONS", "/nowhere", &origin, None);
    pair.finish();
}

#[test]
fn the_level_of_the_log_is_set() {
    let Some(mut pair) = Pair::start() else { return };
    for method in ["GET", "HEAD", "POST", "DELETE", "PATCH", "OPTIONS", "FOO"] {
        pair.ask(&format!("{method} /config/local/log"));
    }
    for path in ["/config", "/config/local", "/config/local/log/", "/debug", "/debug/vars/", "/metrics/"] {
        pair.ask(&format!("GET {path}"));
        pair.ask(&format!("PUT {path}"));
    }
    for method in ["HEAD", "PUT", "POST", "DELETE"] {
        pair.ask(&format!("{method} /debug/vars"));
    }
    for body in [
        "{\"Level\":\"INFO\"}",
        "{\"level\":\"debug\"}",
        "{\"LEVEL\":\"T\",\"x\":[1]}",
        "{\"Level\":\"WARN\"}",
        "{\"Level\":\"WARNING\"} and more",
        "{\"Level\":\"NO<>\\u0000\\u2028\\\"PE\"}",
        "{\"Level\":\"\"}",
        "{\"Level\":null}",
        "{\"Level\":5}",
        "{\"Level\":\"INFO\"",
        "{}",
        "null",
        "[]",
        "",
        "{\"Level\":\"INFO\"}",
    ] {
        let request = format!(
            "PUT /config/local/log HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let [ours, theirs] = pair.raw("PUT", request.as_bytes());
        if let Some(why) = difference(&ours, &theirs) {
            panic!("{body}: {why}\n{}\n{}", ours.text(), theirs.text());
        }
    }
    pair.finish();
}

#[test]
fn the_list_of_one_member() {
    let Some(mut pair) = Pair::start() else { return };
    for (method, path) in [
        ("GET", "/v2/members"),
        ("GET", "/v2/members/"),
        ("GET", "/v2/members/leader"),
        ("GET", "/v2/machines"),
        ("HEAD", "/v2/machines"),
    ] {
        let [mut ours, mut theirs] =
            pair.urls().map(|url| http::request(&url, method, path, None).expect("an answer"));
        (ours, theirs) = (pair.names()[0].hide(&ours), pair.names()[1].hide(&theirs));
        if let Some(why) = difference(&ours, &theirs) {
            panic!("{method} {path}: {why}\n{}\n{}", ours.text(), theirs.text());
        }
        assert_eq!(ours.body.is_empty(), method == "HEAD");
    }
    pair.finish();
}
