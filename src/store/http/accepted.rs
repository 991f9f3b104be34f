//! How a page says that its answer is a watch, and the server takes it over.

use std::sync::{Arc, Mutex};

use super::guard::Pass;
use crate::store::Subscription;

/// Put into the extensions of an answer whose body is a watch.
#[derive(Clone)]
pub struct Accepted(Arc<Mutex<Option<(Subscription, Pass)>>>);

impl Accepted {
    /// For this watch, as long as the pass is valid.
    pub fn new(subscription: Subscription, pass: Pass) -> Self {
        Self(Arc::new(Mutex::new(Some((subscription, pass)))))
    }

    /// The watch, once.
    pub fn take(self) -> Option<(Subscription, Pass)> {
        self.0.lock().expect("accepted watch lock poisoned").take()
    }
}
