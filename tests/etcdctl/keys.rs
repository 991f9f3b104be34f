//! Keys and directories.

use super::four::Four;

/// Command line, standard input, exit status. `N` stands for the index at which the table begins.
type Row = (&'static [&'static str], &'static str, i32);

const WRITES: [Row; 60] = [
    (&["set", "/a", "1"], "", 0),
    (&["get", "/a"], "", 0),
    (&["get", "a"], "", 0),
    (&["get", "/a/"], "", 0),
    (&["-o", "extended", "get", "/a"], "", 0),
    (&["--output=json", "get", "/a"], "", 0),
    (&["-output", "json", "get", "/a"], "", 0),
    (&["set", "/a", "2 <&> ä\u{1}\u{2028}\t\"\\"], "", 0),
    (&["-o", "json", "get", "/a"], "", 0),
    (&["-o", "json", "set", "/a", "3"], "", 0),
    (&["-o", "extended", "set", "/a", "3"], "", 0),
    (&["set", "/a", "4", "--swap-with-value", "3"], "", 0),
    (&["set", "/a", "5", "--swap-with-value", "3"], "", 4),
    (&["-o", "json", "set", "/a", "5", "--swap-with-value", "3"], "", 4),
    (&["set", "--swap-with-index", "1", "/a", "5"], "", 4),
    (&["set", "/a", "5", "--swap-with-index", "-1"], "", 4),
    (&["set", "/a", "5", "--swap-with-value", "3", "--swap-with-index", "1"], "", 4),
    (&["set", "/a", "5", "--swap-with-value="], "", 0),
    (&["set", "/a/b", "5"], "", 4),
    (&["set", "/i"], "from the input\n", 0),
    (&["get", "/i"], "", 0),
    (&["set", "/i"], "", 1),
    (&["set", "/i", ""], "", 0),
    (&["get", "/i"], "", 0),
    (&["set", "/i", "-1"], "", 0),
    (&["set", "/i", "--", "-2"], "", 0),
    (&["set", "--", "/i", "-3"], "", 0),
    (&["set", "/i", "x", "--nope"], "", 0),
    (&["set", "--ttl", "5", "--", "/i", "-4"], "", 0),
    (&["-o", "extended", "get", "/i"], "", 0),
    (&["set", "/i", "forever", "--ttl", "-5"], "", 0),
    (&["set", "/i", "forever", "--ttl", "9223372037"], "", 0),
    (&["-o", "json", "get", "/i"], "", 0),
    (&["set", "/x/../y//z/", "odd"], "", 0),
    (&["get", "/y/z"], "", 0),
    (&["set", "/sp ace/?q#f%41+&;@:=", "odd"], "", 0),
    (&["ls", "--sort", "-r", "/sp ace"], "", 0),
    (&["set", "", "v"], "", 4),
    (&["set", "/", "v"], "", 4),
    (&["mk", "/m", "1"], "", 0),
    (&["mk", "/m", "2"], "", 4),
    (&["mk", "/n"], "from the input", 0),
    (&["-o", "json", "mk", "--ttl", "1000", "/t", "1"], "", 0),
    (&["-o", "extended", "get", "/t"], "", 0),
    (&["-o", "json", "get", "--quorum", "/t"], "", 0),
    (&["mk", "--in-order", "/q", "first"], "", 0),
    (&["-o", "json", "mk", "--in-order", "/q", "second", "--ttl", "1000"], "", 0),
    (&["-o", "extended", "mk", "/q", "third", "--in-order"], "", 0),
    (&["mk", "swapped", "--in-order", "/q"], "", 0),
    (&["mk", "--in-order", "/m", "1"], "", 4),
    (&["update", "/m", "3"], "", 0),
    (&["-o", "extended", "update", "/m", "4", "--ttl", "1000"], "", 0),
    (&["update", "/m"], "from the input", 0),
    (&["update", "/none", "4"], "", 4),
    (&["get", "/none"], "", 4),
    (&["-o", "json", "get", "/none"], "", 4),
    (&["-o", "yaml", "get", "/m"], "", 0),
    (&["-o", "yaml", "get", "/none"], "", 4),
    (&["-o", "", "get", "/m"], "", 0),
    (&["get", "--sort", "/m", "/ignored"], "", 0),
];

const DIRECTORIES: [Row; 65] = [
    (&["mkdir", "/d"], "", 0),
    (&["mkdir", "/d"], "", 4),
    (&["mkdir", "/dt", "--ttl", "1000"], "", 0),
    (&["-o", "json", "mkdir", "/dj"], "", 0),
    (&["-o", "extended", "mkdir", "/de"], "", 0),
    (&["-o", "yaml", "mkdir", "/dy"], "", 0),
    (&["setdir", "/sd"], "", 0),
    (&["setdir", "/sd"], "", 4),
    (&["set", "/file", "1"], "", 0),
    (&["-o", "json", "setdir", "/file"], "", 0),
    (&["setdir", "/sdt", "--ttl", "1000"], "", 0),
    (&["updatedir", "/d", "--ttl", "1000"], "", 0),
    (&["-o", "json", "updatedir", "/d", "--ttl", "1000"], "", 0),
    (&["-o", "extended", "updatedir", "/dt"], "", 0),
    (&["updatedir", "/none"], "", 4),
    (&["set", "/f", "1"], "", 0),
    (&["-o", "json", "updatedir", "/f"], "", 0),
    (&["set", "/d/x", "1"], "", 0),
    (&["set", "/d/y/z", "2"], "", 0),
    (&["set", "/d/_h", "2"], "", 0),
    (&["get", "/d"], "", 1),
    (&["-o", "json", "get", "/d"], "", 1),
    (&["set", "/d", "v"], "", 4),
    (&["ls"], "", 0),
    (&["ls", "--sort"], "", 0),
    (&["ls", "/"], "", 0),
    (&["ls", "-r"], "", 0),
    (&["ls", "-p", "-r", "/"], "", 0),
    (&["ls", "--sort", "/d"], "", 0),
    (&["ls", "--sort", "/d/"], "", 0),
    (&["ls", "--sort", "--recursive", "/d"], "", 0),
    (&["ls", "--sort", "-p", "-r", "/d"], "", 0),
    (&["ls", "--quorum", "/d/x"], "", 0),
    (&["ls", "-q", "-p", "/d/x"], "", 0),
    (&["ls", "/d/_h"], "", 0),
    (&["ls", "/none"], "", 4),
    (&["ls", "/dt", "/ignored"], "", 0),
    (&["-o", "json", "ls", "--sort", "--recursive", "/d"], "", 0),
    (&["-o", "extended", "ls", "--sort", "/d"], "", 0),
    (&["-o", "json", "ls", "/d/x"], "", 0),
    (&["-o", "yaml", "ls", "/d"], "", 0),
    (&["rm", "/m"], "", 4),
    (&["rm", "/f", "/ignored"], "", 0),
    (&["rm", "/d/x"], "", 0),
    (&["rm", "/d"], "", 4),
    (&["rm", "--dir", "/d"], "", 4),
    (&["rmdir", "/d"], "", 4),
    (&["rmdir", "/sd"], "", 0),
    (&["-o", "json", "rmdir", "/sdt"], "", 0),
    (&["set", "/f", "one"], "", 0),
    (&["mk", "/g", "one"], "", 0),
    (&["rmdir", "/g"], "", 0),
    (&["mk", "/g", "one"], "", 0),
    (&["rm", "--with-value", "no", "/g"], "", 4),
    (&["rm", "--with-value", "one", "/g"], "", 0),
    (&["mk", "/g", "one"], "", 0),
    (&["-o", "extended", "rm", "--with-value", "one", "/g"], "", 0),
    (&["rm", "--with-index", "1", "/dt"], "", 4),
    (&["mk", "/g", "one"], "", 0),
    (&["-o", "json", "rm", "/g"], "", 0),
    (&["rm", "-r", "/"], "", 4),
    (&["-o", "extended", "rm", "/dj", "--recursive"], "", 0),
    (&["-o", "json", "rm", "/dt", "--dir"], "", 0),
    (&["rm", "-r", "/d"], "", 0),
    (&["ls", "--sort", "--recursive"], "", 0),
];

const MISTAKES: [Row; 21] = [
    (&["get"], "", 1),
    (&["set"], "", 1),
    (&["set", "/k"], "", 1),
    (&["mk"], "", 1),
    (&["mk", "/k"], "", 1),
    (&["update"], "", 1),
    (&["update", "/k"], "", 1),
    (&["mkdir"], "", 1),
    (&["setdir"], "", 1),
    (&["updatedir"], "", 1),
    (&["rm"], "", 1),
    (&["rmdir"], "", 1),
    (&["watch"], "", 1),
    (&["watch", "-f"], "", 1),
    (&["exec-watch"], "", 1),
    (&["exec-watch", "/k"], "", 1),
    (&["member", "add", "x"], "", 1),
    (&["member", "remove"], "", 1),
    (&["member", "update", "x"], "", 1),
    (&["member", "list", "x"], "", 1),
    (&["--no-sync", "get"], "", 1),
];

fn table(four: &Four, rows: &[Row]) {
    for (words, input, status) in rows {
        four.run(words, input, *status);
    }
}

#[test]
fn keys_are_written_and_read() {
    let Some(four) = Four::start() else { return };
    table(&four, &WRITES);
    for flags in [
        &["--no-sync"][..],
        &["--debug"],
        &["--timeout", "1m0.5s", "--total-timeout", "1m"],
        &["--no-sync=false"],
    ] {
        four.run(&[flags, &["set", "/a", "flags"]].concat(), "", 0);
    }
    let urls: Vec<String> = four.pairs().into_iter().map(|pair| pair.url).collect();
    for (pair, url) in four.pairs().iter().zip(urls) {
        // Endpoints by each of their names, and a dead one among them.
        let both = format!("http://127.0.0.1:1,{url}");
        for words in [["--endpoints", &url], ["--endpoint", &url], ["--peers", &both], ["-C", &url]] {
            let child = super::four::command(pair.program, "", &[&words[..], &["get", "/a"]].concat());
            let ending = super::four::ending({ child }.spawn().expect("it runs"), "");
            assert_eq!((ending.status, ending.stdout.as_str()), (0, "flags\n"), "{}: {words:?}", pair.name);
        }
    }
}

#[test]
fn directories_are_made_listed_and_removed() {
    let Some(four) = Four::start() else { return };
    table(&four, &DIRECTORIES);
}

#[test]
fn missing_arguments_are_told_of_after_the_members_were_learnt() {
    let Some(four) = Four::start() else { return };
    table(&four, &MISTAKES);
}

#[test]
fn the_clusters_health_and_members_are_told() {
    let Some(four) = Four::start() else { return };
    let members = four.run(&["member", "list"], "", 0);
    assert_eq!(members, "ID: name=NAME peerURLs=peerURLs clientURLs=clientURLs isLeader=true\n");
    assert_eq!(four.run(&["-o", "json", "member", "list"], "", 0), members);
    let health = four.run(&["cluster-health"], "", 0);
    assert_eq!(health, "member ID is healthy: got healthy result from clientURLs\ncluster is healthy\n");
    four.run(&["-o", "json", "cluster-health", "ignored"], "", 0);
}
