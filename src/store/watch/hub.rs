//! Who waits for changes, and telling them. Every node tells its own watchers from its own applied state.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

use super::mailbox::{End, Line, Mailbox, QUEUE_EVENTS, Told};
use crate::keyspace::{Change, Event, History, Refusal};

/// Bytes of values of past events that a watcher is given at a time; one event is always taken. What it has not taken yet
/// is in memory once more for each, so this is as little as costs no time, and one with more is written while it is sent.
const PAST_BYTES: usize = 64 << 10;

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

/// Why a watch is not accepted.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// The events asked for are no longer kept.
    Cleared(Refusal),
    /// So many watches there are already, and no more may be.
    Full(u64),
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::Cleared(refusal)
    }
}

/// A watch that has been accepted. It ends when dropped.
#[derive(Debug)]
pub struct Subscription {
    /// The store's index when the watch was accepted.
    pub index: u64,
    mailbox: Arc<Mailbox>,
    hub: Arc<Hub>,
    path: Arc<[u8]>,
    recursive: bool,
    stream: bool,
    /// The first index that it has not heard of.
    next: u64,
    stage: Stage,
    /// It is one of those that are limited: all but those that the past answers at once.
    has_place: bool,
}

/// Where a watch gets its next event from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// From the history.
    Behind,
    /// From what happens: it is registered under this number.
    Live(u64),
    /// It has what it asked for.
    Done,
}

impl Subscription {
    /// The next event, as soon as there is one. To be asked only when it is not [behind](Self::is_behind).
    ///
    /// # Errors
    /// Why there will be none. After `Moved` it is behind and can go on.
    pub async fn next(&mut self) -> Result<Told, End> {
        let told = self.mailbox.next().await;
        match &told {
            Ok(told) => self.next = self.next.max(told.index + 1),
            Err(End::Moved(told)) => {
                self.next = self.next.max(told + 1);
                self.mailbox = Arc::default();
                self.stage = Stage::Behind;
            }
            Err(End::Done | End::Closed) => {}
        }
        told
    }

    /// Whether there may be more in the history, which the hub has to be asked for: [`Hub::advance`].
    pub fn is_behind(&self) -> bool {
        self.stage == Stage::Behind && self.mailbox.is_empty()
    }

    /// Whether what it has not heard happened while this node was away, so that nobody here could have been told.
    pub fn missed_while_away(&self) -> bool {
        let [after, until] =
            [&self.hub.away_after, &self.hub.away_until].map(|at| at.load(Ordering::Relaxed));
        self.next > after && self.next <= until
    }

    /// Whether more than one event is asked for.
    pub fn is_stream(&self) -> bool {
        self.stream
    }

    /// The key or directory that is watched.
    pub fn path(&self) -> &[u8] {
        &self.path
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if self.has_place {
            self.hub.watches.fetch_sub(1, Ordering::Relaxed);
        }
        let Stage::Live(id) = self.stage else { return };
        // After a panic under the lock the node stops, and a panic here could come on top of another.
        let Ok(mut state) = self.hub.state.lock() else { return };
        let Some(here) = state.watchers.get_mut(&self.path) else { return };
        // It may have been told its last event and taken out already.
        if let Ok(at) = here.binary_search_by_key(&id, |watcher| watcher.id) {
            here.remove(at);
            self.hub.count.fetch_sub(1, Ordering::Relaxed);
        }
        if here.is_empty() {
            state.watchers.remove(&self.path);
        }
    }
}

/// All watchers of this node.
///
/// Its lock comes before the replica's: registering a watcher takes them in this order, and whoever publishes holds
/// no replica's lock (see [`Observer`](crate::raft::Observer)).
#[derive(Debug)]
pub struct Hub {
    state: Mutex<State>,
    /// How many watchers there are, changed under the lock.
    count: AtomicU64,
    /// How many watches there are: those that wait, and streams that are told of the past.
    watches: AtomicU64,
    /// How many there may be.
    limit: u64,
    /// The last index that was told.
    told: AtomicU64,
    /// What happened after the one index and until the other was told to nobody here: the node got it as a snapshot.
    away_after: AtomicU64,
    away_until: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// By path; those at one path in the order of their ids.
    watchers: HashMap<Arc<[u8]>, Vec<Watcher>>,
    next: u64,
}

#[derive(Debug)]
struct Watcher {
    id: u64,
    recursive: bool,
    stream: bool,
    since: u64,
    mailbox: Arc<Mailbox>,
}

/// An event on its way: encoded when the first watcher is found, once for all.
struct Post<'a> {
    event: &'a Event,
    told: Option<Told>,
    /// The tasks to wake when the lock is free again.
    wake: &'a mut Vec<Waker>,
    /// How many were told.
    heard: u64,
    /// How many watchers were taken out.
    gone: u64,
}

impl<'a> Post<'a> {
    fn new(event: &'a Event, wake: &'a mut Vec<Waker>) -> Self {
        Self { event, told: None, wake, heard: 0, gone: 0 }
    }
}

fn told(event: &Event) -> Told {
    Told { index: event.index, line: Line::Written(event.encoded().into()) }
}

impl State {
    /// Tells the watchers at `path` that `wanted` accepts; those that are done or too slow are taken out.
    fn tell(&mut self, path: &[u8], post: &mut Post<'_>, wanted: impl Fn(&Watcher) -> bool) {
        let Some(here) = self.watchers.get_mut(path) else { return };
        let before = here.len();
        here.retain(|watcher| {
            if post.event.index < watcher.since || !wanted(watcher) {
                return true;
            }
            let told = post.told.get_or_insert_with(|| told(post.event));
            let (waker, more) = watcher.mailbox.put(told, !watcher.stream);
            post.wake.extend(waker);
            post.heard += 1;
            more
        });
        post.gone += (before - here.len()) as u64;
        if here.is_empty() {
            self.watchers.remove(path);
        }
    }

    fn publish(&mut self, change: &Change, post: &mut Post<'_>) {
        let key = change.event.key();
        let path = key.as_bytes();
        self.tell(path, post, |_| true);
        if !key.is_root() {
            // Looked for once, because a key may have thousands of components.
            let hidden = path.windows(2).rposition(|pair| pair == b"/_");
            for above in std::iter::once(&b""[..]).chain(key.ancestors()) {
                if hidden.is_none_or(|at| at < above.len()) {
                    self.tell(above, post, |watcher| watcher.recursive);
                }
            }
        }
        for gone in &change.removed {
            self.tell(gone.as_bytes(), post, |_| true);
        }
    }
}

impl Hub {
    /// A hub for at most `limit` watches.
    pub fn new(limit: u64) -> Self {
        Self {
            state: Mutex::default(),
            count: AtomicU64::new(0),
            watches: AtomicU64::new(0),
            limit,
            told: AtomicU64::new(0),
            away_after: AtomicU64::new(0),
            away_until: AtomicU64::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("hub lock poisoned")
    }

    /// How many watchers wait.
    pub fn watchers(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Accepts a watch, which has its place until it is dropped, unless the past answers it at once. `read` gives the history and the store's index for as
    /// long as what it returns lives.
    ///
    /// # Errors
    /// `Cleared` when the events asked for are no longer kept, `Full` when there are too many.
    pub fn subscribe<R>(
        self: &Arc<Self>,
        interest: Interest,
        read: impl Fn() -> R,
        view: impl Fn(&R) -> (&History, u64),
    ) -> Result<Subscription, Refused> {
        let Interest { path, recursive, stream, since } = interest;
        let index = view(&read()).1;
        let mut subscription = Subscription {
            index,
            mailbox: Arc::default(),
            hub: self.clone(),
            path: path.into(),
            recursive,
            stream,
            next: since.filter(|since| *since > 0).unwrap_or(index + 1),
            stage: Stage::Behind,
            has_place: false,
        };
        self.advance(&mut subscription, read, view)?;
        if subscription.stage != Stage::Done {
            let more = |count| Some(count + 1).filter(|count| *count <= self.limit);
            self.watches.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).map_err(Refused::Full)?;
            subscription.has_place = true;
        }
        Ok(subscription)
    }

    /// Gives a subscription that is behind what the history has for it next, or registers it for what is to come.
    ///
    /// # Errors
    /// What it has not heard is no longer kept.
    pub fn advance<R>(
        &self,
        subscription: &mut Subscription,
        read: impl Fn() -> R,
        view: impl Fn(&R) -> (&History, u64),
    ) -> Result<(), Refusal> {
        let (mut state, _replica) = loop {
            self.look_back(subscription, &read, &view)?;
            if !subscription.is_behind() {
                return Ok(());
            }
            let state = self.state();
            // Under the lock, so that nothing falls between what the history has and what is told from now on. What is
            // applied waits until this is dropped.
            let replica = read();
            let (history, index) = view(&replica);
            let Subscription { path, recursive, next, .. } = &*subscription;
            if *next > index {
                break (state, replica);
            }
            // Only what has come since: what is found is told outside of the locks.
            let found = history.scan(path, *recursive, *next, index);
            if found.map_err(|error| Refusal { error, index })?.is_none() {
                subscription.next = index + 1;
                break (state, replica);
            }
        };
        state.next += 1;
        let id = state.next;
        let Subscription { recursive, stream, next: since, .. } = *subscription;
        let watcher = Watcher { id, recursive, stream, since, mailbox: subscription.mailbox.clone() };
        state.watchers.entry(subscription.path.clone()).or_default().push(watcher);
        self.count.fetch_add(1, Ordering::Relaxed);
        subscription.stage = Stage::Live(id);
        Ok(())
    }

    /// Takes what the history has for a subscription, as much as it may hold at a time. The history is looked through, and
    /// events are encoded, when what `read` returns is gone.
    fn look_back<R>(
        &self,
        subscription: &mut Subscription,
        read: impl Fn() -> R,
        view: impl Fn(&R) -> (&History, u64),
    ) -> Result<(), Refusal> {
        let (history, index) = {
            let replica = read();
            let (history, index) = view(&replica);
            if subscription.next > index {
                return Ok(());
            }
            (history.since(subscription.next), index)
        };
        let (mut events, mut bytes) = (0, 0);
        while subscription.stage == Stage::Behind && subscription.next <= index {
            let Subscription { path, recursive, next, .. } = &*subscription;
            let found = history.scan(path, *recursive, *next, index);
            let Some(event) = found.map_err(|error| Refusal { error, index })? else {
                subscription.next = index + 1;
                return Ok(());
            };
            events += 1;
            bytes += event.value_bytes();
            if events > QUEUE_EVENTS || events > 1 && bytes > PAST_BYTES {
                return Ok(());
            }
            let told = match event.value_bytes() > PAST_BYTES {
                true => Told { index: event.index, line: Line::Unwritten(event.clone()) },
                false => told(&event),
            };
            let (_, more) = subscription.mailbox.put(&told, !subscription.stream);
            assert_eq!(more, subscription.stream, "a mailbox took less than a pass may put into it");
            subscription.next = event.index + 1;
            if !subscription.stream {
                subscription.stage = Stage::Done;
            }
        }
        Ok(())
    }

    /// Tells everyone concerned of changes that have been applied, in order. Gives how many times somebody was told.
    pub fn publish(&self, changes: &[Change]) -> u64 {
        let Some(last) = changes.last() else { return 0 };
        // A watcher that comes now has seen these changes: what is applied waits while it is registered.
        if self.watchers() == 0 {
            self.told.fetch_max(last.event.index, Ordering::Relaxed);
            return 0;
        }
        let mut wake = Vec::new();
        let mut heard = 0;
        let mut state = self.state();
        for change in changes {
            let event = &*change.event;
            self.told.fetch_max(event.index, Ordering::Relaxed);
            if event.silent {
                continue;
            }
            let mut post = Post::new(event, &mut wake);
            state.publish(change, &mut post);
            heard += post.heard;
            self.count.fetch_sub(post.gone, Ordering::Relaxed);
        }
        drop(state);
        wake.into_iter().for_each(Waker::wake);
        heard
    }

    /// Everything was replaced and there is no telling what changed: all watchers end, so that they ask again and are
    /// told to read anew.
    pub fn close_all(&self) {
        self.end_all(End::Closed, self.state());
    }

    /// Some changes were not told: all watchers are to look for what they have not heard in the history.
    pub fn skipped(&self) {
        let state = self.state();
        self.end_all(End::Moved(self.told.load(Ordering::Relaxed)), state);
    }

    /// The state was replaced by one at `index`: all watchers are to look for what they have not heard in its history.
    pub fn replaced(&self, index: u64) {
        let state = self.state();
        let told = self.told.fetch_max(index, Ordering::Relaxed);
        self.away_after.store(told, Ordering::Relaxed);
        self.away_until.store(index, Ordering::Relaxed);
        self.end_all(End::Moved(told), state);
    }

    /// Takes out all watchers and tells them why.
    fn end_all(&self, end: End, mut state: MutexGuard<'_, State>) {
        let mut wake = Vec::new();
        for watcher in state.watchers.drain().flat_map(|(_, here)| here) {
            wake.extend(watcher.mailbox.end(end));
        }
        self.count.store(0, Ordering::Relaxed);
        drop(state);
        wake.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
impl Hub {
    /// Holds everybody up who tells or comes, until what this gives is dropped.
    pub(super) fn hold(&self) -> impl Drop + '_ {
        self.state()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::clock::Stamp;
    use crate::keyspace::{Command, Content, Key, Keyspace};

    struct Fixture {
        hub: Arc<Hub>,
        keyspace: Keyspace,
    }

    impl Fixture {
        fn new() -> Self {
            Self { hub: Arc::new(Hub::new(100)), keyspace: Keyspace::new(1000) }
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

    impl Fixture {
        fn advance(&self, subscription: &mut Subscription) {
            if subscription.is_behind() {
                self.hub.advance(subscription, || &self.keyspace, |k| (k.history(), k.index())).unwrap();
            }
        }
    }

    fn take(subscription: &mut Subscription) -> Option<Result<u64, End>> {
        subscription.next().now_or_never().map(|told| told.map(|told| told.index))
    }

    fn indexes(subscription: &mut Subscription) -> Vec<u64> {
        std::iter::from_fn(|| take(subscription)?.ok()).collect()
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
        assert_eq!(indexes(&mut stream), [1, 3]);
        f.advance(&mut stream);
        f.set("/a");
        assert_eq!(indexes(&mut stream), [4]);
        f.advance(&mut stream);
        f.set("/a");
        assert_eq!(indexes(&mut stream), [5]);
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
    fn a_reader_that_falls_behind_goes_on_from_the_history_and_dropped_watchers_are_forgotten() {
        let mut f = Fixture::new();
        let mut slow = f.watch("/a", false, true, None);
        let other = f.watch("/a", false, true, None);
        drop(other);
        for _ in 0..QUEUE_EVENTS + 5 {
            f.set("/a");
        }
        assert_eq!(f.hub.watchers(), 0);
        let mut heard = Vec::new();
        while heard.len() < QUEUE_EVENTS + 5 {
            heard.extend(indexes(&mut slow));
            f.advance(&mut slow);
        }
        assert_eq!(heard, (1..=heard.len() as u64).collect::<Vec<u64>>());
        f.advance(&mut slow);
        f.set("/a");
        assert_eq!(indexes(&mut slow), [QUEUE_EVENTS as u64 + 6]);
    }

    #[test]
    fn a_long_past_is_told_in_pieces_without_a_gap() {
        let mut f = Fixture::new();
        for _ in 0..QUEUE_EVENTS * 5 / 2 {
            f.set("/a");
        }
        let mut stream = f.watch("/a", false, true, Some(1));
        let mut heard = Vec::new();
        for _ in 0..4 {
            heard.extend(indexes(&mut stream));
            f.set("/a");
            f.advance(&mut stream);
        }
        heard.extend(indexes(&mut stream));
        let last = f.keyspace.index();
        assert_eq!(heard, (1..=last).collect::<Vec<u64>>());
    }

    #[test]
    fn a_past_of_large_values_is_told_one_by_one_and_small_ones_behind_them_are_not_lost() {
        let mut f = Fixture::new();
        let mut put = |bytes: usize| {
            let content = Content { value: vec![b'x'; bytes].into(), ..Content::default() };
            let key = Key::parse(b"/a").unwrap();
            f.apply(Command::Set { key, dir: false, content });
        };
        for bytes in [9 << 20, 9 << 20, 1, 1, PAST_BYTES, 1, 9 << 20] {
            put(bytes);
        }
        let mut stream = f.watch("/a", false, true, Some(1));
        let mut heard = Vec::new();
        loop {
            f.advance(&mut stream);
            let mut bytes = 0;
            let mut events = 0;
            while let Some(told) = stream.next().now_or_never() {
                let told = told.unwrap();
                heard.push(told.index);
                bytes += told.line.size();
                events += 1;
                let is_small = told.line.size() < PAST_BYTES + 1000;
                assert!(is_small || matches!(told.line, Line::Unwritten(_)), "it is in memory once");
            }
            if events == 0 {
                break;
            }
            assert!(events == 1 || bytes < 2 * PAST_BYTES, "{events} with {bytes} bytes at a time");
        }
        assert_eq!(heard, [1, 2, 3, 4, 5, 6, 7]);
        f.set("/a");
        assert_eq!(indexes(&mut stream), [8]);
    }

    #[test]
    fn a_watch_has_its_place_while_it_is_told_of_the_past_and_until_it_is_dropped() {
        let mut f = Fixture::new();
        f.hub = Arc::new(Hub::new(2));
        f.set("/a");
        let behind = f.watch("/a", false, true, Some(1));
        let mut once = f.watch("/a", false, false, None);
        f.set("/a");
        let interest = Interest { path: b"/a".to_vec(), recursive: false, stream: true, since: Some(1) };
        let again = || f.hub.subscribe(interest.clone(), || &f.keyspace, |k| (k.history(), k.index()));
        assert_eq!(f.hub.watchers(), 0, "nobody waits");
        assert_eq!(again().unwrap_err(), Refused::Full(2));
        assert_eq!(
            indexes(&mut f.watch("/a", false, false, Some(1))),
            [1],
            "what the past answers needs no place"
        );
        assert_eq!(indexes(&mut once), [2]);
        drop(once);
        assert!(again().is_ok());
        let cleared = Interest { since: Some(1), ..interest.clone() };
        let empty = History::new(5_u64.into());
        assert!(matches!(
            f.hub.subscribe(cleared, || &empty, |empty| (empty, 900)),
            Err(Refused::Cleared(_))
        ));
        assert!(again().is_ok(), "one that was refused has no place");
        drop(behind);
        assert_eq!(f.hub.watches.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn so_many_watchers_and_no_more() {
        let f = Fixture::new();
        let watches: Vec<Subscription> = (0..100).map(|_| f.watch("/a", false, false, None)).collect();
        let interest = Interest { path: b"/a".to_vec(), recursive: false, stream: false, since: None };
        let again = || f.hub.subscribe(interest.clone(), || &f.keyspace, |k| (k.history(), k.index()));
        assert_eq!(again().unwrap_err(), Refused::Full(100));
        drop(watches);
        assert!(again().is_ok());
    }

    #[test]
    fn when_all_are_closed_each_gets_what_came_before_and_then_the_end() {
        let mut f = Fixture::new();
        let mut stream = f.watch("/a", false, true, None);
        let mut idle = f.watch("/b", false, false, None);
        f.set("/a");
        f.hub.close_all();
        f.set("/a");
        f.set("/b");
        assert_eq!(take(&mut stream), Some(Ok(1)));
        assert_eq!(take(&mut stream), Some(Err(End::Closed)));
        assert_eq!(take(&mut idle), Some(Err(End::Closed)));
        assert_eq!(f.hub.watchers(), 0);
    }

    #[test]
    fn after_a_replaced_state_watchers_go_on_from_the_history() {
        let mut f = Fixture::new();
        f.keyspace = Keyspace::new(5);
        f.set("/b");
        let mut stream = f.watch("/a", false, true, None);
        let mut idle = f.watch("/c", false, false, None);
        for _ in 0..8 {
            f.set("/a");
        }
        assert_eq!(indexes(&mut stream), (2..=9).collect::<Vec<u64>>());
        // Applied elsewhere, and come here with a snapshot; what was still to be told is told afterwards.
        let key = Key::parse(b"/a").unwrap();
        let set = Command::Set { key, dir: false, content: Content::default() };
        let mut late = Vec::new();
        f.keyspace.apply(&set, Stamp::default(), &mut late).unwrap();
        f.hub.replaced(f.keyspace.index());
        f.hub.publish(&late);
        assert_eq!(take(&mut stream), Some(Err(End::Moved(9))));
        assert_eq!(take(&mut idle), Some(Err(End::Moved(9))));
        f.advance(&mut stream);
        f.advance(&mut idle);
        assert_eq!(indexes(&mut stream), [10]);
        f.advance(&mut stream);
        f.set("/a");
        f.set("/c");
        assert_eq!((indexes(&mut stream), indexes(&mut idle)), (vec![11], vec![12]));
    }

    #[test]
    fn a_watcher_that_misses_something_because_its_node_was_away_is_not_called_slow() {
        let mut f = Fixture::new();
        f.keyspace = Keyspace::new(5);
        f.set("/a");
        let mut good = f.watch("/a", false, true, None);
        let mut slow = f.watch("/a", false, true, None);
        for _ in 0..3 {
            f.set("/a");
        }
        assert_eq!(indexes(&mut good), [2, 3, 4]);
        assert!(!slow.missed_while_away() && !good.missed_while_away());
        // More than is remembered happens elsewhere.
        let key = Key::parse(b"/a").unwrap();
        let set = Command::Set { key, dir: false, content: Content::default() };
        for _ in 0..9 {
            f.keyspace.apply(&set, Stamp::default(), &mut Vec::new()).unwrap();
        }
        f.hub.replaced(f.keyspace.index());
        assert_eq!(take(&mut good), Some(Err(End::Moved(4))));
        assert!(good.missed_while_away());
        assert_eq!(take(&mut slow), Some(Ok(2)));
        assert!(!slow.missed_while_away(), "it had not even heard what it could");
    }
}
