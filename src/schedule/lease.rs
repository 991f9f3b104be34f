//! The engine's lease: at most one machine decides at a time.
//!
//! The key is created with a TTL, its TTL moved by compare-and-swap on its index, and removed at the end. Whoever does
//! not hold it watches it. The holder counts by its own monotonic clock from before it asked, so it stops deciding
//! before the store lets anyone else begin.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::client::{Client, ClientError, DeleteOptions, GetOptions, Node, PutOptions};
use crate::clock::wall_time;
use crate::ids::MachineId;
use crate::model::{ENGINE_LEASE, machine::EngineLease};

/// Pause after a request that failed.
const RETRY: Duration = Duration::from_millis(250);
/// How long giving the lease back may take at the end.
const RELEASE: Duration = Duration::from_secs(1);

/// A lease that is held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tenure {
    /// Until when, unless it is renewed.
    pub until: Instant,
    /// The store's index when it was last taken or renewed: greater than whatever an earlier holder wrote while it
    /// held the lease.
    pub index: u64,
}

/// The lease as it is held; `None` while it is not.
pub(super) type Held = watch::Receiver<Option<Tenure>>;

/// Takes the lease whenever it is free, keeps it, and tells through `held`; ends, giving it back, with `stop`.
pub(super) async fn keep(
    client: Client,
    me: MachineId,
    ttl: Duration,
    held: watch::Sender<Option<Tenure>>,
    stop: CancellationToken,
) {
    let mut lease = Lease { client, me, ttl, value: String::new(), index: 0 };
    loop {
        let taken = tokio::select! {
            () = stop.cancelled() => return,
            taken = lease.take() => taken,
        };
        held.send_replace(Some(taken));
        tracing::info!("this machine decides where units run");
        let ended = tokio::select! {
            () = stop.cancelled() => true,
            () = lease.renew(&held, taken) => false,
        };
        held.send_replace(None);
        if ended {
            lease.release().await;
            return;
        }
        tracing::info!("another machine may decide where units run now");
    }
}

struct Lease {
    client: Client,
    me: MachineId,
    ttl: Duration,
    /// What we wrote, to know it again.
    value: String,
    /// The key's index after our last write.
    index: u64,
}

impl Lease {
    /// Waits until the lease is ours.
    async fn take(&mut self) -> Tenure {
        loop {
            match self.try_take().await {
                Ok(Some(taken)) => return taken,
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%error, "the engine's lease cannot be taken yet");
                    sleep(RETRY).await;
                }
            }
        }
    }

    /// Creates the key, or takes over what an earlier process on this machine left, or waits until it is gone.
    async fn try_take(&mut self) -> Result<Option<Tenure>, ClientError> {
        let record = EngineLease { holder: self.me.clone(), since: format!("{:.0}", wall_time()) };
        self.value = serde_json::to_string(&record).unwrap_or_default();
        let asked = Instant::now();
        let put = PutOptions {
            value: Some(self.value.clone()),
            ttl: Some(self.ttl.as_secs()),
            ..Default::default()
        };
        let create = PutOptions { prev_exist: Some(false), ..put.clone() };
        match self.client.put(ENGINE_LEASE, &create).await {
            Ok(answer) => return Ok(Some(self.held(asked, answer.node.modified_index))),
            Err(error) if error.is_exists() => {}
            Err(error) => return Err(error),
        }
        let (node, index) = match self.read().await {
            Ok(found) => found,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        if holder(&node).as_ref() == Some(&self.me) {
            let asked = Instant::now();
            let swap = PutOptions { prev_index: Some(node.modified_index), ..put };
            let answer = self.client.put(ENGINE_LEASE, &swap).await?;
            return Ok(Some(self.held(asked, answer.node.modified_index)));
        }
        self.until_gone(index).await?;
        Ok(None)
    }

    async fn read(&self) -> Result<(Node, u64), ClientError> {
        let answer = self.client.get(ENGINE_LEASE, &GetOptions::linearizable()).await?;
        Ok((answer.node, answer.index))
    }

    async fn until_gone(&self, after: u64) -> Result<(), ClientError> {
        let mut watch = self.client.watch(ENGINE_LEASE, false, Some(after));
        loop {
            let event = watch.next().await?;
            if matches!(event.action.as_str(), "expire" | "delete" | "compareAndDelete") {
                return Ok(());
            }
        }
    }

    fn held(&mut self, asked: Instant, index: u64) -> Tenure {
        self.index = index;
        Tenure { until: asked + self.ttl, index }
    }

    /// Renews until that fails for good.
    async fn renew(&mut self, held: &watch::Sender<Option<Tenure>>, taken: Tenure) {
        let mut until = taken.until;
        let mut pause = self.ttl / 3;
        loop {
            let next = Instant::now() + pause;
            tokio::time::sleep_until(next.min(until)).await;
            if Instant::now() >= until {
                tracing::warn!("the engine's lease could not be renewed in time");
                return;
            }
            pause = match timeout(until - Instant::now(), self.renew_once()).await {
                Ok(Ok(Some(renewed))) => {
                    until = renewed.until;
                    held.send_replace(Some(renewed));
                    self.ttl / 3
                }
                Ok(Ok(None)) => return,
                Ok(Err(error)) => {
                    tracing::debug!(%error, "the engine's lease cannot be renewed yet");
                    RETRY
                }
                Err(_) => RETRY,
            };
        }
    }

    /// `None`: the lease is another's.
    async fn renew_once(&mut self) -> Result<Option<Tenure>, ClientError> {
        let asked = Instant::now();
        let refresh = PutOptions {
            refresh: true,
            ttl: Some(self.ttl.as_secs()),
            prev_index: Some(self.index),
            ..Default::default()
        };
        match self.client.put(ENGINE_LEASE, &refresh).await {
            Ok(answer) => Ok(Some(self.held(asked, answer.node.modified_index))),
            Err(error) if error.is_not_found() => Ok(None),
            // A renewal whose answer was lost has moved the index: it is still our value then.
            Err(error) if error.is_compare_failed() => {
                let (node, _) = self.read().await?;
                let ours = node.value.as_deref() == Some(&self.value) && node.modified_index != self.index;
                self.index = node.modified_index;
                if ours { Box::pin(self.renew_once()).await } else { Ok(None) }
            }
            Err(error) => Err(error),
        }
    }

    async fn release(&self) {
        let options = DeleteOptions { prev_index: Some(self.index), ..Default::default() };
        match timeout(RELEASE, self.client.delete(ENGINE_LEASE, &options)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the engine's lease was not given back"),
            Err(_) => tracing::debug!("the engine's lease was not given back in time"),
        }
    }
}

/// Who holds the lease; `None` if nobody can tell.
fn holder(node: &Node) -> Option<MachineId> {
    let lease: EngineLease = serde_json::from_str(node.value.as_deref()?).ok()?;
    Some(lease.holder)
}
