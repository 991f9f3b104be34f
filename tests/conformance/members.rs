//! Changes of members: every refusal in etcd's words, and what a change does to the index.
//!
//! A single etcd loses its quorum with the first member that is added, so that comes last.

use super::{Pair, difference};
use crate::common::http::{Answer, Connection};

const JSON: [(&str, &str); 1] = [("Content-Type", "application/json")];

/// Bodies that are no list of good peer URLs.
const BAD_BODIES: [&str; 76] = [
    "",
    "{",
    "{}",
    "[]",
    "null",
    "\"x\"",
    "5",
    "true",
    "{\"peerURLs\":\"x\"}",
    "{\"peerURLs\":5}",
    "{\"peerURLs\":true}",
    "{\"peerURLs\":[5]}",
    "{\"peerURLs\":[{}]}",
    "{\"peerURLs\":null}",
    "{\"peerURLs\":[null]}",
    "{\"peerURLs\":{}}",
    "{\"peerURLs\":[[]]}",
    "{\"peerURLs\":[]}",
    "{\"peerURLs\":[\"h:1\"]}",
    "{\"peerURLs\":[\"http://h\"]}",
    "{\"peerURLs\":[\"http://h:1/x\"]}",
    "{\"peerURLs\":[\"http://h:1/\"]}",
    "{\"peerURLs\":[\"ftp://h:1\"]}",
    "{\"peerURLs\":[\"\"]}",
    "{\"peerURLs\":[\"*\"]}",
    "{\"peerURLs\":[\"http://\"]}",
    "{\"peerURLs\":[\"http:///h:1\"]}",
    "{\"peerURLs\":[\"//h:1\"]}",
    "{\"peerURLs\":[\"///h:1\"]}",
    "{\"peerURLs\":[\"http://h:x\"]}",
    "{\"peerURLs\":[\"http://h:1\",\"http://h:1/x\"]}",
    "{\"peerURLs\":[\"://\"]}",
    "{\"peerURLs\":[\"http://a b:1\"]}",
    "{\"peerURLs\":[\"http://a%zz:1\"]}",
    "{\"peerURLs\":[\"http://a%41:1\"]}",
    "{\"peerURLs\":[\"http://h:1/%z\"]}",
    "{\"peerURLs\":[\"http://h:1#%z\"]}",
    "{\"peerURLs\":[\"http://u{@h:1\"]}",
    "{\"peerURLs\":[\"http://[::1]:1/p\"]}",
    "{\"peerURLs\":[\"http://[::1:1\"]}",
    "{\"peerURLs\":[\"http://[::1]x:1\"]}",
    "{\"peerURLs\":[\"http://[::1]\"]}",
    "{\"peerURLs\":[\"127.0.0.1:2380\"]}",
    "{\"peerURLs\":[\"localhost:2380\"]}",
    "{\"peerURLs\":[\"http://u:p@h:1/x\"]}",
    "{\"peerURLs\":[\"http://h:1\\u0001\"]}",
    "{\"peerURLs\":[\"http:h:1\"]}",
    "{\"peerURLs\":[\"http://h:1:2\"]}",
    "{\"peerURLs\":[\"/x\"]}",
    "{\"peerURLs\":[\"1http://h:1\"]}",
    "{\"peerURLs\":[\"http://h<&>:1/x\"]}",
    "{\"PEERurls\":[\"x\"]}",
    "{\"peerURLs\":[\"http://h:1\"],\"peerURLs\":[\"y\"]}",
    "x",
    "{\"a\"",
    "{\"a\":}",
    "{\"a\":1,}",
    "{\"a\":1 \"b\"",
    "[1 2]",
    "{a:1}",
    "{\"peerURLs\":[\"a]",
    "{\"peerURLs\":[\"\\x\"]}",
    "{\"peerURLs\":[\"\\u00g0\"]}",
    "{\"peerURLs\":[\"\\ud83e\\udd80 \\ud83e\"]}",
    "01",
    "-",
    "1.",
    "1e",
    "trux",
    "nul1",
    "fals",
    "{} x",
    "{\"peerURLs\":[\"a\nb\"]}",
    "'",
    "\u{e4}",
    "{\"x\":5,\"peerURLs\":[1,\"b\"],\"q\":",
];

#[test]
fn what_is_no_list_of_peer_urls_is_refused_in_etcds_words() {
    let Some(mut pair) = Pair::start() else { return };
    for body in BAD_BODIES {
        pair.exchange("POST", "/v2/members", &JSON, Some(body.as_bytes()));
    }
    pair.exchange("POST", "/v2/members", &JSON, Some(b"\xff"));
    pair.exchange("PUT", "/v2/members/abc", &JSON, Some(b"x"));
    pair.finish();
}

#[test]
fn methods_types_and_ids_are_checked_in_etcds_order() {
    let Some(mut pair) = Pair::start() else { return };
    for path in ["/v2/members", "/v2/members/", "/v2/members/leader", "/v2/members/abc"] {
        for method in ["HEAD", "PATCH", "OPTIONS"] {
            pair.ask(&format!("{method} {path}"));
        }
    }
    for path in ["/v2/members", "/v2/members/"] {
        pair.ask(&format!("PUT {path}"));
        pair.ask(&format!("DELETE {path}"));
    }
    for id in
        ["leader", "0x12", "ABC", "abc/def", "11112222333344445", "00abc", "+1", "0", "a%20b", "a%22%3C"]
    {
        pair.ask(&format!("DELETE /v2/members/{id}"));
        pair.exchange("PUT", &format!("/v2/members/{id}"), &JSON, Some(b"{\"peerURLs\":[\"http://h:1\"]}"));
        pair.exchange("PUT", &format!("/v2/members/{id}"), &JSON, Some(b"x"));
    }
    for media in [
        "text/plain",
        "Application/JSON",
        "Application/JSON; q=1",
        "Text/Plain; q=1",
        "application/json;",
        "",
    ] {
        pair.exchange("POST", "/v2/members", &[("Content-Type", media)], Some(b"x"));
        pair.exchange("PUT", "/v2/members/abc", &[("Content-Type", media)], Some(b"x"));
    }
    pair.exchange("POST", "/v2/members", &[], None);
    pair.exchange("POST", "/v2/members/leader", &[], Some(b"{}"));
    for path in ["/v2/stats/leader", "/v2/stats/self"] {
        for method in ["HEAD", "PUT", "POST", "DELETE"] {
            pair.ask(&format!("{method} {path}"));
        }
    }
    pair.finish();
}

/// One of the servers with its only member.
struct Side {
    connection: Connection,
    id: String,
    peer_url: String,
}

impl Side {
    fn new(url: &str) -> Self {
        let mut connection = Connection::open(url).expect("a connection");
        let list = connection.request("GET", "/v2/members", None).expect("an answer").json();
        let member = &list["members"][0];
        let text = |value: &serde_json::Value| value.as_str().expect("a text").to_string();
        Self { id: text(&member["id"]), peer_url: text(&member["peerURLs"][0]), connection }
    }

    /// Sends a request in which `ID` and `PEER` stand for the member's own.
    fn ask(&mut self, method: &str, target: &str, body: &str) -> Answer {
        let (target, body) = (target.replace("ID", &self.id), body.replace("PEER", &self.peer_url));
        let host = self.connection.host().to_string();
        let head =
            format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n");
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        self.connection.send_raw(request.as_bytes()).expect("sent");
        let head = self.connection.read_head().expect("an answer");
        self.connection.read_body(method, head).expect("an answer")
    }

    fn index(&mut self) -> u64 {
        self.connection.request("GET", "/v2/keys/", None).expect("an answer").index()
    }

    /// An answer without what belongs to one server.
    fn nameless(&self, mut answer: Answer) -> Answer {
        let text = answer.text().replace(&self.id, "ID").replace(&self.peer_url, "PEER");
        answer.body = match text.split_once("\"id\":\"").filter(|_| answer.status == 201) {
            Some((before, after)) => {
                let end = after.find('"').expect("the id's end");
                format!("{before}\"id\":\"{}", &after[end..]).into_bytes()
            }
            None => text.into_bytes(),
        };
        answer
    }
}

#[test]
fn changes_of_the_only_member_and_a_second_one() {
    let Some(mut pair) = Pair::start() else { return };
    let mut sides = pair.urls().map(|url| Side::new(&url));
    let requests = [
        ("POST", "/v2/members", "{\"peerURLs\":[\"http://127.0.0.1:1\",\"PEER\"]}", 0),
        ("PUT", "/v2/members/ID", "x", 0),
        ("PUT", "/v2/members/ID", "{\"peerURLs\":[\"PEER\"]}", 1),
        ("DELETE", "/v2/members/ID", "", 0),
        ("GET", "/v2/members/ID", "", 0),
        ("GET", "/v2/stats/leader", "", 0),
    ];
    let mut compare = |method: &str, target: &str, body: &str| {
        let answers = sides.each_mut().map(|side| {
            let answer = side.ask(method, target, body);
            side.nameless(answer)
        });
        let [ours, theirs] = &answers;
        if let Some(why) = difference(ours, theirs) {
            panic!("{method} {target} {body}: {why}\n{}\n{}", ours.text(), theirs.text());
        }
    };
    for (method, target, body, steps) in requests {
        let before = pair.urls().map(|url| Side::new(&url).index());
        compare(method, target, body);
        let after = pair.urls().map(|url| Side::new(&url).index());
        assert_eq!([after[0] - before[0], after[1] - before[1]], [steps; 2], "{method} {target} {body}");
    }
    let body = "{\"peerURLs\":[\"http://127.0.0.1:2\",\" http://127.0.0.1:1?a=b&c#d \",\"https://u:p@H:1\"]}";
    compare("POST", "/v2/members/x", body);
    pair.finish();
}

#[test]
fn an_added_member_takes_one_index_and_a_removed_one_two_and_its_id_is_never_used_again() {
    let cluster = crate::common::store::Cluster::start(1, &[]);
    let mut side = Side::new(&cluster.nodes[0].url());
    let before = side.index();
    let added = side.ask("POST", "/v2/members", "{\"peerURLs\":[\"http://127.0.0.1:1\"]}");
    let id = added.json()["id"].as_str().expect("an id").to_string();
    assert_eq!((added.status, side.index()), (201, before + 1));
    let again = side.ask("POST", "/v2/members", "{\"peerURLs\":[\"http://127.0.0.1:1\"]}");
    assert_eq!((again.status, again.text().as_str()), (409, "{\"message\":\"membership: peerURL exists\"}"));
    let taken = side.ask("PUT", "/v2/members/ID", "{\"peerURLs\":[\"http://127.0.0.1:1\"]}");
    assert_eq!((taken.status, taken.text().as_str()), (409, "{\"message\":\"membership: peerURL exists\"}"));
    let removed = side.ask("DELETE", &format!("/v2/members/{}", id.to_uppercase()), "");
    assert_eq!((removed.status, removed.text().as_str()), (204, ""));
    assert_eq!(side.index(), before + 3);
    // As etcd 3.4 answers when there are enough members to remove one.
    let gone = side.ask("DELETE", &format!("/v2/members/{id}"), "");
    let words = format!("{{\"message\":\"Member permanently removed: {id}\"}}");
    assert_eq!((gone.status, gone.text()), (410, words));
    let put = side.ask("PUT", &format!("/v2/members/{id}"), "{\"peerURLs\":[\"http://127.0.0.1:1\"]}");
    assert_eq!((put.status, put.text().as_str()), (500, "{\"message\":\"Internal Server Error\"}"));
    assert_eq!(side.index(), before + 3);
}
