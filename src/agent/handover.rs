//! Units that another machine has now: here they are kept running until they run there.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::client::{Client, ClientError, GetOptions};
use crate::ids::UnitName;
use crate::model;
use crate::model::unit::UnitState;

use super::desired::Handover;

/// Pause after the store did not answer.
const RETRY: Duration = Duration::from_secs(1);

/// The handovers under way.
pub(super) struct Handovers {
    client: Client,
    under_way: BTreeMap<UnitName, (Handover, tokio::task::AbortHandle)>,
    complete: BTreeMap<UnitName, Handover>,
    waits: JoinSet<(UnitName, Handover)>,
}

impl Handovers {
    pub fn new(client: Client) -> Self {
        Self { client, under_way: BTreeMap::new(), complete: BTreeMap::new(), waits: JoinSet::new() }
    }

    /// Takes the handovers that are wanted now and says which of the units still have to wait.
    pub fn waiting(&mut self, wanted: &BTreeMap<UnitName, Handover>) -> Vec<UnitName> {
        self.complete.retain(|unit, handover| wanted.get(unit) == Some(handover));
        self.under_way.retain(|unit, (handover, wait)| {
            let still = wanted.get(unit) == Some(handover);
            if !still {
                wait.abort();
            }
            still
        });
        for (unit, handover) in wanted {
            if !self.complete.contains_key(unit) && !self.under_way.contains_key(unit) {
                tracing::info!(
                    "{unit} is placed on {} now; it goes from here once it runs there",
                    handover.to
                );
                let (client, name, wait) = (self.client.clone(), unit.clone(), handover.clone());
                let wait = self.waits.spawn(async move {
                    until_active(&client, &name, &wait).await;
                    (name, wait)
                });
                self.under_way.insert(unit.clone(), (handover.clone(), wait));
            }
        }
        self.under_way.keys().cloned().collect()
    }

    /// Waits until a handover is complete; for ever if none is under way.
    pub async fn done(&mut self) {
        loop {
            match self.waits.join_next().await {
                Some(Ok((unit, handover))) => {
                    self.under_way.remove(&unit);
                    self.complete.insert(unit, handover);
                    return;
                }
                // Called off.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }
}

/// Waits until the other machine says that the unit is active there by this placement or a later one.
async fn until_active(client: &Client, unit: &UnitName, handover: &Handover) {
    let key = model::machine_unit(&handover.to, unit);
    let there = |value: Option<&str>| {
        let state = value.and_then(|value| serde_json::from_str::<UnitState>(value).ok());
        state.is_some_and(|state| state.active == "active" && state.generation >= handover.generation)
    };
    loop {
        let index = match client.get(&key, &GetOptions::linearizable()).await {
            Ok(answer) if there(answer.node.value.as_deref()) => return,
            Ok(answer) => Some(answer.index),
            Err(error) if error.is_not_found() => error.api().map(|api| api.index),
            Err(_) => None,
        };
        if let Some(index) = index {
            let mut watch = client.watch(&key, false, Some(index));
            let error: ClientError = loop {
                match watch.next().await {
                    Ok(event) if there(event.node.value.as_deref()) => return,
                    Ok(_) => {}
                    Err(error) => break error,
                }
            };
            tracing::debug!(key, %error, "reading anew");
        }
        tokio::time::sleep(RETRY).await;
    }
}
