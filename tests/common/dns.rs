//! A name server that knows SRV records alone.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Serves until it is dropped.
pub struct NameServer {
    address: String,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// Answers questions for `name` (such as `_etcd-server._tcp.example.org`) with hosts and ports, and says of every
    /// other name that it does not exist.
    pub fn start(name: &str, targets: &[(&str, u16)]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a socket with a time limit");
        let address = socket.local_addr().expect("its address").to_string();
        let wanted = labels(name);
        let records: Vec<Vec<u8>> = targets.iter().map(|(host, port)| record(host, *port)).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut question = [0; 512];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut question) else { continue };
                let answer = answer(&question[..length], &wanted, &records);
                socket.send_to(&answer, from).expect("an answer can be sent");
            }
        });
        Self { address, stop, thread: Some(thread) }
    }

    /// Its address and port.
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Header, question and, for the right name, the records (RFC 1035).
fn answer(question: &[u8], wanted: &[u8], records: &[Vec<u8>]) -> Vec<u8> {
    let end = 12 + question[12..].iter().position(|byte| *byte == 0).expect("a name ends") + 1;
    let known = question[12..end].eq_ignore_ascii_case(wanted);
    let count = if known { records.len() } else { 0 };
    let mut answer = question[..2].to_vec();
    answer.extend([
        0x85,
        if known { 0x80 } else { 0x83 },
        0,
        1,
        0,
        u8::try_from(count).expect("few records"),
    ]);
    answer.extend([0, 0, 0, 0]);
    answer.extend(&question[12..end + 4]);
    if known {
        records.iter().for_each(|record| answer.extend(record));
    }
    answer
}

/// An SRV record for the question's name that lives a minute (RFC 2782).
fn record(host: &str, port: u16) -> Vec<u8> {
    let target = labels(host);
    let length = u16::try_from(6 + target.len()).expect("a short name");
    let mut record = vec![0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60];
    record.extend(length.to_be_bytes());
    record.extend([0, 0, 0, 0]);
    record.extend(port.to_be_bytes());
    record.extend(target);
    record
}

fn labels(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.') {
        out.push(u8::try_from(label.len()).expect("a short label"));
        out.extend(label.bytes());
    }
    out.push(0);
    out
}
