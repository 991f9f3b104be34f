//! Requests whose outcome tells how well the store can be reached.

use std::sync::{Arc, Mutex};

use tokio::time::Instant;

use crate::client::{Answer, Client, ClientError};
use crate::schedule::Contact;

/// The way to the store; clones share the record of contact.
#[derive(Clone)]
pub(in crate::agent) struct Link {
    /// The store.
    pub client: Client,
    /// The record of contact.
    pub contact: Arc<Mutex<Contact>>,
    /// The moment that times in `contact` count from.
    pub epoch: Instant,
}

impl Link {
    /// Awaits a request and keeps the record of contact.
    pub async fn asked(
        &self,
        request: impl Future<Output = Result<Answer, ClientError>>,
    ) -> Result<Answer, ClientError> {
        let began = self.epoch.elapsed();
        let outcome = request.await;
        let now = self.epoch.elapsed();
        self.record(|contact| match &outcome {
            Err(error) if error.api().is_none() => contact.failed(began),
            _ => contact.succeeded(began, now),
        });
        outcome
    }

    /// The store says that this machine, which is alive, is gone.
    pub fn lost(&self) {
        let now = self.epoch.elapsed();
        self.record(|contact| contact.presence_lost(now));
    }

    fn record(&self, how: impl FnOnce(&mut Contact)) {
        how(&mut self.contact.lock().expect("contact lock poisoned"));
    }
}
