//! The `muster` program: parse, run, exit code.

use std::process::ExitCode;

/// The system's own allocator takes more time where much is allocated on one thread and freed on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    muster::cli::main()
}
