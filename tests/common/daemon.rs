//! A program that runs until the test is over, whatever its command line, with what it says kept in a file.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::http;

/// How long a start may take.
pub const START_LIMIT: Duration = Duration::from_secs(60);

/// One running program; ends when dropped.
pub struct Daemon {
    child: Child,
    said: PathBuf,
}

impl Daemon {
    /// Starts `command`; standard error goes to the file at `said`, to its end if it is there already.
    #[track_caller]
    pub fn start(command: &mut Command, said: &Path) -> Self {
        let file =
            std::fs::OpenOptions::new().create(true).append(true).open(said).expect("a file for the log");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn();
        Self { child: child.expect("the program starts"), said: said.to_path_buf() }
    }

    /// What it has said on standard error.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.said).unwrap_or_default()
    }

    /// Waits until a request for `target` at `url` is answered with status 200.
    #[track_caller]
    pub fn wait_until_answers(&mut self, url: &str, target: &str) {
        self.wait_until(&format!("{url}{target} to answer"), || {
            http::request(url, "GET", target, None).is_ok_and(|answer| answer.status == 200)
        });
    }

    /// Waits until it has said `words`.
    #[track_caller]
    pub fn wait_until_said(&mut self, words: &str) {
        let said = self.said.clone();
        self.wait_until(&format!("\"{words}\""), || {
            std::fs::read_to_string(&said).is_ok_and(|text| text.contains(words))
        });
    }

    /// Waits until `condition` holds; fails when the program ends before.
    #[track_caller]
    pub fn wait_until(&mut self, what: &str, condition: impl Fn() -> bool) {
        let until = Instant::now() + START_LIMIT;
        while !condition() {
            let ended = self.child.try_wait().expect("the program's state");
            assert!(ended.is_none(), "it ended ({ended:?}) before {what}:\n{}", self.said());
            assert!(Instant::now() < until, "waited in vain for {what}:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let until = Instant::now() + START_LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().expect("the program's state") {
                return status;
            }
            assert!(Instant::now() < until, "it does not end:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks it to end, and waits for that.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        kill(pid, Signal::SIGTERM).expect("it takes signals");
        self.wait_for_end()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let said = self.said();
            let tail: Vec<&str> = said.lines().rev().take(15).collect();
            eprintln!("---- {}:", self.said.display());
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// Whether somebody listens at an address.
pub fn is_listening(address: &str) -> bool {
    let address: SocketAddr = address.parse().expect("an address");
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}
