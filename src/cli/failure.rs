//! How a command ends when it does not succeed.

use std::fmt::Display;

use crate::config::ConfigError;
use crate::store::FoundError;

/// Exit status of wrong use or configuration (sysexits.h: EX_USAGE).
pub const USAGE: u8 = 64;

/// A command's failure: one line for standard error and the exit status.
#[derive(Debug)]
pub struct Failure {
    /// The process's exit status.
    pub code: u8,
    /// One line that says what to do about it; empty to print nothing.
    pub message: String,
}

impl Failure {
    /// Something went wrong while doing what was asked: status 1.
    pub fn new(message: impl Display) -> Self {
        Self { code: 1, message: message.to_string() }
    }

    /// What was asked makes no sense: status 64.
    pub fn usage(message: impl Display) -> Self {
        Self { code: USAGE, message: message.to_string() }
    }

    /// Any other exit status.
    pub fn with_code(code: u8, message: impl Display) -> Self {
        Self { code, message: message.to_string() }
    }
}

impl From<FoundError> for Failure {
    fn from(error: FoundError) -> Self {
        Self::new(error)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(error)
    }
}
