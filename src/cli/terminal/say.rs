//! Printing to standard output without a panic when the reader has gone, as `| head` does.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

use crate::cli::Failure;

/// Exit status of a program whose reader went away: 128 and the number of SIGPIPE, as shells report it.
const READER_GONE: u8 = 141;

/// Who speaks: that is heard on standard error only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Voice {
    /// `muster kv`.
    Muster,
    /// The link `etcdctl`, whose words scripts may look for.
    Etcdctl,
}

/// Prints text as it is.
///
/// # Errors
/// Standard output cannot be written; when its reader has gone, silently with status 141.
pub(in crate::cli) fn text(text: Arguments<'_>) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_fmt(text).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Failure::with_code(READER_GONE, ""),
        _ => Failure::new(format!("cannot write to standard output: {error}")),
    })
}

/// `print!` for commands: gives up with `?` when standard output cannot be written.
macro_rules! out {
    ($($what:tt)*) => { $crate::cli::terminal::say::text(format_args!($($what)*))? };
}

/// `println!` for commands: gives up with `?` when standard output cannot be written.
macro_rules! outln {
    () => { $crate::cli::terminal::say::text(format_args!("\n"))? };
    ($($what:tt)+) => { $crate::cli::terminal::say::text(format_args!("{}\n", format_args!($($what)+)))? };
}
