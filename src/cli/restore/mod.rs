//! `muster restore`: a backup back into the running cluster, or into the data folders of a new one.

mod cluster;
mod folder;

use std::path::PathBuf;

use super::{Context, Failure};

/// Replace all keys of the running cluster by those of a backup, or start a new cluster with them.
///
/// The file is checked whole before anything is sent, and again by every member. The keys are replaced on all members
/// at once, between two writes; members stay who they are. Whoever watches is told to read anew. Keys that run out
/// have as much time left from then on as they had when the backup was taken.
///
/// With --data-dir no server is asked: the data folder of one member of a new cluster is made. Do that with the same
/// file and --initial-cluster for each member, then start them with `muster store` and the same flags.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Do not ask before all keys are replaced
    #[arg(long, short, conflicts_with = "data_dir")]
    yes: bool,

    #[command(flatten)]
    new: New,
}

/// The member whose data folder is to be made.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Options of a new cluster")]
struct New {
    /// Make this data folder, which must be empty or not exist, instead of changing a running cluster
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// The member's name [default: default]
    #[arg(long, requires = "data_dir")]
    name: Option<String>,

    /// Where other members reach it [default: http://localhost:2380]
    #[arg(long, value_name = "URLS", value_delimiter = ',', requires = "data_dir")]
    initial_advertise_peer_urls: Option<Vec<String>>,

    /// The first members, the same for each: a=http://10.0.0.1:2380,b=http://10.0.0.2:2380,...
    #[arg(long, value_name = "NAME=URL,...", requires = "data_dir")]
    initial_cluster: Option<String>,

    /// Keeps clusters with the same URLs apart [default: etcd-cluster]
    #[arg(long, value_name = "TOKEN", requires = "data_dir")]
    initial_cluster_token: Option<String>,
}

pub(super) fn run(args: Args, context: &Context) -> Result<(), Failure> {
    if args.file.as_os_str() == "-" {
        return Err(Failure::usage("a backup is read twice: save it to a file first"));
    }
    if args.new.data_dir.is_some() {
        folder::run(&args.file, args.new, context)
    } else {
        cluster::run(&args.file, args.yes, context)
    }
}
