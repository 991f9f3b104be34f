//! The command line as people meet it first: its help, and what it says to wrong use.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Exit status of wrong use or configuration.
const USAGE: i32 = 64;

fn muster(arguments: &[&str]) -> Output {
    muster_with(arguments, &[])
}

/// Runs `muster` without what this computer's environment and files say of it.
fn muster_with(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let empty = tempfile::tempdir().expect("a folder");
    Command::new(env!("CARGO_BIN_EXE_muster"))
        .args(arguments)
        .env_clear()
        .env("MUSTER_CONFIG", empty.path())
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("muster runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// Asserts that a run was refused as wrong use: exit status 64, one line on standard error, nothing else. Returns the
/// line.
#[track_caller]
fn refused(output: &Output) -> String {
    let complaint = text(&output.stderr);
    assert_eq!(output.status.code(), Some(USAGE), "{complaint}");
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    let one_line = complaint.ends_with('\n') && complaint.lines().count() == 1;
    assert!(one_line && complaint.starts_with("muster: "), "{complaint:?}");
    complaint
}

/// Every command with its help, found by reading the help of the command above it.
fn commands() -> Vec<(Vec<String>, String)> {
    let mut found = Vec::new();
    let mut open = vec![Vec::new()];
    while let Some(path) = open.pop() {
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        arguments.push("--help");
        let output = muster(&arguments);
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {output:?}");
        let help = text(&output.stdout);
        for (name, about) in listed(&help, "Commands:") {
            assert!(!about.is_empty(), "{path:?}: nothing is said of {name}");
            if name != "help" {
                open.push(path.iter().cloned().chain([name]).collect());
            }
        }
        found.push((path, help));
    }
    found
}

/// The entries of a section of a help: name and what is said of it.
fn listed(help: &str, section: &str) -> Vec<(String, String)> {
    let lines = help.lines().skip_while(|line| *line != section).skip(1);
    let entries = lines.take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("    "));
    let entry = |line: &str| {
        let (name, about) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        (name.to_string(), about.trim().to_string())
    };
    entries.map(entry).collect()
}

#[test]
fn every_command_explains_itself() {
    let commands = commands();
    for expected in ["store", "kv watch", "unit start", "reboot set-max", "heartbeat beat", "status"] {
        assert!(commands.iter().any(|(path, _)| path.join(" ") == expected), "{expected} is not in the help");
    }
    for (path, help) in commands {
        let command = [&["muster".to_string()], path.as_slice()].concat().join(" ");
        let first = help.lines().next().unwrap_or_default();
        assert!(first.len() > 10 && first.starts_with(char::is_uppercase), "{command}: {first:?}");
        assert!(help.contains(&format!("Usage: {command} ")), "{command}: {help}");
        let wide = help.lines().find(|line| line.chars().count() > 100);
        assert_eq!(wide, None, "{command}: a line is longer than 100 characters");
        for section in ["Arguments:", "Options:", "Options of every command:"] {
            explained(&command, &help, section);
        }
    }
}

/// Every option and argument is followed by words that say what it is, beside it or below.
fn explained(command: &str, help: &str, section: &str) {
    let mut lines = help.lines().skip_while(|line| *line != section).skip(1).peekable();
    while let Some(line) = lines.next_if(|line| line.is_empty() || line.starts_with(' ')) {
        if line.trim_start().starts_with(['-', '<', '[']) && line.find(['-', '<', '[']) < Some(9) {
            let beside = line.trim().split_once("  ").map(|(_, about)| about.trim());
            let about = beside.or(lines.peek().map(|line| line.trim())).unwrap_or_default();
            assert!(about.len() > 3, "{command}: nothing is said of {}", line.trim());
        }
    }
}

#[test]
fn a_flag_that_no_command_has_is_refused_in_one_line() {
    for (path, _) in commands() {
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        arguments.push("--no-such-flag");
        assert!(refused(&muster(&arguments)).contains("--no-such-flag"), "{arguments:?}");
    }
}

#[test]
fn a_group_of_commands_without_one_or_with_another_is_refused_in_one_line() {
    for (path, help) in commands().into_iter().filter(|(_, help)| help.contains("\nCommands:\n")) {
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        // Whatever is said in the environment makes no difference.
        for environment in [&[][..], &[("MUSTER_ENDPOINTS", "http://127.0.0.1:1")]] {
            let complaint = refused(&muster_with(&arguments, environment));
            for (command, _) in listed(&help, "Commands:") {
                assert!(command == "help" || complaint.contains(&command), "{arguments:?}: {complaint}");
            }
        }
        arguments.push("no-such-command");
        assert!(refused(&muster(&arguments)).contains("no-such-command"), "{arguments:?}");
    }
}

#[test]
fn missing_and_bad_arguments_are_named_in_one_line() {
    for (arguments, named) in [
        (&["kv", "get"][..], "<KEY>"),
        (&["unit", "start"], "<UNIT>"),
        (&["unit", "start", "a b"], "a b"),
        (&["unit", "start", "web@.service"], "template"),
        (&["reboot", "set-max", "0"], "'0'"),
        (&["reboot", "--group", "..", "status"], "rebootd.group"),
        (&["heartbeat", "beat", "a", "--ttl", "1500ms"], "whole seconds"),
        (&["heartbeat", "--unit", "a.service", "--", "true"], "--unit"),
        (&["store", "--heartbeat-interval", "soon"], "--heartbeat-interval"),
        (&["store", "--election-timeout", "200"], "election_timeout"),
        (&["store", "--initial-cluster", "a=http://127.0.0.1:1"], "initial_cluster"),
        (&["status", "--output", "yaml"], "yaml"),
        (&["status", "--endpoints", "https://127.0.0.1:2379"], "the scheme must be http"),
    ] {
        let complaint = refused(&muster(arguments));
        assert!(complaint.contains(named), "{arguments:?}: {complaint}");
    }
}

#[test]
fn a_configuration_that_cannot_be_used_is_refused_in_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("muster.toml");
    let with = |text: &str| {
        std::fs::write(&file, text).expect("written");
        refused(&muster(&["--config", path(&file), "status"]))
    };
    let complaint = with("[store]\nnaem = \"a\"\n");
    assert!(complaint.contains("muster.toml:2") && complaint.contains("naem"), "{complaint}");
    let complaint = with("[agent]\npresence_ttl = \"soon\"\n");
    assert!(complaint.contains("muster.toml:2") && complaint.contains("presence_ttl"), "{complaint}");

    let complaint = refused(&muster(&["--config", "/no/such/file", "status"]));
    assert!(complaint.contains("/no/such/file"), "{complaint}");
    let complaint = refused(&muster_with(&["status"], &[("MUSTER_STORE_NAEM", "a")]));
    assert!(complaint.contains("MUSTER_STORE_NAEM"), "{complaint}");
}

#[test]
fn the_version_is_printed_by_every_command() {
    for arguments in [&["--version"][..], &["kv", "get", "--version"]] {
        let output = muster(arguments);
        assert!(output.status.success(), "{output:?}");
        assert!(text(&output.stdout).trim().ends_with(env!("CARGO_PKG_VERSION")), "{output:?}");
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("text")
}
