//! The `muster` program: parse, run, exit code.

use std::process::ExitCode;

/// The system's own allocator takes more time where many threads allocate, and returns less memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    muster::cli::main()
}
