//! What goes on after the head of an answer, without hyper: put by a page, taken by the connection.

use std::sync::{Arc, Mutex};

use super::guard::Pass;
use crate::store::{LargeAnswer, Subscription};

/// What goes on after the head of an answer.
pub enum Work {
    /// A watch, as long as the pass is valid.
    Watch(Subscription, Pass),
    /// A body that is rendered while it is sent.
    Answer(Box<LargeAnswer>),
}

/// Put into the extensions of an answer whose body is not hyper's business.
#[derive(Clone)]
pub struct HandedOver(Arc<Mutex<Option<Work>>>);

impl HandedOver {
    /// For this work.
    pub fn new(work: Work) -> Self {
        Self(Arc::new(Mutex::new(Some(work))))
    }

    /// The work, once.
    pub fn take(self) -> Option<Work> {
        self.0.lock().expect("handed over work lock poisoned").take()
    }
}
