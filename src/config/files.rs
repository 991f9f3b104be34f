//! Reading configuration files, with errors that name the file, the line and the key.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Table;

use super::store::urls::presentable;
use super::{AgentFragment, ClientFragment, ConfigError, HeartbeatFragment, RebootdFragment, StoreFragment};

/// Every table a file may hold; only read to check the file, so that an error can name the place in it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "deserialised for its checks alone")]
struct File {
    store: Option<StoreFragment>,
    agent: Option<AgentFragment>,
    rebootd: Option<RebootdFragment>,
    heartbeat: Option<HeartbeatFragment>,
    client: Option<ClientFragment>,
}

/// The files that `paths` stand for: a folder means its `*.toml` files in the order of their names.
pub(super) fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>, ConfigError> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let read = |cause| ConfigError::Read { path: path.clone(), cause };
            let mut inside = Vec::new();
            for entry in std::fs::read_dir(path).map_err(read)? {
                inside.push(entry.map_err(read)?.path());
            }
            inside.retain(|file| file.extension().is_some_and(|e| e == "toml"));
            inside.sort();
            files.extend(inside);
        } else if path.exists() {
            files.push(path.clone());
        }
    }
    Ok(files)
}

/// Reads and checks one file.
pub(super) fn read(path: &Path) -> Result<Table, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|cause| ConfigError::Read { path: path.to_path_buf(), cause })?;
    let bad = |e: toml::de::Error| {
        let line = e.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
        let shown = text.lines().nth(line - 1).unwrap_or_default().trim();
        let message = match shown.split('=').next().map(str::trim) {
            // Neither the line nor the parser's words about its value may be told.
            Some("password" | "client.password") => "`password = …`: expected one text in quotes".into(),
            _ if shown.contains("://") => format!("`{}`: {}", presentable(shown), presentable(e.message())),
            _ => format!("`{shown}`: {}", e.message()),
        };
        ConfigError::Value { origin: format!("{}:{line}", path.display()), message }
    };
    toml::from_str::<File>(&text).map_err(bad)?;
    toml::from_str(&text).map_err(bad)
}
