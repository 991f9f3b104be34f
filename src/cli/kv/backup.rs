//! `muster kv backup`: what etcdctl calls a backup. `muster backup` makes better ones.

use std::path::{Path, PathBuf};

use super::output::bad_argument;
use crate::cli::Failure;
use crate::store;

/// Copy the data of a node that does not run, for a new cluster
#[derive(clap::Args, Debug)]
#[command(
    after_help = "The copy has new ids and knows no members. Start the first node of the new cluster from it with \
                  --force-new-cluster, once, and add the others then. See also: muster backup, which copies a whole \
                  cluster while it runs.\n\
                  \n\
                  Example:\n  \
                  muster kv backup --data-dir /var/lib/muster --backup-dir /srv/copy"
)]
pub(super) struct Backup {
    /// The node's data folder; no node may be using it
    #[arg(long, value_name = "FOLDER")]
    data_dir: PathBuf,

    /// Where the copy goes: a folder that is new or empty
    #[arg(long, value_name = "FOLDER")]
    backup_dir: PathBuf,
}

impl Backup {
    pub async fn run(self) -> Result<(), Failure> {
        copy(&self.data_dir, &self.backup_dir).await
    }
}

/// Copies the data; says nothing.
pub(in crate::cli) async fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    store::copy(from, to).await.map_err(bad_argument)
}
