//! A name server that knows SRV records, and some hosts that are all this machine.

use std::net::{Ipv4Addr, UdpSocket};
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

/// SRV records of a name: hosts and ports.
pub type Service<'a> = (&'a str, &'a [(&'a str, u16)]);

/// A record's type (RFC 1035, RFC 2782).
const A: u16 = 1;
const SRV: u16 = 33;

/// The port that `/etc/resolv.conf` means.
const PORT: u16 = 53;

impl NameServer {
    /// Answers questions for `name` (such as `_etcd-server._tcp.example.org`) with hosts and ports, and says of every
    /// other name that it does not exist.
    pub fn start(name: &str, targets: &[(&str, u16)]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        Self::serve(socket, &[(name, targets)], &[])
    }

    /// The same for several names, and for hosts, on the usual port of a loopback address that is free. Needs the right to
    /// bind it.
    pub fn start_on_the_usual_port(services: &[Service<'_>], hosts: &[&str]) -> Self {
        let [.., high, low] = std::process::id().to_be_bytes();
        let addresses = (1..=254).map(|third| Ipv4Addr::new(127, third, high, low.max(1)));
        let socket = addresses.map(|address| UdpSocket::bind((address, PORT))).find_map(Result::ok);
        Self::serve(socket.expect("a free loopback address, and the right to bind port 53"), services, hosts)
    }

    fn serve(socket: UdpSocket, services: &[Service<'_>], hosts: &[&str]) -> Self {
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a socket with a time limit");
        let address = socket.local_addr().expect("its address").to_string();
        let service = |(name, targets): &Service<'_>| {
            (labels(name), SRV, targets.iter().map(|(host, port)| record(host, *port)).collect())
        };
        let here = |host: &&str| (labels(host), A, vec![host_record()]);
        let known: Vec<Known> = services.iter().map(service).chain(hosts.iter().map(here)).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut question = [0; 512];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut question) else { continue };
                let answer = answer(&question[..length], &known);
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

/// A name, the type of its records, and those.
type Known = (Vec<u8>, u16, Vec<Vec<u8>>);

/// Header, question and, for a name that is known, the records of the type that is asked for (RFC 1035).
fn answer(question: &[u8], known: &[Known]) -> Vec<u8> {
    let end = 12 + question[12..].iter().position(|byte| *byte == 0).expect("a name ends") + 1;
    let kind = u16::from_be_bytes([question[end], question[end + 1]]);
    let known = known.iter().find(|(name, ..)| question[12..end].eq_ignore_ascii_case(name));
    let records = known.filter(|(_, of, _)| *of == kind).map_or(&[][..], |(.., records)| records);
    let mut answer = question[..2].to_vec();
    answer.extend([
        0x85,
        if known.is_some() { 0x80 } else { 0x83 },
        0,
        1,
        0,
        u8::try_from(records.len()).expect("few records"),
    ]);
    answer.extend([0, 0, 0, 0]);
    answer.extend(&question[12..end + 4]);
    records.iter().for_each(|record| answer.extend(record));
    answer
}

/// An address record for the question's name: this machine.
fn host_record() -> Vec<u8> {
    vec![0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]
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
