//! The log's level while the node runs. The process's logger is one for all, so its handle is here once.

use std::sync::OnceLock;

use tracing::level_filters::LevelFilter;

/// Sets the level.
type Setter = Box<dyn Fn(LevelFilter) -> Result<(), String> + Send + Sync>;

static SETTER: OnceLock<Setter> = OnceLock::new();

/// Tells how the level is set. Whoever starts logging calls this; only the first call counts.
pub fn install(setter: impl Fn(LevelFilter) -> Result<(), String> + Send + Sync + 'static) {
    // A second logger cannot be started in one process.
    let _ = SETTER.set(Box::new(setter));
}

/// Sets the level from now on.
///
/// # Errors
/// There is no log, or it does not take the level; in words.
pub fn set(level: LevelFilter) -> Result<(), String> {
    SETTER.get().ok_or("this process has no log")?(level)
}

/// A level by one of its names in etcd (`pkg/capnslog`): the whole word in capitals, its first letter, or a digit.
pub fn parse(name: &str) -> Option<LevelFilter> {
    match name {
        "CRITICAL" | "C" | "ERROR" | "E" | "0" => Some(LevelFilter::ERROR),
        "WARNING" | "W" | "1" => Some(LevelFilter::WARN),
        "NOTICE" | "N" | "2" | "INFO" | "I" | "3" => Some(LevelFilter::INFO),
        "DEBUG" | "D" | "4" => Some(LevelFilter::DEBUG),
        "TRACE" | "T" | "5" => Some(LevelFilter::TRACE),
        _ => None,
    }
}
