//! What random commands seldom meet: words of refusals, depth, odd bytes, and what takes no index.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::clock::NANOS;
use crate::format::LOWEST;

fn key(path: &str) -> Key {
    Key::parse(path.as_bytes()).unwrap()
}

fn at(seconds: i64) -> Stamp {
    Stamp { clock: seconds * NANOS, wall: (1_790_000_000 + seconds) * NANOS }
}

fn set(path: &str, value: &str) -> Command {
    let content = Content { value: value.into(), ..Content::default() };
    Command::Set { key: key(path), dir: false, content }
}

fn apply(keyspace: &mut Keyspace, command: &Command) -> Result<Applied, Refusal> {
    keyspace.apply(command, at(1), &mut Vec::new())
}

fn get(keyspace: &Keyspace, path: &str, recursive: bool) -> serde_json::Value {
    let json = keyspace.listing(&key(path), recursive, 0).unwrap().next_piece(usize::MAX);
    serde_json::from_slice(&json).unwrap()
}

#[test]
fn every_refusal_has_etcds_number_and_says_what_it_is_about() {
    let of = |error: KeyError| (error.code(), String::from_utf8(error.cause()).unwrap(), error.to_string());
    let mut keyspace = Keyspace::new(10);
    apply(&mut keyspace, &set("/other", "")).unwrap();
    apply(&mut keyspace, &set("/k", "b")).unwrap();
    let compare = Compare { value: Some("a".into()), index: Some(1) };
    let failed =
        apply(&mut keyspace, &Command::CompareAndDelete { key: key("/k"), compare }).unwrap_err().error;
    for (error, number, cause, words) in [
        (KeyError::NotFound { missing: key("/a") }, 100, "/a", "key not found: \"/a\""),
        (failed, 101, "[a != b] [1 != 2]", "compare failed: \"/k\""),
        (KeyError::NotFile { key: key("/d") }, 102, "/d", "not a file: \"/d\""),
        (KeyError::NotDirectory { file: key("/f") }, 104, "/f", "not a directory: \"/f\""),
        (KeyError::Exists { key: key("/a/b") }, 105, "/a/b", "key already exists: \"/a/b\""),
        (KeyError::RootReadOnly, 107, "/", "root is read only"),
        (KeyError::DirectoryNotEmpty { key: key("/d") }, 108, "/d", "directory not empty: \"/d\""),
        (
            KeyError::HistoryCleared { oldest: 9, asked: 3 },
            401,
            "the requested history has been cleared [9/3]",
            "events since 3 have been cleared, the oldest kept is 9",
        ),
    ] {
        assert_eq!(of(error), (number, cause.to_string(), words.to_string()));
    }
    // What no request for a key meets has one number, and its words are the cause.
    for error in [
        KeyError::Member(MemberError::Stale),
        KeyError::Member(MemberError::LastVoter),
        KeyError::Restore(RestoreError::Gone),
        KeyError::Restore(RestoreError::Order { expected: 3 }),
        KeyError::Restore(RestoreError::TooLarge),
    ] {
        let (number, cause, words) = of(error);
        assert_eq!(number, 300);
        assert_eq!(cause, words);
        assert!(!words.is_empty());
    }
}

#[test]
fn actions_have_etcds_names_and_only_three_remove() {
    let all = [
        (Action::Set, "set", false),
        (Action::Create, "create", false),
        (Action::Update, "update", false),
        (Action::CompareAndSwap, "compareAndSwap", false),
        (Action::Delete, "delete", true),
        (Action::CompareAndDelete, "compareAndDelete", true),
        (Action::Expire, "expire", true),
    ];
    for (action, name, removes) in all {
        assert_eq!((action.as_str(), action.removes()), (name, removes));
    }
    assert_eq!(all.iter().map(|(_, name, _)| *name).collect::<BTreeSet<_>>().len(), all.len());
}

#[test]
fn a_path_of_two_thousand_directories_costs_no_stack() {
    let mut keyspace = Keyspace::new(10);
    let deep = "/x".repeat(2_000);
    apply(&mut keyspace, &set(&deep, "v")).unwrap();
    assert_eq!((keyspace.len(), keyspace.extent().directories), (2_000, 1_999));
    let listing =
        String::from_utf8(keyspace.listing(&key("/"), true, 0).unwrap().next_piece(usize::MAX)).unwrap();
    assert_eq!(listing.matches("\"nodes\":[").count(), 2_000);
    assert_eq!(listing.matches('{').count(), listing.matches('}').count());
    assert!(listing.contains(&format!("{{\"key\":\"{deep}\",\"value\":\"v\"")));
    let removal = Command::Delete { key: key("/x"), dir: true, recursive: true };
    let mut changes = Vec::new();
    keyspace.apply(&removal, at(1), &mut changes).unwrap();
    assert_eq!(changes[0].removed.len(), 1_999);
    assert!(keyspace.is_empty() && keyspace.extent() == Extent::default());
}

#[test]
fn keys_of_any_bytes_are_listed_as_json() {
    let mut keyspace = Keyspace::new(10);
    for path in ["/a \"b\"", "/<tag>&", "/tab\t", "/\u{2028}", "/é"] {
        apply(&mut keyspace, &set(path, path)).unwrap();
    }
    let broken = Command::Set { key: Key::parse(b"/\xff").unwrap(), dir: false, content: Content::default() };
    keyspace.apply(&broken, at(1), &mut Vec::new()).unwrap();
    let listed = get(&keyspace, "/", false);
    let keys: Vec<&str> = listed["node"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["key"].as_str().unwrap())
        .collect();
    assert_eq!(keys, ["/<tag>&", "/a \"b\"", "/tab\t", "/é", "/\u{2028}", "/\u{fffd}"]);
    for node in &listed["node"]["nodes"].as_array().unwrap()[..5] {
        assert_eq!(node["key"], node["value"]);
    }
}

#[test]
fn an_empty_directory_and_an_empty_value_are_told_apart() {
    let mut keyspace = Keyspace::new(10);
    apply(&mut keyspace, &set("/f", "")).unwrap();
    let directory = Command::Create { key: key("/d"), dir: true, content: Content::default() };
    apply(&mut keyspace, &directory).unwrap();
    let (file, directory) = (get(&keyspace, "/f", false), get(&keyspace, "/d", false));
    assert_eq!((file["node"]["value"].as_str(), file["node"].get("dir")), (Some(""), None));
    assert_eq!(directory["node"]["dir"], true);
    assert!(directory["node"].get("value").is_none() && directory["node"].get("nodes").is_none());
}

#[test]
fn what_is_no_change_of_a_key_makes_no_event() {
    let mut keyspace = Keyspace::new(10);
    keyspace.seed_roster([(1, vec!["http://a:2380".to_string()])]);
    let publish = |id: u64, name: &str| {
        let (name, client_urls) = (name.into(), Vec::new());
        Command::Publish { id, name, client_urls, version: LOWEST, remark: None }
    };
    let folders = BTreeMap::from([(1, 11)]);
    for (command, steps) in [
        (Command::Expire, 0),
        (publish(1, "m1"), 1),
        (publish(1, "m1"), 1),
        (Command::Found { incarnation: 5, folders }, 0),
        (Command::Introduce { id: 1, folder: 11, run: 2 }, 0),
        (Command::AddMember { id: 2, peer_urls: vec!["http://b:2380".into()], replica: false }, 1),
        (Command::UpdateMember { id: 2, peer_urls: vec!["http://c:2380".into()] }, 1),
        (Command::RemoveMember { id: 2, seen: None }, 2),
    ] {
        let (before, mut changes) = (keyspace.index(), Vec::new());
        let applied = keyspace.apply(&command, at(1), &mut changes).unwrap();
        assert_eq!(applied.index, before + steps, "{command:?}");
        assert!(applied.event.is_none() && changes.is_empty(), "{command:?}");
    }
    assert!(keyspace.is_empty() && keyspace.history().is_empty());
    // A member that was removed says its name in vain.
    let late = publish(2, "m2");
    let before = keyspace.index();
    assert_eq!(apply(&mut keyspace, &late).unwrap().index, before);
    assert_eq!(keyspace.members().get(2), None);
}

#[test]
fn a_roster_is_seeded_once() {
    let mut keyspace = Keyspace::new(10);
    keyspace.seed_roster([(1, vec!["http://a:2380".to_string()])]);
    keyspace.seed_roster([(2, vec!["http://b:2380".to_string()])]);
    assert_eq!(keyspace.roster().members().keys().collect::<Vec<_>>(), [&1]);
    assert_eq!(keyspace.index(), 0);
}

#[test]
fn an_older_stamp_does_not_turn_the_clock_back() {
    let mut keyspace = Keyspace::new(10);
    let content = Content { ttl: Some(Ttl::from_secs(10)), ..Content::default() };
    let mortal = Command::Set { key: key("/a"), dir: false, content };
    keyspace.apply(&mortal, at(100), &mut Vec::new()).unwrap();
    // A leader that was cut off proposes by an older reading.
    keyspace.apply(&set("/b", ""), at(5), &mut Vec::new()).unwrap();
    assert_eq!(keyspace.now().clock, 100 * NANOS);
    assert_eq!(keyspace.now().wall, at(5).wall, "what is shown is the newest leader's");
    assert_eq!(keyspace.next_expiry(), Some(110 * NANOS));
    let mut changes = Vec::new();
    keyspace.apply(&Command::Expire, at(109), &mut changes).unwrap();
    assert!(changes.is_empty());
    keyspace.apply(&Command::Expire, at(110), &mut changes).unwrap();
    assert_eq!(changes.len(), 1);
}

#[test]
fn a_reader_whose_clock_is_ahead_sees_less_of_a_lifetime_and_never_more() {
    let mut keyspace = Keyspace::new(10);
    let content = Content { ttl: Some(Ttl::from_secs(10)), ..Content::default() };
    let mortal = Command::Set { key: key("/a"), dir: false, content };
    keyspace.apply(&mortal, at(100), &mut Vec::new()).unwrap();
    let left = |seconds: i64| {
        let json = keyspace.listing(&key("/a"), false, seconds * NANOS).unwrap().next_piece(usize::MAX);
        serde_json::from_slice::<serde_json::Value>(&json).unwrap()["node"]["ttl"].as_i64()
    };
    assert_eq!([left(0), left(100), left(104), left(109)], [Some(10), Some(10), Some(6), Some(1)]);
    // Due and not expired yet: a ttl of 0 is not shown.
    assert_eq!(left(110), None);
}

#[test]
fn names_in_order_stay_in_order_when_other_keys_come_between() {
    let mut keyspace = Keyspace::new(10);
    let post = Command::CreateInOrder { dir_key: key("/queue"), dir: false, content: Content::default() };
    let mut names = Vec::new();
    for n in 0..30 {
        let event = apply(&mut keyspace, &post).unwrap().event.unwrap();
        names.push(String::from_utf8(event.key().as_bytes().to_vec()).unwrap());
        for other in 0..n % 3 {
            apply(&mut keyspace, &set(&format!("/other/{other}"), "")).unwrap();
        }
    }
    assert!(names.is_sorted() && names.iter().all(|name| name.len() == "/queue/".len() + 20));
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 30);
    let listed = get(&keyspace, "/queue", false);
    let keys = listed["node"]["nodes"].as_array().unwrap().iter().map(|node| node["key"].as_str().unwrap());
    assert!(keys.eq(names.iter().map(String::as_str)), "a listing is in the order of arrival");
}
