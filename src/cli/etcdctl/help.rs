//! The help pages, in the shape of etcdctl's and in our own words. Pure text.

use super::commands::{COMMANDS, Command, GLOBAL, HELP, VERSION};
use super::flags::{Flag, Kind};

/// What `--version` prints. The number is that of the etcdctl whose behaviour this is.
pub(super) const VERSION_TEXT: &str = "etcdctl version: 3.4.23\nAPI version: 2\n";

/// The page of all commands.
pub(super) fn program() -> String {
    let mut text = String::from(
        "NAME:\n   etcdctl - reads and writes a store that speaks the etcd v2 API (a part of muster).\n\n\
         USAGE:\n   etcdctl [global options] command [command options] [arguments...]\n\n\
         VERSION:\n   3.4.23\n\nCOMMANDS:\n",
    );
    let mut rows = rows(COMMANDS);
    rows.push(("help, h".into(), "list the commands or show the help of one".into()));
    text.push_str(&columns(&rows));
    text.push_str("\nGLOBAL OPTIONS:\n");
    text.push_str(&options(&[GLOBAL, HELP, VERSION]));
    text
}

/// The page of one command or group. `path` is how it is called.
pub(super) fn page(path: &str, command: &Command) -> String {
    let mut text = format!("NAME:\n   {path} - {}\n\nUSAGE:\n   {path}", command.help);
    if !command.commands.is_empty() {
        text.push_str(" command [command options] [arguments...]\n\nCOMMANDS:\n");
        text.push_str(&columns(&rows(command.commands)));
        text.push_str("\nOPTIONS:\n");
        text.push_str(&options(&[HELP]));
        text.push_str("   \n");
        return text;
    }
    if !command.flags.is_empty() {
        text.push_str(" [command options]");
    }
    text.push_str(&format!(" {}\n", command.arguments));
    if !command.more.is_empty() {
        text.push_str(&format!("\nDESCRIPTION:\n   {}\n", command.more));
    }
    if !command.flags.is_empty() {
        text.push_str("\nOPTIONS:\n");
        text.push_str(&options(&[command.flags]));
        text.push_str("   \n");
    }
    text
}

/// The page of a command that was asked for by name: of a group it says less than the group itself does.
pub(super) fn topic(path: &str, command: &Command) -> String {
    if command.commands.is_empty() {
        return page(path, command);
    }
    format!("NAME:\n   {path} - {}\n\nUSAGE:\n   {path} {}\n", command.help, command.arguments)
}

fn rows(commands: &[Command]) -> Vec<(String, String)> {
    commands.iter().map(|command| (command.name.to_string(), command.help.to_string())).collect()
}

fn options(groups: &[&[Flag]]) -> String {
    let rows: Vec<_> = groups
        .iter()
        .flat_map(|group| group.iter())
        .map(|flag| {
            let value = if flag.kind == Kind::Bool { "" } else { " value" };
            let dashes = |name: &str| if name.len() == 1 { "-" } else { "--" };
            let forms: Vec<String> =
                flag.names.iter().map(|name| format!("{}{name}{value}", dashes(name))).collect();
            (forms.join(", "), flag.help.to_string())
        })
        .collect();
    columns(&rows)
}

fn columns(rows: &[(String, String)]) -> String {
    let width = rows.iter().map(|(left, _)| left.len()).max().unwrap_or(0);
    rows.iter().map(|(left, right)| format!("   {left:width$}  {right}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_all_commands_names_each_with_its_flags() {
        let text = program();
        for part in
            ["COMMANDS:\n   backup  ", "\n   help, h  ", "--output value, -o value  ", "--version, -v  "]
        {
            assert!(text.contains(part), "{part:?} is missing in {text}");
        }
    }

    #[test]
    fn a_commands_page_has_its_usage_and_options() {
        let ls = COMMANDS.iter().find(|command| command.name == "ls").expect("ls");
        let text = page("etcdctl ls", ls);
        assert!(text.contains("USAGE:\n   etcdctl ls [command options] [key]\n"), "{text}");
        assert!(text.contains("   -p               put a slash"), "{text}");
        let member = COMMANDS.iter().find(|command| command.name == "member").expect("member");
        assert!(page("etcdctl member", member).contains("COMMANDS:\n   list  "));
    }
}
