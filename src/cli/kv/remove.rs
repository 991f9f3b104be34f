//! `muster kv rm` and `rmdir`.

use super::output::Output;
use crate::cli::Failure;
use crate::client::{Client, DeleteOptions};

/// Remove a key, or with --recursive a directory with everything in it
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  \
                        muster kv rm /app/greeting\n  \
                        muster kv rm --recursive /app\n  \
                        muster kv rm --with-value node-1 /app/leader")]
pub(super) struct Rm {
    /// The key to remove
    key: String,

    /// Remove a directory with everything in it
    #[arg(short, long)]
    recursive: bool,

    /// Remove an empty directory
    #[arg(long)]
    dir: bool,

    /// Only if the key has this value
    #[arg(long, allow_hyphen_values = true, value_name = "VALUE")]
    with_value: Option<String>,

    /// Only if the key was last changed at this index
    #[arg(long, value_name = "INDEX")]
    with_index: Option<u64>,
}

impl Rm {
    pub async fn run(self, client: &Client, output: &Output) -> Result<(), Failure> {
        let options = DeleteOptions {
            recursive: self.recursive,
            dir: self.dir,
            prev_value: self.with_value,
            prev_index: self.with_index,
        };
        remove(&self.key, &options, client, output).await
    }
}

/// Remove an empty directory or a key
#[derive(clap::Args, Debug)]
pub(super) struct Rmdir {
    /// The directory to remove
    key: String,
}

impl Rmdir {
    pub async fn run(self, client: &Client, output: &Output) -> Result<(), Failure> {
        remove(&self.key, &DeleteOptions { dir: true, ..DeleteOptions::default() }, client, output).await
    }
}

/// Removes a key and prints its value, or nothing for a directory.
pub(in crate::cli) async fn remove(
    key: &str,
    options: &DeleteOptions,
    client: &Client,
    output: &Output,
) -> Result<(), Failure> {
    let answer = client.delete(key, options).await.map_err(|error| output.refused(error))?;
    if answer.node.dir { output.quiet_answer(&answer) } else { output.answer(&answer) }
}
