//! `muster kv get` and `ls`.

use super::output::Output;
use crate::cli::Failure;
use crate::client::{Client, GetOptions};

/// How fresh a read must be.
#[derive(clap::Args, Debug)]
struct Freshness {
    /// Whether a majority must agree on the answer; =false takes the copy of the node that is asked, which works
    /// without a majority and may be old [default: what the store does by itself]
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    quorum: Option<bool>,
}

/// Print a key's value
#[derive(clap::Args, Debug)]
pub(super) struct Get {
    /// The key to read
    key: String,

    #[command(flatten)]
    freshness: Freshness,
}

impl Get {
    pub async fn run(self, client: &Client, output: &Output) -> Result<(), Failure> {
        let options = GetOptions { quorum: self.freshness.quorum, ..GetOptions::default() };
        get(&self.key, &options, client, output).await
    }
}

/// Prints a file; a directory is refused with status 1.
pub(in crate::cli) async fn get(
    key: &str,
    options: &GetOptions,
    client: &Client,
    output: &Output,
) -> Result<(), Failure> {
    let answer = client.get(key, options).await.map_err(|error| output.refused(error))?;
    if answer.node.dir {
        eprintln!("{}: is a directory", answer.node.key);
        return Err(Failure::with_code(1, ""));
    }
    output.answer(&answer)
}

/// List a directory's keys, one per line
#[derive(clap::Args, Debug)]
pub(super) struct Ls {
    /// The directory to list
    #[arg(default_value = "/")]
    key: String,

    /// List what is in its directories, too
    #[arg(short, long)]
    recursive: bool,

    /// In the order of keys
    #[arg(long)]
    sort: bool,

    /// Put a slash behind directories
    #[arg(short = 'p')]
    mark_directories: bool,

    #[command(flatten)]
    freshness: Freshness,
}

impl Ls {
    pub async fn run(self, client: &Client, output: &Output) -> Result<(), Failure> {
        let options =
            GetOptions { recursive: self.recursive, sorted: self.sort, quorum: self.freshness.quorum };
        ls(&self.key, &options, self.mark_directories, client, output).await
    }
}

/// Prints the keys of a directory, or a file's own.
pub(in crate::cli) async fn ls(
    key: &str,
    options: &GetOptions,
    mark_directories: bool,
    client: &Client,
    output: &Output,
) -> Result<(), Failure> {
    let answer = client.get(key, options).await.map_err(|error| output.refused(error))?;
    output.listing(&answer, mark_directories)
}
