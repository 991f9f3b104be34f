//! `muster kv mkdir`, `setdir` and `updatedir`.

use super::input::{ttl, wanted};
use super::output::Output;
use crate::cli::Failure;
use crate::client::{Client, PutOptions};

/// What the three verbs take.
#[derive(clap::Args, Debug)]
struct Directory {
    /// The directory
    key: String,

    /// Let it expire with everything in it after so long: seconds, or a length such as 5s or 1m30s
    #[arg(long, value_parser = ttl, value_name = "TIME")]
    ttl: Option<u64>,
}

impl Directory {
    async fn put(self, exists: Option<bool>, client: &Client, output: &Output) -> Result<(), Failure> {
        put_directory(&self.key, wanted(self.ttl), exists, client, output).await
    }
}

/// Makes or changes a directory: one that must (not) exist, or either.
pub(in crate::cli) async fn put_directory(
    key: &str,
    ttl: Option<u64>,
    exists: Option<bool>,
    client: &Client,
    output: &Output,
) -> Result<(), Failure> {
    let options = PutOptions { dir: true, ttl, prev_exist: exists, ..PutOptions::default() };
    output.quiet_answer(&client.put(key, &options).await.map_err(|error| output.refused(error))?)
}

/// Create a directory that must not exist
#[derive(clap::Args, Debug)]
pub(super) struct Mkdir {
    #[command(flatten)]
    directory: Directory,
}

impl Mkdir {
    pub async fn run(self, client: &Client, output: &Output) -> Result<(), Failure> {
        self.directory.put(Some(false), client, output).await
    }
}

/// Create a directory, or turn a key into one
#[derive(clap::Args, Debug)]
pub(super) struct Setdir {
    #[command(flatten)]
    directory: Directory,
}

impl Setdir {
    pub async fn run(self, client: &Client, output: &Output) -> Result<(), Failure> {
        self.directory.put(None, client, output).await
    }
}

/// Change how long a directory that must exist is kept; without --ttl it no longer expires
#[derive(clap::Args, Debug)]
pub(super) struct Updatedir {
    #[command(flatten)]
    directory: Directory,
}

impl Updatedir {
    pub async fn run(self, client: &Client, output: &Output) -> Result<(), Failure> {
        self.directory.put(Some(true), client, output).await
    }
}
