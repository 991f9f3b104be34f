//! The other programs that Muster can be: a link to it takes the command line of the program that it is named after.

use std::path::Path;
use std::process::ExitCode;

use super::{etcd, etcdctl};

/// Runs as the program that this one was called as; `None` when that is Muster.
pub(super) fn run() -> Option<ExitCode> {
    let called = std::env::args_os().next()?;
    match Path::new(&called).file_name()?.to_str()? {
        "etcd" | "etcd2" => Some(etcd::main()),
        "etcdctl" => Some(etcdctl::main()),
        _ => None,
    }
}
