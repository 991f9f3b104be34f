//! Watches that stay open while other requests go on, and what has come of them so far.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::common::http::Answer;
use crate::conformance::compare::body_difference_within;
use crate::conformance::difference;
use crate::conformance::pair::{Pair, fill, shorten};

/// How long one server may be behind the other in telling.
const LATE: Duration = Duration::from_secs(5);

/// How long nothing more may come before it is taken that nothing will.
const QUIET: Duration = Duration::from_millis(60);

/// How far apart times may be in events, in seconds.
const SLACK_SECONDS: i64 = 10;

/// One connection that listens.
struct Ear {
    stream: TcpStream,
    bytes: Vec<u8>,
}

/// What has come: the head with a body that is not chunked, events, and whether the answer is complete.
#[derive(Debug, Default)]
struct Heard {
    head: Option<Answer>,
    events: Vec<Vec<u8>>,
    ended: bool,
}

impl Ear {
    fn open(url: &str, target: &str) -> Self {
        let mut stream = TcpStream::connect(url.trim_start_matches("http://")).expect("a connection");
        stream.set_nodelay(true).expect("a connection");
        stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).expect("sent");
        Self { stream, bytes: Vec::new() }
    }

    /// Takes in what comes within `patience`; whether anything did.
    fn listen(&mut self, patience: Duration) -> bool {
        self.stream.set_nonblocking(patience.is_zero()).expect("a connection");
        // Zero would mean for ever.
        self.stream.set_read_timeout(Some(patience.max(Duration::from_millis(1)))).expect("a connection");
        let mut piece = [0; 8192];
        // Nothing comes when nothing is there yet, and when the server has closed.
        let count = self.stream.read(&mut piece).unwrap_or_default();
        self.bytes.extend_from_slice(&piece[..count]);
        count > 0
    }

    fn heard(&self) -> Heard {
        let mut heard = Heard::default();
        let end = self.bytes.windows(4).position(|part| part == b"\r\n\r\n");
        let Some(end) = end else { return heard };
        let text = String::from_utf8_lossy(&self.bytes[..end]).into_owned();
        let mut lines = text.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or_default();
        let header =
            |line: &str| line.split_once(": ").map(|(name, value)| (name.to_string(), value.to_string()));
        let mut head = Answer { status, headers: lines.filter_map(header).collect(), body: Vec::new() };
        let mut rest = &self.bytes[end + 4..];
        if let Some(length) = head.header("Content-Length").and_then(|text| text.parse::<usize>().ok()) {
            heard.ended = rest.len() >= length;
            head.body = rest.to_vec();
        } else {
            while let Some((chunk, after)) = chunk(rest) {
                rest = after;
                heard.ended = chunk.is_empty();
                if !heard.ended {
                    heard.events.push(chunk.to_vec());
                }
            }
        }
        heard.head = Some(head);
        heard
    }
}

/// The first chunk of a body, if it is there whole, and what follows it.
fn chunk(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = bytes.windows(2).position(|part| part == b"\r\n")?;
    let size = usize::from_str_radix(std::str::from_utf8(&bytes[..line]).ok()?, 16).ok()?;
    let rest = &bytes[line + 2..];
    (rest.len() >= size + 2).then(|| (&rest[..size], &rest[size + 2..]))
}

/// The same watch on both servers.
pub struct Listener {
    pub target: String,
    /// Where it stands among the steps.
    pub step: usize,
    ours: Ear,
    theirs: Ear,
    /// etcd's first head, when it had to be asked again.
    first_head: Option<Answer>,
    compared: usize,
    /// etcd goes silent after the first event of a stream that began in the past.
    once: bool,
}

impl Listener {
    /// Opens it. What etcd tells of the past and should not is passed over.
    pub fn open(pair: &Pair, step: usize, target: &str) -> Self {
        let target = fill(&format!("/v2/keys{target}"), pair.index);
        let [our_url, their_url] = pair.urls();
        let ours = Ear::open(&our_url, &target);
        let theirs = Ear::open(&their_url, &target);
        let once = target.contains("stream=true") && target.contains("waitIndex=");
        let mut listener = Self { target, step, ours, theirs, first_head: None, compared: 0, once };
        listener.wait_for_heads();
        listener.pass_over(&their_url);
        listener
    }

    /// From then on both hear what happens.
    fn wait_for_heads(&mut self) {
        let until = Instant::now() + LATE;
        for ear in [&mut self.ours, &mut self.theirs] {
            while ear.heard().head.is_none() && Instant::now() < until {
                ear.listen(Duration::from_millis(20));
            }
        }
    }

    /// Asks etcd again from behind each event that `excused` names, as long as it comes from the past.
    fn pass_over(&mut self, url: &str) {
        let Some(since) = self.target.find("waitIndex=") else { return };
        for _ in 0..2000 {
            let heard = self.first_of_theirs();
            let Some(index) = heard.events.first().and_then(|event| excused(event, &self.target)) else {
                return;
            };
            self.first_head = self.first_head.take().or(heard.head);
            let end = self.target[since..].find('&').map_or(self.target.len(), |end| since + end);
            let again = format!("{}waitIndex={}{}", &self.target[..since], index + 1, &self.target[end..]);
            self.theirs = Ear::open(url, &again);
        }
    }

    /// What etcd has to say at once. It tells of the past whatever we tell and more, so when we have something, etcd is
    /// waited for.
    fn first_of_theirs(&mut self) -> Heard {
        let until = Instant::now() + LATE;
        loop {
            self.theirs.listen(Duration::from_millis(15));
            while self.ours.listen(Duration::ZERO) {}
            let (ours, theirs) = (self.ours.heard(), self.theirs.heard());
            let silent = theirs.events.is_empty() && !theirs.ended;
            if !silent || ours.events.is_empty() && !ours.ended || Instant::now() > until {
                return theirs;
            }
        }
    }

    /// Compares what has come. `Ok(true)` when the watch is over.
    ///
    /// # Errors
    /// What differs, and the two texts.
    pub fn check(&mut self) -> Result<bool, (String, String, String)> {
        let until = Instant::now() + LATE;
        loop {
            while self.ours.listen(Duration::ZERO) {}
            while self.theirs.listen(Duration::ZERO) {}
            let (ours, theirs) = (self.ours.heard(), self.their_side());
            let level = ours.events.len() == theirs.events.len() && ours.ended == theirs.ended;
            let enough = self.once && ours.head.is_some() && theirs.head.is_some() && !ours.events.is_empty();
            if level || enough && !theirs.events.is_empty() || Instant::now() > until {
                return self.compare(&ours, &theirs);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// etcd's side without what it tells twice.
    fn their_side(&self) -> Heard {
        let mut heard = self.theirs.heard();
        if self.target.contains("stream=") {
            heard.events.dedup();
        }
        if let (Some(first), Some(_)) = (&self.first_head, &heard.head) {
            heard.head = Some(first.clone());
        }
        heard
    }

    fn compare(&mut self, ours: &Heard, theirs: &Heard) -> Result<bool, (String, String, String)> {
        let show = |heard: &Heard| {
            let events = heard.events.iter().map(|event| shorten(event)).collect::<String>();
            let body = heard.head.as_ref().map(|head| shorten(&head.body)).unwrap_or_default();
            format!("{body}{events}{}", if heard.ended { "(end)" } else { "(open)" })
        };
        let differ = |why: String| Err((why, show(ours), show(theirs)));
        let (Some(our_head), Some(their_head)) = (&ours.head, &theirs.head) else {
            return differ("one has sent no headers".into());
        };
        if let Some(why) = difference(our_head, their_head) {
            return differ(why);
        }
        let late = theirs.events.first().and_then(|event| excused(event, &self.target));
        if self.compared == 0 && late.is_some_and(|index| index <= their_head.index()) {
            // It came from the past when nobody waited for it any more.
            return Ok(true);
        }
        let both = ours.events.iter().zip(&theirs.events);
        for (our_event, their_event) in both.skip(self.compared) {
            if let Some(why) = body_difference_within(our_event, their_event, SLACK_SECONDS) {
                return differ(format!("an event of a watch: {why}"));
            }
            if self.once {
                return Ok(true);
            }
        }
        if ours.events.len() != theirs.events.len() || ours.ended != theirs.ended {
            return differ(format!("{} events instead of {}", ours.events.len(), theirs.events.len()));
        }
        self.compared = ours.events.len();
        Ok(ours.ended)
    }
}

/// Gives late events the time to come.
pub fn let_things_come() {
    std::thread::sleep(QUIET);
}

/// The index of an event that etcd tells of the past and should not: of a key that is hidden from the watch, or of
/// the removal of a directory whose name only begins like the watched one's.
fn excused(event: &[u8], target: &str) -> Option<u64> {
    let event: serde_json::Value = serde_json::from_slice(event).ok()?;
    let key = event["node"]["key"].as_str()?;
    let path = target.strip_prefix("/v2/keys")?.split('?').next()?.trim_end_matches('/');
    let below = key.strip_prefix(path);
    let hidden = below.is_some_and(|rest| rest.contains("/_"));
    let gone = event["node"]["dir"].as_bool() == Some(true) && key != path;
    let mistaken = gone && path.strip_prefix(key).is_some_and(|rest| !rest.starts_with('/'));
    (hidden || mistaken).then(|| event["node"]["modifiedIndex"].as_u64()).flatten()
}

#[test]
fn what_etcd_should_not_tell_is_known() {
    let event = |key: &str, dir: bool| {
        format!("{{\"action\":\"delete\",\"node\":{{\"key\":\"{key}\",\"dir\":{dir},\"modifiedIndex\":7}}}}")
            .into_bytes()
    };
    assert_eq!(excused(&event("/d/_h/x", false), "/v2/keys/d?wait=true"), Some(7));
    assert_eq!(excused(&event("/d/_h/x", false), "/v2/keys/d/_h?wait=true"), None);
    assert_eq!(excused(&event("/d/_h", false), "/v2/keys/d/_h?wait=true"), None);
    assert_eq!(excused(&event("/fo", true), "/v2/keys/foobar?wait=true"), Some(7));
    assert_eq!(excused(&event("/fo", true), "/v2/keys/fo/bar?wait=true"), None);
    assert_eq!(excused(&event("/fo", true), "/v2/keys/fo?wait=true"), None);
    assert_eq!(excused(&event("/_r", false), "/v2/keys/?wait=true"), Some(7));
}
