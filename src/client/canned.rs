//! A server for tests that answers requests in the order of a script.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use url::Url;

/// What the server does with one request.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Answers with status, `X-Etcd-Index` and body.
    Answer(u16, u64, String),
    /// Takes the request and says nothing; the connection stays open.
    Silence,
    /// Takes the request and closes the connection.
    HangUp,
    /// Accepts a poll at this index and says nothing more.
    Accept(u64),
    /// Accepts a poll at this index, then closes the connection.
    AcceptThenHangUp(u64),
}

/// A scripted server on a port of its own. Once the script is at its end it is silent.
pub(super) struct Canned {
    pub url: Url,
    seen: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Canned {
    pub async fn start(script: impl IntoIterator<Item = Act>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let script = Arc::new(Mutex::new(script.into_iter().collect::<VecDeque<_>>()));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (acts, log) = (script, seen.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, acts.clone(), log.clone()));
            }
        });
        Self { url: Url::parse(&url).expect("a URL"), seen, task }
    }

    /// The requests so far: method and target, and the body of those that have one.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("no test panicked").clone()
    }
}

impl Drop for Canned {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, script: Arc<Mutex<VecDeque<Act>>>, seen: Arc<Mutex<Vec<String>>>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read_request(&mut stream).await {
        let act = {
            seen.lock().expect("no test panicked").push(request);
            script.lock().expect("no test panicked").pop_front().unwrap_or(Act::Silence)
        };
        let head = |status: u16, index: u64| format!("HTTP/1.1 {status} x\r\nX-Etcd-Index: {index}\r\n");
        let text = match &act {
            Act::Answer(status, index, body) => {
                format!("{}Content-Length: {}\r\n\r\n{body}", head(*status, *index), body.len())
            }
            Act::Accept(index) | Act::AcceptThenHangUp(index) => {
                format!("{}Transfer-Encoding: chunked\r\n\r\n", head(200, *index))
            }
            Act::Silence | Act::HangUp => String::new(),
        };
        if stream.get_mut().write_all(text.as_bytes()).await.is_err()
            || stream.get_mut().flush().await.is_err()
        {
            return;
        }
        match act {
            Act::Answer(..) => {}
            Act::HangUp | Act::AcceptThenHangUp(_) => return,
            // Until the client has enough of it.
            Act::Silence | Act::Accept(_) => {
                let _ = stream.read_u8().await;
                return;
            }
        }
    }
}

async fn read_request(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut first = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if first.is_empty() {
            first = line.trim_end_matches(" HTTP/1.1").to_string();
        } else if let Some(number) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = number.trim().parse().ok()?;
        } else if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    if body.is_empty() { Some(first) } else { Some(format!("{first} {}", String::from_utf8_lossy(&body))) }
}
