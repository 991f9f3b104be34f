//! The coordinator's records in the store: who is on the way, and who was asked to go.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use super::RebootError;
use crate::client::{Answer, Client, DeleteOptions, GetOptions, Node, PutOptions};
use crate::ids::MachineId;
use crate::model::reboot::{Answered, Group, Holder, Request};

/// A record and the index of its last change.
pub type Indexed<T> = (T, u64);

/// A group's records; cheap to clone.
#[derive(Clone, Debug)]
pub struct Records {
    client: Client,
    group: Group,
}

impl Records {
    /// The records of `group`.
    pub fn new(client: Client, group: Group) -> Self {
        Self { client, group }
    }

    /// The group.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// The record of a machine on its way, if it is.
    ///
    /// # Errors
    /// `Store`, `Record`.
    pub async fn holder(&self, id: &MachineId) -> Result<Option<Indexed<Holder>>, RebootError> {
        let (answer, _) = self.read(&self.group.holder(id), "read the record of a reboot").await?;
        answer.map(|answer| parse(&answer.node)).transpose()
    }

    /// Writes the record of a machine on its way and returns its index. Safe to repeat.
    ///
    /// # Errors
    /// `Store`.
    pub async fn put_holder(&self, id: &MachineId, holder: &Holder) -> Result<u64, RebootError> {
        let answer = self.put(&self.group.holder(id), holder, "write the record of a reboot").await?;
        Ok(answer.node.modified_index)
    }

    /// Removes the record of a machine that has come to the end of its way.
    ///
    /// # Errors
    /// `Store`.
    pub async fn remove_holder(&self, id: &MachineId) -> Result<(), RebootError> {
        self.remove(&self.group.holder(id), None, "remove the record of a reboot").await
    }

    /// All machines on their way.
    ///
    /// # Errors
    /// `Store`, `Record`.
    pub async fn holders(&self) -> Result<BTreeMap<MachineId, Indexed<Holder>>, RebootError> {
        self.list(&self.group.holders(), |text| serde_json::from_str(text)).await
    }

    /// The request to a machine, if there is one, and the store's index: a watch goes on from there.
    ///
    /// # Errors
    /// `Store`, `Record`.
    pub async fn request(&self, id: &MachineId) -> Result<Indexed<Option<Indexed<Request>>>, RebootError> {
        let key = self.group.request(id);
        let (answer, index) = self.read(&key, "read the request for a reboot").await?;
        let Some(answer) = answer else { return Ok((None, index)) };
        let request =
            Request::parse(value(&answer.node.value)).map_err(|cause| RebootError::Record { key, cause })?;
        Ok((Some((request, answer.node.modified_index)), index))
    }

    /// Asks a machine to reboot.
    ///
    /// # Errors
    /// `Store`.
    pub async fn put_request(&self, id: &MachineId, request: &Request) -> Result<u64, RebootError> {
        let answer = self.put(&self.group.request(id), request, "write the request for a reboot").await?;
        Ok(answer.node.modified_index)
    }

    /// Removes a request, if `index` is given only in case it has not been renewed since.
    ///
    /// # Errors
    /// `Store`.
    pub async fn remove_request(&self, id: &MachineId, index: Option<u64>) -> Result<(), RebootError> {
        self.remove(&self.group.request(id), index, "remove the request for a reboot").await
    }

    /// All requests.
    ///
    /// # Errors
    /// `Store`, `Record`.
    pub async fn requests(&self) -> Result<BTreeMap<MachineId, Indexed<Request>>, RebootError> {
        self.list(&self.group.requests(), Request::parse).await
    }

    /// The last reboot of a machine for a file, if there was one.
    ///
    /// # Errors
    /// `Store`, `Record`.
    pub async fn answered(&self, id: &MachineId) -> Result<Option<Answered>, RebootError> {
        let (answer, _) = self.read(&self.group.answered(id), "read the record of the last reboot").await?;
        answer.map(|answer| Ok(parse(&answer.node)?.0)).transpose()
    }

    /// Writes the record of the last reboot for a file. Safe to repeat.
    ///
    /// # Errors
    /// `Store`.
    pub async fn put_answered(&self, id: &MachineId, answered: &Answered) -> Result<(), RebootError> {
        let key = self.group.answered(id);
        self.put(&key, answered, "write the record of the last reboot").await.map(drop)
    }

    /// The last reboots for files of all machines.
    ///
    /// # Errors
    /// `Store`, `Record`.
    pub async fn all_answered(&self) -> Result<BTreeMap<MachineId, Indexed<Answered>>, RebootError> {
        self.list(&self.group.answered_all(), |text| serde_json::from_str(text)).await
    }

    /// A key if it exists, and the store's index.
    async fn read(&self, key: &str, doing: &'static str) -> Result<Indexed<Option<Answer>>, RebootError> {
        match self.client.get(key, &GetOptions::linearizable()).await {
            Ok(answer) => {
                let index = answer.index;
                Ok((Some(answer), index))
            }
            Err(error) if error.is_not_found() => Ok((None, error.api().map_or(0, |api| api.index))),
            Err(cause) => Err(RebootError::store(doing)(cause)),
        }
    }

    /// Writes a record. After an unknown outcome the caller just writes it again: only one machine writes it.
    async fn put(
        &self,
        key: &str,
        record: &impl serde::Serialize,
        doing: &'static str,
    ) -> Result<Answer, RebootError> {
        let text = serde_json::to_string(record)
            .map_err(|cause| RebootError::Record { key: key.to_string(), cause })?;
        let options = PutOptions { value: Some(text), ..PutOptions::default() };
        self.client.put(key, &options).await.map_err(RebootError::store(doing))
    }

    async fn remove(&self, key: &str, index: Option<u64>, doing: &'static str) -> Result<(), RebootError> {
        let options = DeleteOptions { prev_index: index, ..DeleteOptions::default() };
        match self.client.delete(key, &options).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() || error.is_compare_failed() => Ok(()),
            Err(cause) => Err(RebootError::store(doing)(cause)),
        }
    }

    async fn list<T>(
        &self,
        folder: &str,
        parse: impl Fn(&str) -> Result<T, serde_json::Error>,
    ) -> Result<BTreeMap<MachineId, Indexed<T>>, RebootError> {
        let (answer, _) = self.read(folder, "list the records of reboots").await?;
        let mut records = BTreeMap::new();
        for node in answer.into_iter().flat_map(|answer| answer.node.nodes) {
            let name = node.key.rsplit('/').next().unwrap_or_default();
            // A key that is no machine's is somebody else's.
            let Ok(id) = name.parse() else { continue };
            let record = parse(value(&node.value))
                .map_err(|cause| RebootError::Record { key: node.key.clone(), cause })?;
            records.insert(id, (record, node.modified_index));
        }
        Ok(records)
    }
}

fn value(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or_default()
}

fn parse<T: DeserializeOwned>(node: &Node) -> Result<Indexed<T>, RebootError> {
    let record = serde_json::from_str(value(&node.value))
        .map_err(|cause| RebootError::Record { key: node.key.clone(), cause })?;
    Ok((record, node.modified_index))
}
