//! What `etcd --help` and `etcd --version` print.

use super::flags::{Fate, GROUPS, Kind};

/// The reminder behind a line that cannot be read.
pub(super) const USAGE: &str = "\
Usage:

  etcd [flags]
    Start an etcd server.

  etcd --version
    Show the version of etcd.

  etcd -h | --help
    Show the help information about etcd.
";

/// The help text, by groups as in etcd.
pub(super) fn text() -> String {
    let mut out = format!(
        "{USAGE}\nThis etcd is Muster's store, which speaks etcd's v2 API: the same as \"muster store\". Each flag can be\n\
         given as ETCD_ and its name in capitals, too.\n"
    );
    for (title, flags) in GROUPS {
        out += &format!("\n{title}:\n");
        for flag in *flags {
            let default = match flag.kind {
                Kind::Switch(default)
                | Kind::Text(default)
                | Kind::Number(default)
                | Kind::Urls(default)
                | Kind::Choice(_, default) => default,
            };
            let remark = match flag.fate {
                Fate::Sets(_) | Fate::Logging | Fate::Answer => String::new(),
                Fate::Idle(why) => format!(" Of no consequence: {why}."),
                Fate::Only(_, why) => format!(" Cannot be had: {why}."),
            };
            out += &format!("  --{} '{default}'\n    {}.{remark}\n", flag.name, flag.about);
        }
    }
    out
}

/// The version that clients and scripts decide by, and this program's own.
pub(super) fn version(etcd: &str) -> String {
    let (own, os, arch) = (env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH);
    let arch = arch.replace("x86_64", "amd64").replace("aarch64", "arm64");
    format!("etcd Version: {etcd}\nMuster Version: {own}\nGo OS/Arch: {os}/{arch}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_in_the_help() {
        let text = text();
        for flag in GROUPS.iter().flat_map(|(_, flags)| *flags) {
            assert!(text.contains(&format!("--{} ", flag.name)), "{} is missing", flag.name);
        }
        assert!(version("3.4.23").starts_with("etcd Version: 3.4.23\nMuster Version: "));
    }
}
