//! `MUSTER_SECTION_KEY` variables, and variables of other programs that mean the same.

use toml::{Table, Value};

use super::{ConfigError, Section};

/// Puts every variable that belongs to section `T` into `merged`.
pub(super) fn apply<T: Section>(
    merged: &mut Table,
    environment: &[(String, String)],
) -> Result<(), ConfigError> {
    let prefix = format!("MUSTER_{}_", T::NAME.to_uppercase());
    let aliases = T::ALIASES.iter().filter_map(|(variable, key)| {
        // As in etcd, where a variable without a value says nothing.
        let (name, text) = environment.iter().find(|(name, text)| name == variable && !text.is_empty())?;
        Some((name.as_str(), key.to_string(), text.as_str()))
    });
    let own = environment.iter().filter_map(|(name, text)| {
        let key = name.strip_prefix(&prefix)?.to_lowercase();
        Some((name.as_str(), key, text.as_str()))
    });
    for (name, key, text) in aliases.chain(own) {
        let value = typed::<T>(&key, text).map_err(|e| ConfigError::Value {
            origin: format!("environment variable {name}"),
            message: format!("\"{text}\": {}", e.message()),
        })?;
        let section = merged.entry(T::NAME).or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(table) = section {
            table.insert(key, value);
        }
    }
    Ok(())
}

/// A section made of texts alone, each with where it comes from (such as a flag) and its key; later ones win.
///
/// # Errors
/// An unknown key or a bad value; the message names where it comes from.
pub fn section_of<T: Section>(texts: &[(String, String, String)]) -> Result<T, ConfigError> {
    let mut table = Table::new();
    for (origin, key, text) in texts {
        let value = typed::<T>(key, text).map_err(|e| ConfigError::Value {
            origin: origin.clone(),
            message: format!("\"{text}\": {}", e.message()),
        })?;
        table.insert(key.clone(), value);
    }
    T::deserialize(table)
        .map_err(|e| ConfigError::Value { origin: format!("[{}]", T::NAME), message: e.message().into() })
}

/// The TOML value that `text` stands for: the first reading that the key's type accepts.
fn typed<T: Section>(key: &str, text: &str) -> Result<Value, toml::de::Error> {
    let accepts = |value: &Value| {
        let table = Table::from_iter([(key.to_string(), value.clone())]);
        T::deserialize(table).map(drop)
    };
    let string = Value::String(text.into());
    let Err(refusal) = accepts(&string) else { return Ok(string) };
    let literal = toml::from_str::<Table>(&format!("x = {text}")).ok().and_then(|mut t| t.remove("x"));
    let list = Value::Array(text.split(',').map(|part| Value::String(part.trim().into())).collect());
    for candidate in literal.into_iter().chain([list]) {
        if accepts(&candidate).is_ok() {
            return Ok(candidate);
        }
    }
    Err(refusal)
}
