//! Where a daemon's log goes: to the journal when systemd started it (with levels and fields), else to standard
//! error. `MUSTER_LOG` takes tracing-subscriber's filter syntax, such as `debug` or `muster::raft=trace`.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{EnvFilter, layer::SubscriberExt, reload, util::SubscriberInitExt};

use crate::store::log_level;

/// What is logged when nobody says otherwise.
const FILTER: &str = "info,openraft=error";

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
pub(super) fn init() {
    init_as(FILTER, Output::Journal);
}

/// Starts logging with another filter, over which `MUSTER_LOG` still wins, and to another place. Call once.
pub(super) fn init_as(filter: &str, output: Output) {
    let filter = EnvFilter::try_from_env("MUSTER_LOG").unwrap_or_else(|_| EnvFilter::new(filter));
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
}

/// What is logged at a level. Openraft tells of each step at debug, and of every lost connection at its own warn.
fn filter(level: LevelFilter) -> EnvFilter {
    let raft = match level {
        LevelFilter::TRACE => LevelFilter::TRACE,
        LevelFilter::DEBUG => LevelFilter::INFO,
        _ => LevelFilter::ERROR,
    };
    EnvFilter::new(format!("{level},openraft={raft}"))
}

/// Whether standard error is the journal's stream: `JOURNAL_STREAM` holds its device and inode (systemd.exec(5)).
fn connected_to_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stat) = nix::sys::stat::fstat(std::io::stderr()) else { return false };
    stream == format!("{}:{}", stat.st_dev, stat.st_ino)
}
