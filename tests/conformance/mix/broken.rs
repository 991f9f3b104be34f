//! Requests with bytes changed, missing or too many: whatever comes of them, the node neither panics nor ends.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use super::dice::Dice;
use super::request::{Body, Request};
use super::{forms, length, paths, seed};
use crate::common::store::Cluster;

const REQUESTS: usize = 1500;

/// A request on which the node is silent for so long has been lost.
const PATIENCE: Duration = Duration::from_secs(20);

/// What parsers are known to stumble over.
const ODD: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b":",
    b"%",
    b"/",
    b"?",
    b"#",
    b"\xff",
    b"\xc3",
    b";",
    b"&",
    b"=",
    b"\r\n\r\n",
    b"HTTP/1.0",
    b"CONNECT h:1",
    b"*",
    b"http://",
    b"[::1",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"Content-Length: 0\r\n",
    b"Expect: 100-continue\r\n",
    b"Upgrade: h2c\r\nConnection: Upgrade\r\n",
    b"ffffffffffffffff\r\n",
];

/// The bytes of a good request, damaged in a few places.
fn damaged(dice: &mut Dice) -> Vec<u8> {
    let requests = if dice.one_in(2) { paths::more(dice) } else { forms::more(dice) };
    let request = &requests[0];
    let mut bytes = whole(request);
    for _ in 0..=dice.roll(3) {
        let at = dice.roll(bytes.len());
        let end = (at + dice.roll(10)).min(bytes.len());
        match dice.roll(4) {
            0 => bytes[at] ^= 1 << dice.roll(8),
            1 => drop(bytes.drain(at..end)),
            2 => drop(bytes.splice(at..at, ODD[dice.roll(ODD.len())].iter().copied())),
            _ => drop(bytes.splice(at..end, ODD[dice.roll(ODD.len())].iter().copied())),
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

fn whole(request: &Request) -> Vec<u8> {
    let request = Request { target: request.target.replace("{i", "{").replace("{o", "{"), ..request.clone() };
    let mut text = format!("{} {} HTTP/1.1\r\nHost: h\r\n", request.method, request.target).into_bytes();
    for (name, value) in &request.headers {
        text.extend(format!("{name}: {value}\r\n").bytes());
    }
    let body: &[u8] = match &request.body {
        Body::None => b"",
        Body::Sized(body) | Body::Announced(body) | Body::Chunked(body, _) => &body[..body.len().min(2000)],
    };
    text.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
    text.extend(body);
    text
}

#[test]
fn mix_of_broken_requests_leaves_the_node_well() {
    let seed = seed();
    let count = length(REQUESTS);
    println!("MUSTER_TEST_SEED={seed} MUSTER_TEST_REQUESTS={count}");
    let mut dice = Dice::new(seed);
    let cluster = Cluster::start(1, &[]);
    let address = cluster.nodes[0].url().trim_start_matches("http://").to_string();
    let log = || std::fs::read_to_string(cluster.folder().join("n0.log")).expect("the node's log");
    for number in 1..=count {
        let bytes = damaged(&mut dice);
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let mut stream = TcpStream::connect(&address).expect("the node listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a connection");
        // It may refuse and close before it has everything.
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        if let Err(error) = stream.read_to_end(&mut answer) {
            let closed = matches!(error.kind(), std::io::ErrorKind::ConnectionReset);
            assert!(closed, "request {number}: {error}\n{shown:?}");
        }
        if number % 100 == 0 {
            let log = log();
            assert!(!log.contains("panicked"), "up to request {number}: {log}");
        }
    }
    assert!(cluster.nodes[0].is_healthy());
    assert!(!log().contains("panicked"), "{}", log());
}
