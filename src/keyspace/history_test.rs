//! The history beside a list that forgets nothing.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::keyspace::{Action, Key, Node, View};

fn event(index: u64, path: &str, action: Action, dir: bool, value: usize, silent: bool) -> Arc<Event> {
    let kind = match (action.removes(), dir) {
        (true, true) => Kind::GoneDir,
        (true, false) => Kind::GoneFile,
        (false, true) => Kind::Dir,
        (false, false) => Kind::File(vec![b'x'; value].into()),
    };
    let key = Key::parse(path.as_bytes()).expect("a key");
    let node =
        |kind| Arc::new(Node { key: key.clone(), kind, created: index, modified: index, deadline: None });
    let before = if dir { Kind::Dir } else { Kind::File("before".into()) };
    let prev = action.removes().then(|| View { node: node(before), ttl: 0 });
    Arc::new(Event::new(action, index, View { node: node(kind), ttl: 0 }, prev, silent))
}

/// How far the next change is from the last, and what it is.
type Step = (u64, &'static str, Action, bool, usize, bool);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let path = prop::sample::select(vec!["/a", "/a/b", "/a/_b", "/a/_b/c", "/ab", "/b"]);
    let action = prop::sample::select(vec![
        Action::Set,
        Action::Create,
        Action::Update,
        Action::Delete,
        Action::Expire,
    ]);
    vec((1u64..4, path, action, any::<bool>(), 0usize..2000, prop::bool::weighted(0.2)), 0..40)
}

fn history(memory: Memory, steps: &[Step]) -> (History, Vec<Arc<Event>>, u64) {
    let (mut history, mut list, mut index) = (History::new(memory), Vec::new(), 0);
    for (gap, path, action, dir, value, silent) in steps {
        index += gap;
        let event = event(index, path, *action, *dir, *value, *silent);
        list.push(event.clone());
        history.push(event);
    }
    (history, list, index)
}

proptest! {
    #[test]
    fn the_newest_changes_are_kept_and_only_those(steps in steps(), events in 1u64..30, kilobytes in 1u64..30) {
        let memory = Memory { events, bytes: kilobytes << 10 };
        let (history, list, index) = history(memory, &steps);
        let kept: Vec<_> = history.iter().cloned().collect();
        prop_assert!(list.ends_with(&kept));
        prop_assert_eq!(history.is_empty(), list.is_empty(), "the newest is always kept");
        prop_assert_eq!(history.len(), kept.len());
        // Not too much, and no less than there is room for.
        let weight = |events: &[Arc<Event>]| events.iter().map(|event| event.weight()).sum::<u64>();
        prop_assert_eq!(history.bytes(), weight(&kept));
        let fits = |events: &[Arc<Event>]| {
            weight(events) <= memory.bytes && events.first().is_none_or(|first| first.index + memory.events > index)
        };
        prop_assert!(kept.len() <= 1 || fits(&kept));
        let more = &list[list.len() - (kept.len() + 1).min(list.len())..];
        prop_assert!(more.len() == kept.len() || !fits(more), "{} of {} are kept", kept.len(), list.len());
        prop_assert_eq!(history.dropped(), list[..list.len() - kept.len()].last().map_or(0, |event| event.index));
    }

    #[test]
    fn a_watch_from_the_past_hears_the_first_change_that_concerns_it(
        steps in steps(),
        path in prop::sample::select(vec!["", "/a", "/a/b", "/a/_b", "/a/b/c/d", "/b", "/none"]),
        recursive in any::<bool>(),
        since in 0u64..80,
    ) {
        let (history, list, index) = history(Memory { events: 20, bytes: u64::MAX }, &steps);
        let oldest = history.oldest(index);
        let found = history.scan(path.as_bytes(), recursive, since, index);
        if since < oldest {
            prop_assert_eq!(found, Err(KeyError::HistoryCleared { oldest, asked: since }));
            return Ok(());
        }
        let parts = |path: &str| path.split('/').filter(|part| !part.is_empty()).map(String::from).collect::<Vec<_>>();
        let wanted = parts(path);
        let expected = list.iter().filter(|event| event.index >= since && !event.silent).find(|event| {
            let at = parts(std::str::from_utf8(event.key().as_bytes()).expect("text"));
            let below = at.len() > wanted.len() && at.starts_with(&wanted);
            let hidden = below && at[wanted.len()..].iter().any(|part| part.starts_with('_'));
            let above = wanted.starts_with(&at) && event.node.node.kind == Kind::GoneDir;
            at == wanted || above || recursive && below && !hidden
        });
        prop_assert_eq!(found, Ok(expected.cloned()));
    }

    #[test]
    fn what_was_cleared_stays_cleared(steps in steps(), at in 0u64..60) {
        let (mut history, _, index) = history(Memory { events: 20, bytes: u64::MAX }, &steps);
        history.clear(at);
        prop_assert!(history.is_empty() && history.bytes() == 0);
        prop_assert!(history.oldest(index.max(at)) > at);
        prop_assert!(history.scan(b"/a", true, at, index.max(at)).is_err());
        let next = index.max(at) + 1;
        history.push(event(next, "/a", Action::Set, false, 1, false));
        let found = history.scan(b"/a", false, next, next).expect("kept").expect("told");
        prop_assert_eq!(found.index, next);
    }
}

#[test]
#[should_panic(expected = "history went from index 5 to 5")]
fn two_changes_at_one_index_are_a_fault_of_the_replica() {
    let mut history = History::new(Memory::from(10));
    history.push(event(5, "/a", Action::Set, false, 1, false));
    history.push(event(5, "/a", Action::Set, false, 1, false));
}
