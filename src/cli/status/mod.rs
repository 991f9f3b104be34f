//! `muster status`.

mod fetch;
mod render;
mod report;

use super::{Context, Failure, Format, block_on};
use crate::client::Client;
use crate::clock::wall_time;
use crate::config::{RebootdFragment, RebootdSettings};

/// The whole cluster on one screen.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Shows the store's members, the machines, the units with the reason of each that does not run, the \
        reboot lock and the heartbeats. What cannot be read is named, the rest is shown. The exit status is 1 when no \
        key can be read."
)]
pub struct Args {
    /// Group whose reboot lock is shown [default: default]
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
}

pub(super) fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let mut fragment: RebootdFragment = context.section()?;
    fragment.group = args.group.or(fragment.group);
    let group = RebootdSettings::try_from(fragment)?.group;
    let client = Client::new(&context.client_settings()?).map_err(Failure::new)?;
    let report = block_on(async { Ok(fetch::report(&client, &group).await) })?;
    if let Some(error) = report.unreachable() {
        return Err(Failure::new(error));
    }
    match context.output {
        Format::Json => outln!("{}", serde_json::to_string(&report).map_err(Failure::new)?),
        Format::Simple | Format::Extended => out!("{}", render::screen(&report, wall_time())),
    }
    report.complaint().map_or(Ok(()), |complaint| Err(Failure::new(complaint)))
}
