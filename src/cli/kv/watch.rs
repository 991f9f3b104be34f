//! `muster kv watch`.

use super::output::Output;
use crate::cli::Failure;
use crate::client::{self, Client, ClientError, GetOptions};

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
    pub async fn watch(&self, key: &str, client: &Client, output: &Output) -> Result<client::Watch, Failure> {
        let now = match client.get(key, &GetOptions::linearizable()).await {
            Ok(answer) => answer.index,
            Err(error) => match error.api() {
                Some(api) if error.is_not_found() => api.index,
                _ => return Err(output.refused(error)),
            },
        };
        Ok(client.watch(key, self.recursive, Some(self.after_index.unwrap_or(now))))
    }
}

/// Wait for a change of a key and print it
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Changes of directories themselves are not printed. Ends with status 0 when interrupted. With --forever it \
                        goes on over lost connections; when changes are lost because the store no longer remembers them, it \
                        says so on standard error and goes on from there.\n\
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
        let mut watch = self.target.watch(&self.key, client, output).await?;
        loop {
            match print_changes(&mut watch, self.target.recursive, self.forever, output).await {
                Ok(()) => return Ok(()),
                Err(Stopped::Ended(failure)) => return Err(failure),
                Err(Stopped::Refused(ClientError::Cleared { refusal })) if self.forever => {
                    let after = watch.index().unwrap_or_default();
                    eprintln!(
                        "muster: {refusal}: changes between index {after} and {} are lost",
                        refusal.index
                    );
                    watch = client.watch(&self.key, self.target.recursive, Some(refusal.index));
                }
                Err(Stopped::Refused(error)) => return Err(output.refused(error)),
            }
        }
    }
}

/// Why no more changes are printed.
pub(in crate::cli) enum Stopped {
    /// The store will not serve the watch.
    Refused(ClientError),
    /// Standard output cannot be written.
    Ended(Failure),
}

/// Prints changes as they come: the first one, or all of them for ever. Those of directories are passed over.
pub(in crate::cli) async fn print_changes(
    watch: &mut client::Watch,
    recursive: bool,
    forever: bool,
    output: &Output,
) -> Result<(), Stopped> {
    loop {
        let event = watch.next().await.map_err(Stopped::Refused)?;
        if event.node.dir {
            continue;
        }
        output.event(&event, recursive).map_err(Stopped::Ended)?;
        if !forever {
            return Ok(());
        }
    }
}
