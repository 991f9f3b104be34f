//! `muster agent`.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Context, Failure, USAGE, block_on, logging};
use crate::agent::{self, AgentError, facts};
use crate::chain::chain;
use crate::client::Client;
use crate::clock::wall_time;
use crate::config::{AgentFragment, AgentSettings};
use crate::systemd::{Bus, systemd1};

/// Run this machine's agent: presence, units, scheduling.
///
/// It keeps the machine present in the cluster, runs the units that are placed on it, and decides where units run while
/// it holds the engine's lease. Usually started by muster-agent.service. Its settings are [agent] in the configuration.
///
/// Stopping it stops no unit.
#[derive(clap::Args, Debug)]
pub struct Args {}

pub(super) fn run(_args: Args, context: &Context) -> Result<(), Failure> {
    let settings: AgentSettings = context.section::<AgentFragment>()?.try_into()?;
    let mut client_settings = context.client_settings()?;
    // A request that takes longer than this is of no use to a presence that has to be refreshed in time.
    client_settings.request_timeout = client_settings.request_timeout.min(settings.presence_ttl / 4);
    logging::init()?;
    block_on(async {
        let stop = CancellationToken::new();
        stop_on_signals(&stop)?;
        let info = facts::gather(&settings, format!("{:.0}", wall_time())).map_err(explained)?;
        let client = Client::new(&client_settings).map_err(explained)?;
        let systemd = systemd1::connect(Bus::system()).await.map_err(explained)?;
        agent::run(&settings, client, systemd, info, stop).await.map_err(|error| match error {
            // It does not heal by itself, so systemd must not try for ever.
            AgentError::Duplicate(_) => Failure { code: USAGE, ..explained(error) },
            AgentError::Files(_) => explained(error),
        })
    })
}

/// Cancels `stop` at the first SIGTERM or SIGINT.
fn stop_on_signals(stop: &CancellationToken) -> Result<(), Failure> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind).map_err(Failure::new)?;
        let stop = stop.clone();
        tokio::spawn(async move {
            signals.recv().await;
            stop.cancel();
        });
    }
    Ok(())
}

/// One line with every cause.
fn explained(error: impl std::error::Error) -> Failure {
    Failure::new(chain(&error))
}
