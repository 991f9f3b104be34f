//! Where a unit's text comes from.

use std::path::{Path, PathBuf};

use super::unit_name;
use crate::cli::Failure;
use crate::client::{Client, ClientError, GetOptions};
use crate::ids::UnitName;
use crate::model::options::Options;
use crate::model::unit::UnitRecord;
use crate::model::{self, unitfile};

/// A record with the index to change it by.
pub(super) struct Stored {
    pub record: UnitRecord,
    pub index: u64,
}

/// The text of a unit that the store does not have.
pub(super) struct Text {
    pub text: String,
    pub record: UnitRecord,
}

/// The record of a unit, if the store has it.
pub(super) async fn stored(client: &Client, unit: &UnitName) -> Result<Option<Stored>, Failure> {
    let key = model::unit(unit);
    match client.get(&key, &GetOptions::linearizable()).await {
        Ok(answer) => {
            let text = answer.node.value.unwrap_or_default();
            let record = serde_json::from_str(&text)
                .map_err(|error| Failure::new(format!("{key} cannot be read: {error}")))?;
            Ok(Some(Stored { record, index: answer.node.modified_index }))
        }
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(Failure::new(error)),
    }
}

/// The text with this hash.
pub(super) async fn text(client: &Client, unit: &UnitName, hash: &str) -> Result<String, Failure> {
    match client.get(&model::file(hash), &GetOptions::linearizable()).await {
        Ok(answer) => Ok(answer.node.value.unwrap_or_default()),
        Err(error) if error.is_not_found() => {
            Err(Failure::new(format!("{unit}: the store has no text {hash}; submit it with --replace")))
        }
        Err(error) => Err(Failure::new(error)),
    }
}

/// The text of the file that `argument` names, if there is one.
pub(super) fn on_disk(argument: &str, unit: &UnitName) -> Result<Option<Text>, Failure> {
    let exact = PathBuf::from(argument);
    let named = exact.with_file_name(unit.as_str());
    match read(&exact)? {
        Some(text) => Ok(Some(checked(unit, text)?)),
        None => read(&named)?.map(|text| checked(unit, text)).transpose(),
    }
}

/// A unit that the store does not have: from its file, or as an instance of a template.
pub(super) async fn find(client: &Client, argument: &str, unit: &UnitName) -> Result<Text, Failure> {
    if let Some(found) = on_disk(argument, unit)? {
        return Ok(found);
    }
    let Some(template) = unit.template() else {
        return Err(Failure::new(format!("{unit} is neither in the store nor a file here")));
    };
    if let Some(stored) = stored(client, &template).await? {
        return checked(unit, text(client, &template, &stored.record.hash).await?);
    }
    let file = PathBuf::from(argument).with_file_name(template.as_str());
    match read(&file)? {
        Some(text) => checked(unit, text),
        None => Err(Failure::new(format!(
            "{unit} is neither in the store nor a file here, and nor is its template {template}"
        ))),
    }
}

fn read(path: &Path) -> Result<Option<String>, Failure> {
    if !path.is_file() {
        return Ok(None);
    }
    let read = std::fs::read_to_string(path);
    read.map(Some).map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display())))
}

fn checked(unit: &UnitName, text: String) -> Result<Text, Failure> {
    let options = Options::read(unit, &text).map_err(|error| Failure::new(format!("{unit}: {error}")))?;
    let record = UnitRecord {
        hash: unitfile::hash(&text),
        options,
        desired: model::unit::Desired::Inactive,
        generation: 1,
        partition: Default::default(),
    };
    Ok(Text { text, record })
}

/// Stores a text under its hash.
pub(super) async fn store_text(client: &Client, text: &str) -> Result<(), ClientError> {
    let put =
        crate::client::PutOptions { value: Some(text.into()), prev_exist: Some(false), ..Default::default() };
    match client.put(&model::file(&unitfile::hash(text)), &put).await {
        Err(error) if !error.is_exists() => Err(error),
        _ => Ok(()),
    }
}

/// Checks that an argument names a unit that can run.
pub(super) fn runnable(argument: &str) -> Result<UnitName, Failure> {
    let unit = unit_name(argument)?;
    if unit.is_template() {
        let example = unit.as_str().replace('@', "@1");
        return Err(Failure::usage(format!("{unit} is a template: name an instance, such as {example}")));
    }
    Ok(unit)
}
