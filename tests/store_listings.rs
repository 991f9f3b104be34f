//! Large answers: they hold up no writes and no other answers, take next to no memory, and end when their readers are too
//! slow. Bodies of requests that do not come to an end make no trouble either.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::http::Connection;
use common::store::{Cluster, Node};
use common::wait_for;
use socket2::SockRef;

const LIMIT: Duration = Duration::from_secs(60);

/// Writes keys below `/large` until they take about so many bytes.
fn fill(node: &Node, bytes: usize) {
    const VALUE: usize = 8 << 10;
    let keys = bytes / VALUE;
    std::thread::scope(|scope| {
        for part in 0..8 {
            scope.spawn(move || {
                let mut connection = Connection::open_within(&node.url(), LIMIT).expect("a connection");
                for n in (part..keys).step_by(8) {
                    let form = format!("value={}", "v".repeat(VALUE));
                    let answer = connection.request("PUT", &format!("/v2/keys/large/{n}"), Some(&form));
                    assert_eq!(answer.expect("an answer").status, 201);
                }
            });
        }
    });
}

fn raw(node: &Node) -> TcpStream {
    let stream = TcpStream::connect(node.url().trim_start_matches("http://")).expect("a connection");
    stream.set_read_timeout(Some(LIMIT)).expect("a connection");
    stream
}

fn metric(node: &Node, name: &str) -> u64 {
    let text = node.request("GET", "/metrics", None).text();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn a_large_answer_is_whole_however_it_is_asked_for_and_its_connection_goes_on() {
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    fill(node, 1 << 20);
    let mut connection = Connection::open_within(&node.url(), LIMIT).expect("a connection");
    let chunked = connection.request("GET", "/v2/keys/large?recursive=true", None).expect("an answer");
    assert_eq!((chunked.status, chunked.header("transfer-encoding")), (200, Some("chunked")));
    assert_eq!(chunked.header("content-type"), Some("application/json"));
    let nodes = chunked.json()["node"]["nodes"].as_array().expect("a listing").clone();
    assert_eq!(nodes.len(), (1 << 20) / (8 << 10));
    assert!(nodes.iter().all(|node| node["value"].as_str().is_some_and(|value| value.len() == 8 << 10)));
    assert_eq!(chunked.index(), node.request("GET", "/v2/keys/none", None).json()["index"].as_u64().unwrap());

    // The same connection, and a small answer has its length as ever.
    let small = connection.request("GET", "/v2/keys/large/7", None).expect("an answer");
    assert!(small.header("content-length").is_some() && small.status == 200);
    let again = connection.request("GET", "/v2/keys/large", None).expect("an answer");
    assert_eq!(again.body, chunked.body);

    // What was asked for meanwhile is answered afterwards.
    connection.send("GET", "/v2/keys/large", None).expect("sent");
    connection.send("GET", "/version", None).expect("sent");
    let head = connection.read_head().expect("a head");
    assert_eq!(connection.read_body("GET", head).expect("a body").body, chunked.body);
    let head = connection.read_head().expect("a head");
    let version = connection.read_body("GET", head).expect("a body");
    assert!(version.text().contains("etcdserver"));

    // HTTP/1.0 knows no chunks: the end of the connection is that of the body.
    let mut old = raw(node);
    old.write_all(b"GET /v2/keys/large?recursive=true HTTP/1.0\r\n\r\n").expect("sent");
    let mut answer = Vec::new();
    old.read_to_end(&mut answer).expect("an end");
    assert!(answer.ends_with(&chunked.body));
    let head = String::from_utf8_lossy(&answer[..answer.len() - chunked.body.len()]).into_owned();
    assert!(head.ends_with("\r\n\r\n") && !head.to_lowercase().contains("transfer-encoding"), "{head}");

    let head = connection.request("HEAD", "/v2/keys/large", None).expect("an answer");
    assert_eq!((head.status, head.header("content-length")), (200, None));
    // And a connection that is to be closed is.
    let mut last = raw(node);
    last.write_all(b"GET /v2/keys/large HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = Vec::new();
    last.read_to_end(&mut answer).expect("an end");
    assert!(answer.ends_with(b"0\r\n\r\n"));
}

#[test]
fn a_large_value_is_sent_in_pieces_too() {
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    let value = "a\u{2028}\u{1F600}\"<\n".repeat(100_000);
    let form: String = value.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let put = node.request("PUT", "/v2/keys/big", Some(&format!("value={form}")));
    assert_eq!(put.status, 201);
    let got = node.request("GET", "/v2/keys/big", None);
    assert_eq!(got.json()["node"]["value"].as_str(), Some(value.as_str()));
    assert_eq!(got.text().replace("\"action\":\"get\"", "\"action\":\"set\""), put.text());
}

/// Times of writes through one node, one after the other, while `going` says so.
fn write_while(node: &Node, going: impl Fn() -> bool) -> Vec<Duration> {
    let mut connection = Connection::open_within(&node.url(), LIMIT).expect("a connection");
    let mut took = Vec::new();
    while going() {
        let began = Instant::now();
        let answer = connection.request("PUT", "/v2/keys/beside", Some("value=x")).expect("an answer");
        assert!(answer.status < 300, "{}", answer.text());
        took.push(began.elapsed());
    }
    took.sort();
    took
}

fn p99(sorted: &[Duration]) -> Duration {
    sorted[(sorted.len() - 1) * 99 / 100]
}

#[test]
fn large_listings_on_all_nodes_hold_up_no_writes() {
    let cluster = Cluster::start(3, &[]);
    let leader = cluster.leader();
    fill(&cluster.nodes[leader], 24 << 20);
    let until = Instant::now() + Duration::from_secs(4);
    let without = write_while(&cluster.nodes[leader], || Instant::now() < until);
    let changes = |node: &Node| metric(node, "etcd_server_leader_changes_seen_total");
    let before: Vec<u64> = cluster.nodes.iter().map(changes).collect();
    let idle: Vec<u64> = cluster.nodes.iter().map(Node::resident_bytes).collect();
    let (stop, read) = (AtomicBool::new(false), AtomicU64::new(0));
    let peak: Vec<AtomicU64> = idle.iter().map(|bytes| AtomicU64::new(*bytes)).collect();
    let with = std::thread::scope(|scope| {
        for place in 0..6 {
            let (node, stop, read) = (&cluster.nodes[place % 3], &stop, &read);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let mut reader = Connection::open_within(&node.url(), LIMIT).expect("a connection");
                    let answer =
                        reader.request("GET", "/v2/keys/large?recursive=true", None).expect("an answer");
                    assert!(answer.status == 200 && answer.body.ends_with(b"}}\n"));
                    read.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let until = Instant::now() + LIMIT;
        let with = write_while(&cluster.nodes[leader], || {
            for (node, peak) in cluster.nodes.iter().zip(&peak) {
                peak.fetch_max(node.resident_bytes(), Ordering::Relaxed);
            }
            read.load(Ordering::Relaxed) < 12 && Instant::now() < until
        });
        stop.store(true, Ordering::Relaxed);
        with
    });
    let after: Vec<u64> = cluster.nodes.iter().map(changes).collect();
    let above: Vec<u64> =
        peak.iter().zip(&idle).map(|(peak, idle)| (peak.load(Ordering::Relaxed) - idle) >> 20).collect();
    println!(
        "p99 {:?} without, {:?} with, longest {:?}; {above:?} MiB",
        p99(&without),
        p99(&with),
        with.last()
    );
    assert!(read.load(Ordering::Relaxed) >= 12, "the listings come to an end");
    assert_eq!((cluster.leader(), after), (leader, before), "nobody else leads");
    assert!(p99(&with) < 10 * p99(&without).max(Duration::from_millis(50)));
    assert!(above.iter().all(|above| *above <= 200), "{above:?} MiB");
}

#[test]
fn slow_readers_of_large_answers_cost_little_and_hold_up_nobody_until_they_are_closed() {
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    fill(node, 8 << 20);
    node.request("PUT", "/v2/keys/small/one", Some("value=1"));
    let idle = node.resident_bytes();
    let ask = || {
        let mut stream = raw(node);
        stream.write_all(b"GET /v2/keys/large HTTP/1.0\r\n\r\n").expect("sent");
        stream
    };
    let mut steady = ask();
    let stalled: Vec<TcpStream> = (0..64).map(|_| ask()).collect();
    wait_for("all answers to begin", LIMIT, || metric(node, "muster_http_large_answers") == 65);
    let began = Instant::now();
    for _ in 0..20 {
        let asked = Instant::now();
        assert_eq!(node.request("GET", "/v2/keys/small", None).status, 200);
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    }
    let above = node.resident_bytes().saturating_sub(idle) >> 20;
    assert!(above < 64, "{above} MiB for answers that nobody takes");
    // One that is slow and not too slow gets all of it: more than the patience with those who take nothing.
    let mut taken = Vec::new();
    let mut piece = vec![0; 128 << 10];
    loop {
        let count = steady.read(&mut piece).expect("it is not closed");
        if count == 0 {
            break;
        }
        taken.extend_from_slice(&piece[..count]);
        std::thread::sleep(Duration::from_secs(1) * u32::try_from(count).expect("small") / (500 << 10));
    }
    assert!(taken.ends_with(b"}}\n"), "{} bytes", taken.len());
    println!("{above} MiB, the steady one had its answer after {:?}", began.elapsed());
    wait_for("the others to be closed", LIMIT, || metric(node, "muster_http_slow_readers_total") == 64);
    assert_eq!(metric(node, "muster_http_large_answers"), 0);
    let log = node.log();
    assert!(log.contains("large answer broken off") && log.contains("key=\"/large\""), "{log}");
    for mut stream in stalled {
        let ended = stream.read_to_end(&mut Vec::new());
        assert!(ended.is_err(), "what was broken off must not look like an end");
    }
}

/// Begins a request with a form of 10 MiB, of which some comes and then a byte now and then.
fn drip(node: &Node, stop: &AtomicBool, target: &str) -> String {
    let mut stream = raw(node);
    let head = format!(
        "PUT {target} HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
        10 << 20
    );
    let begun = format!("{head}value={}", "x".repeat(64 << 10));
    stream.write_all(begun.as_bytes()).expect("sent");
    let mut writer = stream.try_clone().expect("the same connection");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) && writer.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        let mut answer = vec![0; 4096];
        let count = stream.read(&mut answer).unwrap_or_default();
        stop.store(true, Ordering::Relaxed);
        String::from_utf8_lossy(&answer[..count]).into_owned()
    })
}

#[test]
fn bodies_that_drip_are_given_up_and_others_have_their_room() {
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    let began = Instant::now();
    let form = |bytes: usize| format!("value={}", "x".repeat(bytes - 6));
    std::thread::scope(|scope| {
        let drips: Vec<_> =
            (0..20).map(|_| scope.spawn(|| drip(node, &AtomicBool::new(false), "/v2/keys/drip"))).collect();
        let mut written = 0;
        while drips.iter().any(|drip| !drip.is_finished()) {
            for bytes in [100, 1 << 20, 10 << 20] {
                let asked = Instant::now();
                let answer = node.request("PUT", "/v2/keys/good", Some(&form(bytes)));
                assert!([200, 201].contains(&answer.status), "{}", answer.text());
                // Nobody waits for room, which would take seven seconds.
                assert!(asked.elapsed() < Duration::from_secs(6), "{bytes} took {:?}", asked.elapsed());
            }
            written += 1;
            std::thread::sleep(Duration::from_secs(1));
        }
        assert!(written > 5, "{written} rounds beside the drips");
        for drip in drips {
            let answer = drip.join().expect("a client");
            assert!(answer.contains("\"errorCode\":210"), "{answer}");
            assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
        }
        assert!(began.elapsed() < Duration::from_secs(50), "{:?}", began.elapsed());
    });
}

/// A request of which all but the last of so many bytes has come.
fn all_but_the_end(node: &Node, bytes: usize) -> TcpStream {
    let mut stream = raw(node);
    let head = "PUT /v2/keys/held HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    let form = "x".repeat(bytes - 1);
    stream.write_all(format!("{head}Content-Length: {bytes}\r\n\r\n{form}").as_bytes()).expect("sent");
    stream
}

#[test]
fn that_there_is_no_room_for_a_body_is_not_told_as_the_clients_fault() {
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    // 64 MiB: six of 10 MiB, and one that takes twice of the 2 MiB and some that have come of it.
    let mut held: Vec<TcpStream> = (0..6).map(|_| all_but_the_end(node, 10 << 20)).collect();
    let mut last = all_but_the_end(node, 4 << 20);
    let body = "x".repeat(100 << 10);
    let ask = |method: &str, target: &str, kind: &str| {
        let mut stream = raw(node);
        let head = format!("{method} {target} HTTP/1.0\r\nContent-Type: {kind}\r\n");
        stream
            .write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
            .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    };
    wait_for("the room to be taken", LIMIT, || {
        let answer = ask("PUT", "/v2/keys/a", "application/x-www-form-urlencoded");
        answer.contains("too many requests")
    });
    std::thread::scope(|scope| {
        let pages = [
            ("PUT", "/muster/v1/restore/1/0", "application/octet-stream"),
            ("POST", "/v2/members", "application/json"),
            ("PUT", "/v2/auth/users/u", "application/json"),
        ];
        let answers =
            pages.map(|(method, target, kind)| (target, scope.spawn(move || ask(method, target, kind))));
        for (target, answer) in answers {
            let answer = answer.join().expect("an answer");
            let told = answer.contains(" 503 ") && answer.contains("too many large requests are under way");
            assert!(told, "{target}: {answer}");
        }
    });
    // They still have theirs.
    for stream in held.iter_mut().chain([&mut last]) {
        stream.write_all(b"x").expect("sent");
        let mut answer = [0; 64];
        let count = stream.read(&mut answer).expect("an answer");
        assert!(String::from_utf8_lossy(&answer[..count]).contains(" 20"), "{:?}", &answer[..count]);
    }
    assert!(!ask("PUT", "/muster/v1/restore/1/0", "application/octet-stream").contains(" 503 "));
}

#[test]
fn answers_to_writes_of_large_values_that_nobody_takes_cost_little() {
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    let form = format!("value={}", "x".repeat((10 << 20) - 6));
    let put = node.request("PUT", "/v2/keys/large", Some(&form));
    assert_eq!((put.status, put.header("transfer-encoding")), (201, Some("chunked")));
    assert_eq!(put.json()["node"]["value"].as_str().map(str::len), Some((10 << 20) - 6));
    let idle = node.resident_bytes();
    let ask = |query: &str| {
        let mut stream = raw(node);
        let request = format!("PUT /v2/keys/large?{query} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        stream
    };
    let refreshes = (0..30).map(|_| ask("refresh=true&ttl=1000&prevExist=true"));
    let stalled: Vec<TcpStream> = refreshes.chain((0..30).map(|_| ask("prevValue=no&value=x"))).collect();
    wait_for("all answers to begin", LIMIT, || metric(node, "muster_http_large_answers") == 60);
    let above = node.resident_bytes().saturating_sub(idle) >> 20;
    println!("{above} MiB for 60 answers of 10 and 20 MiB");
    assert!(above < 100, "{above} MiB");
    // Whoever reads has all of it.
    let refreshed = node.request("PUT", "/v2/keys/large?refresh=true&ttl=1000&prevExist=true", Some(""));
    let refreshed = refreshed.json();
    assert!(refreshed["node"]["value"] == refreshed["prevNode"]["value"] && refreshed["node"]["ttl"] == 1000);
    let failed = node.request("PUT", "/v2/keys/large?prevValue=no", Some("value=x"));
    assert_eq!((failed.status, failed.header("x-etcd-index").is_some()), (412, true));
    let cause = failed.json()["cause"].as_str().map(str::len);
    assert_eq!(cause, Some("[no != ]".len() + (10 << 20) - 6));
    wait_for("the others to be closed", LIMIT, || metric(node, "muster_http_slow_readers_total") == 60);
    for mut stream in stalled {
        assert!(
            stream.read_to_end(&mut Vec::new()).is_err(),
            "what was broken off must not look like an end"
        );
    }
}

#[test]
fn nothing_is_frozen_for_a_request_that_is_still_being_sent() {
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    fill(node, 1 << 20);
    let mut open: Vec<TcpStream> = (0..5)
        .map(|_| {
            let mut stream = raw(node);
            stream
                .write_all(b"GET /v2/keys/large HTTP/1.0\r\nContent-Length: 10\r\n\r\n12345")
                .expect("sent");
            stream
        })
        .collect();
    for _ in 0..3 {
        assert_eq!(node.request("GET", "/v2/keys/large", None).status, 200);
        // That one is over in a moment.
        let none = || metric(node, "muster_http_large_answers") == 0;
        wait_for("nothing to be frozen", Duration::from_secs(10), none);
    }
    for stream in &mut open {
        stream.write_all(b"67890").expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        assert!(String::from_utf8_lossy(&answer[..16]).contains(" 200 ") && answer.ends_with(b"}}\n"));
    }
}

#[test]
fn a_listing_that_keeps_too_much_in_memory_is_given_up_and_a_newer_one_is_not() {
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    fill(node, 16 << 20);
    let form = format!("value={}", "x".repeat((10 << 20) - 6));
    // Reads at a good speed for as long as the listing lasts; whether it came to its end.
    let read_slowly = |stop: &AtomicBool| {
        let mut stream = raw(node);
        stream.write_all(b"GET /v2/keys/large HTTP/1.0\r\n\r\n").expect("sent");
        let mut piece = vec![0; 16 << 10];
        loop {
            match stream.read(&mut piece) {
                Ok(0) => return true,
                Ok(count) if !stop.load(Ordering::Relaxed) => {
                    let pause = Duration::from_secs(1) * u32::try_from(count).expect("small") / (120 << 10);
                    std::thread::sleep(pause);
                }
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    };
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let old = scope.spawn(|| read_slowly(&stop));
        wait_for("it to begin", LIMIT, || metric(node, "muster_http_large_answers") == 1);
        let mut writes = 0;
        while !old.is_finished() {
            // The answer, which is as large, keeps what it shows as well.
            let put = node.request("PUT", "/v2/keys/over", Some(&form));
            assert!(put.status < 300, "{}", put.text());
            writes += 1;
            assert!(writes < 80, "it goes on after {writes} writes");
        }
        assert!(!old.join().expect("the reader"), "it is reset");
        assert!(writes > 45, "{writes} writes are fewer than 512 MiB");
        let young = scope.spawn(|| read_slowly(&stop));
        wait_for("it to begin", LIMIT, || metric(node, "muster_http_large_answers") == 1);
        // Of what comes and goes after it began it has nothing.
        for _ in 0..60 {
            node.request("PUT", "/v2/keys/over?noValueOnSuccess=true", Some(&form));
        }
        assert!(!young.is_finished());
        stop.store(true, Ordering::Relaxed);
        assert!(young.join().expect("the reader"), "it comes to its end");
    });
    assert_eq!(metric(node, "muster_http_slow_readers_total"), 1);
    let log = node.log();
    assert!(log.contains("too much was overwritten since it began"), "{log}");
}

#[test]
fn when_as_many_large_answers_are_on_their_way_as_may_be_one_more_is_refused_and_small_ones_are_not() {
    const MOST: usize = 512;
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    fill(node, 4 << 20);
    node.request("PUT", "/v2/keys/small/one", Some("value=1"));
    let mut readers: Vec<TcpStream> = (0..MOST)
        .map(|_| {
            let mut stream = raw(node);
            SockRef::from(&stream).set_recv_buffer_size(64 << 10).expect("a connection");
            stream.write_all(b"GET /v2/keys/large HTTP/1.0\r\n\r\n").expect("sent");
            stream.set_nonblocking(true).expect("a connection");
            stream
        })
        .collect();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Slow, and fast enough not to be closed.
            let mut piece = vec![0; 80 << 10];
            while !done.load(Ordering::Relaxed) {
                for reader in &mut readers {
                    let _ = reader.read(&mut piece);
                }
                std::thread::sleep(Duration::from_secs(1));
            }
        });
        wait_for("all answers to begin", LIMIT, || {
            metric(node, "muster_http_large_answers") == u64::try_from(MOST).expect("small")
        });
        let asked = Instant::now();
        let refused = node.request("GET", "/v2/keys/large", None);
        let small = node.request("GET", "/v2/keys/small", None);
        done.store(true, Ordering::Relaxed);
        assert_eq!((refused.status, refused.json()["errorCode"].as_u64()), (500, Some(300)));
        assert!(refused.text().contains("too many requests") && asked.elapsed() > Duration::from_secs(6));
        assert_eq!((small.status, metric(node, "muster_http_busy_total")), (200, 1));
    });
    drop(readers);
    wait_for("room again", LIMIT, || node.request("GET", "/v2/keys/large", None).status == 200);
}

#[test]
fn who_may_not_write_takes_no_room_from_others_with_a_large_body() {
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    let root = r#"{"user":"root","password":"pw"}"#;
    assert_eq!(node.request("PUT", "/v2/auth/users/root", Some(root)).status, 201);
    assert_eq!(node.request("PUT", "/v2/auth/enable", None).status, 200);
    let basic = "Authorization: Basic cm9vdDpwdw==\r\n";
    let ask = |method: &str, target: &str, header: &str, body: &str| {
        let mut stream = raw(node);
        let head = format!("{method} {target} HTTP/1.0\r\n{header}Content-Length: {}\r\n", body.len());
        let kind = "Content-Type: application/x-www-form-urlencoded\r\n\r\n";
        stream.write_all(format!("{head}{kind}{body}").as_bytes()).expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    };
    let revoke = r#"{"role":"guest","revoke":{"kv":{"read":["/*"],"write":["/*"]}}}"#;
    let revoked = ask("PUT", "/v2/auth/roles/guest", basic, revoke);
    assert!(revoked.contains(" 200 "), "{revoked}");

    let stop = AtomicBool::new(false);
    let large = format!("value={}", "x".repeat(1 << 20));
    std::thread::scope(|scope| {
        let drips: Vec<_> = (0..7).map(|_| scope.spawn(|| drip(node, &stop, "/v2/keys/drip"))).collect();
        for _ in 0..5 {
            let began = Instant::now();
            let answer = ask("PUT", "/v2/keys/large", basic, &large);
            assert!(answer.contains(" 201 ") || answer.contains(" 200 "), "{answer}");
            assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
        }
        for drip in drips {
            let answer = drip.join().expect("a client");
            assert!(answer.is_empty() || answer.contains("\"errorCode\":110"), "{answer}");
        }
    });
    // As in etcd, what is wrong with a form is said before who may not send it.
    let refused = ask("PUT", "/v2/keys/a", "", "value=1&ttl=x");
    assert!(refused.contains("\"errorCode\":202"), "{refused}");
    assert!(ask("PUT", "/v2/keys/a", "", "value=1").contains("\"errorCode\":110"));
    assert!(ask("PUT", "/v2/keys/a", "", &large).contains("\"errorCode\":110"));
    assert!(ask("PUT", "/v2/keys/a", basic, &large).contains(" 201 "));
}

#[test]
fn a_write_whose_client_has_gone_is_not_counted_as_pending_for_ever() {
    let mut cluster = Cluster::start(3, &[]);
    let survivor = (cluster.leader() + 1) % 3;
    for other in (0..3).filter(|other| *other != survivor) {
        cluster.nodes[other].kill();
    }
    let node = &cluster.nodes[survivor];
    let mut stream = raw(node);
    let form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\nvalue=1";
    stream.write_all(format!("PUT /v2/keys/a HTTP/1.1\r\nHost: h\r\n{form}").as_bytes()).expect("sent");
    wait_for("the write to wait", LIMIT, || metric(node, "etcd_server_proposals_pending") == 1);
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a connection");
    drop(stream);
    wait_for("nothing to wait", LIMIT, || metric(node, "etcd_server_proposals_pending") == 0);
}
