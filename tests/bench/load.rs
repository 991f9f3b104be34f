//! Many connections that each ask, wait for the answer and ask again, on one thread. Tells how long each answer took;
//! costs more than wrk does.

use std::io;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::client::Whole;

/// What a load came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// When each answer came, counted from the start, and how long it took; in the order of arrival per connection.
    pub answers: Vec<(Duration, Duration)>,
    /// Answers that were no success.
    pub failed: usize,
}

impl Outcome {
    /// The latency that this share of the answers stayed below, in milliseconds.
    pub fn quantile(&self, share: f64) -> f64 {
        quantile(self.answers.iter().map(|(_, took)| took.as_secs_f64() * 1e3).collect(), share)
    }
}

/// The value that `share` of all values are not above.
pub fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    values.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let place = ((values.len() - 1) as f64 * share).round() as usize;
    values[place]
}

/// When a load ends.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After so long.
    Time(Duration),
    /// After so many requests.
    Count(usize),
}

/// Puts `request(n)`, n counting from 0 over all connections, to the server at `port` by `connections` at a time.
pub fn run(port: u16, connections: usize, until: Until, request: impl Fn(usize) -> Vec<u8>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let began = Instant::now();
    let next = std::cell::Cell::new(0);
    let take = || {
        let n = next.get();
        let goes_on = match until {
            Until::Time(limit) => began.elapsed() < limit,
            Until::Count(count) => n < count,
        };
        next.set(n + 1);
        goes_on.then(|| request(n))
    };
    let parts = LocalSet::new().block_on(&runtime, async {
        futures_util::future::join_all((0..connections).map(|_| converse(port, began, &take))).await
    });
    let mut outcome = Outcome::default();
    for part in parts {
        let (answers, failed) = part.expect("the server keeps its connections");
        outcome.answers.extend(answers);
        outcome.failed += failed;
    }
    outcome
}

type Part = (Vec<(Duration, Duration)>, usize);

async fn converse(port: u16, began: Instant, take: &impl Fn() -> Option<Vec<u8>>) -> io::Result<Part> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let mut answers = Vec::new();
    let mut failed = 0;
    let mut read = Vec::with_capacity(4096);
    while let Some(request) = take() {
        let sent = Instant::now();
        stream.write_all(&request).await?;
        let whole = loop {
            if let Some(whole) = Whole::find(&read) {
                break whole;
            }
            if stream.read_buf(&mut read).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        answers.push((began.elapsed(), sent.elapsed()));
        failed += usize::from(whole.status >= 300);
        read.drain(..whole.end);
    }
    Ok((answers, failed))
}
