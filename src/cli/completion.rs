//! `muster completion SHELL`.

use clap::CommandFactory;

use super::{Cli, Failure};

/// Print a completion script for a shell.
///
/// For bash, for example: muster completion bash > /etc/bash_completion.d/muster
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Which shell
    shell: clap_complete::Shell,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "muster", &mut script);
    out!("{}", String::from_utf8_lossy(&script));
    Ok(())
}
