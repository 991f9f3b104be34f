//! `muster kv import`.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::old_snapshot::{Snapshot, Step};
use super::output::{Output, REFUSED};
use crate::cli::Failure;
use crate::client::{Client, PutOptions};
use crate::clock::wall_time;

/// The shortest time to live that a key gets: those that are about to expire would be gone before anybody uses them.
const SHORTEST_TTL_S: i64 = 300;

/// Write the keys of a snapshot of etcd 0.4 to the store
#[derive(clap::Args, Debug)]
#[command(
    after_help = "The snapshot is a file of etcd's data folder (snapshot/TERM_INDEX.ss) or what a running etcd 0.4 gives at\n\
                  /v2/migration/snapshot. Keys with less than 300 seconds to live get 300. Keys that are there already\n\
                  are overwritten."
)]
pub(super) struct Import {
    /// The snapshot
    #[arg(long, value_name = "FILE")]
    snap: PathBuf,

    /// A hidden key whose tree is wanted, too; may be given several times
    #[arg(long, value_name = "KEY")]
    hidden: Vec<String>,

    /// How many clients write at once
    #[arg(short = 'c', default_value = "10", value_name = "COUNT")]
    clients: NonZeroUsize,
}

impl Import {
    pub async fn run(self, client: &Client, output: &Output) -> Result<(), Failure> {
        import(&self.snap, &self.hidden, self.clients, client, output).await
    }
}

/// Writes what the snapshot holds, as far as it is not hidden, and the hidden trees that are named.
pub(in crate::cli) async fn import(
    path: &Path,
    hidden: &[String],
    clients: NonZeroUsize,
    client: &Client,
    output: &Output,
) -> Result<(), Failure> {
    let Ok(bytes) = tokio::fs::read(path).await else {
        outln!("cannot read snapshot file {}", path.display());
        return Err(Failure::with_code(1, ""));
    };
    let snapshot = Snapshot::parse(&bytes).map_err(|problem| {
        eprintln!("cannot use {}: {problem}", path.display());
        Failure::with_code(1, "")
    })?;
    outln!("starting to import snapshot {} with {clients} clients", path.display());
    let now = wall_time();
    let mut steps = Vec::new();
    for tree in std::iter::once("/").chain(hidden.iter().map(String::as_str)) {
        let Some(found) = snapshot.steps(tree, now) else {
            eprintln!("Error:  100: Key not found ({tree}) [{}]", snapshot.index());
            return Err(Failure::with_code(REFUSED, ""));
        };
        steps.extend(found);
    }
    let keys = steps.iter().filter(|step| matches!(step, Step::Write { .. })).count();
    stream::iter(steps)
        .map(Ok)
        .try_for_each_concurrent(clients.get(), |step| carry_out(step, client, output))
        .await?;
    outln!("finished importing {keys} keys");
    Ok(())
}

async fn carry_out(step: Step, client: &Client, output: &Output) -> Result<(), Failure> {
    let (key, value, ttl) = match step {
        Step::Enter(dir) => {
            eprintln!("entering dir: {dir}");
            return Ok(());
        }
        Step::Write { key, value, ttl } => (key, value, ttl),
    };
    eprintln!("copying key: {key}");
    let ttl = ttl.filter(|ttl| *ttl != 0).map(|ttl| {
        if ttl < SHORTEST_TTL_S {
            eprintln!("extending key {key}'s ttl to {SHORTEST_TTL_S} seconds");
        }
        ttl.max(SHORTEST_TTL_S).unsigned_abs()
    });
    let options = PutOptions { value: Some(value), ttl, ..PutOptions::default() };
    client.put(&key, &options).await.map(drop).map_err(|error| {
        eprintln!("failed to copy key: {}", output.words(&error));
        Failure::with_code(1, "")
    })
}
