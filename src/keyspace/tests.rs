use super::*;
use crate::clock::NANOS;
use crate::format::{self, LOWEST};

/// A wall clock reading in 2026.
const WALL: i64 = 1_790_000_000 * NANOS;

fn key(text: &str) -> Key {
    Key::parse(text.as_bytes()).unwrap()
}

fn at(secs: i64) -> Stamp {
    Stamp { clock: secs * NANOS, wall: WALL + secs * NANOS }
}

fn content(value: &str) -> Content {
    Content { value: value.into(), ..Content::default() }
}

fn ttl(value: &str, secs: u64) -> Content {
    Content { ttl: Some(Ttl::from_secs(secs)), ..content(value) }
}

fn set(path: &str, content: Content) -> Command {
    Command::Set { key: key(path), dir: false, content }
}

fn mkdir(path: &str) -> Command {
    Command::Create { key: key(path), dir: true, content: Content::default() }
}

fn rm(path: &str, dir: bool, recursive: bool) -> Command {
    Command::Delete { key: key(path), dir, recursive }
}

struct Fixture {
    keyspace: Keyspace,
    changes: Vec<Change>,
    time: i64,
}

impl Fixture {
    fn new() -> Self {
        Self { keyspace: Keyspace::new(1000), changes: Vec::new(), time: 0 }
    }

    fn apply(&mut self, command: Command) -> Result<Applied, Refusal> {
        self.keyspace.apply(&command, at(self.time), &mut self.changes)
    }

    fn json(&mut self, command: Command) -> String {
        let event = self.apply(command).unwrap().event.unwrap();
        String::from_utf8(event.encoded()).unwrap()
    }

    fn code(&mut self, command: Command) -> (u16, String) {
        let refusal = self.apply(command).unwrap_err();
        (refusal.error.code(), String::from_utf8(refusal.error.cause()).unwrap())
    }

    fn get(&self, path: &str, recursive: bool) -> String {
        let clock = self.time * NANOS;
        String::from_utf8(self.keyspace.listing(&key(path), recursive, clock).unwrap().next_piece(usize::MAX))
            .unwrap()
    }
}

#[test]
fn answers_have_the_form_of_etcd() {
    let mut f = Fixture::new();
    assert_eq!(
        f.json(set("/a", content("1"))),
        "{\"action\":\"set\",\"node\":{\"key\":\"/a\",\"value\":\"1\",\"modifiedIndex\":1,\"createdIndex\":1}}\n"
    );
    assert_eq!(
        f.json(set("/a", content("2"))),
        "{\"action\":\"set\",\"node\":{\"key\":\"/a\",\"value\":\"2\",\"modifiedIndex\":2,\"createdIndex\":2},\
         \"prevNode\":{\"key\":\"/a\",\"value\":\"1\",\"modifiedIndex\":1,\"createdIndex\":1}}\n"
    );
    assert_eq!(
        f.json(rm("/a", false, false)),
        "{\"action\":\"delete\",\"node\":{\"key\":\"/a\",\"modifiedIndex\":3,\"createdIndex\":2},\
         \"prevNode\":{\"key\":\"/a\",\"value\":\"2\",\"modifiedIndex\":2,\"createdIndex\":2}}\n"
    );
    assert_eq!(f.get("/", false), "{\"action\":\"get\",\"node\":{\"dir\":true}}\n");
}

#[test]
fn listings_nest_and_leave_out_what_is_hidden() {
    let mut f = Fixture::new();
    for path in ["/d/a", "/d/e/x", "/d/_h/y", "/d/f/_z", "/d!"] {
        f.apply(set(path, content("v"))).unwrap();
    }
    let flat = f.get("/d", false);
    let names: Vec<_> = flat.split("\"key\":\"").skip(1).map(|s| s.split('"').next().unwrap()).collect();
    assert_eq!(names, ["/d", "/d/a", "/d/e", "/d/f"]);
    assert_eq!(
        f.get("/d", true),
        "{\"action\":\"get\",\"node\":{\"key\":\"/d\",\"dir\":true,\"nodes\":[\
         {\"key\":\"/d/a\",\"value\":\"v\",\"modifiedIndex\":1,\"createdIndex\":1},\
         {\"key\":\"/d/e\",\"dir\":true,\"nodes\":[\
         {\"key\":\"/d/e/x\",\"value\":\"v\",\"modifiedIndex\":2,\"createdIndex\":2}],\"modifiedIndex\":2,\"createdIndex\":2},\
         {\"key\":\"/d/f\",\"dir\":true,\"modifiedIndex\":4,\"createdIndex\":4}],\
         \"modifiedIndex\":1,\"createdIndex\":1}}\n"
    );
    assert!(f.get("/d/_h", false).contains("/d/_h/y"));
    assert!(f.get("/", true).ends_with("\"createdIndex\":5}]}}\n"));
}

#[test]
fn refusals_carry_code_cause_and_change_nothing() {
    let mut f = Fixture::new();
    f.apply(set("/f", content("v"))).unwrap();
    f.apply(mkdir("/d")).unwrap();
    f.apply(set("/d/x", content("v"))).unwrap();
    assert_eq!(f.code(set("/f/x", content("v"))), (104, "/f".into()));
    assert_eq!(f.code(set("/d", content("v"))), (102, "/d".into()));
    assert_eq!(f.code(mkdir("/d")), (105, "/d".into()));
    assert_eq!(f.code(rm("/d", false, false)), (102, "/d".into()));
    assert_eq!(f.code(rm("/d", true, false)), (108, "/d".into()));
    assert_eq!(f.code(rm("/m/x/y", false, false)), (100, "/m".into()));
    assert_eq!(f.code(set("/", content("v"))), (107, "/".into()));
    assert_eq!(f.code(Command::Update { key: key("/d"), content: content("v") }), (102, "/d".into()));
    assert_eq!(f.keyspace.index(), 3);
    assert!(f.keyspace.find(&key("/f/x")).is_err());
}

#[test]
fn swaps_compare_value_before_index() {
    let mut f = Fixture::new();
    f.apply(set("/a", content("1"))).unwrap();
    let swap = |value: &str, index| Command::CompareAndSwap {
        key: key("/a"),
        compare: Compare { value: Some(value.into()), index },
        content: content("2"),
    };
    assert_eq!(f.code(swap("9", Some(7))), (101, "[9 != 1] [7 != 1]".into()));
    assert_eq!(f.code(swap("1", Some(7))), (101, "[7 != 1]".into()));
    let json = f.json(swap("1", Some(1)));
    assert!(json.starts_with("{\"action\":\"compareAndSwap\"") && json.contains("\"createdIndex\":1}"));
}

#[test]
fn swap_on_an_expired_key_is_not_found() {
    let mut f = Fixture::new();
    f.apply(set("/a", ttl("1", 5))).unwrap();
    f.time = 6;
    let compare = Compare { value: Some("1".into()), index: None };
    let swap = Command::CompareAndSwap { key: key("/a"), compare, content: content("2") };
    assert_eq!(f.code(swap), (100, "/a".into()));
    assert_eq!(f.keyspace.index(), 2, "the expiry takes an index");
}

#[test]
fn keys_run_out_in_the_order_of_their_deadlines_and_directories_take_all_along() {
    let mut f = Fixture::new();
    f.apply(set("/late", ttl("", 3))).unwrap();
    f.apply(set("/early", ttl("", 2))).unwrap();
    f.apply(Command::Create { key: key("/d"), dir: true, content: ttl("", 4) }).unwrap();
    f.apply(set("/d/x", ttl("", 9))).unwrap();
    f.changes.clear();
    f.time = 2;
    f.apply(Command::Expire).unwrap();
    assert_eq!(f.changes.len(), 1);
    f.time = 5;
    f.apply(Command::Expire).unwrap();
    let told: Vec<_> =
        f.changes.iter().map(|c| (c.event.action, c.event.key().clone(), c.event.index)).collect();
    assert_eq!(
        told,
        [
            (Action::Expire, key("/early"), 5),
            (Action::Expire, key("/late"), 6),
            (Action::Expire, key("/d"), 7)
        ]
    );
    assert_eq!(f.changes[2].removed, [key("/d/x")]);
    assert!(f.keyspace.is_empty() && f.keyspace.next_expiry().is_none());
}

#[test]
fn ttl_is_shown_rounded_up_and_overflow_follows_etcd() {
    let mut f = Fixture::new();
    assert!(f.json(set("/a", ttl("", 3))).contains("\"ttl\":3"));
    f.time = 1;
    assert!(f.get("/a", false).contains("\"ttl\":2"));
    assert!(f.json(set("/b", ttl("", u64::MAX))).contains("\"ttl\":-1"));
    assert!(!f.json(set("/c", ttl("", 9_223_372_036))).contains("expiration"));
}

#[test]
fn a_refresh_keeps_the_value_and_tells_nobody() {
    let mut f = Fixture::new();
    f.apply(set("/a", ttl("v", 5))).unwrap();
    let refresh = Content { refresh: true, ..ttl("", 9) };
    let json = f.json(Command::Update { key: key("/a"), content: refresh.clone() });
    assert!(json.contains("\"value\":\"v\"") && json.contains("\"ttl\":9"), "{json}");
    assert_eq!(f.keyspace.history().scan(b"/a", false, 2, 2), Ok(None));
    assert_eq!(f.code(set("/none", refresh.clone())), (100, "/none".into()));
    f.apply(mkdir("/d")).unwrap();
    assert_eq!(f.code(set("/d", refresh.clone())), (102, "/d".into()));
    let json = f.json(Command::Update { key: key("/d"), content: refresh });
    assert!(json.contains("\"modifiedIndex\":4,\"createdIndex\":3"), "{json}");
    assert!(f.get("/d", false).contains("\"modifiedIndex\":3,\"createdIndex\":3"));
}

#[test]
fn in_order_names_are_the_index() {
    let mut f = Fixture::new();
    f.apply(set("/x", content(""))).unwrap();
    let post = |path: &str| Command::CreateInOrder { dir_key: key(path), dir: false, content: content("v") };
    assert!(f.json(post("/q")).contains("\"key\":\"/q/00000000000000000002\""));
    assert!(f.json(post("/")).contains("\"key\":\"/00000000000000000003\""));
    assert_eq!(f.code(post("/x")), (104, "/x".into()));
}

#[test]
fn only_the_removal_of_a_directory_concerns_what_was_below() {
    let mut f = Fixture::new();
    for (path, make) in [("/f", set("/f", content("v"))), ("/d", mkdir("/d"))] {
        f.apply(make).unwrap();
        f.apply(rm(path, true, false)).unwrap();
    }
    let history = f.keyspace.history();
    assert_eq!(history.scan(b"/f/x", false, 1, 4), Ok(None));
    assert_eq!(history.scan(b"/d/x", false, 1, 4).unwrap().unwrap().index, 4);
    assert_eq!(history.scan(b"/dx", false, 1, 4), Ok(None));
}

#[test]
fn a_failed_compare_gives_the_values_byte_for_byte() {
    let mut f = Fixture::new();
    f.apply(set("/a", Content { value: b"\xff"[..].into(), ..Content::default() })).unwrap();
    let compare = Compare { value: Some(b"\xc3"[..].into()), index: Some(9) };
    let swap = Command::CompareAndSwap { key: key("/a"), compare, content: content("") };
    let refusal = f.apply(swap).unwrap_err();
    assert_eq!(refusal.error.cause(), b"[\xc3 != \xff] [9 != 1]");
}

#[test]
fn history_finds_the_first_match_and_says_when_it_is_cleared() {
    let mut f = Fixture::new();
    f.keyspace = Keyspace::new(3);
    for n in 1..=5 {
        f.apply(set(&format!("/d/{n}"), content(""))).unwrap();
    }
    let history = f.keyspace.history();
    assert_eq!(history.scan(b"/d", true, 3, 5).unwrap().unwrap().index, 3);
    assert_eq!(history.scan(b"/d/5", false, 3, 5).unwrap().unwrap().index, 5);
    assert_eq!(history.scan(b"/d", false, 3, 5).unwrap(), None);
    assert_eq!(history.scan(b"/d", true, 2, 5), Err(KeyError::HistoryCleared { oldest: 3, asked: 2 }));
}

#[test]
fn history_is_bound_in_bytes_as_well_and_a_copy_knows_what_was_dropped() {
    let mut f = Fixture::new();
    f.keyspace = Keyspace::new(Memory { events: 100, bytes: 10_000 });
    for _ in 1..=20 {
        f.apply(set("/big", content(&"x".repeat(1000)))).unwrap();
    }
    let history = f.keyspace.history();
    assert!(history.bytes() <= 10_000 && history.len() >= 3, "{} in {}", history.bytes(), history.len());
    let oldest = 21 - history.len() as u64;
    assert_eq!(history.oldest(20), oldest);
    let cleared = Err(KeyError::HistoryCleared { oldest, asked: oldest - 1 });
    assert_eq!(history.scan(b"/big", false, oldest - 1, 20), cleared);
    assert_eq!(history.scan(b"/big", false, oldest, 20).unwrap().unwrap().index, oldest);

    let mut copy = Keyspace::new(1000);
    f.keyspace.freeze().records().for_each(|record| copy.restore(record).unwrap());
    assert_eq!(copy.history().oldest(20), oldest);

    // A snapshot need not remember as much, and who has it knows what it does not remember.
    let mut frozen = f.keyspace.freeze();
    frozen.shorten_history(4000);
    let mut copy = Keyspace::new(1000);
    frozen.records().for_each(|record| copy.restore(record).unwrap());
    let (length, later) = (copy.history().len() as u64, copy.history().oldest(20));
    assert!(length >= 1 && length < f.keyspace.history().len() as u64 && copy.history().bytes() <= 4000);
    assert_eq!(later, 21 - length);
    let cleared = Err(KeyError::HistoryCleared { oldest: later, asked: later - 1 });
    assert_eq!(copy.history().scan(b"/big", false, later - 1, 20), cleared);
    assert_eq!(copy.find(&key("/big")), f.keyspace.find(&key("/big")));

    f.apply(set("/huge", content(&"x".repeat(100_000)))).unwrap();
    assert_eq!((f.keyspace.history().len(), f.keyspace.history().oldest(21)), (1, 21));
}

#[test]
fn the_extent_follows_what_comes_and_goes() {
    let mut f = Fixture::new();
    f.apply(set("/d/a", ttl("123", 50))).unwrap();
    f.apply(set("/d/b", content("1"))).unwrap();
    assert_eq!((f.keyspace.len(), f.keyspace.mortal()), (3, 1));
    assert_eq!(f.keyspace.extent(), Extent { directories: 1, bytes: 2 + 4 + 3 + 4 + 1 });
    f.apply(set("/d/a", content("1"))).unwrap();
    assert_eq!(f.keyspace.extent().bytes, 2 + 4 + 1 + 4 + 1);
    f.apply(rm("/d", true, true)).unwrap();
    assert_eq!(f.keyspace.extent(), Extent::default());
}

#[test]
fn a_frozen_keyspace_stays_as_it_was_and_builds_an_equal_one() {
    let mut f = Fixture::new();
    f.apply(set("/a/b", ttl("1", 50))).unwrap();
    let client_urls = vec!["http://x".into()];
    f.apply(Command::Publish { id: 7, name: "n".into(), client_urls, version: LOWEST, remark: None })
        .unwrap();
    let frozen = f.keyspace.freeze();
    f.apply(set("/a/b", content("2"))).unwrap();
    f.apply(set("/c", content("3"))).unwrap();

    let mut restored = Keyspace::new(1000);
    for record in frozen.records() {
        let bytes = format::encode(&record).unwrap();
        restored.restore(format::decode(&bytes).unwrap()).unwrap();
    }
    assert_eq!(restored.index(), 2);
    assert_eq!(restored.next_expiry(), Some(50 * NANOS));
    assert_eq!(restored.members().get(7).unwrap().name, "n");
    let json =
        String::from_utf8(restored.listing(&key("/a"), true, 0).unwrap().next_piece(usize::MAX)).unwrap();
    assert!(json.contains("\"value\":\"1\"") && !json.contains("/c"), "{json}");
    assert_eq!(restored.history().scan(b"/a/b", false, 1, 2).unwrap().unwrap().index, 1);
}

#[test]
fn a_copy_of_the_history_stays_as_it_was_and_finds_what_the_whole_finds() {
    let mut f = Fixture::new();
    f.keyspace = Keyspace::new(600);
    let write = |f: &mut Fixture, n: usize| f.apply(set(&format!("/d/{}", n % 7), content(""))).unwrap();
    for n in 0..1000 {
        write(&mut f, n);
    }
    let (whole, index) = (f.keyspace.history().clone(), f.keyspace.index());
    assert_eq!((whole.len(), whole.oldest(index)), (600, 401));
    let parts: Vec<History> = (401..=1001).map(|since| whole.since(since)).collect();
    for n in 0..700 {
        write(&mut f, n);
    }
    assert!(whole.iter().map(|event| event.index).eq(401..=1000));
    for (since, part) in (401..=1001).zip(&parts) {
        for path in [&b"/d/3"[..], b"/d/6", b"/none"] {
            assert_eq!(
                part.scan(path, false, since, index),
                whole.scan(path, false, since, index),
                "{since}"
            );
        }
        assert!(part.scan(b"/d", true, 400, index).is_err());
    }
    assert!(f.keyspace.history().iter().map(|event| event.index).eq(1101..=1700));
}

#[test]
fn what_keeps_or_asks_for_a_large_value_copies_none() {
    let mut f = Fixture::new();
    let large = Content { value: vec![b'x'; 10 << 20].into(), ..Content::default() };
    let value = large.value.clone();
    f.apply(set("/a", large)).unwrap();
    let refresh = Content { ttl: Some(Ttl::from_secs(100)), refresh: true, ..Content::default() };
    let (mut done, mut refused) = (Vec::new(), Vec::new());
    for n in 0..512 {
        let compare = Compare { value: Some("no".into()), index: Some(u64::MAX - n) };
        let (key, content) = (key("/a"), refresh.clone());
        done.push(match n % 3 {
            0 => f.apply(set("/a", content)),
            1 => f.apply(Command::Update { key, content }),
            _ => f.apply(Command::CompareAndSwap { key, compare: Compare::default(), content }),
        });
        refused.push(f.apply(Command::CompareAndSwap {
            key: self::key("/a"),
            compare,
            content: refresh.clone(),
        }));
    }
    // As a batch has them all at once.
    for done in done {
        let event = done.unwrap().event.unwrap();
        for view in [&event.node, event.prev.as_ref().unwrap()] {
            assert!(view.node.blob().unwrap().is_shared_with(&value));
        }
    }
    for refused in refused {
        let KeyError::CompareFailed(mismatch) = refused.unwrap_err().error else { panic!("it compares") };
        let values = mismatch.parts().filter_map(|part| match part {
            mismatch::Part::Value(value) => Some(value.clone()),
            mismatch::Part::Text(_) => None,
        });
        assert!(values.last().unwrap().is_shared_with(&value));
    }
    // So does a restore, which sets lifetimes going again.
    f.keyspace.rebase(0);
    assert!(f.keyspace.find(&key("/a")).unwrap().blob().unwrap().is_shared_with(&value));
}

#[test]
fn many_keys_that_are_due_at_once_run_out_a_bounded_number_at_a_time_and_in_order() {
    let mut f = Fixture::new();
    let total = EXPIRED_AT_ONCE + EXPIRED_BESIDE + 100;
    for n in 0..total {
        f.apply(set(&format!("/{n:05}"), ttl("", 5))).unwrap();
    }
    f.time = 6;
    let mut expired = |command: Command| {
        let before = f.changes.len();
        f.apply(command).unwrap();
        let expired = f.changes[before..].iter().filter(|change| change.event.action == Action::Expire);
        (expired.map(|change| change.event.key().clone()).collect::<Vec<_>>(), f.keyspace.next_expiry())
    };
    let (beside, left) = expired(set("/a", content("")));
    assert_eq!((beside.len(), left.is_some()), (EXPIRED_BESIDE, true), "more is due");
    let (first, left) = expired(Command::Expire);
    assert_eq!((first.len(), left.is_some()), (EXPIRED_AT_ONCE, true));
    let (last, left) = expired(Command::Expire);
    assert_eq!((last.len(), left), (100, None));
    let all = [beside, first, last].concat();
    assert!(all.is_sorted_by(|one, next| one.as_bytes() < next.as_bytes()) && all.len() == total);
}
