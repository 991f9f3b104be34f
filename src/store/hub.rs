//! Who waits for changes, and telling them. Every node tells its own watchers from its own applied state.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::keyspace::{Change, Event, History, KeyError, concerns};

/// Events that a streaming watcher may be behind before it is closed, so that a slow reader costs nobody else.
pub const STREAM_QUEUE_EVENTS: usize = 100;

/// What a watcher asks for.
#[derive(Clone, Debug)]
pub struct Interest {
    /// The key or directory, as bytes.
    pub path: Vec<u8>,
    /// Everything below it as well.
    pub recursive: bool,
    /// More than one event.
    pub stream: bool,
    /// The first index that is of interest; `None` for whatever comes next.
    pub since: Option<u64>,
}

/// A watch that has been accepted. It ends when dropped.
#[derive(Debug)]
pub struct Subscription {
    /// The events, ending when the watcher is done or has fallen too far behind.
    pub events: mpsc::Receiver<Arc<Event>>,
    /// The store's index when the watch was accepted.
    pub index: u64,
    _place: Option<Place>,
}

/// Where a watcher is registered; takes it out again when dropped.
#[derive(Debug)]
struct Place {
    hub: Arc<Hub>,
    path: Vec<u8>,
    id: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.hub.state();
        if let Some(here) = state.watchers.get_mut(&self.path) {
            // It may have been told its last event and taken out already.
            let gone = here.remove(&self.id).is_some();
            if here.is_empty() {
                state.watchers.remove(&self.path);
            }
            state.count -= u64::from(gone);
        }
    }
}

/// All watchers of this node.
#[derive(Debug, Default)]
pub struct Hub {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    watchers: HashMap<Vec<u8>, BTreeMap<u64, Watcher>>,
    next: u64,
    /// How many watchers there are, kept along because a sum over all paths at each change would cost the writers.
    count: u64,
    /// The last index that was told.
    told: u64,
}

#[derive(Debug)]
struct Watcher {
    recursive: bool,
    stream: bool,
    since: u64,
    queue: mpsc::Sender<Arc<Event>>,
}

impl State {
    /// Tells the watchers at `path` that `wanted` accepts; those that are done or too slow are taken out.
    fn tell(&mut self, path: &[u8], event: &Arc<Event>, wanted: impl Fn(&Watcher) -> bool) {
        let Some(here) = self.watchers.get_mut(path) else { return };
        let before = here.len();
        here.retain(|_, watcher| {
            if event.index < watcher.since || !wanted(watcher) {
                return true;
            }
            watcher.queue.try_send(event.clone()).is_ok() && watcher.stream
        });
        self.count -= (before - here.len()) as u64;
        if here.is_empty() {
            self.watchers.remove(path);
        }
    }

    fn publish(&mut self, change: &Change) {
        let event = &change.event;
        self.told = self.told.max(event.index);
        if event.silent {
            return;
        }
        let key = event.key();
        self.tell(key.as_bytes(), event, |_| true);
        if !key.is_root() {
            for above in std::iter::once(&b""[..]).chain(key.ancestors()) {
                if !key.is_hidden_from(above) {
                    self.tell(above, event, |watcher| watcher.recursive);
                }
            }
        }
        for gone in &change.removed {
            self.tell(gone.as_bytes(), event, |_| true);
        }
    }
}

impl Hub {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many watchers there are.
    pub fn watchers(&self) -> u64 {
        self.state().count
    }

    /// Accepts a watch. `read` gives the history and the store's index; it is called under the hub's lock, so that
    /// nothing falls between what the history has and what is told from now on.
    ///
    /// # Errors
    /// `HistoryCleared` when the events asked for are no longer kept.
    pub fn subscribe<R>(
        self: &Arc<Self>,
        interest: Interest,
        read: impl FnOnce() -> R,
        view: impl Fn(&R) -> (&History, u64),
    ) -> Result<Subscription, (KeyError, u64)> {
        let mut state = self.state();
        let replica = read();
        let (history, index) = view(&replica);
        let Interest { path, recursive, stream, since } = interest;
        let since = since.filter(|since| *since > 0).unwrap_or(index + 1);
        let mut past = Vec::new();
        let mut from = since;
        while from <= index
            && let Some(event) = history.scan(&path, recursive, from, index).map_err(|e| (e, index))?
        {
            from = event.index + 1;
            past.push(event);
            if !stream {
                break;
            }
        }
        let (queue, events) = mpsc::channel(if stream { STREAM_QUEUE_EVENTS.max(past.len()) } else { 1 });
        let done = !stream && !past.is_empty();
        for event in past {
            // The queue was made large enough for them.
            let _ = queue.try_send(event);
        }
        if done {
            return Ok(Subscription { events, index, _place: None });
        }
        state.next += 1;
        let id = state.next;
        let watcher = Watcher { recursive, stream, since: since.max(index + 1), queue };
        state.watchers.entry(path.clone()).or_default().insert(id, watcher);
        state.count += 1;
        Ok(Subscription { events, index, _place: Some(Place { hub: self.clone(), path, id }) })
    }

    /// Tells everyone concerned of changes that have been applied, in order.
    pub fn publish(&self, changes: &[Change]) {
        if changes.is_empty() {
            return;
        }
        let mut state = self.state();
        for change in changes {
            state.publish(change);
        }
    }

    /// Everything was replaced and there is no telling what changed: all watchers end, so that they ask again and are
    /// told to read anew.
    pub fn close_all(&self) {
        let mut state = self.state();
        state.watchers.clear();
        state.count = 0;
    }

    /// The state was replaced: tells what the history has of the time that was skipped, and closes all watchers when
    /// it does not reach back far enough, so that they ask again.
    pub fn catch_up(&self, history: &History, index: u64) {
        let mut state = self.state();
        if history.oldest(index) > state.told + 1 {
            state.watchers.clear();
            state.count = 0;
        } else {
            let missed: Vec<Arc<Event>> = history.iter().filter(|e| e.index > state.told).cloned().collect();
            for event in missed {
                state.tell_concerned(&event);
            }
        }
        state.told = state.told.max(index);
    }
}

impl State {
    /// Tells by the event alone, for when it is not known which nodes went with a directory.
    fn tell_concerned(&mut self, event: &Arc<Event>) {
        let paths: Vec<Vec<u8>> = self.watchers.keys().cloned().collect();
        for path in paths {
            self.tell(&path, event, |watcher| concerns(event, &path, watcher.recursive));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Stamp;
    use crate::keyspace::{Command, Content, Key, Keyspace};

    struct Fixture {
        hub: Arc<Hub>,
        keyspace: Keyspace,
    }

    impl Fixture {
        fn new() -> Self {
            Self { hub: Arc::default(), keyspace: Keyspace::new(1000) }
        }

        fn apply(&mut self, command: Command) {
            let mut changes = Vec::new();
            self.keyspace.apply(&command, Stamp::default(), &mut changes).unwrap();
            self.hub.publish(&changes);
        }

        fn set(&mut self, path: &str) {
            let key = Key::parse(path.as_bytes()).unwrap();
            self.apply(Command::Set { key, dir: false, content: Content::default() });
        }

        fn watch(&self, path: &str, recursive: bool, stream: bool, since: Option<u64>) -> Subscription {
            let interest = Interest { path: path.into(), recursive, stream, since };
            let keyspace = &self.keyspace;
            self.hub.subscribe(interest, || keyspace, |k| (k.history(), k.index())).unwrap()
        }
    }

    fn indexes(subscription: &mut Subscription) -> Vec<u64> {
        std::iter::from_fn(|| subscription.events.try_recv().ok()).map(|event| event.index).collect()
    }

    #[test]
    fn a_watcher_hears_its_key_and_when_recursive_what_is_below_and_not_hidden() {
        let mut f = Fixture::new();
        let mut plain = f.watch("/d", false, true, None);
        let mut deep = f.watch("/d", true, true, None);
        let mut hidden = f.watch("/d/_h", true, true, None);
        for path in ["/d/a", "/e", "/d/_h/x"] {
            f.set(path);
        }
        assert_eq!(indexes(&mut plain), [] as [u64; 0]);
        assert_eq!(indexes(&mut deep), [1]);
        assert_eq!(indexes(&mut hidden), [3]);
    }

    #[test]
    fn removing_a_directory_tells_watchers_of_what_was_in_it_and_nobody_else() {
        let mut f = Fixture::new();
        f.set("/d/a");
        let mut inside = f.watch("/d/a", false, false, None);
        let mut nowhere = f.watch("/d/none", false, false, None);
        f.apply(Command::Delete { key: Key::parse(b"/d").unwrap(), dir: true, recursive: true });
        assert_eq!(indexes(&mut inside), [2]);
        assert_eq!(indexes(&mut nowhere), [] as [u64; 0]);
    }

    #[test]
    fn a_watch_in_the_past_is_answered_from_history_and_a_stream_goes_on() {
        let mut f = Fixture::new();
        for path in ["/a", "/b", "/a"] {
            f.set(path);
        }
        assert_eq!(indexes(&mut f.watch("/a", false, false, Some(2))), [3]);
        let mut stream = f.watch("/a", false, true, Some(1));
        f.set("/a");
        assert_eq!(indexes(&mut stream), [1, 3, 4]);
    }

    #[test]
    fn a_watch_in_the_future_skips_what_comes_before() {
        let mut f = Fixture::new();
        let mut later = f.watch("/a", false, false, Some(3));
        for _ in 0..4 {
            f.set("/a");
        }
        assert_eq!(indexes(&mut later), [3]);
    }

    #[test]
    fn a_reader_that_does_not_read_is_closed_and_dropped_watchers_are_forgotten() {
        let mut f = Fixture::new();
        let mut slow = f.watch("/a", false, true, None);
        let other = f.watch("/a", false, true, None);
        drop(other);
        for _ in 0..STREAM_QUEUE_EVENTS + 5 {
            f.set("/a");
        }
        assert_eq!(indexes(&mut slow).len(), STREAM_QUEUE_EVENTS);
        assert_eq!(slow.events.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
        assert_eq!(f.hub.watchers(), 0);
    }

    #[test]
    fn after_a_replaced_state_the_history_fills_the_gap() {
        let mut f = Fixture::new();
        f.set("/a");
        let mut watcher = f.watch("/a", false, false, None);
        let key = Key::parse(b"/a").unwrap();
        let set = Command::Set { key, dir: false, content: Content::default() };
        f.keyspace.apply(&set, Stamp::default(), &mut Vec::new()).unwrap();
        f.hub.catch_up(f.keyspace.history(), f.keyspace.index());
        assert_eq!(indexes(&mut watcher), [2]);
    }
}
