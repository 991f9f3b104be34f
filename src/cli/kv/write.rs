//! `muster kv set`, `mk` and `update`.

use super::input::{ttl, value, wanted};
use super::output::Output;
use crate::cli::Failure;
use crate::client::{Client, PutOptions};

/// Write a key, whether it exists or not
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  \
                        muster kv set /app/greeting 'hello world'\n  \
                        muster kv set /app/config < config.json\n  \
                        muster kv set --ttl 30s /app/alive yes\n  \
                        muster kv set --swap-with-value blue /app/colour green")]
pub(super) struct Set {
    /// The key to write
    key: String,

    /// Its new value; standard input when left out
    #[arg(allow_negative_numbers = true)]
    value: Option<String>,

    /// Let the key expire after so long: seconds, or a length such as 5s or 1m30s
    #[arg(long, value_parser = ttl, value_name = "TIME")]
    ttl: Option<u64>,

    /// Only if the key has this value
    #[arg(long, allow_hyphen_values = true, value_name = "VALUE")]
    swap_with_value: Option<String>,

    /// Only if the key was last changed at this index
    #[arg(long, value_name = "INDEX")]
    swap_with_index: Option<u64>,
}

impl Set {
    pub async fn run(self, client: &Client, output: &Output) -> Result<(), Failure> {
        let options = PutOptions {
            value: Some(value(self.value)?),
            ttl: wanted(self.ttl),
            prev_value: self.swap_with_value,
            prev_index: self.swap_with_index,
            ..PutOptions::default()
        };
        put(&self.key, &options, client, output).await
    }
}

/// Writes a key and prints what it holds then.
pub(in crate::cli) async fn put(
    key: &str,
    options: &PutOptions,
    client: &Client,
    output: &Output,
) -> Result<(), Failure> {
    output.answer(&client.put(key, options).await.map_err(|error| output.refused(error))?)
}

/// Creates a numbered key below `dir` and prints what it holds.
pub(in crate::cli) async fn post(
    dir: &str,
    value: &str,
    ttl: Option<u64>,
    client: &Client,
    output: &Output,
) -> Result<(), Failure> {
    output.answer(&client.post(dir, value, ttl).await.map_err(|error| output.refused(error))?)
}

/// Create a key that must not exist
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  \
                        muster kv mk --ttl 10s /app/leader node-1\n  \
                        muster kv mk --in-order /app/jobs 'send the letters'")]
pub(super) struct Mk {
    /// The key to create
    key: String,

    /// Its value; standard input when left out
    #[arg(allow_negative_numbers = true)]
    value: Option<String>,

    /// Create a key below KEY instead, named so that keys sort by the order of their creation
    #[arg(long)]
    in_order: bool,

    /// Let the key expire after so long: seconds, or a length such as 5s or 1m30s
    #[arg(long, value_parser = ttl, value_name = "TIME")]
    ttl: Option<u64>,
}

impl Mk {
    pub async fn run(self, client: &Client, output: &Output) -> Result<(), Failure> {
        let (value, ttl) = (value(self.value)?, wanted(self.ttl));
        if self.in_order {
            return post(&self.key, &value, ttl, client, output).await;
        }
        let options =
            PutOptions { value: Some(value), ttl, prev_exist: Some(false), ..PutOptions::default() };
        put(&self.key, &options, client, output).await
    }
}

/// Change a key that must exist; without --ttl it no longer expires
#[derive(clap::Args, Debug)]
pub(super) struct Update {
    /// The key to change
    key: String,

    /// Its new value; standard input when left out
    #[arg(allow_negative_numbers = true)]
    value: Option<String>,

    /// Let the key expire after so long: seconds, or a length such as 5s or 1m30s
    #[arg(long, value_parser = ttl, value_name = "TIME")]
    ttl: Option<u64>,
}

impl Update {
    pub async fn run(self, client: &Client, output: &Output) -> Result<(), Failure> {
        let options = PutOptions {
            value: Some(value(self.value)?),
            ttl: wanted(self.ttl),
            prev_exist: Some(true),
            ..PutOptions::default()
        };
        put(&self.key, &options, client, output).await
    }
}
