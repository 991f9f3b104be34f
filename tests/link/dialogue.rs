//! Passwords at a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::process::Stdio;

use nix::pty::openpty;

use super::tool::Link;
use crate::common::etcd::Etcd;

/// Reads until `end` was read.
fn until(terminal: &mut File, end: &str) -> String {
    let mut seen = String::new();
    let mut byte = [0];
    while !seen.ends_with(end) {
        terminal.read_exact(&mut byte).expect("more output");
        seen.push(char::from(byte[0]));
    }
    seen
}

#[test]
fn a_password_is_not_shown_while_it_is_typed() {
    let Some(etcd) = Etcd::start() else { return };
    let link = Link::new();
    let pty = openpty(None, None).expect("a terminal");
    let mut terminal = File::from(pty.master);
    let slave = File::from(pty.slave);
    let both = || Stdio::from(slave.try_clone().expect("a handle"));
    let mut child = link
        .command(&etcd.url())
        .args(["user", "add", "ann"])
        .stdin(both())
        .stdout(both())
        .spawn()
        .expect("it runs");
    until(&mut terminal, "New password: ");
    // It asks before it turns the echo off, as people do not type that fast.
    let quiet = || {
        let settings = nix::sys::termios::tcgetattr(&slave).expect("a terminal");
        !settings.local_flags.contains(nix::sys::termios::LocalFlags::ECHO)
    };
    crate::common::wait_for("the echo to be off", std::time::Duration::from_secs(10), quiet);
    terminal.write_all(b"secret\n").expect("typed");
    let rest = until(&mut terminal, "created\r\n");
    assert!(!rest.contains("secret"), "{rest}");
    assert!(child.wait().expect("it ends").success());
    assert!(!quiet(), "the terminal is as before");
    let output = link.run(&etcd.url(), &["-u", "ann:secret", "user", "list"]);
    assert!(output.status.success(), "{output:?}");
}
