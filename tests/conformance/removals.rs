//! Members of a cluster of three come and go: three nodes of ours beside three of etcd.

use std::time::Duration;

use super::difference;
use crate::common::etcd::Etcd;
use crate::common::http::{self, Answer, Connection};
use crate::common::store::Cluster;
use crate::common::trio::Trio;
use crate::common::wait_for;

/// etcd takes no change before all members have been connected for five seconds.
const LIMIT: Duration = Duration::from_secs(60);

/// What a request in a table means by these stands for a member's own.
const PLACES: [&str; 4] = ["0", "1", "2", "NEW"];

/// One cluster, asked at one node, with what belongs to its members.
struct Side {
    url: String,
    /// Placeholder and own text, ids and URLs. Those of members that are gone stay.
    own: Vec<(String, String)>,
}

impl Side {
    /// Learns the members, who are called `n0`, `n1` and `n2`.
    fn new(url: String) -> Self {
        let mut side = Self { url, own: Vec::new() };
        for member in side.members() {
            let name = member["name"].as_str().expect("a name");
            side.learn(name.trim_start_matches('n'), &member);
        }
        assert_eq!(side.own.len(), 9, "{:?}", side.own);
        side
    }

    fn members(&self) -> Vec<serde_json::Value> {
        let list = http::request(&self.url, "GET", "/v2/members", None).expect("an answer").json();
        list["members"].as_array().expect("members").clone()
    }

    fn learn(&mut self, place: &str, member: &serde_json::Value) {
        let own =
            [("ID", &member["id"]), ("PEER", &member["peerURLs"][0]), ("CLIENT", &member["clientURLs"][0])];
        for (what, text) in own {
            if let Some(text) = text.as_str() {
                self.own.push((format!("{what}-{place}"), text.to_string()));
            }
        }
    }

    /// Sends a request with this cluster's own for placeholders.
    fn ask(&self, method: &str, target: &str, body: &str) -> Answer {
        let fill = |text: &str| {
            let upper = |(place, own): &(String, String)| (format!("UPPER-{place}"), own.to_uppercase());
            let all = self.own.iter().map(upper).chain(self.own.iter().cloned());
            all.fold(text.to_string(), |text, (place, own)| text.replace(&place, &own))
        };
        let (target, body) = (fill(target), fill(body));
        let mut connection = Connection::open(&self.url).expect("a connection");
        let head = format!("{method} {target} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n");
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        connection.send_raw(request.as_bytes()).expect("sent");
        let head = connection.read_head().expect("an answer");
        connection.read_body(method, head).expect("an answer")
    }

    /// The answer with placeholders; members in the order of those, not of their ids.
    fn nameless(&self, mut answer: Answer) -> Answer {
        let mut text = answer.text();
        for (place, own) in &self.own {
            text = text.replace(own, place);
        }
        if let Some((before, list)) = text.split_once("{\"members\":[") {
            let mut members: Vec<&str> = list.trim_end_matches("]}\n").split("},{").collect();
            let ends = |c: char| "{}".contains(c);
            members.iter_mut().for_each(|member| *member = member.trim_matches(ends));
            members.sort_by_key(|member| member.split("\"id\":\"").nth(1).map(str::to_string));
            text = format!("{before}{}", members.join("\n"));
        }
        answer.body = text.into_bytes();
        answer
    }

    /// The index, once there is a leader who can tell.
    fn index(&self) -> u64 {
        let mut index = 0;
        wait_for("a leader", LIMIT, || {
            let answer = http::request(&self.url, "GET", "/v2/keys/?quorum=true", None).expect("an answer");
            index = if answer.status == 200 { answer.index() } else { 0 };
            index > 0
        });
        index
    }
}

/// Asks both and compares; `status` is what both must answer.
#[track_caller]
fn compare(sides: &[Side; 2], method: &str, target: &str, body: &str, status: u16) {
    let [ours, theirs] = sides.each_ref().map(|side| side.nameless(side.ask(method, target, body)));
    if let Some(why) = difference(&ours, &theirs) {
        panic!("{method} {target} {body}: {why}\n{}\n{}", ours.text(), theirs.text());
    }
    assert_eq!(theirs.status, status, "{method} {target} {body}: {}", theirs.text());
}

/// What is refused whoever the members are, with the index unmoved.
fn refusals(sides: &[Side; 2]) {
    let before = sides.each_ref().map(Side::index);
    for id in ["abc", "ffffffffffffffff", "0", "00000000000000000001"] {
        compare(sides, "DELETE", &format!("/v2/members/{id}"), "", 404);
        let body = "{\"peerURLs\":[\"http://127.0.0.1:1\"]}";
        compare(sides, "PUT", &format!("/v2/members/{id}"), body, 404);
    }
    for id in ["x", "0xabc", "-1", "11112222333344445", "ID-1/x", "ID-1g", "%20", "leader"] {
        compare(sides, "DELETE", &format!("/v2/members/{id}"), "", 404);
    }
    for path in ["/v2/members", "/v2/members/"] {
        compare(sides, "DELETE", path, "", 405);
    }
    for urls in ["\"PEER-1\"", "\"PEER-0\",\"http://127.0.0.1:1\"", "\"http://127.0.0.1:1\",\"PEER-1\""] {
        let body = format!("{{\"peerURLs\":[{urls}]}}");
        wait_for("etcd to count all members as connected", LIMIT, || {
            sides[1].ask("POST", "/v2/members", &body).status != 500
        });
        compare(sides, "POST", "/v2/members", &body, 409);
    }
    compare(sides, "PUT", "/v2/members/ID-0", "{\"peerURLs\":[\"PEER-1\"]}", 409);
    assert_eq!(sides.each_ref().map(Side::index), before);
    compare(sides, "GET", "/v2/members", "", 200);
}

/// Removes a member, and asks for what is no longer possible with it.
fn remove(sides: &[Side; 2], place: &str) {
    assert!(PLACES.contains(&place));
    let before = sides.each_ref().map(Side::index);
    let id = format!("/v2/members/ID-{place}");
    wait_for("both to take the removal", LIMIT, || {
        sides.iter().all(|side| {
            let answer = side.ask("DELETE", &id, "");
            // etcd wants all members to have been connected for a while.
            matches!(answer.status, 204 | 410)
        })
    });
    let steps = [0, 1].map(|side: usize| sides[side].index() - before[side]);
    assert_eq!(steps, [2, 2], "index steps of the removal of {place}");
    compare(sides, "DELETE", &id, "", 410);
    compare(sides, "DELETE", &format!("/v2/members/UPPER-ID-{place}"), "", 410);
    compare(sides, "PUT", &id, "{\"peerURLs\":[\"http://127.0.0.1:1\"]}", 500);
    compare(sides, "PUT", &id, "{\"peerURLs\":[\"PEER-1\"]}", 500);
    compare(sides, "PUT", &id, "x", 400);
    compare(sides, "GET", &id, "", 404);
    compare(sides, "GET", "/v2/members", "", 200);
    compare(sides, "GET", "/v2/members/", "", 200);
}

#[test]
fn members_of_three_are_removed_as_in_etcd() {
    if !Etcd::is_installed() {
        return;
    }
    let (trio, cluster) = (Trio::start(), Cluster::start(3, &[]));
    let all_named = |url: &str| {
        let list = http::request(url, "GET", "/v2/members", None).expect("an answer").text();
        !list.contains("\"name\":\"\"") && !list.contains("\"clientURLs\":[]")
    };
    let urls = [cluster.nodes[0].url(), trio.url(0)];
    wait_for("all names to be known", LIMIT, || urls.iter().all(|url| all_named(url)));
    let mut sides = urls.map(Side::new);
    compare(&sides, "GET", "/v2/members", "", 200);
    refusals(&sides);
    let before = sides.each_ref().map(Side::index);
    compare(&sides, "PUT", "/v2/members/ID-2", "{\"peerURLs\":[\"PEER-2\"]}", 204);
    let steps = [0, 1].map(|side: usize| sides[side].index() - before[side]);
    assert_eq!(steps, [1, 1], "index steps of a change");

    remove(&sides, "2");
    refusals(&sides);

    // The URLs are free again, and belong to a member of another id.
    let before = sides.each_ref().map(Side::index);
    for side in &mut sides {
        let mut added = None;
        wait_for("a member to be added", LIMIT, || {
            let answer = side.ask("POST", "/v2/members", "{\"peerURLs\":[\"http://127.0.0.1:1\"]}");
            added = (answer.status == 201).then(|| answer.json());
            added.is_some()
        });
        side.learn("NEW", &added.expect("the condition held"));
    }
    let steps = [0, 1].map(|side: usize| sides[side].index() - before[side]);
    assert_eq!(steps, [1, 1], "index steps of a new member");
    compare(&sides, "GET", "/v2/members", "", 200);
    // No more is added for now: etcd wants this one to have started first.
    compare(&sides, "PUT", "/v2/members/ID-NEW", "{\"peerURLs\":[\"PEER-1\"]}", 409);
    compare(&sides, "PUT", "/v2/members/ID-NEW", "{\"peerURLs\":[\"PEER-2\"]}", 204);
    compare(&sides, "GET", "/v2/members", "", 200);
    remove(&sides, "NEW");
}
