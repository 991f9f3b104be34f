//! The machines that a person may name.

use std::collections::BTreeMap;

use crate::cli::Failure;
use crate::client::{self, Client, GetOptions};
use crate::ids::MachineId;
use crate::model::lookup::{self, Known};
use crate::model::machine::MachineInfo;
use crate::model::{self, MACHINES, MachineKey, SETTINGS};

/// All machines that the store knows of.
pub(in crate::cli) struct Machines(Vec<Known>);

impl Machines {
    /// Reads which machines there are: those that are present, those with settings, and `others`, such as those that
    /// hold a lock.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn load(client: &Client, others: impl IntoIterator<Item = MachineId>) -> Result<Self, Failure> {
        let mut known: BTreeMap<MachineId, Option<String>> =
            others.into_iter().map(|id| (id, None)).collect();
        for key in keys(client, SETTINGS).await?.into_keys() {
            let id = key.strip_prefix(SETTINGS).and_then(|rest| rest.strip_prefix('/')?.parse().ok());
            known.extend(id.map(|id| (id, None)));
        }
        for (key, value) in keys(client, MACHINES).await? {
            if let Some((id, MachineKey::Info)) = model::machine_key(&key) {
                let info = serde_json::from_str::<MachineInfo>(&value).ok();
                known.insert(id, info.map(|info| info.hostname));
            }
        }
        Ok(Self(known.into_iter().map(|(id, hostname)| Known { id, hostname }).collect()))
    }

    /// The machine that `text` names.
    ///
    /// # Errors
    /// None or several are called so.
    pub fn find(&self, text: &str) -> Result<MachineId, Failure> {
        lookup::find(&self.0, text).cloned().map_err(Failure::new)
    }
}

/// The files below a directory with their values; none if it is missing.
async fn keys(client: &Client, dir: &str) -> Result<BTreeMap<String, String>, Failure> {
    let options = GetOptions { recursive: true, ..GetOptions::linearizable() };
    match client.get(dir, &options).await {
        Ok(answer) => {
            Ok(client::tree(&answer).files.into_iter().map(|(key, file)| (key, file.value)).collect())
        }
        Err(error) if error.is_not_found() => Ok(BTreeMap::new()),
        Err(error) => Err(Failure::new(error)),
    }
}
