//! Where we answer otherwise than etcd on purpose, as far as one request to one node shows it. Each entry is shown on both
//! servers, so that the table stays true. The manual (`contrib/doc/store.md`) tells of these in its own words, and of what
//! takes more to show: of members, of users, of how recent a read is, of how much is remembered, and of slow readers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::Pair;
use super::pair::Reply;
use crate::common::http::Answer;

/// How pages begin that tell a server's own figures. The figures that ours has are in the manual
/// (`contrib/doc/metrics.md`), and tests of their own look at them; status, headers and whether there is a body at all are
/// compared like those of any page.
const FIGURES: [&[u8]; 2] = [b"# HELP ", b"{\n\"cmdline\": "];

/// Takes from an answer of ours what mixes of random requests meet again and again. Two things: the figures, and that
/// etcd refuses a broken escape in a path so early that the answer has no date. No client can depend on a date that is
/// not there.
pub fn level(ours: &mut Answer, theirs: &Answer) {
    let refused = theirs.status == 400 && theirs.header("Content-Type") == Some("text/plain; charset=utf-8");
    if refused && theirs.header("Connection") == Some("close") && theirs.header("Date").is_none() {
        ours.headers.retain(|(name, _)| name != "Date");
    }
    if FIGURES.iter().any(|start| ours.body.starts_with(start) && theirs.body.starts_with(start)) {
        ours.body.clone_from(&theirs.body);
    }
}

/// Whether etcd has refused a request and closed so abruptly that its answer was lost on the way, as it does now and then
/// to broken requests.
pub fn lost(ours: &Reply, theirs: &Reply) -> bool {
    let refused = |answer: &Answer| answer.status == 400 && answer.header("Connection") == Some("close");
    theirs.is_err() && ours.as_ref().is_ok_and(refused)
}

/// Long enough for what is to come, short enough to wait for what is not.
const PATIENCE: Duration = Duration::from_millis(500);

struct Difference {
    what: &'static str,
    why: &'static str,
    /// Before the request.
    before: &'static [&'static str],
    /// Sent as it is, with `{i}` as in tables.
    request: &'static str,
    /// Changes while the request waits.
    then: &'static [&'static str],
    /// What stands in the answer of ours, and how often; the same of etcd's.
    ours: (&'static str, usize),
    theirs: (&'static str, usize),
}

const TABLE: [Difference; 14] = [
    Difference {
        what: "a recursive watch of the past does not show what is hidden",
        why: "live it is hidden on both; a client that resumes must not see more than one that stayed",
        before: &["PUT ~/h/_x value=1", "PUT ~/h/y value=1"],
        request: "GET /v2/keys/h?recursive=true&wait=true&waitIndex={i-1}",
        then: &[],
        ours: ("\"key\":\"/h/y\"", 1),
        theirs: ("\"key\":\"/h/_x\"", 1),
    },
    Difference {
        what: "a watch of the past is not told of a directory whose name only begins like its own",
        why: "etcd compares text where it means paths",
        before: &["PUT ~/fo dir=true", "DELETE ~/fo?dir=true", "PUT ~/foobar value=1"],
        request: "GET /v2/keys/foobar?wait=true&waitIndex={i-1}",
        then: &[],
        ours: ("\"action\":\"set\"", 1),
        theirs: ("\"action\":\"delete\"", 1),
    },
    Difference {
        what: "a stream that begins in the past goes on",
        why: "etcd sends the first event and is silent for ever, which no client can use",
        before: &["PUT ~/s value=1", "PUT ~/s value=2"],
        request: "GET /v2/keys/s?stream=true&wait=true&waitIndex={i-1}",
        then: &["PUT ~/s value=3"],
        ours: ("\"action\":\"set\"", 3),
        theirs: ("\"action\":\"set\"", 1),
    },
    Difference {
        what: "a stream hears of the removal of its own path once",
        why: "etcd tells it twice",
        before: &["PUT ~/twice value=1"],
        request: "GET /v2/keys/twice?stream=true&wait=true",
        then: &["DELETE ~/twice"],
        ours: ("\"action\":\"delete\"", 1),
        theirs: ("\"action\":\"delete\"", 2),
    },
    Difference {
        what: "the address of a redirection has its query in escapes",
        why: "the HTTP library takes such bytes only so; they mean the same",
        before: &[],
        request: "GET /v2//keys?x=<",
        then: &[],
        ours: ("\r\nLocation: /v2/keys?x=%3C", 1),
        theirs: ("\r\nLocation: /v2/keys?x=<", 1),
    },
    Difference {
        what: "a broken escape in the path is refused with a date",
        why: "our HTTP library dates every answer; no client can depend on a date that is not there",
        before: &[],
        request: "GET /v2/keys/a%zz",
        then: &[],
        ours: ("\r\nDate: ", 1),
        theirs: ("\r\nDate: ", 0),
    },
    Difference {
        what: "request lines may be longer than 4096 bytes",
        why: "etcd 3.4 resets the connection, 2.3 does not; no client wants that",
        before: &[],
        request: "GET /v2/keys/{long}",
        then: &[],
        ours: (" 404 Not Found", 1),
        theirs: ("HTTP/1.1", 0),
    },
    Difference {
        what: "a request with two Host headers, or none, is answered",
        why: "Host has no meaning here; clients send one",
        before: &[],
        request: "GET /v2/keys/none HTTP/1.1\r\nHost: x",
        then: &[],
        ours: (" 404 Not Found", 1),
        theirs: (" 400 Bad Request", 1),
    },
    Difference {
        what: "an expectation other than 100-continue is ignored",
        why: "RFC 9110 allows both; clients know no other",
        before: &[],
        request: "GET /v2/keys/none HTTP/1.1\r\nExpect: x",
        then: &[],
        ours: (" 404 Not Found", 1),
        theirs: (" 417 Expectation Failed", 1),
    },
    Difference {
        what: "a request that is no HTTP is refused without words",
        why: "the HTTP library answers with an empty body; no client sends such",
        before: &[],
        request: "GET /v2/keys/none HTTP/1.1\r\na b: c",
        then: &[],
        ours: ("Content-Length: 0\r\n", 1),
        theirs: ("Content-Length: 0\r\n", 0),
    },
    Difference {
        what: "a header that is folded over two lines is refused",
        why: "RFC 9112 has servers refuse it: two that read it differently can be played off against each other",
        before: &[],
        request: "GET /v2/keys/none HTTP/1.1\r\nX-Folded: a\r\n b",
        then: &[],
        ours: (" 400 Bad Request", 1),
        theirs: (" 400 Bad Request", 0),
    },
    Difference {
        what: "the key of etcd 0.4 that lists the machines can be read",
        why: "old clients ask for it; servers since 2.0 do not have it, so no client of theirs does",
        before: &[],
        request: "GET /v2/keys/_etcd/machines HTTP/1.0",
        then: &[],
        ours: (" 200 OK", 1),
        theirs: (" 404 Not Found", 1),
    },
    Difference {
        what: "there is a page that founds registries for discovery",
        why: "as at etcd's discovery service, which is another program",
        before: &[],
        request: "GET /new?size=0 HTTP/1.0",
        then: &[],
        ours: (" 404 Not Found", 0),
        theirs: (" 404 Not Found", 1),
    },
    Difference {
        what: "the pages of API v3 do not exist",
        why: "the store is etcd v2's",
        before: &[],
        request: "GET /v3",
        then: &[],
        ours: (" 404 Not Found", 1),
        theirs: (" 301 Moved Permanently", 1),
    },
];

#[test]
fn the_table_of_differences_is_true() {
    let Some(mut pair) = Pair::start() else { return };
    for entry in &TABLE {
        pair.level();
        pair.run(entry.before);
        let version = if entry.request.contains(" HTTP/") { "" } else { " HTTP/1.1" };
        let request = pair.filled(entry.request).replace("{long}", &"l".repeat(5000));
        let request = format!("{request}{version}\r\nHost: h\r\n\r\n");
        let mut streams = pair.urls().map(|url| {
            let mut stream = TcpStream::connect(url.trim_start_matches("http://")).expect("a connection");
            stream.set_read_timeout(Some(PATIENCE)).expect("a connection");
            stream.write_all(request.as_bytes()).expect("sent");
            stream
        });
        let before = streams.each_mut().map(received);
        pair.run(entry.then);
        let after = streams.each_mut().map(received);
        for (server, (part, count)) in [entry.ours, entry.theirs].into_iter().enumerate() {
            let whole = format!("{}{}", before[server], after[server]);
            let name = ["ours", "etcd"][server];
            let seen = whole.matches(part).count();
            assert_eq!(seen, count, "{name}: {} ({})\n{whole}", entry.what, entry.why);
        }
    }
    pair.finish();
}

#[test]
fn figures_are_left_aside_only_where_both_have_them() {
    let page = |body: &str| Answer { status: 200, headers: Vec::new(), body: body.into() };
    let levelled = |ours: &str, theirs: &str| {
        let (mut ours, theirs) = (page(ours), page(theirs));
        level(&mut ours, &theirs);
        ours.body == theirs.body
    };
    assert!(levelled("# HELP a x\na 1\n", "# HELP b y\nb 2\n"));
    assert!(levelled("{\n\"cmdline\": [\"muster\"]}", "{\n\"cmdline\": [\"etcd\"]}"));
    for (ours, theirs) in
        [("", "# HELP b y\n"), ("# HELP a x\n", ""), ("{}", "{\n\"cmdline\": []}"), ("a", "b")]
    {
        assert!(!levelled(ours, theirs), "{ours:?} {theirs:?}");
    }
}

/// What comes until nothing comes any more.
fn received(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // Ends by running out of patience, or by the server closing.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
