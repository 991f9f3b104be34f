//! What is published below a machine's directory: the states of its units, then its description.

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::client::{Client, ClientError, DeleteOptions, GetOptions, PutOptions};
use crate::model::machine::MachineInfo;
use crate::model::{self, MachineKey};

use super::States;

/// How many writes are under way at a time.
const WRITES: usize = 16;

/// Why not everything is published.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The store has not done it, or the registration is not certain now: to be tried again.
    Later,
    /// The description is another boot's.
    Contested,
}

/// Publishes under one registration.
pub(super) struct Publisher {
    client: Client,
    until: watch::Receiver<Instant>,
    /// The states that the store has, by key, as far as is known.
    confirmed: BTreeMap<String, String>,
    /// The description that the store has from us.
    described: Option<String>,
    /// The index of the description's last change: each change of it is tied to the one before, so that of two machines
    /// only one can have it.
    index: u64,
}

impl Publisher {
    /// Begins with what the store has: states by key, and the description's index.
    pub fn new(
        client: Client,
        until: watch::Receiver<Instant>,
        confirmed: BTreeMap<String, String>,
        index: u64,
    ) -> Self {
        Self { client, until, confirmed, described: None, index }
    }

    /// Brings the store up to date: units' states side by side, then the description.
    pub async fn publish(&mut self, states: &States, info: &MachineInfo) -> Result<(), Trouble> {
        self.states(states, info).await?;
        self.describe(info).await
    }

    async fn states(&mut self, states: &States, info: &MachineInfo) -> Result<(), Trouble> {
        let mut changes: Vec<(String, Option<String>)> = Vec::new();
        for (unit, state) in states {
            let (key, value) =
                (model::machine_unit(&info.id, unit), serde_json::to_string(state).unwrap_or_default());
            if self.confirmed.get(&key) != Some(&value) {
                changes.push((key, Some(value)));
            }
        }
        let is_stale = |key: &&String| matches!(model::machine_key(key), Some((_, MachineKey::Unit(unit))) if !states.contains_key(&unit));
        changes.extend(self.confirmed.keys().filter(is_stale).map(|key| (key.clone(), None)));
        let (client, until) = (&self.client, &self.until);
        let writes = changes.into_iter().map(|(key, value)| async move {
            let written = write(client, until, &key, value.as_deref()).await;
            (key, value, written)
        });
        let outcomes: Vec<_> = stream::iter(writes).buffer_unordered(WRITES).collect().await;
        let mut all = Ok(());
        for (key, value, written) in outcomes {
            match (written, value) {
                (Ok(()), Some(value)) => drop(self.confirmed.insert(key, value)),
                (Ok(()), None) => drop(self.confirmed.remove(&key)),
                (Err(()), _) => all = Err(Trouble::Later),
            }
        }
        all
    }

    /// Writes the description if it is not what the store has.
    pub async fn describe(&mut self, info: &MachineInfo) -> Result<(), Trouble> {
        let value = serde_json::to_string(info).unwrap_or_default();
        if self.described.as_ref() == Some(&value) {
            return Ok(());
        }
        if !is_certain(&self.until) {
            return Err(Trouble::Later);
        }
        let key = model::machine_info(&info.id);
        let put =
            PutOptions { value: Some(value.clone()), prev_index: Some(self.index), ..Default::default() };
        match self.client.put(&key, &put).await {
            Ok(answer) => {
                (self.index, self.described) = (answer.node.modified_index, Some(value));
                Ok(())
            }
            Err(error) if error.is_compare_failed() || error.is_not_found() => self.look_again(info).await,
            Err(error) => {
                tracing::debug!(key, %error, "cannot be published yet");
                Err(Trouble::Later)
            }
        }
    }

    /// The description has changed: by a write of ours whose answer was lost, by hand, or by another machine.
    async fn look_again(&mut self, info: &MachineInfo) -> Result<(), Trouble> {
        match self.client.get(&model::machine_info(&info.id), &GetOptions::linearizable()).await {
            Ok(answer) => {
                let found =
                    answer.node.value.and_then(|text| serde_json::from_str::<MachineInfo>(&text).ok());
                if found.is_some_and(|found| found.boot_id != info.boot_id) {
                    return Err(Trouble::Contested);
                }
                self.index = answer.node.modified_index;
                Err(Trouble::Later)
            }
            Err(error) if error.is_not_found() => Err(Trouble::Contested),
            Err(_) => Err(Trouble::Later),
        }
    }
}

/// Whether the registration stands now. After an outage the id may be another's.
fn is_certain(until: &watch::Receiver<Instant>) -> bool {
    *until.borrow() > Instant::now()
}

/// Writes or, without a value, removes one key.
async fn write(
    client: &Client,
    until: &watch::Receiver<Instant>,
    key: &str,
    value: Option<&str>,
) -> Result<(), ()> {
    if !is_certain(until) {
        return Err(());
    }
    let outcome = match value {
        Some(value) => {
            let put = PutOptions { value: Some(value.into()), ..Default::default() };
            client.put(key, &put).await.map(drop)
        }
        None => match client.delete(key, &DeleteOptions::default()).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        },
    };
    outcome.map_err(|error: ClientError| tracing::debug!(key, %error, "cannot be published yet"))
}
