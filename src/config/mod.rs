//! Settings from files, the environment and flags, in that order of rising weight.
//!
//! Three stages: a *fragment* is what one source says (every field optional), fragments merge key by key, and the
//! *settings* of a command are built from the merged fragment by checks that run once. Files are read in the order
//! of [`DEFAULT_PATHS`]; a later file wins over an earlier one, `MUSTER_SECTION_KEY` variables win over files.

mod agent;
mod client;
mod env;
mod error;
mod files;
mod heartbeat;
mod rebootd;
mod span;
mod store;

pub use agent::{AgentFragment, AgentSettings};
pub use client::{ClientFragment, ClientSettings, Credentials};
pub use env::section_of;
pub use error::ConfigError;
pub use heartbeat::{HeartbeatFragment, HeartbeatSettings};
pub use rebootd::{RebootdFragment, RebootdSettings};
pub use span::{Millis, Span};
pub use store::{Bootstrap, Registry, Srv, StoreFragment, StoreSettings, Surplus};

use std::path::PathBuf;

use serde::de::DeserializeOwned;
use toml::Table;

/// Where configuration is read from, in order: a file, or a folder whose `*.toml` files are read by name.
pub const DEFAULT_PATHS: [&str; 4] = [
    "/usr/lib/muster/muster.toml.d",
    "/etc/muster/muster.toml",
    "/etc/muster/muster.toml.d",
    "/run/muster/muster.toml.d",
];

/// One table of the configuration, such as `[store]`.
pub trait Section: DeserializeOwned + Default {
    /// The table's name.
    const NAME: &'static str;
    /// Variables of other programs that set a key of this table: `(variable, key)`.
    const ALIASES: &'static [(&'static str, &'static str)] = &[];
}

/// Every source read and merged; sections are taken out of it by type.
#[derive(Debug, Default)]
pub struct Config {
    merged: Table,
}

impl Config {
    /// Reads the files at `paths` (those that exist) and then `environment`.
    ///
    /// # Errors
    /// A file that cannot be read, an unknown key or a bad value; the message names the source, the key and what
    /// was expected.
    pub fn load(
        paths: &[PathBuf],
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut merged = Table::new();
        for file in files::expand(paths)? {
            merge(&mut merged, files::read(&file)?);
        }
        let environment: Vec<_> = environment.into_iter().collect();
        env::apply::<StoreFragment>(&mut merged, &environment)?;
        env::apply::<AgentFragment>(&mut merged, &environment)?;
        env::apply::<RebootdFragment>(&mut merged, &environment)?;
        env::apply::<HeartbeatFragment>(&mut merged, &environment)?;
        env::apply::<ClientFragment>(&mut merged, &environment)?;
        Ok(Self { merged })
    }

    /// What all sources together say of one section.
    ///
    /// # Errors
    /// A value of the wrong type; cannot happen for what [`Config::load`] accepted.
    pub fn section<T: Section>(&self) -> Result<T, ConfigError> {
        match self.merged.get(T::NAME) {
            None => Ok(T::default()),
            Some(value) => value.clone().try_into().map_err(|e: toml::de::Error| ConfigError::Value {
                origin: format!("[{}]", T::NAME),
                message: e.message().to_string(),
            }),
        }
    }
}

/// Lays `over` above `base`: tables merge key by key, anything else is replaced.
fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => merge(below, above),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(files: &[(&str, &str)], env: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let env = env.iter().map(|(k, v)| (k.to_string(), v.to_string()));
        Config::load(&[folder.path().to_path_buf()], env)
    }

    #[test]
    fn later_files_win_and_the_environment_wins_over_files() {
        let config = load(
            &[
                ("10-a.toml", "[store]\nname = \"a\"\nsnapshot_count = 5"),
                ("20-b.toml", "[store]\nname = \"b\""),
                ("ignored.txt", "nonsense"),
            ],
            &[("MUSTER_STORE_SNAPSHOT_COUNT", "7"), ("ETCD_NAME", "etcd-name"), ("MUSTER_LAB", "x")],
        )
        .unwrap();
        let store: StoreFragment = config.section().unwrap();
        assert_eq!(store.name.as_deref(), Some("etcd-name"));
        assert_eq!(store.snapshot_count, Some(7));
    }

    #[test]
    fn muster_variables_win_over_etcd_ones() {
        let config = load(&[], &[("MUSTER_STORE_NAME", "m"), ("ETCD_NAME", "e")]).unwrap();
        assert_eq!(config.section::<StoreFragment>().unwrap().name.as_deref(), Some("m"));
    }

    #[test]
    fn an_unknown_key_names_file_and_key() {
        let error = load(&[("a.toml", "[store]\nnaem = \"a\"")], &[]).unwrap_err().to_string();
        assert!(error.contains("a.toml:2") && error.contains("naem"), "{error}");
    }

    #[test]
    fn an_error_shows_no_password() {
        for text in [
            "[client]\npassword = 271828",
            "[client]\npassword = \"271828",
            "[client]\npassword=271828\n",
            "client.password = 271828",
            "[store]\njoin = [\"http://root:271828@h:1\", 5]",
            "[store]\njoin = \"http://root:271828@h:1\"",
        ] {
            let error = load(&[("a.toml", text)], &[]).unwrap_err().to_string();
            assert!(error.contains("a.toml:") && !error.contains("271828"), "{text}: {error}");
        }
    }

    #[test]
    fn an_unknown_section_is_an_error() {
        let error = load(&[("a.toml", "[sotre]\nname = \"a\"")], &[]).unwrap_err().to_string();
        assert!(error.contains("sotre"), "{error}");
    }

    #[test]
    fn a_bad_value_says_what_was_expected() {
        let error = load(&[("a.toml", "[store]\nsnapshot_count = \"many\"")], &[]).unwrap_err().to_string();
        assert!(error.contains("snapshot_count") && error.contains("u64"), "{error}");
    }

    #[test]
    fn an_unknown_or_bad_variable_is_named() {
        let error = load(&[], &[("MUSTER_STORE_NAEM", "a")]).unwrap_err().to_string();
        assert!(error.contains("MUSTER_STORE_NAEM"), "{error}");
        let error = load(&[], &[("MUSTER_STORE_SNAPSHOT_COUNT", "many")]).unwrap_err().to_string();
        assert!(error.contains("MUSTER_STORE_SNAPSHOT_COUNT"), "{error}");
    }

    #[test]
    fn lists_come_from_the_environment_with_commas() {
        let config = load(&[], &[("MUSTER_CLIENT_ENDPOINTS", "http://a:1,http://b:2")]).unwrap();
        let client: ClientFragment = config.section().unwrap();
        assert_eq!(client.endpoints.unwrap().len(), 2);
    }
}
