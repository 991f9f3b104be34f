//! Tells watchers of what was applied, on a thread of its own: ten thousand watchers of one key hold up no write.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::hub::Hub;
use crate::keyspace::Change;
use crate::store::metrics::counters::Metrics;

/// Batches of changes that may wait to be told. When there are more, applying waits for the watchers.
const QUEUE_BATCHES: usize = 1024;

/// Where changes are handed over, in the order in which they were applied.
#[derive(Debug)]
pub struct Fanout {
    hub: Arc<Hub>,
    queue: SyncSender<Batch>,
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

    /// Tells everyone concerned, in order. Gives how many times somebody was told.
    fn publish(&self, hub: &Hub) -> u64 {
        let Some(replaced_after) = self.replaced_after else { return hub.publish(&self.changes) };
        let (before, after) = self.changes.split_at(replaced_after);
        let heard = hub.publish(before);
        hub.close_all();
        heard + hub.publish(after)
    }
}

impl Fanout {
    /// Starts the thread; it ends with this handle.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(hub: Arc<Hub>, metrics: Arc<Metrics>) -> std::io::Result<Self> {
        let (queue, batches) = sync_channel(QUEUE_BATCHES);
        let told = hub.clone();
        std::thread::Builder::new()
            .name("watch-fanout".into())
            .spawn(move || run(&told, &metrics, &batches))?;
        Ok(Self { hub, queue })
    }

    /// Hands changes over.
    pub fn tell(&self, batch: Batch) {
        if self.hub.watchers() == 0 {
            batch.publish(&self.hub);
        } else if !batch.is_empty() {
            // Watchers that are never told take what they have for what is: the node must stop.
            self.queue.send(batch).expect("the thread that tells watchers has panicked");
        }
    }
}

fn run(hub: &Hub, metrics: &Metrics, batches: &Receiver<Batch>) {
    while let Ok(batch) = batches.recv() {
        metrics.told.inc_by(batch.publish(hub));
    }
}
