//! Real systemd machines for tests: a handle on one lab of `contrib/lab`.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

use super::wait_for;

/// A lab of this test alone; it is taken down when dropped, also by a panic. A test that is killed leaves its lab to
/// the next one, which removes labs without an owner.
pub struct Lab {
    name: String,
    count: usize,
}

impl Lab {
    /// Boots `count` machines that run Muster as its packages would install it, and waits until the store answers.
    /// The binary is this build's, or the one that `MUSTER_BIN` names.
    #[track_caller]
    pub fn up(count: usize) -> Lab {
        Lab::boot(count, &[])
    }

    /// Boots `count` machines with nothing of Muster on them.
    #[track_caller]
    pub fn up_bare(count: usize) -> Lab {
        Lab::boot(count, &["--bare"])
    }

    #[track_caller]
    fn boot(count: usize, options: &[&str]) -> Lab {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let process = std::process::id();
        let name = format!("test-{process}-{}", MADE.fetch_add(1, Ordering::Relaxed));
        let lab = Lab { name, count };
        let mut command = lab.command("up");
        command.args(options).arg(count.to_string()).env("MUSTER_LAB_OWNER", process.to_string());
        if std::env::var_os("MUSTER_BIN").is_none() {
            command.env("MUSTER_BIN", env!("CARGO_BIN_EXE_muster"));
        }
        expect_success(&mut command);
        lab
    }

    /// The lab's name, as in `MUSTER_LAB`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// One machine, counted from 1.
    #[track_caller]
    pub fn machine(&self, number: usize) -> Machine<'_> {
        assert!((1..=self.count).contains(&number), "the lab has no machine {number}");
        Machine { lab: self, number }
    }

    /// All machines, from 1 up.
    pub fn machines(&self) -> impl Iterator<Item = Machine<'_>> {
        (1..=self.count).map(|number| Machine { lab: self, number })
    }

    /// Moves this thread, and with it what it starts from now on, into the lab's network for good: connections to the
    /// machines can be opened then.
    pub fn enter_network(&self) {
        let place = format!("/run/netns/muster-{}", self.name);
        let network = File::open(&place).unwrap_or_else(|e| panic!("{place}: {e}"));
        setns(network, CloneFlags::CLONE_NEWNET).expect("a thread of root may change its network");
    }

    /// A command of this computer that will run inside the lab's network, where the machines' addresses are.
    pub fn exec(&self, words: &[&str]) -> Command {
        let mut command = self.command("exec");
        command.args(words);
        command
    }

    /// A `contrib/lab` command on this lab.
    fn command(&self, verb: &str) -> Command {
        let script: PathBuf = [env!("CARGO_MANIFEST_DIR"), "contrib", "lab"].iter().collect();
        let mut command = Command::new(script);
        command.arg(verb).env("MUSTER_LAB", &self.name).stdin(Stdio::null());
        command
    }

    /// What the machines have to say about a failed test.
    fn explain(&self) {
        let show = |command: &mut Command| {
            if let Ok(output) = command.output() {
                eprint!("{}{}", text(&output.stdout), text(&output.stderr));
            }
        };
        show(&mut self.command("status"));
        for machine in self.machines() {
            eprintln!("--- m{}: the end of its journal", machine.number);
            show(&mut machine.command(&[
                "journalctl",
                "-b",
                "-n",
                "80",
                "--no-pager",
                "-o",
                "short-precise",
            ]));
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.explain();
        }
        let down = self.command("down").output();
        let gone = matches!(&down, Ok(output) if output.status.success());
        if !gone {
            eprintln!("lab {} could not be taken down: {down:?}", self.name);
        }
        // A second panic during the first would abort and hide it.
        assert!(gone || std::thread::panicking(), "lab {} is still there", self.name);
    }
}

/// One machine of a lab.
#[derive(Clone, Copy)]
pub struct Machine<'a> {
    lab: &'a Lab,
    number: usize,
}

impl Machine<'_> {
    /// Its name inside and outside: `m1`.
    pub fn name(&self) -> String {
        format!("m{}", self.number)
    }

    /// Its address in the lab's network.
    pub fn address(&self) -> String {
        format!("10.77.0.{}", self.number + 10)
    }

    /// The base URL of its store.
    pub fn url(&self) -> String {
        format!("http://{}:2379", self.address())
    }

    /// Writes a file on it, and the folders above.
    #[track_caller]
    pub fn write(&self, path: &str, text: &str) {
        let script = format!("mkdir -p \"$(dirname {path})\" && cat >{path} <<'THE-END'\n{text}\nTHE-END\n");
        self.ok(&["sh", "-c", &script]);
    }

    /// A command that will run on the machine as root.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = self.verb("shell");
        command.args(words);
        command
    }

    /// Runs a command on the machine to its end, whatever that is.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("contrib/lab can be run")
    }

    /// Runs a command that must succeed; its standard output without the last line's end.
    #[track_caller]
    pub fn ok(&self, words: &[&str]) -> String {
        expect_success(&mut self.command(words))
    }

    /// Whether a command succeeds on the machine.
    pub fn succeeds(&self, words: &[&str]) -> bool {
        self.run(words).status.success()
    }

    /// Starts a command on the machine with its output piped; it ends when the child is killed.
    #[track_caller]
    pub fn spawn(&self, words: &[&str]) -> Child {
        let mut command = self.command(words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("contrib/lab can be run")
    }

    /// The id of its present boot; `None` while it is down.
    pub fn boot_id(&self) -> Option<String> {
        let output = self.run(&["cat", "/proc/sys/kernel/random/boot_id"]);
        output.status.success().then(|| text(&output.stdout).trim().to_string())
    }

    /// What `systemctl is-system-running` says; empty while it is down.
    pub fn state(&self) -> String {
        text(&self.run(&["systemctl", "is-system-running"]).stdout).trim().to_string()
    }

    /// Waits until it has booted, and is in another boot than `before` if that is given.
    #[track_caller]
    pub fn wait_until_booted(&self, before: Option<&str>) {
        wait_for(&format!("m{} to boot", self.number), Duration::from_secs(120), || {
            // The boot first: the state that is asked for afterwards is not that of an earlier one.
            let Some(boot) = self.boot_id() else { return false };
            let state = self.state();
            Some(boot.as_str()) != before && (state == "running" || state == "degraded")
        });
    }

    /// Cuts it off the network: its link stays up and packets vanish.
    #[track_caller]
    pub fn cut(&self) {
        expect_success(&mut self.verb("cut"));
    }

    /// Joins it to the network again.
    #[track_caller]
    pub fn heal(&self) {
        expect_success(&mut self.verb("heal"));
    }

    /// Freezes all of its processes.
    #[track_caller]
    pub fn pause(&self) {
        expect_success(&mut self.verb("pause"));
    }

    /// Lets its processes go on.
    #[track_caller]
    pub fn resume(&self) {
        expect_success(&mut self.verb("resume"));
    }

    /// Ends it at once, as a power failure does.
    #[track_caller]
    pub fn kill(&self) {
        expect_success(&mut self.verb("kill"));
    }

    /// Boots it again after [`Machine::kill`] or a power-off. Does not wait for the end of its boot.
    #[track_caller]
    pub fn start(&self) {
        expect_success(&mut self.verb("start"));
    }

    fn verb(&self, verb: &str) -> Command {
        let mut command = self.lab.command(verb);
        command.arg(self.number.to_string());
        command
    }
}

/// Runs a command to its end; panics with all that it said unless it succeeds.
#[track_caller]
pub fn expect_success(command: &mut Command) -> String {
    let output = command.output().expect("the command can be run");
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}{err}", output.status);
    out.trim_end().to_string()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
