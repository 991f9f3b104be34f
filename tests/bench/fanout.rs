//! One change told to many watchers: the time from the PUT to the last one that has it.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::LocalSet;

use crate::client::{Connection, put};
use crate::servers::Cluster;

const WATCH: &[u8] = b"GET /v2/keys/fan?wait=true&recursive=true HTTP/1.1\r\nHost: h\r\n\r\n";

/// How many watchers are set up at a time: more would overflow the server's queue of new connections.
const STEP: usize = 250;

/// How often it is measured with the same watchers' connections.
const ROUNDS: usize = 3;

/// The median over some rounds, in milliseconds.
pub fn measure(cluster: &Cluster, watchers: usize) -> Vec<f64> {
    let port = cluster.port(cluster.leader());
    let mut taken: Vec<f64> =
        (0..ROUNDS).map(|_| round(port, watchers).expect("all watchers hear")).collect();
    taken.sort_by(f64::total_cmp);
    vec![taken[ROUNDS / 2]]
}

fn round(port: u16, watchers: usize) -> io::Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let left = Rc::new(Cell::new(watchers));
    let done = Rc::new(Notify::new());
    LocalSet::new().block_on(&runtime, async {
        let mut tasks = Vec::new();
        for step in 0..watchers.div_ceil(STEP) {
            let count = STEP.min(watchers - step * STEP);
            let accepted = futures_util::future::join_all((0..count).map(|_| accept(port))).await;
            for stream in accepted {
                let (stream, left, done) = (stream?, left.clone(), done.clone());
                tasks.push(tokio::task::spawn_local(async move {
                    let result = hear(stream).await;
                    left.set(left.get() - 1);
                    if left.get() == 0 {
                        done.notify_one();
                    }
                    result
                }));
            }
        }
        let began = Instant::now();
        let write = tokio::task::spawn_blocking(move || {
            Connection::open(port)?.ask(&put("/v2/keys/fan/out", "value=x")).map(|answer| answer.status)
        });
        done.notified().await;
        let took = began.elapsed().as_secs_f64() * 1e3;
        assert!(write.await?? < 300, "the change was refused");
        for task in tasks {
            task.await??;
        }
        Ok(took)
    })
}

/// A watcher whose watch has been accepted: it has its headers.
async fn accept(port: u16) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(WATCH).await?;
    let mut head = Vec::with_capacity(1024);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(stream)
}

/// Waits for the event. Gives the connection back, so that its end is not measured with the others' news.
async fn hear(mut stream: TcpStream) -> io::Result<TcpStream> {
    let mut body = Vec::with_capacity(512);
    while !body.windows(2).any(|pair| pair == b"}\n") {
        if stream.read_buf(&mut body).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(stream)
}
