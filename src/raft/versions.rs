//! Which version the cluster has reached, as this member knows it, and whether it can go along.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use tokio::sync::watch;

use crate::format::{LOWEST, Version, highest};

/// The cluster's version, and what others say of it. Clones share it.
#[derive(Clone, Debug)]
pub struct Versions(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    reached: AtomicU16,
    /// The version that others say this member would have to know.
    needed: watch::Sender<Option<Version>>,
}

impl Versions {
    /// Of a member that has heard of `reached`.
    pub fn new(reached: Version) -> Self {
        let (reached, needed) = (AtomicU16::new(reached.number()), watch::Sender::new(None));
        Self(Arc::new(Inner { reached, needed }))
    }

    /// Of somebody who knows nothing of its cluster.
    pub fn of_stranger() -> Self {
        Self::new(LOWEST)
    }

    /// The cluster's version as far as it was applied here.
    pub fn reached(&self) -> Version {
        Version::from_number(self.0.reached.load(Ordering::Acquire))
    }

    /// Takes note of what was applied.
    pub fn reach(&self, version: Version) {
        self.0.reached.store(version.number(), Ordering::Release);
    }

    /// Another member says that the cluster has reached a version that this one does not know.
    pub fn outgrown(&self, needed: Version) {
        if needed > highest() {
            self.0.needed.send_replace(Some(needed));
        }
    }

    /// What others have said is needed, if this member does not know it.
    pub fn too_new(&self) -> Option<Version> {
        *self.0.needed.borrow()
    }

    /// Resolves with the version that is needed, once this member turns out to be too old for its cluster.
    pub async fn needed(&self) -> Version {
        let mut needed = self.0.needed.subscribe();
        loop {
            if let Some(needed) = *needed.borrow_and_update() {
                return needed;
            }
            if needed.changed().await.is_err() {
                // Cannot be: the sender is here.
                std::future::pending::<()>().await;
            }
        }
    }
}
