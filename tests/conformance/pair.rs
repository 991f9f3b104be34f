//! Both servers side by side, their indexes kept level so that answers can be compared as they are.

use std::time::{Duration, Instant};

use super::compare::{SLACK_SECONDS, body_difference, difference, difference_within, same_but_for_order};
use super::known;
use super::names::Names;
use crate::common::etcd::Etcd;
use crate::common::http::{Answer, Connection};
use crate::common::store::Cluster;

/// As many changes as etcd remembers, so that both forget the same.
const HISTORY_EVENTS: &str = "1000";

/// A node of ours and an etcd.
pub struct Pair {
    cluster: Cluster,
    etcd: Etcd,
    ours: Connection,
    theirs: Connection,
    /// The index of both.
    pub index: u64,
    names: [Names; 2],
    /// How far times may be apart, in seconds: grows when the machine is slow.
    slack: i64,
    /// What was found so far.
    pub differences: Vec<String>,
}

/// A request as bytes.
pub struct Wire {
    pub method: String,
    /// The first line, the headers and the empty line.
    pub head: Vec<u8>,
    pub body: Vec<u8>,
    /// The body is sent only when the server says so.
    pub announced: bool,
}

/// An answer, or how the connection broke instead.
pub type Reply = Result<Answer, String>;

impl Pair {
    /// Starts both and levels their indexes. `None` when no etcd is installed.
    pub fn start() -> Option<Self> {
        let etcd = Etcd::start()?;
        let cluster = Cluster::start(1, &["--history-events", HISTORY_EVENTS]);
        let ours = Connection::open(&cluster.nodes[0].url()).expect("a connection to ours");
        let theirs = Connection::open(&etcd.url()).expect("a connection to etcd");
        let names = [cluster.nodes[0].url(), etcd.url()].map(|url| Names::ask(&url));
        let differences = Vec::new();
        let mut pair =
            Self { cluster, etcd, ours, theirs, index: 0, names, slack: SLACK_SECONDS, differences };
        pair.level();
        Some(pair)
    }

    /// Client URLs: ours, etcd's.
    pub fn urls(&self) -> [String; 2] {
        [self.cluster.nodes[0].url(), self.etcd.url()]
    }

    /// What belongs to each: ours, etcd's.
    pub fn names(&self) -> &[Names; 2] {
        &self.names
    }

    /// Raises the lower index by harmless writes until both are the same.
    pub fn level(&mut self) {
        // One of the connections may be what broke.
        let [ours, theirs] = self.urls().map(|url| Connection::open(&url).expect("a connection"));
        (self.ours, self.theirs) = (ours, theirs);
        loop {
            let ours = self.ours.request("GET", "/v2/keys/", None).expect("ours answers").index();
            let theirs = self.theirs.request("GET", "/v2/keys/", None).expect("etcd answers").index();
            self.index = ours;
            let lower = match ours.cmp(&theirs) {
                std::cmp::Ordering::Less => &mut self.ours,
                std::cmp::Ordering::Equal => return,
                std::cmp::Ordering::Greater => &mut self.theirs,
            };
            lower.request("PUT", "/v2/keys/_level", Some("value=")).expect("a harmless write");
        }
    }

    /// Sends requests one after the other. One is `METHOD TARGET [FORM]`; `~` at the start of the target stands for
    /// `/v2/keys`, `{i}`, `{i+N}` and `{i-N}` for the index so far.
    pub fn run(&mut self, requests: &[&str]) -> &mut Self {
        for request in requests {
            self.ask(request);
        }
        self
    }

    /// A request with the index put in.
    pub fn filled(&self, request: &str) -> String {
        fill(request, self.index)
    }

    /// Sends one request and gives back etcd's answer.
    pub fn ask(&mut self, request: &str) -> Answer {
        self.ask_as(&[], request)
    }

    /// The same with further headers.
    pub fn ask_as(&mut self, more: &[(&str, &str)], request: &str) -> Answer {
        let request = self.filled(request);
        let mut words = request.splitn(3, ' ');
        let (method, target) = (words.next().expect("a method"), words.next().expect("a target"));
        let target = target.strip_prefix('~').map_or(target.to_string(), |rest| format!("/v2/keys{rest}"));
        let form = words.next();
        let kind = form.map(|_| ("Content-Type", "application/x-www-form-urlencoded"));
        let headers: Vec<_> = kind.into_iter().chain(more.iter().copied()).collect();
        self.exchange(method, &target, &headers, form.map(str::as_bytes))
    }

    /// Sends a request with any headers and body.
    pub fn exchange(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Answer {
        let mut bytes = format!("{method} {target} HTTP/1.1\r\nHost: h\r\n").into_bytes();
        for (name, value) in headers {
            bytes.extend(format!("{name}: {value}\r\n").bytes());
        }
        if let Some(body) = body {
            bytes.extend(format!("Content-Length: {}\r\n", body.len()).bytes());
        }
        bytes.extend(b"\r\n");
        bytes.extend(body.unwrap_or_default());
        let what = format!("{method} {} {:?}", shorten(target.as_bytes()), body.map(shorten));
        let [mut ours, theirs] = self.raw(method, &bytes);
        if !target.contains("sorted=") && same_but_for_order(&ours.body, &theirs.body, self.slack) {
            ours.body.clone_from(&theirs.body);
        }
        self.note(&what, &ours, &theirs);
        theirs
    }

    /// Sends a request to both at once, each with its own bytes, and reads an answer from each. Connections that end
    /// or break are opened anew.
    pub fn trade(&mut self, wires: &[Wire; 2]) -> [Reply; 2] {
        let began = Instant::now();
        let urls = self.urls();
        let connections = [&mut self.ours, &mut self.theirs];
        for (connection, wire) in connections.into_iter().zip(wires) {
            // A server that refuses may close before it has everything: what it said can still be read.
            let _ = connection.send_raw(&wire.first());
        }
        let mut replies = Vec::new();
        for ((connection, wire), url) in [&mut self.ours, &mut self.theirs].into_iter().zip(wires).zip(urls) {
            let reply = wire.read(connection);
            if reply.as_ref().map_or(true, |answer| answer.header("connection") == Some("close")) {
                *connection = Connection::open(&url).expect("another connection");
            }
            replies.push(reply.map_err(|error| error.kind().to_string()));
        }
        let took = i64::try_from(began.elapsed().as_secs()).expect("a short time");
        self.slack = self.slack.max(SLACK_SECONDS + took);
        let theirs = replies.pop().expect("two replies");
        [replies.pop().expect("two replies"), theirs]
    }

    /// What tells two replies apart, with what belongs to one server left aside. Takes the index from them.
    pub fn judge(&mut self, replies: &[Reply; 2], sorted: bool) -> Option<String> {
        let [ours, theirs] = replies;
        let (Ok(ours), Ok(theirs)) = (ours, theirs) else {
            let same = ours.is_err() && theirs.is_err();
            return (!same).then(|| "only one of the connections broke".to_string());
        };
        let (mut ours, theirs) = (self.names[0].hide(ours), self.names[1].hide(theirs));
        known::level(&mut ours, &theirs);
        if !sorted && same_but_for_order(&ours.body, &theirs.body, self.slack) {
            ours.body.clone_from(&theirs.body);
        }
        if let Some(index) = theirs.header("X-Etcd-Index").and_then(|t| t.parse().ok()) {
            self.index = if index == 0 { self.index } else { index };
        }
        difference_within(&ours, &theirs, self.slack)
    }

    /// Sends bytes to both and reads an answer from each. Connections that end are opened anew.
    pub fn raw(&mut self, method: &str, bytes: &[u8]) -> [Answer; 2] {
        let urls = self.urls();
        let mut answers = Vec::new();
        for (connection, url) in [&mut self.ours, &mut self.theirs].into_iter().zip(urls) {
            let shown = shorten(bytes);
            connection.send_raw(bytes).unwrap_or_else(|e| panic!("{url}: {shown}: {e}"));
            let head = connection.read_head().unwrap_or_else(|e| panic!("{url}: {shown}: {e}"));
            let answer = connection.read_body(method, head).unwrap_or_else(|e| panic!("{url}: {shown}: {e}"));
            if answer.header("connection") == Some("close") {
                *connection = Connection::open(&url).expect("another connection");
            }
            answers.push(answer);
        }
        let theirs = answers.pop().expect("two answers");
        [answers.pop().expect("two answers"), theirs]
    }

    /// Compares two answers to `what` and takes the index from them.
    pub fn note(&mut self, what: &str, ours: &Answer, theirs: &Answer) {
        if let Some(why) = difference_within(ours, theirs, self.slack) {
            self.differ(what, &why, &shorten(&ours.body), &shorten(&theirs.body));
            self.level();
        } else if let Some(index) = theirs.header("X-Etcd-Index").and_then(|t| t.parse().ok()) {
            self.index = if index == 0 { self.index } else { index };
        }
    }

    fn differ(&mut self, what: &str, why: &str, ours: &str, theirs: &str) {
        self.differences.push(format!("{what}\n  {why}\n  ours   {ours}\n  etcd's {theirs}"));
    }

    /// Starts the same watch on both; the headers are there, and compared, before anything happens.
    pub fn watch(&mut self, target: &str) -> Watch {
        let target = fill(&format!("/v2/keys{target}"), self.index);
        let [mut ours, mut theirs] = self.urls().map(|url| Connection::open(&url).expect("a connection"));
        let head = |connection: &mut Connection| {
            connection.send("GET", &target, None).expect("a request");
            connection.read_head().unwrap_or_else(|e| panic!("no headers of {target}: {e}"))
        };
        let heads = [head(&mut ours), head(&mut theirs)];
        if let Some(why) = difference(&heads[0], &heads[1]) {
            self.differ(&format!("head of {target}"), &why, "", "");
        }
        Watch { target, ours, theirs }
    }

    /// Compares the next event of a watch and gives back etcd's.
    pub fn hear(&mut self, watch: &mut Watch) -> String {
        let Watch { target, ours, theirs } = watch;
        let read = |connection: &mut Connection, whose: &str| match connection.chunk() {
            Ok(Some(chunk)) => chunk,
            Ok(None) => format!("({whose} ended)").into_bytes(),
            Err(error) => format!("({whose}: {error})").into_bytes(),
        };
        let (ours, theirs) = (read(ours, "ours"), read(theirs, "etcd"));
        if let Some(why) = body_difference(&ours, &theirs) {
            let what = format!("event of {target}");
            self.differ(&what, &why, &shorten(&ours), &shorten(&theirs));
        }
        String::from_utf8_lossy(&theirs).into_owned()
    }

    /// Hears the last event of a watch: then the answer ends and the connection can be used again.
    pub fn hear_last(&mut self, mut watch: Watch) -> String {
        let event = self.hear(&mut watch);
        let ends = |connection: &mut Connection| {
            let end = connection.chunk().is_ok_and(|chunk| chunk.is_none());
            end && connection.request("GET", "/version", None).is_ok_and(|answer| answer.status == 200)
        };
        let (ours, theirs) = (ends(&mut watch.ours), ends(&mut watch.theirs));
        if !ours || !theirs {
            self.differ(&watch.target, "the answer ends", &ours.to_string(), &theirs.to_string());
        }
        event
    }

    /// Fails with everything that differed.
    ///
    /// # Panics
    /// When something did.
    pub fn finish(&mut self) {
        let count = self.differences.len();
        assert!(count == 0, "{count} differences:\n{}", std::mem::take(&mut self.differences).join("\n"));
    }
}

impl Wire {
    /// What is sent before anything is heard.
    fn first(&self) -> Vec<u8> {
        if self.announced { self.head.clone() } else { [&self.head[..], &self.body].concat() }
    }

    /// Reads the answer; sends the body first when it was announced and the server wants it.
    fn read(&self, connection: &mut Connection) -> std::io::Result<Answer> {
        let mut head = connection.read_head()?;
        let asked = head.status == 100;
        if asked {
            connection.send_raw(&self.body)?;
            head = connection.read_head()?;
        }
        let mut answer = connection.read_body(&self.method, head)?;
        if asked {
            answer.headers.push(("(the body was asked for)".into(), String::new()));
        }
        Ok(answer)
    }
}

/// The same watch on both.
pub struct Watch {
    target: String,
    ours: Connection,
    theirs: Connection,
}

impl Watch {
    /// Whether nothing comes, on ours and on etcd, within `patience`.
    pub fn is_silent(&mut self, patience: Duration) -> [bool; 2] {
        [&mut self.ours, &mut self.theirs].map(|connection| {
            connection.set_patience(patience).expect("a connection");
            connection.chunk().is_err()
        })
    }
}

/// Puts the index in for `{i}`, `{i+N}` and `{i-N}`, and for `{o…}` the same in twenty digits.
pub fn fill(text: &str, index: u64) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = ["{i", "{o"].iter().filter_map(|mark| rest.find(mark)).min() {
        let (before, after) = rest.split_at(at);
        let (step, behind) = after[2..].split_once('}').expect("a closing brace");
        let step: i64 = if step.is_empty() { 0 } else { step.parse().expect("a number") };
        let number = index.saturating_add_signed(step);
        out += before;
        out += &if after.starts_with("{o") { format!("{number:020}") } else { number.to_string() };
        rest = behind;
    }
    out + rest
}

pub fn shorten(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(1500)]).into_owned();
    if bytes.len() > 1500 { format!("{text}… ({} bytes)", bytes.len()) } else { text }
}

/// The first line and the headers of an answer, in the order of their names, without what belongs to one server.
pub fn status_lines(text: &str) -> Vec<String> {
    let own = ["date:", "content-length:", "x-raft-index:", "x-raft-term:", "x-etcd-cluster-id:"];
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    let mut lines: Vec<String> = head
        .lines()
        .filter(|line| !own.iter().any(|name| line.to_lowercase().starts_with(name)))
        .map(str::to_string)
        .collect();
    lines[1..].sort();
    lines
}
