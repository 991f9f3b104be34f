//! Which program we are called as: a link to `muster` with another program's name behaves as that program.

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// What to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// `muster`, by whatever other name.
    Muster,
    /// `etcdctl` for the v2 API.
    Etcdctl,
}

/// What the name says that this process was started by.
pub(super) fn program() -> Program {
    named(std::env::args_os().next())
}

fn named(first: Option<OsString>) -> Program {
    let first = first.unwrap_or_default();
    match Path::new(&first).file_name().and_then(OsStr::to_str) {
        Some("etcdctl") => Program::Etcdctl,
        _ => Program::Muster,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_component_of_the_name_decides() {
        for (name, program) in [
            ("etcdctl", Program::Etcdctl),
            ("/usr/local/bin/etcdctl", Program::Etcdctl),
            ("/usr/bin/muster", Program::Muster),
            ("/etcdctl/muster", Program::Muster),
            ("etcdctl2", Program::Muster),
        ] {
            assert_eq!(named(Some(name.into())), program, "{name}");
        }
        assert_eq!(named(None), Program::Muster);
    }
}
