//! `muster kv watch`.

use super::output::{Output, refused};
use crate::cli::Failure;
use crate::client::{self, Client, GetOptions};

/// What is watched, and from when.
#[derive(clap::Args, Debug)]
pub(super) struct Target {
    /// Watch everything below the key, too
    #[arg(short, long)]
    recursive: bool,

    /// Begin with the first change after this index instead of now
    #[arg(long, value_name = "INDEX")]
    after_index: Option<u64>,
}

impl Target {
    /// Begins to watch. Fails when the store cannot be reached; once begun, a watch waits for it to come back.
    pub async fn watch(&self, key: &str, client: &Client) -> Result<client::Watch, Failure> {
        let now = match client.get(key, &GetOptions::linearizable()).await {
            Ok(answer) => answer.index,
            Err(error) => match error.api() {
                Some(api) if error.is_not_found() => api.index,
                _ => return Err(refused(error)),
            },
        };
        Ok(client.watch(key, self.recursive, Some(self.after_index.unwrap_or(now))))
    }
}

/// Wait for a change of a key and print it
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Changes of directories themselves are not printed. Ends with status 0 when interrupted.\n\
                        \n\
                        Examples:\n  \
                        muster kv watch /app/greeting\n  \
                        muster kv watch --recursive --forever /app\n  \
                        muster kv watch --after-index 1200 /app/greeting"
)]
pub(super) struct Watch {
    /// The key to watch; it need not exist
    key: String,

    #[command(flatten)]
    target: Target,

    /// Go on after the first change
    #[arg(short, long)]
    forever: bool,
}

impl Watch {
    pub async fn run(self, client: &Client, output: &Output) -> Result<(), Failure> {
        let interrupted = tokio::signal::ctrl_c();
        tokio::select! {
            outcome = self.print_changes(client, output) => outcome,
            outcome = interrupted => outcome.map_err(Failure::new),
        }
    }

    async fn print_changes(&self, client: &Client, output: &Output) -> Result<(), Failure> {
        let mut watch = self.target.watch(&self.key, client).await?;
        loop {
            let event = watch.next().await.map_err(refused)?;
            if event.node.dir {
                continue;
            }
            output.event(&event, self.target.recursive)?;
            if !self.forever {
                return Ok(());
            }
        }
    }
}
