use super::*;
use crate::clock::Stamp;
use crate::format::{self, CURRENT};
use crate::keyspace::auth::{AuthCommand, PasswordHash};
use crate::keyspace::backup::{Info, Reader, Writer};
use crate::keyspace::{Blob, Change, Command, Content, Key, KeyError, Refusal, Ttl};

#[path = "restore_random_test.rs"]
mod random;

fn key(path: &str) -> Key {
    Key::parse(path.as_bytes()).unwrap()
}

fn at(seconds: i64) -> Stamp {
    Stamp { clock: seconds * NANOS, wall: (1_700_000_000 + seconds) * NANOS }
}

fn set(path: &str, value: &str, ttl: Option<i64>) -> Command {
    let ttl = ttl.map(|seconds| Ttl { nanos: seconds * NANOS });
    Command::Set { key: key(path), dir: false, content: Content { value: value.into(), ttl, refresh: false } }
}

fn apply(keyspace: &mut Keyspace, command: &Command, seconds: i64) -> Result<Applied, KeyError> {
    keyspace.apply(command, at(seconds), &mut Vec::new()).map_err(|refusal: Refusal| refusal.error)
}

fn keyspace(commands: &[Command]) -> Keyspace {
    let mut keyspace = Keyspace::new(100);
    for command in commands {
        apply(&mut keyspace, command, 1).unwrap();
    }
    keyspace
}

fn value(keyspace: &Keyspace, path: &str) -> Option<String> {
    let node = keyspace.find(&key(path)).ok()?;
    Some(String::from_utf8_lossy(node.value()).into_owned())
}

/// The chunks of a backup that is made when the clock reads `seconds`, and their checksum.
fn backup(keyspace: &Keyspace, seconds: i64) -> (Vec<Vec<u8>>, Digest) {
    let info = Info { cluster: 1, member: 1, wall: 0, version: String::new() };
    let (mut writer, first) = Writer::begin(&info, CURRENT).unwrap();
    let mut reader = Reader::default();
    let mut chunks = Vec::new();
    let mut feed = |piece: &[u8]| {
        reader.push(piece);
        while let Some(chunk) = reader.chunk().unwrap() {
            chunks.push(chunk.to_vec());
        }
    };
    feed(&first);
    for record in keyspace.freeze().backup(seconds * NANOS) {
        if let Some(piece) = writer.push(&record).unwrap() {
            feed(&piece);
        }
    }
    feed(&writer.end().unwrap());
    let chain = reader.finish().unwrap().chain;
    (chunks, chain)
}

/// The steps that restore a backup under the name `id`.
fn steps(id: u64, (chunks, chain): &(Vec<Vec<u8>>, Digest)) -> Vec<Command> {
    let commit = Restore::Commit { id, chunks: chunks.len() as u64, chain: *chain };
    let chunk = |(number, chunk): (usize, &Vec<u8>)| Restore::Chunk {
        id,
        number: number as u64,
        records: chunk.as_slice().into(),
    };
    std::iter::once(Restore::Begin { id, version: CURRENT })
        .chain(chunks.iter().enumerate().map(chunk))
        .chain([commit])
        .map(Command::Restore)
        .collect()
}

/// A backup of several chunks.
fn large() -> Keyspace {
    let big = "x".repeat(600_000);
    keyspace(&[
        set("/d/a", &big, None),
        set("/d/b", &big, Some(50)),
        set("/d/e/f", &big, None),
        set("/z", &big, None),
    ])
}

/// The keyspace as it comes out of a snapshot.
fn through_a_snapshot(keyspace: &Keyspace) -> Keyspace {
    let mut copy = Keyspace::new(100);
    for record in keyspace.freeze().records() {
        let bytes = format::encode(&record).unwrap();
        copy.restore(format::decode(&bytes).unwrap()).unwrap();
    }
    assert!(copy.freeze().records().eq(keyspace.freeze().records()));
    copy
}

#[test]
fn everything_is_replaced_at_once_and_not_before() {
    let saved = keyspace(&[set("/a/x", "old", None), set("/b", "old", None)]);
    let mut now = keyspace(&[set("/a/x", "new", None), set("/c", "new", None)]);
    let steps = steps(7, &backup(&saved, 1));
    let (commit, before) = steps.split_last().unwrap();
    for step in before {
        apply(&mut now, step, 2).unwrap();
        assert_eq!((value(&now, "/a/x").as_deref(), value(&now, "/b")), (Some("new"), None));
        assert_eq!(now.index(), 2);
    }
    assert_eq!(now.staged().unwrap().keys, 2);
    apply(&mut now, commit, 2).unwrap();
    assert_eq!((value(&now, "/a/x").as_deref(), value(&now, "/b").as_deref()), (Some("old"), Some("old")));
    assert_eq!((value(&now, "/c"), now.staged()), (None, None));
}

#[test]
fn the_index_goes_on_above_both_and_nothing_can_be_watched_across() {
    let one = keyspace(&[set("/a", "1", None)]);
    let nine = keyspace(&vec![set("/a", "9", None); 9]);
    for (saved, mut now) in [(&one, keyspace(&vec![set("/b", "", None); 9])), (&nine, keyspace(&[]))] {
        for step in steps(1, &backup(saved, 1)) {
            apply(&mut now, &step, 2).unwrap();
        }
        assert_eq!(now.index(), 10);
        for since in [1, 9, 10] {
            let refused = now.history().scan(b"/a", true, since, 10).unwrap_err();
            assert_eq!(refused, KeyError::HistoryCleared { oldest: 11, asked: since });
        }
        apply(&mut now, &set("/a", "", None), 3).unwrap();
        assert_eq!(now.history().scan(b"/a", true, 11, 11).unwrap().unwrap().index, 11);
    }
}

#[test]
fn what_is_left_of_a_lifetime_counts_from_the_restore() {
    let saved = keyspace(&[set("/a", "", Some(30)), set("/b", "", Some(5))]);
    // 10 s after it was set, 21 s are left; the other is due and about to go.
    let saved = backup(&saved, 10);
    let mut now = keyspace(&[]);
    for step in steps(1, &saved) {
        apply(&mut now, &step, 1000).unwrap();
    }
    let deadline = now.find(&key("/a")).unwrap().deadline.as_deref().copied().unwrap();
    assert_eq!(deadline, Deadline { clock: at(1021).clock, wall: at(1021).wall });
    let mut changes: Vec<Change> = Vec::new();
    now.apply(&Command::Expire, at(1000), &mut changes).unwrap();
    assert_eq!(changes.iter().map(|c| c.event.key().clone()).collect::<Vec<_>>(), [key("/b")]);
    apply(&mut now, &Command::Expire, 1020).unwrap();
    assert!(value(&now, "/a").is_some());
    apply(&mut now, &Command::Expire, 1021).unwrap();
    assert!(value(&now, "/a").is_none());
}

#[test]
fn a_step_that_is_repeated_takes_effect_once() {
    let mut now = keyspace(&[]);
    let steps = steps(3, &backup(&large(), 1));
    assert!(steps.len() > 3, "{} steps", steps.len());
    for step in &steps {
        apply(&mut now, step, 2).unwrap();
        apply(&mut now, step, 2).unwrap();
    }
    apply(&mut now, &set("/later", "kept", None), 3).unwrap();
    let index = now.index();
    for step in &steps {
        assert_eq!(apply(&mut now, step, 4).unwrap().index, index);
    }
    assert_eq!(value(&now, "/later").as_deref(), Some("kept"));
    assert_eq!((now.restored(), now.staged()), (Some(Restored { id: 3, index: index - 1 }), None));
}

#[test]
fn nothing_is_restored_unless_every_chunk_is_there_as_it_was() {
    let saved = backup(&large(), 1);
    let mut now = keyspace(&[set("/a", "kept", None)]);
    let good = steps(1, &saved);
    apply(&mut now, &good[0], 2).unwrap();
    let missing = apply(&mut now, &good[2], 2).unwrap_err();
    assert_eq!(missing, RestoreError::Order { expected: 0 }.into());
    let early = apply(&mut now, good.last().unwrap(), 2).unwrap_err();
    assert!(matches!(early, KeyError::Restore(RestoreError::Damaged { .. })), "{early:?}");
    let after = apply(&mut now, &good[1], 2).unwrap_err();
    assert_eq!(after, RestoreError::Gone.into());

    let mut wrong = saved.clone();
    wrong.1[0] ^= 1;
    let results: Vec<_> = steps(2, &wrong).iter().map(|step| apply(&mut now, step, 2)).collect();
    let (last, before) = results.split_last().unwrap();
    assert!(before.iter().all(Result::is_ok), "{before:?}");
    assert!(matches!(last, Err(KeyError::Restore(RestoreError::Damaged { .. }))), "{last:?}");

    for chunk in [b"\xff\xff".as_slice(), b"\x01", &saved.0[1]] {
        apply(&mut now, &Command::Restore(Restore::Begin { id: 3, version: CURRENT }), 2).unwrap();
        let records = chunk.into();
        let step = Command::Restore(Restore::Chunk { id: 3, number: 0, records });
        let refused = apply(&mut now, &step, 2).unwrap_err();
        assert!(matches!(refused, KeyError::Restore(RestoreError::Damaged { .. })), "{refused:?}");
        assert_eq!(now.staged(), None);
    }
    assert_eq!((value(&now, "/a").as_deref(), now.index()), (Some("kept"), 1));
}

#[test]
fn records_that_nest_without_end_are_refused() {
    let mut record = Record::Staged(Blob::default());
    for _ in 0..100 {
        record = Record::Staged(format::encode(&record).unwrap().into());
    }
    let mut now = keyspace(&[]);
    apply(&mut now, &Command::Restore(Restore::Begin { id: 1, version: CURRENT }), 1).unwrap();
    let records = format::record::push(Vec::new(), &record).unwrap().into();
    let step = Command::Restore(Restore::Chunk { id: 1, number: 0, records });
    assert!(apply(&mut now, &step, 1).is_err());
}

#[test]
fn a_backup_of_a_version_that_the_cluster_has_not_reached_is_refused_before_anything_is_staged() {
    let later = Version::new(9, 9);
    let mut now = keyspace(&[set("/a", "kept", None)]);
    let refused =
        apply(&mut now, &Command::Restore(Restore::Begin { id: 1, version: later }), 2).unwrap_err();
    assert_eq!(refused, RestoreError::TooEarly { needed: later, cluster: CURRENT }.into());
    assert_eq!(now.staged(), None);
}

#[test]
fn another_restore_takes_the_place_of_one_that_is_under_way() {
    let mut now = keyspace(&[]);
    let (first, second) = (
        steps(1, &backup(&keyspace(&[set("/a", "1", None)]), 1)),
        steps(2, &backup(&keyspace(&[set("/a", "2", None)]), 1)),
    );
    apply(&mut now, &first[0], 1).unwrap();
    apply(&mut now, &second[0], 1).unwrap();
    assert_eq!(apply(&mut now, &first[1], 1).unwrap_err(), RestoreError::Gone.into());
    for step in &second[1..] {
        apply(&mut now, step, 1).unwrap();
    }
    assert_eq!(apply(&mut now, first.last().unwrap(), 1).unwrap_err(), RestoreError::Gone.into());
    assert_eq!(value(&now, "/a").as_deref(), Some("2"));
}

#[test]
fn what_nobody_adds_to_any_more_is_dropped_in_time_or_when_asked() {
    let saved = backup(&large(), 1);
    let mut now = keyspace(&[]);
    let steps = steps(1, &saved);
    apply(&mut now, &steps[0], 10).unwrap();
    apply(&mut now, &steps[1], 30).unwrap();
    assert_eq!(now.next_expiry(), Some(at(90).clock));
    apply(&mut now, &Command::Expire, 89).unwrap();
    assert!(now.staged().is_some());
    apply(&mut now, &Command::Expire, 90).unwrap();
    assert_eq!((now.staged(), now.next_expiry()), (None, None));

    apply(&mut now, &steps[0], 100).unwrap();
    apply(&mut now, &Command::Restore(Restore::Abort { id: 9 }), 100).unwrap();
    assert!(now.staged().is_some());
    apply(&mut now, &Command::Restore(Restore::Abort { id: 1 }), 100).unwrap();
    assert_eq!(now.staged(), None);
}

#[test]
fn a_replica_that_joins_by_snapshot_in_the_middle_ends_as_the_others() {
    let steps = steps(1, &backup(&large(), 1));
    for joins in 0..=steps.len() {
        let mut old = keyspace(&[set("/a", "x", Some(500))]);
        let (before, after) = steps.split_at(joins);
        for step in before {
            apply(&mut old, step, 2).unwrap();
        }
        let mut joined = through_a_snapshot(&old);
        for step in after.iter().chain(&[set("/b", "y", None)]) {
            assert_eq!(apply(&mut old, step, 3), apply(&mut joined, step, 3), "joined before {joins}");
        }
        assert!(joined.freeze().records().eq(old.freeze().records()), "joined before {joins}");
        assert_eq!(joined.next_expiry(), old.next_expiry());
    }
}

#[test]
fn a_new_cluster_starts_with_the_keys_and_lets_lifetimes_count_from_its_first_entry() {
    let saved = keyspace(&[set("/a", "x", Some(30)), set("/b", "y", None)]);
    let (chunks, _) = backup(&saved, 11);
    let fill =
        |take: &mut dyn FnMut(&[u8]) -> Result<(), BackupError>| chunks.iter().try_for_each(|c| take(c));
    let founded = Keyspace::found::<BackupError>(100, CURRENT, fill).unwrap();
    let mut founded = through_a_snapshot(&founded);
    assert_eq!((founded.index(), founded.history().dropped()), (3, 3));
    // The clock of the new cluster goes on from the backup's, the wall clock is wherever it is.
    let first = Stamp { clock: 11 * NANOS, wall: 1_800_000_000 * NANOS };
    founded.apply(&Command::Expire, first, &mut Vec::new()).unwrap();
    let deadline = founded.find(&key("/a")).unwrap().deadline.as_deref().copied().unwrap();
    assert_eq!(deadline, Deadline { clock: 31 * NANOS, wall: 1_800_000_020 * NANOS });
    assert_eq!(founded.next_expiry(), Some(31 * NANOS));
    let nothing = Keyspace::found::<BackupError>(100, CURRENT, |_| Ok(()));
    assert!(nothing.is_err());
}

#[test]
fn users_and_roles_are_those_of_the_backup_afterwards() {
    let user = |name: &str| {
        let name = name.to_string();
        Command::Auth(Box::new(AuthCommand::PutUser {
            name,
            hash: Some(PasswordHash::new("h")),
            roles: None,
        }))
    };
    let saved = keyspace(&[user("root"), Command::Auth(Box::new(AuthCommand::Enable))]);
    let mut now = keyspace(&[user("other")]);
    for step in steps(1, &backup(&saved, 1)) {
        now = through_a_snapshot(&now);
        apply(&mut now, &step, 2).unwrap();
    }
    assert_eq!(now.auth(), saved.auth());
    assert!(now.auth().is_enabled() && now.auth().user(b"other").is_none());
    for step in steps(2, &backup(&keyspace(&[]), 1)) {
        apply(&mut now, &step, 3).unwrap();
    }
    assert!(!now.auth().is_enabled() && !now.auth().is_used());
}

#[test]
fn what_was_replaced_or_given_up_is_handed_out_to_be_dropped_elsewhere() {
    let saved = keyspace(&[set("/a", "old", None)]);
    let mut now = keyspace(&[set("/a", "new", None), set("/b", "new", None)]);
    let mut outdated = |step: &Command, seconds| {
        // A step that is refused may have put something aside, too.
        let _ = apply(&mut now, step, seconds);
        now.take_outdated().is_some()
    };
    let good = steps(1, &backup(&saved, 1));
    assert!(good.iter().take(good.len() - 1).all(|step| !outdated(step, 2)));
    assert!(outdated(&good[good.len() - 1], 2), "the keys that were replaced");
    let next = steps(2, &backup(&saved, 1));
    assert!(!outdated(&next[0], 3));
    assert!(outdated(&steps(3, &backup(&saved, 1))[0], 3), "what another restore had staged");
    assert!(outdated(&Command::Restore(Restore::Abort { id: 3 }), 3));
    assert!(!outdated(&next[0], 3));
    assert!(outdated(&Command::Restore(Restore::Commit { id: 2, chunks: 9, chain: Digest::default() }), 3));
    assert!(!outdated(&next[0], 3));
    assert!(outdated(&set("/c", "", None), 300), "what was abandoned");
}
