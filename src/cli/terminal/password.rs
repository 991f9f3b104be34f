//! Asking for a password: at a terminal without showing what is typed, else from standard input.

use std::io::{self, BufRead, ErrorKind, IsTerminal, Stdin};

use nix::sys::termios::{LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};

use crate::cli::Failure;
use crate::cli::terminal::say::Voice;

/// What Ctrl-C sends to a terminal that makes no signal of it.
const INTERRUPT: u8 = 3;
/// Exit status of a program that was interrupted, as shells report it.
const INTERRUPTED: u8 = 130;

/// Prints `prompt` and reads a line. No line at all is an empty password. etcdctl asks on standard output; we ask where it
/// is not taken for a value.
///
/// # Errors
/// Standard input cannot be read: status 1. Interrupted at the terminal: silently, status 130.
pub(in crate::cli) fn ask(prompt: &str, voice: Voice) -> Result<String, Failure> {
    match voice {
        Voice::Muster => eprint!("{prompt}"),
        Voice::Etcdctl => out!("{prompt}"),
    }
    let line = read().map_err(|error| match error.kind() {
        ErrorKind::Interrupted => Failure::with_code(INTERRUPTED, ""),
        _ => Failure::new(format!("cannot read the password from standard input: {error}")),
    });
    match voice {
        Voice::Muster => eprintln!(),
        Voice::Etcdctl => outln!(),
    }
    line
}

fn read() -> io::Result<String> {
    let input = io::stdin();
    let _quiet = if input.is_terminal() { Some(Quiet::new(&input)?) } else { None };
    let mut line = Vec::new();
    input.lock().read_until(b'\n', &mut line)?;
    if line.contains(&INTERRUPT) {
        return Err(ErrorKind::Interrupted.into());
    }
    let line = String::from_utf8(line).map_err(|_| io::Error::other("it is not UTF-8"))?;
    let line = line.strip_suffix('\n').unwrap_or(&line);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_string())
}

/// A terminal that shows nothing; as before once dropped. Ctrl-C ends the line instead of the process, which could
/// not set the terminal back otherwise.
struct Quiet<'a> {
    input: &'a Stdin,
    before: Termios,
}

impl<'a> Quiet<'a> {
    fn new(input: &'a Stdin) -> io::Result<Self> {
        let before = tcgetattr(input)?;
        let mut quiet = before.clone();
        quiet.local_flags.remove(LocalFlags::ECHO | LocalFlags::ISIG);
        quiet.control_chars[SpecialCharacterIndices::VEOL as usize] = INTERRUPT;
        tcsetattr(input, SetArg::TCSAFLUSH, &quiet)?;
        Ok(Self { input, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // Nothing better can be done about a terminal that has gone.
        let _ = tcsetattr(self.input, SetArg::TCSANOW, &self.before);
    }
}
