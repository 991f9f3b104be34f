//! `muster unit`.

mod change;
mod list;
mod progress;
mod show;
mod source;
mod view;
mod wait;

pub(in crate::cli) use list::{Row, rows, simple as table};
pub(in crate::cli) use view::View;

use std::time::Duration;

use clap::Subcommand;

use super::{Context, Failure, block_on};
use crate::client::Client;
use crate::ids::UnitName;

/// Submit, start, stop and look at units.
///
/// Names without a suffix mean services. A unit is looked for in the store, then on disk, then as an instance of a
/// template in the store, then of a template on disk.
#[derive(clap::Args, Debug)]
#[command(subcommand_required = true, arg_required_else_help = false)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Make units known to the cluster without starting them
    Submit(Submit),
    /// Start units on machines that may run them, and wait until systemd says they are active
    Start(Start),
    /// Stop units, and wait until systemd says they are inactive; they keep their place
    Stop(Stop),
    /// Stop units and forget them
    Destroy(Stop),
    /// List units, where they run, and what keeps the others from running
    Ls(Ls),
    /// Print units' texts
    Cat(Names),
    /// Say all that is known of units
    Status(Names),
}

#[derive(clap::Args, Debug)]
struct Submit {
    /// Unit files, or names of instances of a template
    #[arg(required = true, value_name = "UNIT")]
    units: Vec<String>,

    /// Put another text in the place of a stored one; a running unit is restarted with it
    #[arg(long)]
    replace: bool,
}

#[derive(clap::Args, Debug)]
struct Start {
    /// Names or files of units
    #[arg(required = true, value_name = "UNIT")]
    units: Vec<String>,

    /// Put another text in the place of a stored one first
    #[arg(long)]
    replace: bool,

    /// Do not wait for the result
    #[arg(long)]
    no_block: bool,

    /// How long to wait, such as 5m, also for room on a machine [default: 90s, and not at all for room]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME", conflicts_with = "no_block")]
    wait: Option<Duration>,
}

#[derive(clap::Args, Debug)]
struct Stop {
    /// Names of units
    #[arg(required = true, value_name = "UNIT")]
    units: Vec<String>,

    /// Do not wait for the result
    #[arg(long)]
    no_block: bool,

    /// How long to wait, such as 5m [default: 90s]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME", conflicts_with = "no_block")]
    wait: Option<Duration>,
}

/// Whether a command waits for what it asked for, and how long.
#[derive(Clone, Copy, Debug)]
struct Wait {
    no_block: bool,
    /// How long; `None` for the usual time, and not at all for room on a machine.
    wait: Option<Duration>,
}

impl Stop {
    fn how(&self) -> Wait {
        Wait { no_block: self.no_block, wait: self.wait }
    }
}

#[derive(clap::Args, Debug)]
struct Ls {
    /// Also units that nobody wants to run, and templates
    #[arg(short, long)]
    all: bool,
}

#[derive(clap::Args, Debug)]
struct Names {
    /// Names of units
    #[arg(required = true, value_name = "UNIT")]
    units: Vec<String>,
}

pub(super) fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let client = Client::new(&context.client_settings()?).map_err(Failure::new)?;
    block_on(async {
        match args.command {
            Command::Submit(args) => change::submit(&client, &args.units, args.replace).await,
            Command::Start(args) => {
                let how = Wait { no_block: args.no_block, wait: args.wait };
                change::start(&client, &args.units, args.replace, how).await
            }
            Command::Stop(args) => change::stop(&client, &args.units, args.how()).await,
            Command::Destroy(args) => change::destroy(&client, &args.units, args.how()).await,
            Command::Ls(args) => list::ls(&client, args.all, context.output).await,
            Command::Cat(args) => show::cat(&client, &args.units).await,
            Command::Status(args) => show::status(&client, &args.units, context.output).await,
        }
    })
}

/// The unit that an argument names: a file's name without its folder, a service if it has no suffix.
pub(in crate::cli) fn unit_name(argument: &str) -> Result<UnitName, Failure> {
    let name = argument.rsplit('/').next().unwrap_or_default();
    let service = || format!("{name}.service").parse();
    name.parse().or_else(|refusal| service().map_err(|_| refusal)).map_err(Failure::usage)
}

fn unit_names(arguments: &[String]) -> Result<Vec<UnitName>, Failure> {
    let mut names = Vec::new();
    for argument in arguments {
        let name = unit_name(argument)?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// One failure for those of several units, each already told of or not.
fn summary(failures: Vec<Failure>) -> Result<(), Failure> {
    match failures.as_slice() {
        [] => Ok(()),
        [only] => Err(Failure::with_code(only.code, &only.message)),
        several => {
            let code = several.iter().map(|failure| failure.code).max().unwrap_or(1);
            let lines: Vec<&str> = several.iter().map(|failure| failure.message.as_str()).collect();
            Err(Failure::with_code(code, lines.join("\nmuster: ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_a_suffix_are_services_and_folders_do_not_count() {
        for (argument, name) in [
            ("web", "web.service"),
            ("web@1", "web@1.service"),
            ("units/a.timer", "a.timer"),
            ("a.b", "a.b.service"),
        ] {
            assert_eq!(unit_name(argument).unwrap().as_str(), name);
        }
        assert!(unit_name("units/").is_err());
        assert_eq!(unit_name("a b").unwrap_err().code, crate::cli::USAGE);
    }
}
