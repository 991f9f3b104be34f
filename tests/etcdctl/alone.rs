//! What the two programs say without a server: help, mistakes, and that nobody answers.

use super::four::{Ending, Programs, command, ending};

/// A URL where nobody listens.
const NOWHERE: &str = "http://127.0.0.1:1";

fn both(programs: &Programs, words: &[&str]) -> [Ending; 2] {
    programs.both().map(|(_, program)| ending(command(program, NOWHERE, words).spawn().expect("it runs"), ""))
}

/// The headings of a help page, and what stands before the first.
fn shape(text: &str) -> Vec<&str> {
    let heading =
        |line: &&str| line.ends_with(':') && line.chars().all(|c| c.is_uppercase() || " :".contains(c));
    let before: Vec<&str> = text.lines().take_while(|line| !heading(line)).collect();
    let headings = text.lines().filter(heading);
    before.into_iter().chain(headings).collect()
}

#[test]
fn help_has_the_same_shape_and_mistakes_the_same_words() {
    let Some(programs) = Programs::find() else { return };
    for (words, status) in [
        (&[][..], 0),
        (&["help"], 0),
        (&["h"], 0),
        (&["--help"], 0),
        (&["-h"], 0),
        (&["help", "get"], 0),
        (&["help", "rmdir"], 0),
        (&["get", "--help"], 0),
        (&["set", "/k", "-h"], 0),
        (&["set", "-h"], 0),
        (&["member"], 0),
        (&["member", "-h"], 0),
        (&["member", "help"], 0),
        (&["member", "help", "list"], 0),
        (&["member", "list", "-h"], 0),
        (&["help", "member", "list"], 0),
        (&["user"], 0),
        (&["role"], 0),
        (&["auth"], 0),
        (&["-o", "json"], 0),
        (&["nope"], 3),
        (&["help", "nope"], 3),
        (&["member", "nope"], 3),
        (&["member", "help", "nope"], 3),
        (&["--no-sync", "true", "get", "/a"], 3),
        (&["-nope"], 1),
        (&["--nope", "get", "/a"], 1),
        (&["-o"], 1),
        (&["-o", "json", "--output", "json", "ls"], 1),
        (&["--timeout", "5", "get", "/a"], 1),
        (&["--no-sync=maybe", "ls"], 1),
        (&["---o", "ls"], 1),
        (&["get", "--nope", "/a"], 1),
        (&["get", "--quorum=maybe", "/a"], 1),
        (&["get", "-v"], 1),
        (&["mk", "/k", "v", "--ttl", "x"], 1),
        (&["mk", "/k", "v", "--ttl"], 1),
        (&["mk", "--ttl"], 1),
        (&["set", "/k", "v", "--swap-with-index", "9223372036854775808"], 1),
        (&["rm", "-rf", "/k"], 1),
        (&["ls", "-r", "--recursive"], 1),
        (&["ls", "---p"], 1),
        (&["ls", "-=p"], 1),
        (&["member", "--nope"], 1),
        (&["member", "list", "--nope"], 1),
        (&["role", "grant", "r", "--path", "/a", "--rw", "--readwrite"], 1),
    ] {
        let [theirs, ours] = both(&programs, words);
        assert_eq!((theirs.status, ours.status), (status, status), "{words:?}");
        assert_eq!(shape(&ours.stdout), shape(&theirs.stdout), "{words:?}");
        assert_eq!(ours.stderr, theirs.stderr, "{words:?}");
    }
}

#[test]
fn the_version_is_the_same() {
    let Some(programs) = Programs::find() else { return };
    for words in [&["--version"][..], &["-v"], &["-version", "get"]] {
        let [theirs, ours] = both(&programs, words);
        // Another etcdctl than Debian's tells its own number.
        assert_eq!((ours.status, theirs.status), (0, 0));
        assert_eq!(ours.stdout, "etcdctl version: 3.4.23\nAPI version: 2\n");
        assert!(theirs.stdout.ends_with("\nAPI version: 2\n"), "{theirs:?}");
    }
}

#[test]
fn nobody_who_answers_has_a_status_of_its_own() {
    let Some(programs) = Programs::find() else { return };
    for (words, status) in [
        (&["get", "/a"][..], 2),
        (&["get"], 2),
        (&["set", "/a", "1"], 2),
        (&["ls"], 2),
        (&["rm", "/a"], 2),
        (&["watch", "/a"], 2),
        (&["exec-watch", "/a", "--", "true"], 2),
        (&["member", "list"], 2),
        (&["member", "list", "x"], 1),
        (&["user", "list"], 2),
        (&["user", "grant", "u"], 1),
        (&["role", "list"], 2),
        (&["auth", "enable"], 2),
        (&["--total-timeout", "0", "get", "/a"], 2),
        (&["--endpoints", "http://127.0.0.1:1,http://127.0.0.1:2", "get", "/a"], 2),
        (&["--no-sync", "get", "/a"], 4),
        (&["--no-sync", "set", "/a", "1"], 4),
        (&["--no-sync", "watch", "/a"], 4),
        (&["--no-sync", "exec-watch", "-r", "/a", "--", "true"], 4),
        (&["--no-sync", "get"], 1),
        (&["--no-sync", "member", "list"], 1),
        (&["--no-sync", "member", "remove", "1"], 1),
        (&["--no-sync", "user", "list"], 1),
        (&["--no-sync", "user", "add", "u:p"], 1),
        (&["--no-sync", "role", "add", "r"], 1),
        (&["--no-sync", "auth", "enable"], 1),
        (&["--no-sync", "--total-timeout", "0", "get", "/a"], 4),
        (&["cluster-health"], 4),
        (&["--endpoints", "127.0.0.1:1", "get", "/a"], 1),
        (&["--endpoints", "127.0.0.1:1", "cluster-health"], 1),
        (&["--endpoints", ":1", "get", "/a"], 1),
        (&["--endpoints", "localhost:1", "get", "/a"], 4),
        (&["--endpoints", "localhost:1", "member", "list"], 1),
        (&["--ca-file", "/no/such/file", "get", "/a"], 1),
        (&["--cert-file", "/no/such/file", "get", "/a"], 1),
        (&["--cert-file", "/no/such/file", "--key-file", "/no/such/file", "get", "/a"], 1),
        (&["-D", "name.invalid", "get", "/a"], 1),
    ] {
        let [theirs, ours] = both(&programs, words);
        assert_eq!((theirs.status, ours.status), (status, status), "{words:?}: {theirs:?} {ours:?}");
        assert_eq!(ours.stdout, theirs.stdout, "{words:?}");
        assert_eq!(ours.stderr.is_empty(), theirs.stderr.is_empty(), "{words:?}: {ours:?}");
    }
}
