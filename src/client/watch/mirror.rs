//! A copy of everything below a directory of the store, kept up to date by a watch.
//!
//! While the store cannot be reached the copy stays as it was last seen. A directory that does not exist is told from
//! one that is empty: callers must not take a store that lost its contents for one in which nothing is wanted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::client::endpoints::backoff::Backoff;
use crate::client::{Answer, Client, ClientError, Event, GetOptions, Node};
use crate::model::tree::{File, News, Tree, What};

/// A watch that was told of nothing and broke off sooner than this counts as one more failure in a row: a server that
/// lets the directory be read and refuses each watch of it is not asked without pause.
const SETTLED: Duration = Duration::from_secs(5);

/// Handle of a copy; clones share it. The copying ends with the last handle.
#[derive(Clone)]
pub struct Mirror {
    shared: Arc<Shared>,
    seen: watch::Receiver<u64>,
    _copying: Arc<AbortOnDropHandle<()>>,
}

struct Shared {
    dir: String,
    tree: Mutex<Option<Tree>>,
    /// Counts changes.
    changes: watch::Sender<u64>,
}

impl Shared {
    fn tree(&self) -> MutexGuard<'_, Option<Tree>> {
        self.tree.lock().expect("mirror lock poisoned")
    }

    /// Changes the copy by `how`, which says whether that made a difference.
    fn change(&self, how: impl FnOnce(&mut Option<Tree>) -> bool) {
        let changed = how(&mut self.tree());
        if changed {
            self.changes.send_modify(|count| *count += 1);
        }
    }
}

impl Mirror {
    /// Begins to copy `dir`. Must be called inside a tokio runtime.
    pub fn open(client: &Client, dir: &str) -> Self {
        let (changes, mut seen) = watch::channel(0);
        seen.mark_changed();
        let shared = Arc::new(Shared { dir: dir.into(), tree: Mutex::new(None), changes });
        let copying = tokio::spawn(copy(client.clone(), Arc::clone(&shared)));
        Self { shared, seen, _copying: Arc::new(AbortOnDropHandle::new(copying)) }
    }

    /// Waits until there is something this handle has not seen; may be dropped and called again at any time.
    pub async fn changed(&mut self) {
        if self.seen.changed().await.is_err() {
            // Only at the end of the runtime: there will be no news.
            std::future::pending::<()>().await;
        }
    }

    /// Looks at the copy. `None`: the store has not been read yet.
    pub fn read<T>(&self, look: impl FnOnce(&Tree) -> T) -> Option<T> {
        self.shared.tree().as_ref().map(look)
    }

    /// Brings in what a write of our own answered, before the watch tells of it.
    pub fn absorb(&self, answer: &Answer) {
        let dir = &self.shared.dir;
        self.shared.change(|tree| {
            tree.as_mut().is_some_and(|tree| tree.apply(dir, &news(&answer.action, &answer.node)))
        });
    }
}

/// Reads the directory, follows it, and reads it again whenever the watch has lost the thread.
async fn copy(client: Client, shared: Arc<Shared>) {
    let mut backoff = Backoff::default();
    loop {
        match list(&client, &shared.dir).await {
            Ok(tree) => {
                let after = tree.index;
                shared.change(|copy| {
                    *copy = Some(tree);
                    true
                });
                let since = Instant::now();
                let (heard, error) = follow(&client, &shared, after).await;
                if heard || since.elapsed() >= SETTLED {
                    backoff.reset();
                }
                tracing::debug!(dir = shared.dir, %error, "the watch broke off, reading anew");
            }
            Err(error) => tracing::debug!(dir = shared.dir, %error, "cannot be read yet"),
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

async fn list(client: &Client, dir: &str) -> Result<Tree, ClientError> {
    let options = GetOptions { recursive: true, ..GetOptions::linearizable() };
    match client.get(dir, &options).await {
        Ok(answer) => Ok(tree(&answer)),
        Err(error) if error.is_not_found() => {
            let index = error.api().map_or(0, |api| api.index);
            Ok(Tree { index, ..Tree::default() })
        }
        Err(error) => Err(error),
    }
}

/// Applies events until the watch fails; says whether there were any, and why it failed.
async fn follow(client: &Client, shared: &Shared, after: u64) -> (bool, ClientError) {
    let mut watch = client.watch(&shared.dir, true, Some(after));
    let mut heard = false;
    loop {
        match watch.next().await {
            Ok(Event { action, node, .. }) => {
                heard = true;
                shared.change(|tree| {
                    let Some(tree) = tree else { return false };
                    tree.index = tree.index.max(node.modified_index);
                    tree.apply(&shared.dir, &news(&action, &node))
                });
            }
            Err(error) => return (heard, error),
        }
    }
}

/// The files in the answer to a recursive read.
pub fn tree(answer: &Answer) -> Tree {
    let mut tree = Tree { exists: answer.node.dir, files: BTreeMap::new(), index: answer.index };
    let mut open = vec![&answer.node];
    while let Some(node) = open.pop() {
        open.extend(&node.nodes);
        if !node.dir {
            let value = node.value.clone().unwrap_or_default();
            tree.files.insert(node.key.clone(), File { value, modified_index: node.modified_index });
        }
    }
    tree
}

/// A change as a [`Tree`] takes it in.
fn news<'a>(action: &str, node: &'a Node) -> News<'a> {
    let what = match action {
        "delete" | "compareAndDelete" | "expire" => What::Gone,
        _ if node.dir => What::Directory,
        _ => What::File(node.value.as_deref().unwrap_or_default()),
    };
    News { key: &node.key, index: node.modified_index, what }
}
