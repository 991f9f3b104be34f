//! What clients can do to a node without harming it: garbage, half requests, giants, crowds. Afterwards it still answers,
//! and what it holds is bound.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::http::{Answer, Connection};
use common::store::{Cluster, Node};
use common::wait_for;

const LIMIT: Duration = Duration::from_secs(40);

fn raw(node: &Node) -> TcpStream {
    let stream = TcpStream::connect(node.url().trim_start_matches("http://")).expect("a connection");
    stream.set_read_timeout(Some(LIMIT)).expect("a connection");
    stream
}

/// Sends bytes, which the node may stop reading, and reads until it closes; what came of an answer.
fn send(node: &Node, bytes: &[u8]) -> String {
    let mut stream = raw(node);
    // It may have closed already, having seen enough.
    let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(std::net::Shutdown::Write));
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

/// Numbers that look random and are the same each time.
fn noise(seed: u64) -> impl Iterator<Item = u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::from_fn(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Some((state >> 32) as u8)
    })
}

fn error_of(answer: &Answer) -> (u16, u64, String) {
    let body = answer.json();
    let cause = body["cause"].as_str().unwrap_or_default().to_string();
    (answer.status, body["errorCode"].as_u64().expect("a number"), cause)
}

#[test]
fn garbage_and_half_requests_harm_nobody() {
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    let head = "PUT /v2/keys/g HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    for seed in 0..100 {
        let bytes: Vec<u8> = noise(seed).take(2000).collect();
        send(node, &bytes);
        send(node, &[b"GET /v2/keys/", &bytes[..300], b" HTTP/1.1\r\n\r\n"].concat());
        send(node, &[head.as_bytes(), b"Content-Length: 2000\r\n\r\n", &bytes].concat());
        send(node, &[head.as_bytes(), b"Transfer-Encoding: chunked\r\n\r\n", &bytes].concat());
        let cut = usize::try_from(seed).expect("small");
        send(node, &head.as_bytes()[..cut.min(head.len())]);
    }
    send(node, format!("{head}Content-Length: 100\r\n\r\nvalue=half").as_bytes());
    assert_eq!(node.request("GET", "/v2/keys/none", None).status, 404);
    assert!(node.is_healthy());
}

#[test]
fn heads_of_requests_have_a_largest_size() {
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    // As much as etcd takes, and more.
    let long = format!("GET /v2/keys/none?x={} HTTP/1.0\r\n\r\n", "x".repeat(16 << 10));
    assert_eq!(status(&send(node, long.as_bytes())), "404");
    for giant in [
        format!("GET /v2/keys/none?x={} HTTP/1.0\r\n\r\n", "x".repeat(100 << 10)),
        format!("GET /v2/keys/none HTTP/1.0\r\nX: {}\r\n\r\n", "x".repeat(100 << 10)),
        format!("GET /{}", "x".repeat(1 << 20)),
        format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(4000)),
    ] {
        let answer = send(node, giant.as_bytes());
        // The answer may be lost when the node closes while much is still on its way.
        assert!(["431", "414", ""].contains(&status(&answer)), "{answer}");
    }
    assert!(node.is_healthy());
}

#[test]
fn keys_have_a_largest_depth_and_length() {
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    let deep = |depth: usize| format!("/v2/keys{}", "/a".repeat(depth));
    assert_eq!(node.request("PUT", &deep(2048), Some("value=deep")).status, 201);
    assert_eq!(node.request("GET", &deep(2048), None).json()["node"]["value"], "deep");
    let all = node.request("GET", "/v2/keys/?recursive=true", None);
    assert!(all.status == 200 && all.text().contains("\"value\":\"deep\""));
    let watch = node.request("GET", &format!("{}?wait=true&waitIndex=1", deep(2048)), None);
    assert_eq!(watch.json()["node"]["value"], "deep");
    for method in ["PUT", "GET", "POST", "DELETE"] {
        let refused = error_of(&node.request(method, &deep(2049), None));
        assert_eq!(refused, (400, 209, "the key has more than 2048 components".into()));
    }
    assert_eq!(node.request("PUT", &format!("/v2/keys/{}", "k".repeat(8191)), Some("value=1")).status, 201);
    let refused = error_of(&node.request("PUT", &format!("/v2/keys/{}", "k".repeat(8192)), Some("value=1")));
    assert_eq!(refused, (400, 209, "the key has more than 8192 bytes".into()));
    // What is made in order has a name of twenty digits, and can be named like any other key.
    for (dir, one_more, cause) in [
        (deep(2047), deep(2048), "the key has more than 2048 components"),
        (
            format!("/v2/keys/{}", "d".repeat(8170)),
            format!("/v2/keys/{}", "d".repeat(8171)),
            "the key has more than 8192 bytes",
        ),
    ] {
        let made = node.request("POST", &dir, Some("value=made"));
        assert_eq!(made.status, 201, "{}", made.text());
        let key = format!("/v2/keys{}", made.json()["node"]["key"].as_str().expect("a key"));
        assert_eq!(node.request("GET", &key, None).json()["node"]["value"], "made");
        assert_eq!(node.request("DELETE", &key, None).status, 200);
        let before = node.request("GET", "/v2/keys/", None).index();
        assert_eq!(error_of(&node.request("POST", &one_more, Some("value=x"))), (400, 209, cause.into()));
        assert_eq!(node.request("GET", "/v2/keys/", None).index(), before, "nothing was made");
    }
    assert_eq!(node.request("DELETE", "/v2/keys/a?recursive=true", None).status, 200);
}

/// A form of so many bytes.
fn form(bytes: usize) -> String {
    format!("value={}", "x".repeat(bytes - 6))
}

#[test]
fn bodies_have_a_largest_size_and_many_large_ones_take_turns() {
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    assert_eq!(node.request("PUT", "/v2/keys/b", Some(&form(10 << 20))).status, 201);
    let refused = error_of(&node.request("PUT", "/v2/keys/b", Some(&form((10 << 20) + 1))));
    assert_eq!(refused, (400, 210, "http: POST too large".into()));
    let refused = error_of(&node.request("PUT", "/v2/keys/b", Some(&form(15 << 20))));
    assert_eq!(refused, (400, 210, "http: POST too large".into()));
    let fields = format!("{}value=found", "a&b=c&".repeat(500_000));
    let put = node.request("PUT", "/v2/keys/f", Some(&fields));
    assert_eq!(put.json()["node"]["value"], "found");
    let nested = "[".repeat(60_000);
    let level = "PUT /config/local/log HTTP/1.0\r\nContent-Length: 60000\r\n\r\n";
    assert_eq!(status(&send(node, format!("{level}{nested}").as_bytes())), "400");

    let large = form(10 << 20);
    std::thread::scope(|scope| {
        let put = || {
            let mut connection = Connection::open_within(&node.url(), LIMIT * 3).expect("a connection");
            connection.request("PUT", "/v2/keys/b", Some(&large)).expect("an answer")
        };
        let writers: Vec<_> = (0..16).map(|_| scope.spawn(put)).collect();
        for writer in writers {
            let answer = writer.join().expect("the writer");
            // Or it was told within its time that others come first.
            assert!(answer.status == 200 || error_of(&answer).1 == 300, "{}", answer.status);
        }
    });
    assert!(node.is_healthy());
    let held = node.resident_bytes() >> 20;
    println!("{held} MiB after many large bodies");
    assert!(held < 1500, "{held} MiB");
}

#[test]
fn connections_are_limited_and_one_too_many_is_told() {
    let cluster = Cluster::start(1, &["--max-connections", "10"]);
    let node = &cluster.nodes[0];
    let ask = || node.try_request("GET", "/version", None);
    wait_for("the first requests to be over", LIMIT, || {
        let text = ask().map(|answer| answer.status);
        matches!(text, Ok(200))
    });
    let mut held: Vec<TcpStream> = (0..10).map(|_| raw(node)).collect();
    let mut refused = None;
    wait_for("a connection too many", LIMIT, || {
        refused = ask().ok();
        held.push(raw(node));
        refused.as_ref().is_some_and(|answer| answer.status != 200)
    });
    let refused = refused.expect("an answer");
    assert_eq!((refused.status, refused.header("connection")), (503, Some("close")));
    assert!(refused.json()["message"].as_str().is_some_and(|text| text.contains("too many")));
    drop(held);
    wait_for("room again", LIMIT, || ask().is_ok_and(|answer| answer.status == 200));
    let text = node.request("GET", "/metrics", None).text();
    assert!(!text.contains("muster_http_connections_refused_total 0\n"), "{text}");
}

/// Many more than there are places, all at once and with requests on their way: each hears why it is not served.
#[test]
fn a_whole_crowd_too_many_is_told() {
    const CROWD: usize = 1500;
    let cluster = Cluster::start(1, &["--max-connections", "4"]);
    let node = &cluster.nodes[0];
    let mut held: Vec<TcpStream> = (0..4).map(|_| raw(node)).collect();
    wait_for("all places to be taken", LIMIT, || {
        // A place that an earlier request had may have become free since.
        held.push(raw(node));
        (0..5).all(|_| node.try_request("GET", "/version", None).is_ok_and(|answer| answer.status == 503))
    });
    let head = "PUT /v2/keys/a HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2000\r\n\r\n";
    let request = format!("{head}{}", "x".repeat(2000));
    let crowd: Vec<TcpStream> = (0..CROWD).map(|_| raw(node)).collect();
    for mut stream in &crowd {
        stream.write_all(request.as_bytes()).expect("sent");
    }
    for (number, mut stream) in crowd.into_iter().enumerate() {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap_or_else(|error| panic!("{number}: {error}: {answer:?}"));
        assert!(status(&answer) == "503" && answer.ends_with("try another one\"}"), "{number}: {answer:?}");
    }
    drop(held);
    wait_for("room again", LIMIT, || {
        node.try_request("GET", "/version", None).is_ok_and(|a| a.status == 200)
    });
}

#[test]
fn a_node_that_may_open_too_few_files_does_not_start() {
    let folder = tempfile::tempdir().expect("a folder");
    for (files, starts) in [(24, false), (512, false), (575, false), (576, true)] {
        let script = format!("ulimit -n {files}; exec \"$0\" \"$@\"");
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_muster"), "store", "--name", "a", "--data-dir"]);
        command.arg(folder.path().join("data"));
        let [client, peer] = [0, 1].map(|_| format!("http://127.0.0.1:{}", common::ports::free_ports(1)[0]));
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("a={peer}")]);
        if starts {
            let mut node = common::daemon::Daemon::start(&mut command, &folder.path().join("said"));
            node.wait_until_answers(&client, "/health");
            assert!(node.terminate().success());
        } else {
            let ended = command.output().expect("it can be run");
            let said = String::from_utf8_lossy(&ended.stderr).into_owned();
            let words = format!("this process may have {files} files open, and a node needs at least 576");
            assert!(ended.status.code() == Some(1) && said.contains(&words), "{:?}: {said}", ended.status);
            assert!(!folder.path().join("data").exists(), "nothing was made");
        }
    }
}

#[test]
fn a_head_that_does_not_come_to_an_end_is_not_waited_for_and_a_silent_connection_may_stay() {
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    let mut silent = Connection::open(&node.url()).expect("a connection");
    let mut used = Connection::open(&node.url()).expect("a connection");
    used.request("GET", "/version", None).expect("an answer");
    // A head after a watch is no exception.
    let mut told = Connection::open(&node.url()).expect("a connection");
    told.send("GET", "/v2/keys/w?wait=true", None).expect("sent");
    told.read_head().expect("headers");
    node.request("PUT", "/v2/keys/w", Some("value=1"));
    while told.chunk().expect("an event and its end").is_some() {}
    let began = Instant::now();
    told.send_raw(b"GET /v2/keys/a HTTP/1.1\r\n").expect("sent");
    let mut slow = raw(node);
    slow.write_all(b"GET /v2/keys/a HTTP/1.1\r\nHost: ").expect("sent");
    // A little now and then does not help.
    let mut drip = slow.try_clone().expect("the same connection");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while drip.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        let mut rest = Vec::new();
        let ended = slow.read_to_end(&mut rest);
        println!("closed after {:?}: {ended:?}", began.elapsed());
    });
    assert!(told.read_head().is_err(), "closed without an answer");
    assert!((Duration::from_secs(9)..Duration::from_secs(25)).contains(&began.elapsed()));
    assert_eq!(used.request("GET", "/version", None).expect("an answer").status, 200);
    assert_eq!(silent.request("GET", "/version", None).expect("an answer").status, 200);
}

#[test]
fn a_write_while_nobody_leads_is_known_not_to_have_happened() {
    let mut cluster = Cluster::start(3, &[]);
    let survivor = (cluster.leader() + 1) % 3;
    for other in (0..3).filter(|other| *other != survivor) {
        cluster.nodes[other].kill();
    }
    let node = &cluster.nodes[survivor];
    wait_for("the node to say that nobody leads", LIMIT, || {
        node.request("GET", "/v2/members/leader", None).status == 503
    });
    let answer = node.request("PUT", "/v2/keys/lost", Some("value=1"));
    assert_eq!(error_of(&answer), (500, 300, "etcdserver: no leader".into()));
    for other in (0..3).filter(|other| *other != survivor) {
        cluster.nodes[other].launch();
    }
    for other in 0..3 {
        cluster.nodes[other].wait_until_healthy();
    }
    assert_eq!(cluster.nodes[survivor].request("GET", "/v2/keys/lost", None).status, 404);
}
