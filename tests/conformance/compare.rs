//! When two answers count as the same.

use jiff::Timestamp;
use serde_json::Value;

use crate::common::http::Answer;

/// Headers whose values belong to one server; both must have them or both not.
const OWN: [&str; 4] = ["Date", "X-Raft-Index", "X-Raft-Term", "X-Etcd-Cluster-Id"];

/// How a body's length is told, which may differ: the body itself is compared.
const FRAMING: [&str; 2] = ["Content-Length", "Transfer-Encoding"];

/// How far apart two servers may be that were asked one after the other.
pub const SLACK_SECONDS: i64 = 2;

/// What tells `ours` from `theirs`; `None` when they are the same.
///
/// Status, header names as written, header values and the body's bytes must be equal. Instants of expiry and seconds
/// left may be apart by what lies between two requests.
pub fn difference(ours: &Answer, theirs: &Answer) -> Option<String> {
    difference_within(ours, theirs, SLACK_SECONDS)
}

/// The same with times that may be apart by `slack` seconds.
pub fn difference_within(ours: &Answer, theirs: &Answer, slack: i64) -> Option<String> {
    if ours.status != theirs.status {
        return Some(format!("status {} instead of {}", ours.status, theirs.status));
    }
    let (our_headers, their_headers) = (headers(ours), headers(theirs));
    if our_headers != their_headers {
        let lacks: Vec<_> = their_headers.iter().filter(|h| !our_headers.contains(h)).collect();
        let extra: Vec<_> = our_headers.iter().filter(|h| !their_headers.contains(h)).collect();
        return Some(format!("headers lack {lacks:?} and have {extra:?}"));
    }
    body_difference_within(&ours.body, &theirs.body, slack)
}

/// The same for a body, or for one event of a watch.
pub fn body_difference(ours: &[u8], theirs: &[u8]) -> Option<String> {
    body_difference_within(ours, theirs, SLACK_SECONDS)
}

/// The same with times that may be apart by `slack` seconds.
pub fn body_difference_within(ours: &[u8], theirs: &[u8], slack: i64) -> Option<String> {
    let (our_text, our_times) = timeless(ours);
    let (their_text, their_times) = timeless(theirs);
    if our_text != their_text || our_times.len() != their_times.len() {
        return Some("bodies".into());
    }
    let apart = |(a, b): (&i64, &i64)| (a - b).abs() > slack;
    our_times.iter().zip(&their_times).any(apart).then(|| format!("times {our_times:?}, {their_times:?}"))
}

/// Whether two listings differ in nothing but the order of their nodes, which etcd draws anew for each request that does
/// not ask for `sorted=true`, and in times by up to `slack` seconds.
pub fn same_but_for_order(ours: &[u8], theirs: &[u8], slack: i64) -> bool {
    let bytes = |body: &[u8]| {
        let (mut text, _) = timeless(body);
        text.sort_unstable();
        text
    };
    let nodes = |body: &[u8]| {
        let mut value: Value = serde_json::from_slice(body).ok()?;
        order(&mut value);
        Some(value)
    };
    let (Some(our_nodes), Some(their_nodes)) = (nodes(ours), nodes(theirs)) else { return false };
    alike(&our_nodes, &their_nodes, slack) && bytes(ours) == bytes(theirs)
}

/// Brings the nodes of a listing, and of all below, into an order: that of their text without times. Keys alone are
/// not enough, two of different bytes can look the same.
fn order(value: &mut Value) {
    if let Some(members) = value.as_object_mut() {
        members.values_mut().for_each(order);
    }
    if let Some(nodes) = value.as_array_mut() {
        nodes.iter_mut().for_each(order);
        nodes.sort_by_cached_key(|node| {
            let (text, _) = timeless(node.to_string().as_bytes());
            text
        });
    }
}

/// Equal but for times, which may be apart by `slack` seconds.
fn alike(ours: &Value, theirs: &Value, slack: i64) -> bool {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().all(|(name, our)| {
                    theirs.get(name).is_some_and(|their| match moment(name, our).zip(moment(name, their)) {
                        Some((our, their)) => (our - their).abs() <= slack,
                        None => alike(our, their, slack),
                    })
                })
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(our, their)| alike(our, their, slack))
        }
        _ => ours == theirs,
    }
}

fn moment(name: &str, value: &Value) -> Option<i64> {
    match name {
        "expiration" => seconds(value.as_str()?.as_bytes()),
        "ttl" => value.as_i64(),
        _ => None,
    }
}

fn headers(answer: &Answer) -> Vec<(&str, &str)> {
    let mut headers: Vec<(&str, &str)> = answer
        .headers
        .iter()
        .filter(|(name, _)| !FRAMING.iter().any(|f| f.eq_ignore_ascii_case(name)))
        .map(|(name, value)| (name.as_str(), if OWN.contains(&name.as_str()) { "" } else { value.as_str() }))
        .collect();
    headers.sort_unstable();
    headers
}

/// A body with its times replaced by fixed text, and the times in seconds.
fn timeless(body: &[u8]) -> (Vec<u8>, Vec<i64>) {
    let mut out = Vec::with_capacity(body.len());
    let mut times = Vec::new();
    let expired = body.starts_with(b"{\"action\":\"expire\"");
    let mut rest = body;
    while !rest.is_empty() {
        // Inside a value the quotes would be escaped.
        if let Some(after) = rest.strip_prefix(b"\"expiration\":\"") {
            let end = after.iter().position(|b| *b == b'"').unwrap_or(after.len());
            match seconds(&after[..end]) {
                Some(time) => times.push(time),
                None => out.extend_from_slice(&after[..end]),
            }
            out.extend_from_slice(b"\"expiration\":\"");
            rest = &after[end..];
        } else if let Some(after) = rest.strip_prefix(b"\"ttl\":") {
            let end = after.iter().position(|b| !b.is_ascii_digit() && *b != b'-').unwrap_or(after.len());
            let left = std::str::from_utf8(&after[..end]).ok().and_then(|t| t.parse::<i64>().ok());
            rest = &after[end..];
            if expired && left.is_some_and(|left| left < 0) {
                // How late the server was; one that is in time leaves it out.
                rest = rest.strip_prefix(b",").unwrap_or(rest);
                continue;
            }
            times.extend(left);
            out.extend_from_slice(b"\"ttl\":");
        } else {
            out.push(rest[0]);
            rest = &rest[1..];
        }
    }
    (out, times)
}

/// An instant that is written as Go writes it: in UTC, the fraction without zeros at its end.
fn seconds(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let time: Timestamp = text.parse().ok()?;
    (time.to_string() == text).then(|| time.as_second())
}

#[test]
fn only_the_order_of_a_listing_may_differ() {
    let body = |nodes: &str| format!("{{\"node\":{{\"nodes\":[{nodes}]}}}}").into_bytes();
    let same = |ours: &[u8], theirs: &[u8]| same_but_for_order(ours, theirs, 2);
    let (a, b) = ("{\"key\":\"/a\",\"value\":\"1\"}", "{\"key\":\"/b\",\"value\":\"2\"}");
    let whole = body(&format!("{a},{b}"));
    assert!(same(&whole, &body(&format!("{b},{a}"))));
    assert!(!same(&whole, &body(a)));
    assert!(!same(&whole, &body(&format!("{b},{}", a.replace('1', "3")))));
    // The same bytes, but the values have changed places.
    let swapped = whole.iter().map(|byte| match byte {
        b'1' => b'2',
        b'2' => b'1',
        byte => *byte,
    });
    assert!(!same(&whole, &swapped.collect::<Vec<u8>>()));
    let with_ttl = |ttl: u64| body(&format!("{b},{}", a.replace('}', &format!(",\"ttl\":{ttl}}}"))));
    assert!(same(&with_ttl(100), &with_ttl(101)));
    assert!(!same(&with_ttl(100), &with_ttl(110)), "a lifetime");
    assert!(!same(&with_ttl(100), &whole), "a lifetime that is missing");
}

#[test]
fn a_damaged_answer_is_noticed() {
    let header = |name: &str, value: &str| (name.to_string(), value.to_string());
    let body = br#"{"action":"get","node":{"key":"/a","value":"1","expiration":"2026-01-01T00:00:00.5Z","ttl":9,"modifiedIndex":7}}"#;
    let whole = Answer {
        status: 200,
        headers: vec![
            header("Content-Type", "application/json"),
            header("X-Etcd-Index", "7"),
            header("X-Raft-Index", "9"),
            header("Date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ],
        body: body.to_vec(),
    };
    assert_eq!(difference(&whole, &whole), None);
    let damaged = |damage: &dyn Fn(&mut Answer)| {
        let mut answer = whole.clone();
        damage(&mut answer);
        difference(&answer, &whole)
    };
    assert_eq!(damaged(&|a| a.headers[2].1 = "10".into()), None, "raft's index is a server's own");
    assert_ne!(damaged(&|a| a.status = 201), None);
    for header in 0..4 {
        assert_ne!(damaged(&|a| drop(a.headers.remove(header))), None, "header {header} is gone");
        assert_ne!(damaged(&|a| a.headers[header].0.make_ascii_lowercase()), None, "header {header}");
    }
    assert_ne!(damaged(&|a| a.headers[1].1 = "8".into()), None);
    assert_ne!(damaged(&|a| a.headers.push(header("X-Other", "1"))), None);
    let text = std::str::from_utf8(body).expect("text");
    let digits = ["00.5Z", "0.5Z", "5Z", "9,\"mod"].map(|part| text.find(part).expect("in the body"));
    for at in 0..body.len() {
        // A little later is fine.
        if !digits.contains(&at) {
            assert_ne!(damaged(&|a| a.body[at] ^= 1), None, "byte {at}");
        }
        assert_ne!(damaged(&|a| a.body = [&body[..at], &body[at + 1..]].concat()), None, "byte {at} is gone");
    }
    assert_ne!(damaged(&|a| a.body.push(b'\n')), None);
}
