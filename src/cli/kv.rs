//! `muster kv`.

use super::{Context, Failure};

/// placeholder
#[derive(clap::Args, Debug)]
pub struct Args {}

pub(super) fn run(_args: Args, _context: &Context) -> Result<(), Failure> {
    Err(Failure::new("not built yet"))
}
