//! The machines that a person may name, and how a person is told of them.

use std::collections::{BTreeMap, BTreeSet};

use super::tree::tree;
use crate::cli::Failure;
use crate::client::Client;
use crate::ids::MachineId;
use crate::model::lookup::{self, Known};
use crate::model::machine::MachineInfo;
use crate::model::{self, MACHINES, MachineKey, SETTINGS};

/// How many digits a machine-id has; ids of an operator's own choice may be words.
const ID_DIGITS: usize = 32;

/// All machines that the store knows of.
#[derive(Debug, Default)]
pub(in crate::cli) struct Machines {
    known: Vec<Known>,
    present: BTreeSet<MachineId>,
}

impl Machines {
    /// Reads which machines there are: those that are present, those with settings, and `others`, such as those that
    /// hold a lock, with their names as far as those are known.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn load(
        client: &Client,
        others: impl IntoIterator<Item = (MachineId, Option<String>)>,
    ) -> Result<Self, Failure> {
        let mut known: BTreeMap<MachineId, Option<String>> = others.into_iter().collect();
        let mut present = BTreeSet::new();
        for key in tree(client, SETTINGS).await?.files.keys() {
            if let Some(id) = model::settings_key(key) {
                known.entry(id).or_default();
            }
        }
        for (key, file) in tree(client, MACHINES).await?.files {
            if let Some((id, MachineKey::Info)) = model::machine_key(&key) {
                let name = known.entry(id.clone()).or_default();
                if let Ok(info) = serde_json::from_str::<MachineInfo>(&file.value) {
                    *name = Some(info.hostname);
                    present.insert(id);
                }
            }
        }
        Ok(Self { known: known.into_iter().map(|(id, hostname)| Known { id, hostname }).collect(), present })
    }

    /// The machines that are present, for those who have read them already.
    pub fn present<'a>(machines: impl IntoIterator<Item = (&'a MachineId, &'a MachineInfo)>) -> Self {
        let known = |(id, info): (&MachineId, &MachineInfo)| Known {
            id: id.clone(),
            hostname: Some(info.hostname.clone()),
        };
        let known: Vec<Known> = machines.into_iter().map(known).collect();
        Self { present: known.iter().map(|machine| machine.id.clone()).collect(), known }
    }

    /// The machine that `text` names.
    ///
    /// # Errors
    /// None or several are called so.
    pub fn find(&self, text: &str) -> Result<MachineId, Failure> {
        lookup::find(&self.known, text).cloned().map_err(Failure::new)
    }

    /// The machines that are present.
    pub fn all_present(&self) -> impl Iterator<Item = &MachineId> {
        self.present.iter()
    }

    /// Whether the machine is one of them.
    pub fn knows(&self, id: &MachineId) -> bool {
        self.known.iter().any(|machine| machine.id == *id)
    }

    /// A machine for people: by host name and the beginning of its id, or by its whole id while no name is known.
    pub fn name(&self, id: &MachineId) -> String {
        let known = self.known.iter().find(|machine| machine.id == *id && machine.hostname.is_some());
        known.map_or_else(|| id.to_string(), lookup::shown)
    }

    /// A sentence that may hold machine-ids, for people.
    pub fn told(&self, sentence: &str) -> String {
        let named = self
            .known
            .iter()
            .filter(|machine| machine.hostname.is_some() && machine.id.as_str().len() == ID_DIGITS);
        named.fold(sentence.to_string(), |text, machine| {
            text.replace(machine.id.as_str(), &lookup::shown(machine))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "8cd4acaff41c4de68c0a81e5d0070daa";
    const GONE: &str = "3356019403e64fdb86a46aae9233140f";

    #[test]
    fn people_are_told_names_where_they_are_known() {
        let machine = |id: &str, hostname: Option<&str>| Known {
            id: id.parse().unwrap(),
            hostname: hostname.map(Into::into),
        };
        let known = vec![machine(ONE, Some("m1")), machine(GONE, None), machine("a", Some("m2"))];
        let machines = Machines { known, ..Machines::default() };
        assert_eq!(machines.name(&ONE.parse().unwrap()), "m1/8cd4acaf");
        assert_eq!(machines.name(&GONE.parse().unwrap()), GONE);
        let sentence = |first: &str| format!("the lock is taken: 2 of at most 2, by {first}, {GONE}");
        assert_eq!(machines.told(&sentence(ONE)), sentence("m1/8cd4acaf"));
    }
}
