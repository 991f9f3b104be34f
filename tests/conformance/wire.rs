//! HTTP itself: older versions, pipelining, chunked and announced bodies, many idle watches.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::Pair;
use super::pair::status_lines;
use crate::common::http::Connection;
use crate::common::store::Cluster;

const PATIENCE: Duration = Duration::from_secs(10);

/// Sends bytes and reads until the server closes.
fn whole(url: &str, bytes: &[u8]) -> String {
    let host = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a connection");
    stream.write_all(bytes).expect("sent");
    let mut text = Vec::new();
    stream.read_to_end(&mut text).expect("the server closes");
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn http_1_0_and_connections_that_close() {
    let Some(pair) = Pair::start() else { return };
    for request in [
        "GET /v2/keys/none HTTP/1.0\r\n\r\n",
        "GET /v2/keys/ HTTP/1.0\r\n\r\n",
        "PUT /v2/keys/a?value=1 HTTP/1.0\r\n\r\n",
        "GET /v2/keys/a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        "HEAD /v2/keys/a HTTP/1.0\r\n\r\n",
        "GET /v2/keys/a%zz HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /v2/keys/a%2 HTTP/1.1\r\nHost: h\r\n\r\n",
    ] {
        let [ours, theirs] = pair.urls().map(|url| whole(&url, request.as_bytes()));
        assert_eq!(status_lines(&ours), status_lines(&theirs), "{request}\n{ours}\n{theirs}");
    }
}

#[test]
fn a_watch_by_http_1_0_ends_by_closing() {
    let Some(mut pair) = Pair::start() else { return };
    let request = b"GET /v2/keys/w?wait=true&waitIndex=18446744073709551615 HTTP/1.0\r\n\r\n";
    pair.run(&["PUT ~/w value=1"]);
    let past = format!("GET /v2/keys/w?wait=true&waitIndex={} HTTP/1.0\r\n\r\n", pair.index);
    let [ours, theirs] = pair.urls().map(|url| whole(&url, past.as_bytes()));
    assert_eq!(status_lines(&ours), status_lines(&theirs), "{ours}\n{theirs}");
    for url in pair.urls() {
        let mut connection = Connection::open(&url).expect("a connection");
        connection.send_raw(request).expect("sent");
        assert_eq!(connection.read_head().expect("headers at once").status, 200, "{url}");
    }
}

#[test]
fn head_tells_the_length_of_what_it_leaves_out() {
    let Some(mut pair) = Pair::start() else { return };
    pair.run(&["PUT ~/a value=%3C", "PUT ~/d/x value=1"]);
    for target in ["/v2/keys", "/v2/keys/a", "/v2/keys/none", "/v2/keys/a?ttl=x", "/nowhere", "/v2/keys/d"] {
        let request = format!("HEAD {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        let answers = pair.raw("HEAD", request.as_bytes());
        let [ours, theirs] = answers.each_ref().map(|answer| answer.header("Content-Length"));
        assert_eq!(ours, theirs, "{target}: {answers:?}");
    }
    pair.finish();
}

/// Control bytes, blanks and a lone `%` are refused by both; a line feed ends the line.
fn bytes_of_targets() -> impl Iterator<Item = u8> {
    (0x21..=0xff).filter(|byte| ![0x7f, b'%'].contains(byte))
}

#[test]
fn any_byte_may_stand_in_a_target() {
    let Some(mut pair) = Pair::start() else { return };
    for byte in bytes_of_targets() {
        for (before, after) in [("/v2/keys/t/a", "b"), ("/v2/keys/t?value=", ""), ("/v2/keys//t/", "/")] {
            let target = [before.as_bytes(), &[byte], after.as_bytes()].concat();
            let request = [b"PUT ", &target[..], b" HTTP/1.1\r\nHost: h\r\n\r\n"].concat();
            let [ours, theirs] = pair.raw("PUT", &request);
            pair.note(&format!("{}, with {byte:#x}", String::from_utf8_lossy(&target)), &ours, &theirs);
        }
    }
    pair.run(&["GET ~/t?recursive=true&sorted=true", "GET ~/?recursive=true&sorted=true"]).finish();
}

#[test]
fn bodies_that_look_like_requests_and_requests_in_a_row_keep_their_bytes() {
    let Some(pair) = Pair::start() else { return };
    let body = "value=GET /< HTTP/1.1%0A#\"<>`";
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let chunk = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let mut many = Vec::new();
    for n in 0..9 {
        let head = format!("PUT /v2/keys/<{n}> HTTP/1.1\r\nHost: h\r\n{form}");
        many.extend(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).bytes());
        many.extend(format!("GET /v2/keys/<{n}> HTTP/1.1\r\nHost: h\r\n\r\n").bytes());
    }
    many.extend(
        format!("PUT /v2/keys/<c> HTTP/1.1\r\nHost: h\r\n{form}Transfer-Encoding: chunked\r\n\r\n{chunk}")
            .bytes(),
    );
    let last = format!(
        "GET /v2/keys/%3Cc%3E HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    many.extend(last.bytes());
    // All at once, and in pieces that end anywhere.
    for size in [many.len(), 7, 64, 997] {
        let [ours, theirs] = pair.urls().map(|url| {
            let mut stream = TcpStream::connect(url.trim_start_matches("http://")).expect("a connection");
            stream.set_nodelay(true).expect("a connection");
            stream.set_read_timeout(Some(PATIENCE)).expect("a connection");
            let mut writer = stream.try_clone().expect("a connection");
            let bytes = many.clone();
            let writing =
                std::thread::spawn(move || bytes.chunks(size).try_for_each(|piece| writer.write_all(piece)));
            let mut text = Vec::new();
            stream.read_to_end(&mut text).expect("the server closes");
            writing.join().expect("no panic").expect("sent");
            String::from_utf8_lossy(&text).into_owned()
        });
        let values =
            |text: &str| text.matches("\"value\":\"GET /\\u003c HTTP/1.1\\n#\\\"\\u003c\\u003e`\"").count();
        assert_eq!(status_lines(&ours), status_lines(&theirs), "{ours}\n{theirs}");
        assert!(values(&theirs) >= 20, "{theirs}");
        assert_eq!(values(&ours), values(&theirs), "{ours}\n{theirs}");
        // From here on all keys are there.
        assert!(!ours.contains(" 400 "), "{ours}");
    }
}

#[test]
fn requests_in_a_row_are_answered_in_a_row() {
    let Some(pair) = Pair::start() else { return };
    let put = |n: usize| format!("PUT /v2/keys/p?value={n} HTTP/1.1\r\nHost: h\r\n\r\n");
    let many: String = (0..50).map(put).collect();
    for url in pair.urls() {
        let mut connection = Connection::open(&url).expect("a connection");
        connection.send_raw(many.as_bytes()).expect("sent");
        for n in 0..50 {
            let head = connection.read_head().expect("an answer");
            let answer = connection.read_body("PUT", head).expect("its body");
            assert_eq!(answer.json()["node"]["value"], n.to_string(), "{url}");
        }
    }
}

#[test]
fn bodies_may_be_chunked_or_announced() {
    let Some(mut pair) = Pair::start() else { return };
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let chunked = format!(
        "PUT /v2/keys/c HTTP/1.1\r\nHost: h\r\n{form}Transfer-Encoding: chunked\r\n\r\n5\r\nvalue\r\n3\r\n=ab\r\n0\r\n\r\n"
    );
    let [ours, theirs] = pair.raw("PUT", chunked.as_bytes());
    pair.note("chunked", &ours, &theirs);
    assert_eq!(theirs.status, 201);
    let announced = format!(
        "PUT /v2/keys/c HTTP/1.1\r\nHost: h\r\n{form}Expect: 100-continue\r\nContent-Length: 7\r\n\r\n"
    );
    let [ours, theirs] = pair.raw("PUT", announced.as_bytes());
    assert_eq!((ours.status, theirs.status), (100, 100));
    let [ours, theirs] = pair.raw("PUT", b"value=x");
    pair.note("announced", &ours, &theirs);
    assert_eq!(theirs.status, 200);
    pair.run(&["GET ~/c"]).finish();
}

#[test]
fn a_body_that_no_page_wants_does_not_end_the_connection_unless_it_is_large() {
    let Some(mut pair) = Pair::start() else { return };
    for size in [1, 1 << 10, 200 << 10, 300 << 10] {
        let body = vec![b'x'; size];
        pair.exchange("GET", "/v2/keys/none", &[], Some(&body));
        pair.exchange("DELETE", "/v2/keys/none", &[("Content-Type", "text/plain")], Some(&body));
        pair.exchange("PUT", "/v2/keys/typed", &[("Content-Type", "text/plain")], Some(&body));
        pair.exchange("POST", "/version", &[], Some(&body));
    }
    pair.finish();
}

#[test]
fn a_request_without_a_path_is_answered() {
    let Some(mut pair) = Pair::start() else { return };
    for method in ["CONNECT", "OPTIONS"] {
        let [ours, theirs] = pair.raw(method, format!("{method} h:1 HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
        pair.note(method, &ours, &theirs);
    }
    pair.run(&["CONNECT /v2/keys/a"]).finish();
}

/// Idle watches, and what one of them may cost.
const WATCHES: usize = 1000;
const WATCH_BYTES: u64 = 6 << 10;

#[test]
fn a_thousand_idle_watches_cost_little_and_all_hear() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(hard.min(4096)), hard).expect("more files");
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    let before = node.resident_bytes();
    let open = |n: usize| {
        let mut connection = Connection::open(&node.url()).expect("a connection");
        connection.send("GET", &format!("/v2/keys/w/{}?wait=true", n % 10), None).expect("sent");
        assert_eq!(connection.read_head().expect("headers").status, 200);
        connection
    };
    let mut watches: Vec<Connection> = (0..WATCHES).map(open).collect();
    let each = node.resident_bytes().saturating_sub(before) / WATCHES as u64;
    println!("{each} bytes for each of {WATCHES} watches");
    assert!(each < WATCH_BYTES, "{each} bytes for each watch");
    for n in 0..10 {
        assert_eq!(node.request("PUT", &format!("/v2/keys/w/{n}"), Some("value=1")).status, 201);
    }
    for watch in &mut watches {
        assert!(watch.chunk().expect("an event").is_some());
    }
}
