//! The program, as the link and as `muster kv`.

use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// A folder with the link in it.
pub struct Link {
    path: PathBuf,
    folder: TempDir,
}

impl Link {
    pub fn new() -> Self {
        let folder = TempDir::new().expect("a folder for the link");
        let path = folder.path().join("etcdctl");
        symlink(env!("CARGO_BIN_EXE_muster"), &path).expect("a link");
        Self { path, folder }
    }

    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// `etcdctl` with an endpoint, ready for more arguments.
    pub fn command(&self, url: &str) -> Command {
        let mut command = Command::new(&self.path);
        command.env("ETCDCTL_ENDPOINTS", url).env_remove("ETCDCTL_USERNAME");
        piped(command)
    }

    pub fn run(&self, url: &str, words: &[&str]) -> Output {
        finish(self.command(url).args(words).spawn().expect("it runs"), "")
    }

    /// What a successful run prints.
    #[track_caller]
    pub fn prints(&self, url: &str, words: &[&str]) -> String {
        let output = self.run(url, words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        text(&output.stdout)
    }
}

/// `muster kv` with an endpoint, ready for more arguments.
pub fn kv(url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    command.env("MUSTER_ENDPOINTS", url).env_remove("MUSTER_CONFIG").env_remove("MUSTER_USERNAME").arg("kv");
    piped(command)
}

pub fn run_kv(url: &str, words: &[&str]) -> Output {
    finish(kv(url).args(words).spawn().expect("it runs"), "")
}

fn piped(mut command: Command) -> Command {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Gives a command its input and waits for its end.
pub fn finish(mut child: Child, input: &str) -> Output {
    let mut stdin = child.stdin.take().expect("its input");
    // A command that reads nothing may be gone by now.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

pub fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).expect("a process id")), signal).expect("signalled");
}
