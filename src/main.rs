//! The `muster` program: parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    muster::cli::main()
}
