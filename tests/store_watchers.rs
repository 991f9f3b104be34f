//! Thousands of watches on one node: what they cost, that all of them hear, and that one who does not read costs the
//! others nothing.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::socket::{setsockopt, sockopt};

use common::http::Connection;
use common::store::{Cluster, Node};
use common::wait_for;

const LIMIT: Duration = Duration::from_secs(40);

/// How many idle watches are held open, if the system allows it.
const WATCHES: u64 = 10_000;

/// What one of them may cost, everything included but what the system keeps for the connection. About 2 KiB were seen.
const WATCH_BYTES: u64 = 5 << 10;

/// Lets this process open as many files as the system allows; gives the number of watches that leaves room for.
fn raise_open_files() -> u64 {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("as many files as allowed");
    let possible = WATCHES.min(hard.saturating_sub(1000));
    if possible < WATCHES {
        eprintln!("only {possible} watches instead of {WATCHES}: the system allows {hard} open files");
    }
    possible
}

/// A figure of a node, without labels or with them as they are printed.
fn figure(node: &Node, name: &str) -> Option<f64> {
    let text = node.request("GET", "/metrics", None).text();
    let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// A watch whose headers are still to be read.
fn ask(node: &Node, target: &str) -> TcpStream {
    let host = node.url().trim_start_matches("http://").to_string();
    let mut stream = TcpStream::connect(&host).expect("a connection");
    stream.set_read_timeout(Some(LIMIT)).expect("a connection");
    let request = format!("GET /v2/keys{target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    stream
}

/// Reads up to and including `end`.
fn read_until(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut room = [0; 4096];
    while !bytes.ends_with(end) {
        let count = stream.read(&mut room).expect("bytes");
        assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&room[..count]);
    }
    bytes
}

#[test]
fn ten_thousand_idle_watches_cost_a_few_kilobytes_each_and_all_hear_one_event() {
    let count = raise_open_files();
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    for n in 0..200 {
        node.request("PUT", &format!("/v2/keys/warm/{n}"), Some("value=x"));
    }
    let before = node.resident_bytes();
    let mut watches = Vec::new();
    while (watches.len() as u64) < count {
        let mut some: Vec<TcpStream> = (0..100).map(|_| ask(node, "/w?wait=true")).collect();
        for watch in &mut some {
            let head = read_until(watch, b"\r\n\r\n");
            assert!(head.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&head));
        }
        watches.extend(some);
    }
    let each = node.resident_bytes().saturating_sub(before) / count;
    println!("{each} bytes for each of {count} watches");
    assert!(each < WATCH_BYTES, "{each} bytes for each watch");
    assert_eq!(figure(node, "etcd_debugging_store_watchers"), Some(watches.len() as f64));

    let began = Instant::now();
    let put = node.request("PUT", "/v2/keys/w", Some("value=1"));
    let written = began.elapsed();
    let line = put.text();
    for watch in &mut watches {
        let told = read_until(watch, b"0\r\n\r\n");
        let body = format!("{:x}\r\n{line}\r\n0\r\n\r\n", line.len());
        assert_eq!(String::from_utf8_lossy(&told), body);
    }
    println!("written in {written:?}, all heard after {:?}", began.elapsed());
    // A watch that is over leaves its connection open for the next request.
    let first = &mut watches[0];
    first.write_all(b"GET /v2/keys/w HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
    assert!(read_until(first, b"}}\n").starts_with(b"HTTP/1.1 200 OK\r\n"));
    drop(watches);
    wait_for("the node to notice that all have gone", LIMIT, || {
        figure(node, "muster_http_connections").is_some_and(|open| open < 10.0)
    });
    assert_eq!(figure(node, "etcd_debugging_store_watchers"), Some(0.0));
}

#[test]
fn a_watcher_that_leaves_is_forgotten_at_once() {
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    let watches: Vec<Connection> = (0..50)
        .map(|n| {
            let mut connection = Connection::open(&node.url()).expect("a connection");
            connection.send("GET", &format!("/v2/keys/w/{n}?wait=true&stream=true"), None).expect("sent");
            connection.read_head().expect("headers");
            connection
        })
        .collect();
    assert_eq!(figure(node, "etcd_debugging_store_watchers"), Some(50.0));
    drop(watches);
    wait_for("the watches to be forgotten", LIMIT, || {
        figure(node, "etcd_debugging_store_watchers") == Some(0.0)
    });
}

#[test]
fn watches_end_properly_when_their_node_stops() {
    let mut cluster = Cluster::start(1, &[]);
    let open = |target: &str| {
        let mut connection = Connection::open(&cluster.nodes[0].url()).expect("a connection");
        connection.send("GET", &format!("/v2/keys{target}"), None).expect("sent");
        assert_eq!(connection.read_head().expect("headers").status, 200);
        connection
    };
    let mut told = open("/b?wait=true");
    cluster.nodes[0].request("PUT", "/v2/keys/b", Some("value=1"));
    while told.chunk().expect("an event and its end").is_some() {}
    let mut watches = ["/a?wait=true", "/a?wait=true&stream=true"].map(open);
    cluster.nodes[0].terminate();
    for watch in &mut watches {
        assert_eq!(watch.chunk().expect("an end"), None);
    }
    assert!(told.read_head().is_err(), "a connection whose watch is over is closed");
}

/// The value of each write to a stream's key: large enough to fill what the system keeps for a socket.
fn large(number: u64) -> String {
    format!("value={number}-{}", "x".repeat(64 << 10))
}

/// A stream that reads nothing behind its headers.
fn stuck(node: &Node, target: &str) -> TcpStream {
    let mut stream = ask(node, target);
    // Little room, so that it is full soon.
    setsockopt(&stream, sockopt::RcvBuf, &4096).expect("a small buffer");
    read_until(&mut stream, b"\r\n\r\n");
    stream
}

#[test]
fn a_reader_that_takes_nothing_is_closed_with_a_reason_and_delays_nobody() {
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    let mut lazy = stuck(node, "/s?wait=true&stream=true");
    let mut eager = Connection::open(&node.url()).expect("a connection");
    eager.send("GET", "/v2/keys/s?wait=true&stream=true", None).expect("sent");
    eager.read_head().expect("headers");
    let stop = AtomicBool::new(false);
    let slowest = Mutex::new(Duration::ZERO);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut connection = Connection::open(&node.url()).expect("a connection");
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                let began = Instant::now();
                let put = connection.request("PUT", "/v2/keys/s", Some(&large(number))).expect("written");
                assert!(put.status < 300, "{}", put.text());
                // The reader beside it hears each write before the next is made.
                let told = eager.chunk().expect("an event").expect("no end");
                assert!(told.windows(20).any(|part| part.starts_with(format!("\"{number}-x").as_bytes())));
                let mut slowest = slowest.lock().expect("nobody panics with it");
                *slowest = began.elapsed().max(*slowest);
                number += 1;
                // It goes on while the stuck one waits for its end, and need not fill the disk.
                if number > 300 {
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        });
        let end = OnDrop(|| stop.store(true, Ordering::Relaxed));
        wait_for("the stuck reader to be closed", LIMIT, || {
            figure(node, "muster_watch_closed_total{reason=\"stalled\"}") == Some(1.0)
        });
        drop(end);
    });
    let slowest = slowest.into_inner().expect("nobody panicked with it");
    println!("the slowest write and its event beside the stuck reader took {slowest:?}");
    assert!(slowest < Duration::from_secs(5), "a stuck reader held others up for {slowest:?}");
    let log = std::fs::read_to_string(cluster.folder().join("n0.log")).expect("a log");
    let line = log.lines().find(|line| line.contains("watch closed")).expect("a line in the log");
    let peer = lazy.local_addr().expect("an address").to_string();
    assert!(line.contains(&peer) && line.contains("key=/s") && line.contains("why="), "{line}");
    // The body has no end, so that the client knows that something is missing.
    let mut rest = Vec::new();
    let ended = lazy.read_to_end(&mut rest);
    assert!(!rest.ends_with(b"0\r\n\r\n"), "{ended:?}");
    wait_for("its watch to be gone", LIMIT, || figure(node, "etcd_debugging_store_watchers") <= Some(1.0));
}

/// Opens a stream and writes, without reading, so much that its queue is full: gives the stream, and how many writes
/// there were.
fn overflow(node: &Node) -> (Connection, u64) {
    let mut stream = Connection::open(&node.url()).expect("a connection");
    stream.send("GET", "/v2/keys/s?wait=true&stream=true", None).expect("sent");
    stream.read_head().expect("headers");
    let mut writer = Connection::open(&node.url()).expect("a connection");
    // These fill what the system keeps for the connection, the others the watcher's queue.
    let huge = format!("value={}", "x".repeat(9 << 20));
    let mut count = 2;
    for _ in 0..count {
        writer.request("PUT", "/v2/keys/s", Some(&huge)).expect("written");
    }
    wait_for("the queue to overflow", LIMIT, || {
        for _ in 0..100 {
            writer.request("PUT", "/v2/keys/s", Some("value=1")).expect("written");
            count += 1;
        }
        figure(node, "etcd_debugging_store_watchers") == Some(0.0)
    });
    (stream, count)
}

#[test]
fn a_reader_that_falls_behind_and_reads_on_misses_nothing() {
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    let (mut stream, count) = overflow(node);
    node.request("PUT", "/v2/keys/s", Some("value=last"));
    let mut last = None;
    for _ in 0..=count {
        let event = stream.chunk().expect("an event").expect("no end");
        let event: serde_json::Value = serde_json::from_slice(&event).expect("JSON");
        let index = event["node"]["modifiedIndex"].as_u64().expect("an index");
        assert!(last.is_none_or(|last| index == last + 1), "{index} after {last:?}");
        last = Some(index);
    }
    assert_eq!(last, Some(node.request("GET", "/v2/keys/s", None).index()));
}

#[test]
fn a_reader_that_is_slower_than_the_history_is_closed_with_a_reason() {
    let cluster = Cluster::start(1, &["--history-events", "50"]);
    let node = &cluster.nodes[0];
    let (mut stream, count) = overflow(node);
    for _ in 0..100 {
        node.request("PUT", "/v2/keys/s", Some("value=1"));
    }
    let mut heard = 0;
    let end = loop {
        match stream.chunk() {
            Ok(Some(_)) => heard += 1,
            end => break end,
        }
    };
    assert!(end.is_err(), "the body has an end, as if nothing were missing");
    assert!((1..count).contains(&heard), "{heard} of {count}");
    assert_eq!(figure(node, "muster_watch_closed_total{reason=\"cleared\"}"), Some(1.0));
    let log = std::fs::read_to_string(cluster.folder().join("n0.log")).expect("a log");
    assert!(log.lines().any(|line| line.contains("watch closed") && line.contains("key=/s")), "{log}");
}

/// Runs a closure when dropped.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn a_watch_goes_on_when_its_node_is_given_a_snapshot() {
    let cluster = Cluster::start(3, &["--snapshot-count", "100"]);
    let late = (cluster.leader() + 1) % 3;
    let working = &cluster.nodes[(late + 1) % 3];
    let node = &cluster.nodes[late];
    working.request("PUT", "/v2/keys/s/0", Some("value=x"));
    let first = working.request("GET", "/v2/keys/s/0", None).index();
    wait_for("the node to have it", LIMIT, || {
        node.request("GET", "/v2/keys/s/0?quorum=false", None).status == 200
    });
    let open = |target: &str| {
        let mut connection = Connection::open(&node.url()).expect("a connection");
        connection.send("GET", &format!("/v2/keys{target}"), None).expect("sent");
        assert_eq!(connection.read_head().expect("headers").status, 200);
        connection
    };
    let mut stream = open("/s?wait=true&stream=true&recursive=true");
    let mut one = open("/s/777?wait=true");
    node.signal(Signal::SIGSTOP);
    let mut writer = Connection::open(&working.url()).expect("a connection");
    let written: Result<(), String> = (1..=1000).try_for_each(|number| {
        let put = writer.request("PUT", &format!("/v2/keys/s/{number}"), Some("value=x"));
        put.map_err(|e| e.to_string()).and_then(|a| if a.status == 201 { Ok(()) } else { Err(a.text()) })
    });
    node.signal(Signal::SIGCONT);
    written.expect("a majority writes");
    for number in 1..=1000 {
        let event = stream.chunk().expect("an event").expect("no end");
        let event: serde_json::Value = serde_json::from_slice(&event).expect("JSON");
        assert_eq!(event["node"]["key"], format!("/s/{number}"));
        assert!(event["node"]["modifiedIndex"].as_u64() > Some(first));
    }
    let event = one.chunk().expect("an event").expect("no end");
    assert!(String::from_utf8_lossy(&event).contains("\"key\":\"/s/777\""));
    // Live again afterwards.
    working.request("PUT", "/v2/keys/s/last", Some("value=x"));
    let event = stream.chunk().expect("an event").expect("no end");
    assert!(String::from_utf8_lossy(&event).contains("\"key\":\"/s/last\""));
}

#[test]
fn the_past_is_remembered_as_far_as_the_setting_says_and_beyond_it_is_an_error() {
    let cluster = Cluster::start(1, &["--history-events", "50"]);
    let node = &cluster.nodes[0];
    for number in 0..80 {
        node.request("PUT", "/v2/keys/h", Some(&format!("value={number}")));
    }
    let index = node.request("GET", "/v2/keys/h", None).index();
    let oldest = index - 49;
    let past = node.request("GET", &format!("/v2/keys/h?wait=true&waitIndex={oldest}"), None);
    assert_eq!(past.json()["node"]["modifiedIndex"], oldest);
    let gone = node.request("GET", &format!("/v2/keys/h?wait=true&waitIndex={}", oldest - 1), None);
    assert_eq!((gone.status, gone.index()), (400, index));
    let cause = format!("the requested history has been cleared [{oldest}/{}]", oldest - 1);
    let body = format!(
        "{{\"errorCode\":401,\"message\":\"The event in requested index is outdated and cleared\",\"cause\":\"{cause}\",\"index\":{index}}}\n"
    );
    assert_eq!(gone.text(), body);
    // A stream tells all of it, more than it may hold at a time included.
    let mut stream = Connection::open(&node.url()).expect("a connection");
    let target = format!("/v2/keys/?wait=true&stream=true&recursive=true&waitIndex={oldest}");
    stream.send("GET", &target, None).expect("sent");
    stream.read_head().expect("headers");
    for number in 0..50 {
        let event = stream.chunk().expect("an event").expect("no end");
        let event: serde_json::Value = serde_json::from_slice(&event).expect("JSON");
        assert_eq!(event["node"]["modifiedIndex"], oldest + number);
    }
}

#[test]
fn the_past_is_bound_in_bytes_as_well() {
    let cluster = Cluster::start(1, &["--history-bytes", "1000000"]);
    let node = &cluster.nodes[0];
    let value = format!("value={}", "x".repeat(10_000));
    for _ in 0..200 {
        node.request("PUT", "/v2/keys/h", Some(&value));
    }
    let index = node.request("GET", "/v2/keys/h", None).index();
    let gone = node.request("GET", "/v2/keys/h?wait=true&waitIndex=100", None);
    assert_eq!((gone.status, &gone.json()["errorCode"]), (400, &401.into()));
    let cause = gone.json()["cause"].as_str().expect("a cause").to_string();
    let oldest: u64 =
        cause.split(['[', '/']).nth(1).and_then(|text| text.parse().ok()).expect("the oldest index");
    assert!(oldest > 100 && oldest < index - 20, "{cause}");
    let past = node.request("GET", &format!("/v2/keys/h?wait=true&waitIndex={oldest}"), None);
    assert_eq!(past.json()["node"]["modifiedIndex"], oldest);
    assert!(figure(node, "muster_history_bytes") <= Some(1e6));
}

#[test]
fn large_events_of_the_past_are_told_whole_and_in_order() {
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    let value = |n: usize| n.to_string().repeat(300_000);
    for n in 0..4 {
        let put = node.request("PUT", "/v2/keys/large", Some(&format!("value={}", value(n))));
        assert!(put.status < 300, "{}", put.text());
        node.request("PUT", "/v2/keys/large", Some("value=small"));
    }
    let first = node.request("GET", "/v2/keys/large", None).json()["node"]["modifiedIndex"].as_u64();
    let first = first.expect("an index") - 7;
    let once = node.request("GET", &format!("/v2/keys/large?wait=true&waitIndex={first}"), None);
    assert!(once.json()["node"]["value"] == value(0), "the whole of it, and the end");
    let mut stream = Connection::open(&node.url()).expect("a connection");
    let target = format!("/v2/keys/large?wait=true&stream=true&waitIndex={first}");
    stream.send("GET", &target, None).expect("sent");
    stream.read_head().expect("headers");
    for n in 0..4 {
        for expected in [value(n), "small".into()] {
            let line = stream.chunk().expect("an event").expect("more");
            let event: serde_json::Value = serde_json::from_slice(&line).expect("one event, and all of it");
            assert!(event["node"]["value"] == expected, "{n}");
        }
    }
}

#[test]
fn so_many_watches_and_no_more() {
    let cluster = Cluster::start(1, &["--max-watchers", "3"]);
    let node = &cluster.nodes[0];
    let open = || {
        let mut connection = Connection::open(&node.url()).expect("a connection");
        connection.send("GET", "/v2/keys/w?wait=true", None).expect("sent");
        let head = connection.read_head().expect("headers");
        (connection, head)
    };
    let watches: Vec<_> = (0..3).map(|_| open()).collect();
    let (mut connection, head) = open();
    let refused = connection.read_body("GET", head).expect("a body");
    assert_eq!((refused.status, &refused.json()["errorCode"]), (500, &300.into()), "{}", refused.text());
    assert!(refused.text().contains("max_watchers"), "{}", refused.text());
    // What is answered from the past waits nowhere.
    node.request("PUT", "/v2/keys/x", Some("value=1"));
    let index = node.request("GET", "/v2/keys/x", None).index();
    let past = node.request("GET", &format!("/v2/keys/x?wait=true&waitIndex={index}"), None);
    assert_eq!(past.status, 200);
    drop(watches);
    wait_for("room for another", LIMIT, || open().1.status == 200);
}

#[test]
fn what_a_client_sends_ahead_is_answered_after_the_watch() {
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    let mut connection = Connection::open(&node.url()).expect("a connection");
    let ahead = "GET /v2/keys/w?wait=true HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc\
                 GET /v2/keys/none HTTP/1.1\r\nHost: h\r\n\r\n";
    connection.send_raw(ahead.as_bytes()).expect("sent");
    let head = connection.read_head().expect("headers at once");
    assert_eq!(head.status, 200);
    connection.send_raw(b"GET /version HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
    node.request("PUT", "/v2/keys/w", Some("value=1"));
    let told = connection.read_body("GET", head).expect("an event and its end");
    assert!(told.text().contains("\"value\":\"1\""), "{}", told.text());
    for status in [404, 200] {
        let head = connection.read_head().expect("an answer");
        assert_eq!(connection.read_body("GET", head).expect("its body").status, status);
    }
}
