//! `muster kv get` and `ls`.

use super::output::{Output, refused};
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
        let answer = client.get(&self.key, &options).await.map_err(refused)?;
        if answer.node.dir {
            eprintln!("{}: is a directory", answer.node.key);
            return Err(Failure::with_code(1, ""));
        }
        output.answer(&answer)
    }
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
        let answer = client.get(&self.key, &options).await.map_err(refused)?;
        output.listing(&answer, self.mark_directories)
    }
}
