//! The agent: this machine's presence in the cluster, and its part of the cluster's units.
//!
//! What is to be done is decided by pure functions ([`desired`] reads what the store wants, [`steps`] what follows from
//! it); the [`driver`] does it. Whatever happens to the agent, the units go on: it never stops one because it ends,
//! crashes, is upgraded or cannot reach the store.

pub mod desired;
pub mod driver;
pub mod facts;
pub mod files;
mod handover;
pub mod host;
pub mod presence;
mod report;
pub mod steps;
mod text;
mod vet;

use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::claim::{Duplicate, Standing};
use crate::client::{Client, Mirror};
use crate::config::AgentSettings;
use crate::model::machine::MachineInfo;
use crate::model::{SCHEDULE, UNITS};
use crate::schedule::{Contact, Engine};
use crate::systemd::{Systemd, notify};

use driver::{Driver, Parts};
use files::{FileError, Files};
use presence::{Presence, States};

/// Why the agent cannot work on this machine.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Its folders cannot be used.
    #[error(transparent)]
    Files(#[from] FileError),
    /// Another machine has its id.
    #[error(transparent)]
    Duplicate(#[from] Duplicate),
}

/// Runs the agent of the machine that `info` describes, until `stop`. Calls [`notify::ready`] once it works; the store
/// need not be there for that.
///
/// # Errors
/// The machine cannot be registered or its folders cannot be used. No unit is touched then.
pub async fn run(
    settings: &AgentSettings,
    client: Client,
    systemd: Systemd,
    info: MachineInfo,
    stop: CancellationToken,
) -> Result<(), AgentError> {
    let epoch = Instant::now();
    let contact = Arc::new(Mutex::new(Contact::new(settings.presence_ttl, epoch.elapsed())));
    let (units, schedule) = (Mirror::open(&client, UNITS), Mirror::open(&client, SCHEDULE));
    let (states, published) = watch::channel(States::new());
    let (registered, registrations) = watch::channel(None);
    let mut standing = Standing::new(registrations);
    let parts = Parts {
        client: client.clone(),
        systemd,
        files: Files::open(&settings.run_directory, &settings.systemd_directory)?,
        info: info.clone(),
        units: units.clone(),
        schedule: schedule.clone(),
        states,
        standing: standing.clone(),
    };
    let driver = Driver::new(parts).await?;
    let presence = Presence::new(
        client.clone(),
        info.clone(),
        settings.presence_ttl,
        Arc::clone(&contact),
        epoch,
        published,
        registered,
    );
    notify::ready();
    notify::status("registering this machine");

    let ending = stop.child_token();
    let engine = settings.engine.then(|| Engine {
        client,
        me: info.id,
        lease_ttl: settings.lease_ttl,
        units,
        schedule,
        contact,
        epoch,
        standing: standing.clone(),
    });
    let work = async {
        // Not before: another machine with our id may have the same units.
        if ending.run_until_cancelled(standing.begun()).await != Some(true) {
            return;
        }
        notify::status("this machine is registered");
        tracing::info!("this machine is registered");
        let decide = async {
            if let Some(engine) = engine {
                engine.run(ending.clone()).await;
            }
        };
        tokio::join!(driver.run(ending.clone()), decide);
    };
    let stay = async {
        let outcome = presence.run(ending.clone()).await;
        notify::stopping();
        ending.cancel();
        outcome
    };
    let (outcome, ()) = tokio::join!(stay, work);
    Ok(outcome?)
}
