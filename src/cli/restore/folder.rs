//! A backup into the data folder of a member of a new cluster.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::super::backup::{checksum, name, open, verify};
use super::super::{Context, Failure, Format};
use super::New;
use crate::config::{StoreFragment, StoreSettings};
use crate::store::{self, FoundError};

#[derive(Serialize)]
struct Page<'a> {
    data_dir: &'a Path,
    member: String,
    cluster: String,
    index: u64,
    keys: u64,
    sha256: String,
}

pub(super) fn run(path: &Path, new: New, context: &Context) -> Result<(), Failure> {
    let settings = settings(new, context.section()?)?;
    refuse_what_is_there(&settings.data_dir)?;
    let summary = verify(path)?;
    let founded = store::found(&settings, &summary, &mut open(path)?).map_err(|error| match &error {
        FoundError::Folder { .. } | FoundError::Unreadable { .. } => Failure::new(error),
        FoundError::Backup(_) | FoundError::Read(_) => Failure::new(format!("{}: {error}", name(path))),
    })?;
    let (member, cluster) = (format!("{:x}", founded.member), format!("{:x}", founded.cluster));
    let (index, keys, sha256) = (founded.index, summary.counts.keys, checksum(&summary.sha256));
    let data_dir = settings.data_dir.as_path();
    match context.output {
        Format::Json => {
            let page = Page { data_dir, member, cluster, index, keys, sha256 };
            outln!("{}", serde_json::to_string(&page).map_err(Failure::new)?);
        }
        Format::Simple | Format::Extended => {
            outln!("Data folder: {}\nMember: {member}\nCluster: {cluster}", data_dir.display());
            outln!("Restored: {keys} keys\nIndex: {index}\nSHA-256: {sha256}");
        }
    }
    Ok(())
}

/// The flags over what the configuration says of the store.
fn settings(new: New, base: StoreFragment) -> Result<StoreSettings, Failure> {
    let fragment = StoreFragment {
        data_dir: new.data_dir,
        name: new.name.or(base.name),
        initial_advertise_peer_urls: new.initial_advertise_peer_urls.or(base.initial_advertise_peer_urls),
        initial_cluster: new.initial_cluster.or(base.initial_cluster),
        initial_cluster_token: new.initial_cluster_token.or(base.initial_cluster_token),
        ..StoreFragment::default()
    };
    Ok(StoreSettings::try_from(fragment)?)
}

fn refuse_what_is_there(folder: &PathBuf) -> Result<(), Failure> {
    match std::fs::read_dir(folder).map(Iterator::count) {
        Ok(0) => Ok(()),
        Ok(_) => Err(Failure::usage(format!("{} is not empty: name another folder", folder.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::new(format!("cannot use {}: {error}", folder.display()))),
    }
}
