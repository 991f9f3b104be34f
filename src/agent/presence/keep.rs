//! Keeps a registration alive: one refresh of the directory every third of its TTL, whatever else goes on.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::client::PutOptions;

use super::link::Link;

/// First and longest pause after a refresh that failed.
const RETRY: Duration = Duration::from_millis(250);
const RETRY_MOST: Duration = Duration::from_secs(1);

/// A refresh of a machine's directory that is there.
pub(super) fn refresh(ttl: Duration) -> PutOptions {
    PutOptions {
        dir: true,
        refresh: true,
        ttl: Some(ttl.as_secs()),
        prev_exist: Some(true),
        ..Default::default()
    }
}

/// Keeps one registration.
pub(super) struct Keeper {
    pub link: Link,
    /// The machine's directory.
    pub dir: String,
    /// The presence TTL.
    pub ttl: Duration,
    /// The index at which the directory was made: one that was made later is another registration.
    pub created: u64,
    /// Until when the registration is certain; sent at every refresh.
    pub until: watch::Sender<Instant>,
}

impl Keeper {
    /// Runs until the registration is over, and says what became of it.
    pub async fn run(self) -> &'static str {
        let refresh = refresh(self.ttl);
        let mut refresh_at = Instant::now() + self.ttl / 3;
        let mut retry = RETRY;
        let mut is_cut_off = false;
        loop {
            sleep_until(refresh_at).await;
            let sent = Instant::now();
            match self.link.asked(self.link.client.put(&self.dir, &refresh)).await {
                Ok(answer) if answer.node.created_index != self.created => return "made anew by others",
                Ok(_) => {
                    if std::mem::take(&mut is_cut_off) {
                        tracing::info!("the store answers again");
                    }
                    self.until.send_replace(sent + self.ttl);
                    refresh_at = Instant::now() + self.ttl / 3;
                    retry = RETRY;
                }
                Err(error) if error.is_not_found() => return "expired",
                Err(error) => {
                    tracing::debug!(%error, "the machine's presence was not refreshed");
                    if !std::mem::replace(&mut is_cut_off, true) {
                        tracing::warn!("the store does not answer; this machine's units go on running");
                    }
                    refresh_at = Instant::now() + retry;
                    retry = (retry * 2).min(RETRY_MOST);
                }
            }
        }
    }
}
