//! What commands there are, in etcdctl's order, and what flags each takes. Data for the parser and for the help pages.

use super::flags::{Flag, Kind};

/// A command, or a group of commands.
#[derive(Debug)]
pub(super) struct Command {
    /// What it is called by.
    pub name: &'static str,
    /// What it does, in a line of help.
    pub help: &'static str,
    /// Its arguments, for the line of usage.
    pub arguments: &'static str,
    /// Further help; empty for none.
    pub more: &'static str,
    /// The flags it takes.
    pub flags: &'static [Flag],
    /// Commands below it.
    pub commands: &'static [Command],
}

const fn flag(names: &'static [&'static str], kind: Kind, help: &'static str) -> Flag {
    Flag { names, kind, help }
}

const fn command(
    name: &'static str,
    help: &'static str,
    arguments: &'static str,
    flags: &'static [Flag],
) -> Command {
    Command { name, help, arguments, more: "", flags, commands: &[] }
}

const fn group(name: &'static str, help: &'static str, commands: &'static [Command]) -> Command {
    Command { name, help, arguments: "[arguments...]", more: "", flags: &[], commands }
}

/// The flags before the command.
pub(super) const GLOBAL: &[Flag] = &[
    flag(&["debug"], Kind::Bool, "show each request as a curl command on standard error"),
    flag(
        &["no-sync"],
        Kind::Bool,
        "use the endpoints as given instead of asking them for the cluster's members",
    ),
    flag(&["output", "o"], Kind::Text, "how answers are printed: simple, extended or json (default: simple)"),
    flag(&["discovery-srv", "D"], Kind::Text, "domain whose SRV records name the endpoints"),
    flag(&["insecure-discovery"], Kind::Bool, "take endpoints without TLS from SRV records"),
    flag(&["peers", "C"], Kind::Text, "old name of --endpoints"),
    flag(&["endpoint"], Kind::Text, "old name of --endpoints"),
    flag(
        &["endpoints"],
        Kind::Text,
        "client URLs separated by commas (default: http://127.0.0.1:2379,http://127.0.0.1:4001)",
    ),
    flag(&["cert-file"], Kind::Text, "client certificate for TLS (no TLS yet: read, not used)"),
    flag(&["key-file"], Kind::Text, "key of the client certificate (no TLS yet: read, not used)"),
    flag(&["ca-file"], Kind::Text, "certificates to trust (no TLS yet: read, not used)"),
    flag(&["username", "u"], Kind::Text, "name[:password]; asks for the password when it is left out"),
    flag(&["timeout"], Kind::Time, "limit of one request to one endpoint (default: 2s)"),
    flag(&["total-timeout"], Kind::Time, "limit of the command, but for watches (default: 5s)"),
];

/// Asks for help; every command takes it.
pub(super) const HELP: &[Flag] = &[flag(&["help", "h"], Kind::Bool, "show this help")];

/// Asks for the version; only before the command.
pub(super) const VERSION: &[Flag] = &[flag(&["version", "v"], Kind::Bool, "show the version")];

const TTL: Flag = flag(&["ttl"], Kind::Int, "seconds until it expires; 0 for never (default: 0)");
const SORT: Flag = flag(&["sort"], Kind::Bool, "in the order of keys");
const QUORUM: Flag = flag(&["quorum", "q"], Kind::Bool, "have a majority agree on the answer");
const AFTER: Flag = flag(&["after-index"], Kind::Int, "begin after this index; 0 for now (default: 0)");
const ROLES: Flag = flag(&["roles"], Kind::List, "a role; may be given several times");

const RIGHTS: &[Flag] = &[
    flag(&["path"], Kind::Text, "key the right is about; with * at its end, all keys that begin so"),
    flag(&["read"], Kind::Bool, "the right to read"),
    flag(&["write"], Kind::Bool, "the right to write"),
    flag(&["readwrite", "rw"], Kind::Bool, "both rights"),
];

/// The commands, as help lists them.
pub(super) const COMMANDS: &[Command] = &[
    command(
        "backup",
        "copy a stopped node's data for a new cluster",
        " ",
        &[
            flag(&["data-dir"], Kind::Text, "the node's data folder"),
            flag(&["wal-dir"], Kind::Text, "etcd's separate log folder (Muster has none)"),
            flag(&["backup-dir"], Kind::Text, "where the copy goes"),
            flag(&["backup-wal-dir"], Kind::Text, "where etcd's log goes (Muster has none)"),
            flag(&["with-v3"], Kind::Bool, "etcd's v3 data as well (Muster has none)"),
        ],
    ),
    command(
        "cluster-health",
        "ask every member for its health",
        " ",
        &[flag(&["forever", "f"], Kind::Bool, "again every 10 seconds until interrupted")],
    ),
    command(
        "mk",
        "create a key that must not exist",
        "<key> <value>",
        &[flag(&["in-order"], Kind::Bool, "create a numbered key below <key>"), TTL],
    ),
    command("mkdir", "create a directory that must not exist", "<key>", &[TTL]),
    command(
        "rm",
        "remove a key or a directory",
        "<key>",
        &[
            flag(&["dir"], Kind::Bool, "also an empty directory"),
            flag(&["recursive", "r"], Kind::Bool, "also a directory with everything in it"),
            flag(&["with-value"], Kind::Text, "only if the key has this value"),
            flag(&["with-index"], Kind::Int, "only if the key was last changed at this index (default: 0)"),
        ],
    ),
    command("rmdir", "remove an empty directory or a key", "<key>", &[]),
    command("get", "print a key's value", "<key>", &[SORT, QUORUM]),
    command(
        "ls",
        "list a directory",
        "[key]",
        &[
            SORT,
            flag(&["recursive", "r"], Kind::Bool, "also what is in its directories"),
            flag(&["p"], Kind::Bool, "put a slash behind directories"),
            QUORUM,
        ],
    ),
    Command {
        name: "set",
        help: "write a key, whether it exists or not",
        arguments: "<key> <value>",
        more: "Without <value> it is read from standard input. A <value> that begins with - goes behind --:\n\n   \
               set -- <key> <value>",
        flags: &[
            TTL,
            flag(&["swap-with-value"], Kind::Text, "only if the key has this value"),
            flag(
                &["swap-with-index"],
                Kind::Int,
                "only if the key was last changed at this index (default: 0)",
            ),
        ],
        commands: &[],
    },
    command("setdir", "create a directory or turn a key into one", "<key>", &[TTL]),
    command("update", "change a key that must exist", "<key> <value>", &[TTL]),
    command("updatedir", "change how long a directory is kept", "<key>", &[TTL]),
    command(
        "watch",
        "wait for a change of a key and print it",
        "<key>",
        &[
            flag(&["forever", "f"], Kind::Bool, "go on until interrupted"),
            AFTER,
            flag(&["recursive", "r"], Kind::Bool, "also everything below the key"),
        ],
    ),
    command(
        "exec-watch",
        "run a program at every change of a key",
        "<key> -- <program> [args...]",
        &[AFTER, flag(&["recursive", "r"], Kind::Bool, "also everything below the key")],
    ),
    group(
        "member",
        "list, add, remove and update members",
        &[
            command("list", "list the members", " ", &[]),
            command("add", "add a member, to be started afterwards", "<name> <peerURL>", &[]),
            command("remove", "remove a member", "<memberID>", &[]),
            command("update", "change a member's peer URLs", "<memberID> <peerURLs>", &[]),
        ],
    ),
    group(
        "user",
        "manage users and their roles",
        &[
            command("add", "create a user", "<user>", &[]),
            command("get", "show a user's roles", "<user>", &[]),
            command("list", "list the users", "<user>", &[]),
            command("remove", "remove a user", "<user>", &[]),
            command("grant", "give a user roles", "<user>", &[ROLES]),
            command("revoke", "take roles from a user", "<user>", &[ROLES]),
            command("passwd", "change a user's password", "<user>", &[]),
        ],
    ),
    group(
        "role",
        "manage roles and their rights",
        &[
            command("add", "create a role", "<role>", &[]),
            command("get", "show a role's rights", "<role>", &[]),
            command("list", "list the roles", " ", &[]),
            command("remove", "remove a role", "<role>", &[]),
            command("grant", "give a role a right", "<role>", RIGHTS),
            command("revoke", "take a right from a role", "<role>", RIGHTS),
        ],
    ),
    group(
        "auth",
        "turn access control on and off",
        &[
            command("enable", "demand what users' roles allow", " ", &[]),
            command("disable", "let everybody do everything", " ", &[]),
        ],
    ),
    command(
        "import",
        "write the keys of a snapshot of etcd 0.4",
        " ",
        &[
            flag(&["snap"], Kind::Text, "the snapshot file"),
            flag(
                &["hidden"],
                Kind::List,
                "a hidden key whose tree is wanted, too; may be given several times",
            ),
            flag(&["c"], Kind::Int, "how many clients write at once (default: 10)"),
        ],
    ),
];

/// A command by its name.
pub(super) fn find(commands: &'static [Command], name: &str) -> Option<&'static Command> {
    commands.iter().find(|command| command.name == name)
}
