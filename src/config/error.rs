//! What can be wrong with a configuration.

use std::path::PathBuf;

/// A configuration that cannot be used. The message names the source, the key and what was expected.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file or folder could not be read.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A key that does not exist or a value of the wrong kind.
    #[error("{origin}: {message}")]
    Value {
        /// File and line, variable or flag.
        origin: String,
        /// What is wrong with it.
        message: String,
    },
}

impl ConfigError {
    /// A bad value of the key `section.key`, whatever source it came from.
    pub fn key(section: &str, key: &str, message: impl std::fmt::Display) -> Self {
        Self::Value { origin: format!("{section}.{key}"), message: message.to_string() }
    }
}
