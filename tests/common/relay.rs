//! A relay in front of a store: hands requests on, holds some back, breaks off others, and can be cut.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// It is handed on.
    Pass,
    /// It is handed on after a while.
    Delay(Duration),
    /// Nobody hears it: its connection is closed.
    HangUp,
}

/// A relay on a port of its own; ends when dropped.
pub struct Relay {
    /// Where it listens.
    pub url: String,
    cut: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Relay {
    /// Relays to the store at `store`; `act` is asked with each request's first line.
    pub fn start(store: &str, act: impl Fn(&str) -> Act + Send + Sync + 'static) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a socket may be so");
        let listener = TcpListener::from_std(listener).expect("a runtime");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let store = store.trim_start_matches("http://").to_string();
        let act = Arc::new(act);
        let (cut, is_cut) = watch::channel(false);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (store, act, mut is_cut) = (store.clone(), act.clone(), is_cut.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        biased;
                        _ = is_cut.wait_for(|cut| *cut) => {}
                        () = relay(client, &store, &*act) => {}
                    }
                });
            }
        });
        Self { url, cut, task }
    }

    /// Breaks off all connections and takes no more, until [`Relay::heal`].
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Takes connections again.
    pub fn heal(&self) {
        self.cut.send_replace(false);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Carries one connection to its end.
async fn relay(client: TcpStream, store: &str, act: &(impl Fn(&str) -> Act + Sync)) {
    let Ok(store) = TcpStream::connect(store).await else { return };
    let ((mut asks, mut hears), (mut tells, mut takes)) = (client.into_split(), store.into_split());
    let requests = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = asks.read(&mut buffer).await {
            let text = String::from_utf8_lossy(&buffer[..length]);
            match act(text.lines().next().unwrap_or_default()) {
                Act::Pass => {}
                Act::Delay(delay) => tokio::time::sleep(delay).await,
                Act::HangUp => return,
            }
            if takes.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        _ = tokio::io::copy(&mut tells, &mut hears) => {}
        () = requests => {}
    }
}
