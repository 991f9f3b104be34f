//! Tells who is lost, back or stopped, for as long as somebody listens.

use std::convert::Infallible;
use std::time::Duration;

use super::list;
use super::tracker::{BeatChange, Tracker};
use crate::client::{Client, ClientError};
use crate::model::HEARTBEATS;
use crate::model::beat::{BeatName, heartbeats};

/// The pause before the store is asked again after it did not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// Calls `tell` for every change of the heartbeats of `name`, or of all, one after the other, in order. Goes on over
/// outages of the store: what was missed is found out afterwards. Calls `trouble` once for each outage.
///
/// # Errors
/// Ends only with the first error of `tell`.
pub async fn watch<E, Told: Future<Output = Result<(), E>>>(
    client: &Client,
    name: Option<&BeatName>,
    mut tell: impl FnMut(BeatChange) -> Told,
    mut trouble: impl FnMut(String),
) -> Result<Infallible, E> {
    let folder = name.map_or_else(|| HEARTBEATS.to_string(), heartbeats);
    let mut tracker = Tracker::default();
    let mut silent = false;
    loop {
        let (lines, index) = match list::list(client, name).await {
            Ok(listed) => listed,
            Err(error) => {
                if !std::mem::replace(&mut silent, true) {
                    trouble(error.to_string());
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        silent = false;
        for change in tracker.relist(&list::who(&lines)) {
            tell(change).await?;
        }
        let mut events = client.watch(&folder, true, Some(index));
        let mut heard = false;
        loop {
            match events.next().await {
                Ok(event) => {
                    heard = true;
                    for change in tracker.saw(&event.action, &event.node.key) {
                        tell(change).await?;
                    }
                }
                // Events were missed: the list tells what became of them.
                Err(ClientError::Cleared { .. }) => {
                    // A history that is too short for any watch must not be asked for without pause.
                    if !heard {
                        tokio::time::sleep(PAUSE).await;
                    }
                    break;
                }
                Err(error) => {
                    trouble(error.to_string());
                    tokio::time::sleep(PAUSE).await;
                    break;
                }
            }
        }
    }
}
