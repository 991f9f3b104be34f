//! `watch` and `exec-watch`.

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::four::{Four, command, normal, number};
use crate::common::{http, wait_for};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn a_watch_in_the_past_prints_what_happened() {
    let Some(four) = Four::start() else { return };
    let start = four.level();
    four.run(&["set", "/w/a", "1"], "", 0);
    four.run(&["set", "/w/b", "2", "--ttl", "1000"], "", 0);
    four.run(&["mkdir", "/w/d"], "", 0);
    four.run(&["rm", "/w/a"], "", 0);
    four.run(&["set", "/w/c", "3"], "", 0);
    four.run(&["rm", "--with-value", "3", "/w/c"], "", 0);
    let after = |n: u64| (start + n).to_string();
    for (n, key) in [(0, "/w/a"), (0, "/w/b"), (1, "/w/a"), (4, "/w/c"), (5, "/w/c")] {
        for form in ["simple", "extended", "json", "yaml"] {
            four.run(&["-o", form, "watch", key, "--after-index", &after(n)], "", 0);
        }
    }
    for n in 0..6 {
        for form in ["simple", "extended", "json"] {
            four.run(&["-o", form, "watch", "--recursive", "--after-index", &after(n), "/w"], "", 0);
        }
    }
    four.run(&["watch", "--after-index", &after(0), "-r", "/w"], "", 0);
    four.run(&["--no-sync", "watch", "-after-index", &after(0), "/w/a"], "", 0);
}

#[test]
fn an_expiry_is_an_empty_line() {
    let Some(four) = Four::start() else { return };
    let start = four.level();
    four.run(&["set", "/gone", "1", "--ttl", "1"], "", 0);
    four.run(&["watch", "/gone", "--after-index", &(start + 1).to_string()], "", 0);
    four.run(&["-o", "json", "watch", "/gone", "-r", "--after-index", &(start + 1).to_string()], "", 0);
}

/// A command that runs; killed when dropped.
struct Running(Child);

impl Running {
    fn all(four: &Four, words: &[&str]) -> Vec<Self> {
        let start =
            |pair: super::four::Pair| command(pair.program, &pair.url, words).spawn().expect("it runs");
        four.pairs().into_iter().map(|pair| Self(start(pair))).collect()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.0.id()).expect("a process id")), signal).expect("signalled");
    }

    /// Exit status and the rest of its lines.
    fn ending(&mut self) -> (i32, Vec<String>) {
        let lines = BufReader::new(self.0.stdout.take().expect("its output")).lines();
        let lines = lines.map(|line| line.expect("a line")).collect();
        (number(self.0.wait().expect("its end")), lines)
    }

    /// The next lines of its output.
    fn lines(&mut self, count: usize) -> Vec<String> {
        let output = self.0.stdout.as_mut().expect("its output");
        let mut lines = Vec::new();
        // Byte by byte: a buffer would keep what comes behind.
        let mut line = String::new();
        while lines.len() < count {
            let mut byte = [0];
            std::io::Read::read_exact(output, &mut byte).expect("more output");
            match byte {
                [b'\n'] => lines.push(std::mem::take(&mut line)),
                [byte] => line.push(char::from(byte)),
            }
        }
        lines
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_live_watch_hears_the_first_change_and_ends() {
    let Some(four) = Four::start() else { return };
    for (words, key) in [
        (&["watch", "/live"][..], "/live"),
        (&["watch", "--recursive", "/tree"], "/tree/deep"),
        (&["-o", "json", "watch", "/other", "-r", "--after-index", "-1"], "/other"),
    ] {
        let mut running = Running::all(&four, words);
        for (pair, running) in four.pairs().iter().zip(&mut running) {
            // Nobody tells when a watch is under way: write until it has heard.
            wait_for("the watch to hear of a write", LIMIT, || {
                let target = format!("/v2/keys{key}?noValueOnSuccess=true");
                http::request(&pair.url, "PUT", &target, Some("value=heard")).expect("written");
                running.0.try_wait().expect("its state").is_some()
            });
        }
        let endings: Vec<(i32, Vec<String>)> = running.iter_mut().map(Running::ending).collect();
        for (status, lines) in &endings {
            assert_eq!((*status, lines.len()), (0, endings[0].1.len()), "{words:?}: {endings:?}");
            if !words.contains(&"json") {
                assert_eq!(*lines, endings[0].1, "{words:?}");
            }
        }
    }
}

#[test]
fn a_watch_for_ever_goes_on_until_it_is_interrupted() {
    let Some(four) = Four::start() else { return };
    for (signal, status) in [(Signal::SIGINT, 0), (Signal::SIGTERM, 128 + 15)] {
        let start = four.level().to_string();
        let mut running = Running::all(&four, &["watch", "--after-index", &start, "-r", "--forever", "/w"]);
        for value in ["1", "2"] {
            four.request("PUT", "/v2/keys/w/a", Some(&format!("value={value}")));
        }
        for running in &mut running {
            assert_eq!(running.lines(4), ["[set] /w/a", "1", "[set] /w/a", "2"]);
            running.signal(signal);
            assert_eq!(running.ending(), (status, vec![]), "{signal}");
        }
    }
}

#[test]
fn a_program_is_run_at_a_change_with_the_change_in_its_environment() {
    let Some(four) = Four::start() else { return };
    let start = four.level();
    four.request("PUT", "/v2/keys/w/a", Some("value=1"));
    let after = start.to_string();
    let script = "echo \"$ETCD_WATCH_ACTION $ETCD_WATCH_KEY $ETCD_WATCH_VALUE $ETCD_WATCH_MODIFIED_INDEX\"; cat; exit 3";
    for words in [
        &["exec-watch", "--after-index", &after, "--recursive", "/w", "--", "sh", "-c", script][..],
        &["exec-watch", "sh", "-c", script, "/w/a", "--after-index", &after],
    ] {
        for (signal, status) in [(Signal::SIGINT, 0), (Signal::SIGTERM, 128 + 15)] {
            for (pair, mut running) in four.pairs().iter().zip(Running::all(&four, words)) {
                assert_eq!(running.lines(1), [format!("set /w/a 1 {}", start + 1)], "{}", pair.name);
                running.signal(signal);
                assert_eq!(running.ending(), (status, vec![]), "{}: {words:?}: {signal}", pair.name);
            }
        }
    }
    four.run(&["exec-watch", "--after-index", &after, "-r", "/w", "--", "/no/such/program"], "", 1);
}

#[test]
fn a_watch_whose_history_is_gone_ends_with_status_4() {
    let Some(four) = Four::start() else { return };
    // etcd remembers 1,000 changes.
    for pair in four.pairs() {
        let mut connection = http::Connection::open(&pair.url).expect("connected");
        let wanted = if pair.name.ends_with("etcd") { 1010 } else { 0 };
        for _ in 0..wanted {
            connection.request("PUT", "/v2/keys/filler", Some("value=")).expect("written");
        }
        if wanted > 0 {
            let child = command(pair.program, &pair.url, &["watch", "/w", "--after-index", "2"]).spawn();
            let ending = super::four::ending(child.expect("it runs"), "");
            assert_eq!(ending.status, 4, "{}: {ending:?}", pair.name);
            let refusal = "Error:  401: The event in requested index is outdated and cleared";
            assert!(ending.stderr.starts_with(refusal), "{}: {ending:?}", pair.name);
            assert_eq!(normal(&pair.url, ending.stdout), "");
        }
    }
}
