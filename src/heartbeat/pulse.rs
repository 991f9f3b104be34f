//! One beat, and the end of beating.

use std::time::Duration;

use super::HeartbeatError;
use crate::client::{Client, DeleteOptions, PutOptions};
use crate::clock::wall_time;
use crate::ids::MachineId;
use crate::model::Moment;
use crate::model::beat::{Beat, BeatName, Source, heartbeat};

/// How often the key may change hands between refresh and creation before it counts as an error.
const TRIES: u32 = 5;

/// One service's heartbeat on one machine.
#[derive(Clone, Debug)]
pub struct Pulse {
    client: Client,
    key: String,
    ttl: u64,
    source: Source,
    pid: Option<u32>,
}

/// What a beat did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beaten {
    /// The key was there and lives on.
    Refreshed,
    /// The key is new: the first beat, or the first after it was lost.
    Began,
}

impl Pulse {
    /// The heartbeat of `name` on the machine `id`, lost after `ttl` seconds (at least 1) without a beat.
    pub fn new(client: Client, name: &BeatName, id: &MachineId, ttl: u64, source: Source) -> Self {
        Self { client, key: heartbeat(name, id), ttl, source, pid: None }
    }

    /// Names the process that the heartbeat stands for.
    pub fn of_process(self, pid: Option<u32>) -> Self {
        Self { pid, ..self }
    }

    /// Names another process from the next beat on, such as that of a service that was started again.
    pub fn set_process(&mut self, pid: Option<u32>) {
        self.pid = pid;
    }

    /// How often to beat, so that two beats may be late and nothing is lost.
    pub fn interval(&self) -> Duration {
        Duration::from_secs(self.ttl) / 3
    }

    /// Keeps the key alive for another TTL, or creates it. One request while all goes well.
    ///
    /// # Errors
    /// `Store`, `Unsteady`.
    pub async fn beat(&self) -> Result<Beaten, HeartbeatError> {
        for _ in 0..TRIES {
            match self.client.put(&self.key, &self.refresh()).await {
                Ok(answer) => {
                    if let Some(value) = answer.node.value.filter(|value| !self.is_ours(value)) {
                        self.describe_anew(&value).await?;
                    }
                    return Ok(Beaten::Refreshed);
                }
                Err(error) if error.is_not_found() => {}
                Err(cause) => return Err(HeartbeatError::store("send the heartbeat")(cause)),
            }
            let creation = PutOptions { prev_exist: Some(false), ..self.value()? };
            match self.client.put(&self.key, &creation).await {
                Ok(_) => return Ok(Beaten::Began),
                // Another process beats for the same name.
                Err(error) if error.is_exists() => {}
                Err(cause) => return Err(HeartbeatError::store("begin the heartbeat")(cause)),
            }
        }
        Err(HeartbeatError::Unsteady(TRIES))
    }

    /// Ends the heartbeat on purpose: watchers learn that it stopped, not that it was lost.
    ///
    /// # Errors
    /// `Store`.
    pub async fn stop(&self) -> Result<(), HeartbeatError> {
        match self.client.delete(&self.key, &DeleteOptions::default()).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(cause) => Err(HeartbeatError::store("end the heartbeat")(cause)),
        }
    }

    fn refresh(&self) -> PutOptions {
        PutOptions { ttl: Some(self.ttl), refresh: true, prev_exist: Some(true), ..PutOptions::default() }
    }

    fn value(&self) -> Result<PutOptions, HeartbeatError> {
        let since = Moment::new(wall_time());
        let beat = Beat { since, ttl: self.ttl, source: self.source, pid: self.pid };
        Ok(PutOptions {
            value: Some(serde_json::to_string(&beat)?),
            ttl: Some(self.ttl),
            ..PutOptions::default()
        })
    }

    /// Whether the key's value is what this heartbeat would write, but for the time it began.
    fn is_ours(&self, value: &str) -> bool {
        serde_json::from_str::<Beat>(value)
            .is_ok_and(|beat| (beat.ttl, beat.source, beat.pid) == (self.ttl, self.source, self.pid))
    }

    /// Says who beats now, if the key has not changed or gone since.
    async fn describe_anew(&self, old: &str) -> Result<(), HeartbeatError> {
        let options = PutOptions {
            prev_value: (!old.is_empty()).then(|| old.to_string()),
            prev_exist: Some(true),
            ..self.value()?
        };
        match self.client.put(&self.key, &options).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_compare_failed() || error.is_not_found() => Ok(()),
            Err(cause) => Err(HeartbeatError::store("describe the heartbeat")(cause)),
        }
    }
}
