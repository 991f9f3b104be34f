//! Tells watchers of what was applied, on a thread of its own: ten thousand watchers of one key hold up no write.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::hub::Hub;
use super::metrics::Metrics;
use crate::keyspace::Change;

/// Batches of changes that may wait to be told. When there are more, applying waits for the watchers.
const QUEUE_BATCHES: usize = 1024;

/// Where changes are handed over, in the order in which they were applied.
#[derive(Debug)]
pub struct Fanout {
    hub: Arc<Hub>,
    queue: SyncSender<Vec<Change>>,
}

impl Fanout {
    /// Starts the thread; it ends with this handle.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(hub: Arc<Hub>, metrics: Arc<Metrics>) -> std::io::Result<Self> {
        let (queue, changes) = sync_channel(QUEUE_BATCHES);
        let told = hub.clone();
        std::thread::Builder::new()
            .name("watch-fanout".into())
            .spawn(move || run(&told, &metrics, &changes))?;
        Ok(Self { hub, queue })
    }

    /// Hands changes over.
    pub fn tell(&self, changes: Vec<Change>) {
        if self.hub.watchers() == 0 {
            self.hub.publish(&changes);
        } else if !changes.is_empty() && self.queue.send(changes).is_err() {
            tracing::error!("the thread that tells watchers has ended");
        }
    }
}

fn run(hub: &Hub, metrics: &Metrics, changes: &Receiver<Vec<Change>>) {
    while let Ok(changes) = changes.recv() {
        metrics.told.inc_by(hub.publish(&changes));
    }
}
