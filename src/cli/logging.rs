//! Where a daemon's log goes: to the journal when systemd started it (with levels and fields), else to standard
//! error. `MUSTER_LOG` takes levels, for everything and for modules, such as `debug` or `info,muster::raft=trace`.

use std::env::VarError;
use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::{layer::SubscriberExt, reload, util::SubscriberInitExt};

use super::Failure;
use crate::store::log_level;

/// The variable that says what is logged.
const VARIABLE: &str = "MUSTER_LOG";

/// Where the log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// To the journal, or to standard error where that is not the journal's.
    Journal,
    /// To standard error in any case.
    Stderr,
    /// To standard output in any case.
    Stdout,
}

/// Starts logging. Call once, in daemons only: commands print to the terminal themselves.
///
/// # Errors
/// As [`init_as`].
pub(super) fn init() -> Result<(), Failure> {
    init_as(LevelFilter::INFO, Output::Journal)
}

/// Starts logging at another level, over which `MUSTER_LOG` still wins, and to another place. Call once.
///
/// # Errors
/// `MUSTER_LOG` cannot be read.
pub(super) fn init_as(level: LevelFilter, output: Output) -> Result<(), Failure> {
    let filter = match std::env::var(VARIABLE) {
        Ok(wanted) if !wanted.is_empty() => targets(&wanted)?,
        Ok(_) | Err(VarError::NotPresent) => filter(level),
        Err(error @ VarError::NotUnicode(_)) => return Err(unreadable(error)),
    };
    let (filter, handle) = reload::Layer::new(filter);
    log_level::install(move |level| handle.reload(self::filter(level)).map_err(|error| error.to_string()));
    let to_journal = output == Output::Journal && connected_to_journal();
    let journal = if to_journal { tracing_journald::layer().ok() } else { None };
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer();
    match (journal, output) {
        (Some(layer), _) => registry.with(layer.with_syslog_identifier("muster".into())).init(),
        (None, Output::Stdout) => {
            registry.with(lines.with_ansi(std::io::stdout().is_terminal())).init();
        }
        (None, Output::Journal | Output::Stderr) => {
            let colours = std::io::stderr().is_terminal();
            registry.with(lines.with_writer(std::io::stderr).with_ansi(colours)).init();
        }
    }
    Ok(())
}

/// Reads levels as `MUSTER_LOG` has them. A word that is no level is not taken for the name of a module of which all is
/// wanted: that would be no log at all, and no error.
fn targets(wanted: &str) -> Result<Targets, Failure> {
    for part in wanted.split(',').filter(|part| !part.trim().is_empty()) {
        let (module, level) =
            part.rsplit_once('=').map_or((None, part), |(module, level)| (Some(module), level));
        if level.trim().is_empty() || level.parse::<LevelFilter>().is_err() {
            return Err(unreadable(format!("\"{}\" is no level", level.trim())));
        }
        if module.is_some_and(|module| module.trim().is_empty()) {
            return Err(unreadable(format!("\"{part}\" names no module")));
        }
    }
    wanted.parse().map_err(unreadable)
}

fn unreadable(error: impl std::fmt::Display) -> Failure {
    let expected = "expected levels such as debug or info,muster::raft=trace";
    Failure::usage(format!("{VARIABLE}: {expected}: {error}"))
}

/// What is logged at a level. Openraft tells of each step at debug, and of every lost connection at its own warn.
fn filter(level: LevelFilter) -> Targets {
    let raft = match level {
        LevelFilter::TRACE => LevelFilter::TRACE,
        LevelFilter::DEBUG => LevelFilter::INFO,
        _ => LevelFilter::ERROR,
    };
    Targets::new().with_default(level).with_target("openraft", raft)
}

/// Whether standard error is the journal's stream: `JOURNAL_STREAM` holds its device and inode (systemd.exec(5)).
fn connected_to_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stat) = nix::sys::stat::fstat(std::io::stderr()) else { return false };
    stream == format!("{}:{}", stat.st_dev, stat.st_ino)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn levels_are_read_for_everything_and_for_modules() {
        let chosen = targets("warn,muster::raft=trace").unwrap();
        assert!(chosen.would_enable("muster::raft::node", &Level::TRACE));
        assert!(chosen.would_enable("muster::store", &Level::WARN));
        assert!(!chosen.would_enable("muster::store", &Level::INFO));
    }

    #[test]
    fn levels_that_cannot_be_read_are_wrong_use() {
        for wrong in ["muster=loud", "a=b=c", "loud", "muster", "junk=,=", "=debug", "info,=", "muster="] {
            let failure = targets(wrong).unwrap_err();
            assert_eq!(failure.code, crate::cli::USAGE);
            assert!(failure.message.starts_with("MUSTER_LOG: expected levels"), "{}", failure.message);
        }
    }

    #[test]
    fn openraft_says_less_than_the_rest_unless_all_is_asked_for() {
        let is_heard = |level: LevelFilter, of: Level| filter(level).would_enable("openraft::core", &of);
        assert!(is_heard(LevelFilter::INFO, Level::ERROR) && !is_heard(LevelFilter::INFO, Level::WARN));
        assert!(is_heard(LevelFilter::DEBUG, Level::INFO) && !is_heard(LevelFilter::DEBUG, Level::DEBUG));
        assert!(is_heard(LevelFilter::TRACE, Level::TRACE));
        assert!(filter(LevelFilter::INFO).would_enable("muster::agent", &Level::INFO));
    }
}
