//! What every command gets: the global flags and the configuration behind them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::Failure;
use super::terminal::password;
use super::terminal::say::Voice;
use crate::config::{ClientFragment, ClientSettings, Config, DEFAULT_PATHS, Section, Span};

/// Flags that every command takes.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// Client URLs of store nodes, tried in turn [default: http://127.0.0.1:2379]
    #[arg(long, global = true, env = "MUSTER_ENDPOINTS", hide_env_values = true, value_delimiter = ',')]
    #[arg(value_name = "URLS")]
    endpoints: Option<Vec<String>>,

    /// Time limit of one request [default: 5s]
    #[arg(long, global = true, value_parser = humantime::parse_duration, value_name = "TIME")]
    timeout: Option<Duration>,

    /// Whom requests are made by, where the store controls access; the password is asked for when it is left out
    #[arg(short, long, global = true, env = "MUSTER_USERNAME", hide_env_values = true)]
    #[arg(value_name = "USER[:PASSWORD]")]
    username: Option<String>,

    /// How values are printed: simple, extended or json
    #[arg(short, long, global = true, value_enum, default_value_t, hide_possible_values = true)]
    #[arg(value_name = "FORMAT")]
    pub output: Format,

    /// Read this file or folder instead of the system's configuration; may be given several times
    #[arg(long, global = true, env = "MUSTER_CONFIG", hide_env_values = true, value_delimiter = ':')]
    #[arg(value_name = "PATH")]
    config: Option<Vec<PathBuf>>,
}

/// How values are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people: values and tables
    #[default]
    Simple,
    /// Simple with more columns or headers
    Extended,
    /// For programs: one JSON document
    Json,
}

/// Global flags with the configuration read.
#[derive(Debug)]
pub struct Context {
    /// How values are printed.
    pub output: Format,
    config: Config,
    endpoints: Option<Vec<String>>,
    timeout: Option<Duration>,
    username: Option<String>,
}

impl Context {
    /// Reads the configuration that `global` names.
    ///
    /// # Errors
    /// A configuration that cannot be used: exit status 64.
    pub fn load(global: Global) -> Result<Self, Failure> {
        if let Some(missing) = global.config.iter().flatten().find(|path| !path.exists()) {
            return Err(Failure::usage(format!("--config: {} does not exist", missing.display())));
        }
        let paths = global.config.unwrap_or_else(|| DEFAULT_PATHS.iter().map(PathBuf::from).collect());
        let config = Config::load(&paths, std::env::vars())?;
        let Global { output, endpoints, timeout, username, .. } = global;
        Ok(Self { output, config, endpoints, timeout, username })
    }

    /// What files and environment say of one section; flags go over it afterwards.
    ///
    /// # Errors
    /// A bad value: exit status 64.
    pub fn section<T: Section>(&self) -> Result<T, Failure> {
        Ok(self.config.section()?)
    }

    /// How to reach the store.
    ///
    /// # Errors
    /// An endpoint that is no URL, a name that is none: exit status 64.
    pub fn client_settings(&self) -> Result<ClientSettings, Failure> {
        let mut fragment: ClientFragment = self.section()?;
        fragment.endpoints = self.endpoints.clone().or(fragment.endpoints);
        fragment.request_timeout = self.timeout.map(Span).or(fragment.request_timeout);
        if let Some(given) = &self.username {
            let (username, password) = match given.split_once(':') {
                Some((username, password)) => (username, Some(password.to_string())),
                None => (given.as_str(), fragment.password.take()),
            };
            fragment.username = Some(username.into());
            fragment.password =
                Some(password.map_or_else(|| password::ask("Password: ", Voice::Muster), Ok)?);
        }
        Ok(fragment.try_into()?)
    }
}
