//! Tells watchers of what was applied, on a thread of its own: ten thousand watchers of one key hold up no write. When too
//! much waits to be told, the rest is not told at all, and watchers go on from the history.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::hub::Hub;
use crate::keyspace::Change;
use crate::store::metrics::counters::Metrics;

/// About how many bytes of changes may wait to be told. One batch is always taken, however large.
const QUEUE_BYTES: u64 = 64 << 20;

/// Changes that nobody waits for are dropped at once when they take no more bytes than this, and else on the thread that
/// tells: to free them takes time as well.
const LIGHT_BYTES: u64 = 64 << 10;

/// Where changes are handed over, in the order in which they were applied. That never waits for those who are told.
#[derive(Debug)]
pub struct Fanout {
    hub: Arc<Hub>,
    queue: Arc<Queue>,
}

/// What was applied at once.
#[derive(Debug)]
pub struct Batch {
    /// The changes.
    pub changes: Vec<Change>,
    /// How many of them came before everything was replaced; `None` when nothing was.
    pub replaced_after: Option<usize>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.replaced_after.is_none()
    }

    fn weight(&self) -> u64 {
        self.changes.iter().map(Change::weight).sum()
    }

    /// Tells everyone concerned, in order. Gives how many times somebody was told.
    fn publish(&self, hub: &Hub) -> u64 {
        let Some(replaced_after) = self.replaced_after else { return hub.publish(&self.changes) };
        let (before, after) = self.changes.split_at(replaced_after);
        let heard = hub.publish(before);
        hub.close_all();
        heard + hub.publish(after)
    }
}

/// What is to be told.
#[derive(Debug)]
enum Item {
    /// Changes, and about how many bytes they take.
    Batch(Batch, u64),
    /// The state was replaced by one at this index.
    Replaced(u64),
    /// Changes that did not fit were left out here; in them everything was replaced.
    Gap { replaced: bool },
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    bytes: u64,
    ended: bool,
    /// The thread that tells has panicked.
    failed: bool,
}

impl State {
    /// Takes a batch up, or leaves it out.
    fn add(&mut self, batch: Batch, weight: u64) {
        // Watchers that are never told take what they have for what is: the node must stop.
        assert!(!self.failed, "the thread that tells watchers has panicked");
        if let Some(Item::Gap { replaced }) = self.items.back_mut() {
            *replaced |= batch.replaced_after.is_some();
        } else if self.bytes > 0 && self.bytes + weight > QUEUE_BYTES {
            self.items.push_back(Item::Gap { replaced: batch.replaced_after.is_some() });
        } else {
            self.bytes += weight;
            self.items.push_back(Item::Batch(batch, weight));
        }
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("fan-out lock poisoned")
    }

    /// The next item, as soon as there is one; `None` when there will be none.
    fn next(&self) -> Option<Item> {
        let mut state = self.state();
        loop {
            if let Some(item) = state.items.pop_front() {
                if let Item::Batch(_, weight) = &item {
                    state.bytes -= weight;
                }
                return Some(item);
            }
            if state.ended {
                return None;
            }
            state = self.filled.wait(state).expect("fan-out lock poisoned");
        }
    }
}

impl Fanout {
    /// Starts the thread; it ends with this handle.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(hub: Arc<Hub>, metrics: Arc<Metrics>) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let (told, waiting) = (hub.clone(), queue.clone());
        std::thread::Builder::new().name("watch-fanout".into()).spawn(move || {
            let _alive = Alive(&waiting);
            run(&told, &metrics, &waiting);
        })?;
        Ok(Self { hub, queue })
    }

    /// Hands changes over.
    pub fn tell(&self, batch: Batch) {
        if batch.is_empty() {
            return;
        }
        let weight = batch.weight();
        if self.hub.watchers() == 0 && weight <= LIGHT_BYTES && batch.replaced_after.is_none() {
            batch.publish(&self.hub);
            return;
        }
        self.queue.state().add(batch, weight);
        self.queue.filled.notify_one();
    }

    /// The state was replaced by one at `index`: watchers look for what they have not heard in its history.
    pub fn replaced(&self, index: u64) {
        self.queue.state().items.push_back(Item::Replaced(index));
        self.queue.filled.notify_one();
    }
}

/// Notes when the thread that has it panics.
struct Alive<'a>(&'a Queue);

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        // A lock that is poisoned says the same.
        if std::thread::panicking()
            && let Ok(mut state) = self.0.state.lock()
        {
            state.failed = true;
        }
    }
}

impl Drop for Fanout {
    fn drop(&mut self) {
        // After a panic under the lock the node stops, and a panic here could come on top of another.
        let Ok(mut state) = self.queue.state.lock() else { return };
        state.ended = true;
        drop(state);
        self.queue.filled.notify_one();
    }
}

fn run(hub: &Hub, metrics: &Metrics, queue: &Queue) {
    while let Some(item) = queue.next() {
        match item {
            Item::Batch(batch, _) => metrics.told.inc_by(batch.publish(hub)),
            Item::Replaced(index) => hub.replaced(index),
            Item::Gap { replaced } => {
                metrics.skipped.inc();
                tracing::info!("too much waited to be told to watchers: they go on from the history");
                if replaced { hub.close_all() } else { hub.skipped() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use prometheus::Registry;

    use super::*;
    use crate::clock::Stamp;
    use crate::keyspace::{Command, Content, Key, Keyspace};
    use crate::store::{End, Interest, Subscription};

    struct Fixture {
        keyspace: Keyspace,
        hub: Arc<Hub>,
        queue: Queue,
        metrics: Arc<Metrics>,
    }

    impl Fixture {
        fn new() -> Self {
            let metrics = Metrics::new(&Registry::new()).unwrap();
            let hub = Arc::new(Hub::new(10));
            Self { keyspace: Keyspace::new(1000), hub, queue: Queue::default(), metrics }
        }

        fn watch(&self) -> Subscription {
            let interest = Interest { path: b"/d".into(), recursive: true, stream: true, since: None };
            let subscribed = self.hub.subscribe(interest, || &self.keyspace, |k| (k.history(), k.index()));
            subscribed.unwrap()
        }

        fn write(&mut self, value: Vec<u8>) -> (Batch, u64) {
            let content = Content { value: value.into(), ..Content::default() };
            let command = Command::Set { key: Key::parse(b"/d/x").unwrap(), dir: false, content };
            let mut changes = Vec::new();
            self.keyspace.apply(&command, Stamp::default(), &mut changes).unwrap();
            let batch = Batch { changes, replaced_after: None };
            let weight = batch.weight();
            (batch, weight)
        }

        /// Tells everything that waits, as the thread does.
        fn drain(&self) {
            self.queue.state().ended = true;
            run(&self.hub, &self.metrics, &self.queue);
            self.queue.state().ended = false;
        }
    }

    #[tokio::test]
    async fn what_does_not_fit_is_left_out_and_watchers_find_it_in_the_history() {
        let mut f = Fixture::new();
        let mut watch = f.watch();
        for n in 0..40 {
            let (batch, weight) = f.write(vec![b'x'; 2 << 20]);
            f.queue.state().add(batch, weight);
            assert!(f.queue.state().bytes <= QUEUE_BYTES, "{n}");
        }
        // A value is in the event that brings it and in the one that replaces it; one gap holds the rest.
        assert_eq!(f.queue.state().items.len(), 17);
        // One that comes in the middle of the gap has its beginning in it, and nothing twice.
        let mut late = f.watch();
        let (batch, weight) = f.write(b"last".to_vec());
        f.queue.state().add(batch, weight);
        f.drain();
        assert_eq!(f.metrics.skipped.get(), 1);
        let (batch, weight) = f.write(b"behind".to_vec());
        f.queue.state().add(batch, weight);
        f.drain();
        for (watch, from) in [(&mut watch, 1), (&mut late, 41)] {
            let mut heard = Vec::new();
            while heard.last() != Some(&42) {
                if watch.is_behind() {
                    f.hub.advance(watch, || &f.keyspace, |k| (k.history(), k.index())).unwrap();
                }
                match watch.next().await {
                    Ok(told) => heard.push(told.index),
                    Err(end) => assert!(matches!(end, End::Moved(_)), "{end:?}"),
                }
            }
            assert_eq!(heard, (from..=42).collect::<Vec<_>>());
        }
    }

    #[tokio::test]
    async fn a_gap_in_which_everything_was_replaced_ends_the_watches() {
        let mut f = Fixture::new();
        let mut watch = f.watch();
        for replaced_after in [None, None, Some(1)] {
            let (batch, weight) = f.write(vec![b'x'; 40 << 20]);
            f.queue.state().add(Batch { replaced_after, ..batch }, weight);
        }
        f.drain();
        assert!(watch.next().await.is_ok());
        assert_eq!(watch.next().await, Err(End::Closed));
    }

    #[test]
    fn handing_over_does_not_wait_for_those_who_are_told() {
        let mut f = Fixture::new();
        let fanout = Fanout::start(f.hub.clone(), f.metrics.clone()).unwrap();
        let _watch = f.watch();
        // Somebody holds up the thread that tells.
        let hub = f.hub.clone();
        let _held = hub.hold();
        let began = Instant::now();
        for _ in 0..3000 {
            fanout.tell(f.write(vec![b'x'; 64 << 10]).0);
        }
        fanout.replaced(5000);
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        assert!(fanout.queue.state().bytes <= QUEUE_BYTES);
    }
}
