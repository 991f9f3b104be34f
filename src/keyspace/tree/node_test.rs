//! Lifetimes and deadlines at their edges, and values byte for byte.

use proptest::prelude::*;

use super::*;

const WALL: i64 = 1_790_000_000 * NANOS;

fn at(clock: i64) -> Stamp {
    Stamp { clock, wall: WALL }
}

proptest! {
    #[test]
    fn a_lifetime_ends_so_long_after_its_stamp_on_either_clock(seconds in 0u64..9_000_000_000, clock in 0i64..1 << 60) {
        let ttl = Ttl::from_secs(seconds);
        let deadline = Deadline::new(Some(ttl), at(clock));
        let wall = i128::from(WALL) + i128::from(seconds) * i128::from(NANOS);
        // Beyond the range of etcd's clock it wraps around, and what then lies before 2000 never comes.
        match deadline {
            Some(deadline) => {
                prop_assert_eq!(i128::from(deadline.wall), wall);
                let clock = i128::from(clock) + i128::from(seconds) * i128::from(NANOS);
                prop_assert_eq!(i128::from(deadline.clock), clock.min(i128::from(i64::MAX)));
            }
            None => prop_assert!(wall > i128::from(i64::MAX), "{} s never end", seconds),
        }
    }

    #[test]
    fn what_is_left_is_rounded_up_to_whole_seconds(left in -100_000_000_000i64..100_000_000_000, clock in 0i64..1 << 50) {
        let deadline = Deadline { clock: clock + left, wall: 0 };
        let seconds = deadline.seconds_left(clock);
        if left > 0 {
            prop_assert!(seconds * NANOS >= left && (seconds - 1) * NANOS < left, "{} for {}", seconds, left);
        } else {
            prop_assert!(seconds <= 0 && seconds * NANOS >= left && (seconds - 1) * NANOS < left);
        }
        let mortal = Node {
            key: Key::parse(b"/a").expect("a key"),
            kind: Kind::File("v".into()),
            created: 1,
            modified: 1,
            deadline: Some(Box::new(deadline)),
        };
        prop_assert_eq!(View::new(Arc::new(mortal), clock).ttl, seconds);
    }

    #[test]
    fn a_value_is_kept_and_written_byte_for_byte(bytes in any::<Vec<u8>>()) {
        let blob = Blob::from(bytes.clone());
        prop_assert_eq!(&*blob, &bytes[..]);
        prop_assert_eq!(&Blob::from(&bytes[..]), &blob);
        let written = postcard::to_allocvec(&blob).expect("bytes");
        prop_assert_eq!(postcard::from_bytes::<Blob>(&written).expect("the value again"), blob);
        // As any list of bytes is written, so that readers of the log need not know of this type.
        prop_assert_eq!(written, postcard::to_allocvec(&bytes).expect("bytes"));
    }

    #[test]
    fn a_removed_node_keeps_its_name_and_loses_its_value(dir in any::<bool>(), created in 1u64..50, more in 0u64..50) {
        let kind = if dir { Kind::Dir } else { Kind::File("v".into()) };
        let key = Key::parse(b"/a").expect("a key");
        let deadline = Some(Box::new(Deadline { clock: 1, wall: 1 }));
        let node = Node { key, kind, created, modified: created + more, deadline };
        let gone = node.gone(created + more + 1);
        prop_assert_eq!((&gone.key, gone.created, gone.modified), (&node.key, created, created + more + 1));
        prop_assert_eq!(gone.kind == Kind::GoneDir, dir);
        prop_assert!(!gone.is_dir() && gone.value().is_empty() && gone.deadline.is_none());
        prop_assert_eq!(node.is_dir(), dir);
        prop_assert_eq!(node.value().is_empty(), dir);
    }
}

#[test]
fn without_a_lifetime_there_is_no_deadline() {
    assert_eq!(Deadline::new(None, at(5)), None);
    assert_eq!(Deadline::new(Some(Ttl { nanos: 0 }), at(5)), Some(Deadline { clock: 5, wall: WALL }));
    assert_eq!(Deadline::new(Some(Ttl { nanos: -5 }), at(5)), Some(Deadline { clock: 0, wall: WALL - 5 }));
}

#[test]
fn lifetimes_wrap_around_where_etcds_do() {
    assert_eq!(Ttl::from_secs(1), Ttl { nanos: NANOS });
    assert_eq!(Ttl::from_secs(9_223_372_036), Ttl { nanos: 9_223_372_036 * NANOS });
    assert!(Ttl::from_secs(9_223_372_037).nanos < 0, "one second more is the first that is too many");
    assert_eq!(Ttl::from_secs(u64::MAX), Ttl { nanos: -NANOS });
}
