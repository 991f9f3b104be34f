//! What this machine knows of itself.

use std::net::IpAddr;
use std::path::Path;

use nix::sys::socket::SockaddrStorage;

use crate::config::AgentSettings;
use crate::ids::MachineId;
use crate::model::machine::{MachineInfo, Resources};

const MACHINE_ID: &str = "/etc/machine-id";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const MEMORY: &str = "/proc/meminfo";

/// Why a machine cannot say who it is.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// A file of the system cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: &'static str,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// The machine has no usable id.
    #[error("{MACHINE_ID}: {0}")]
    MachineId(#[from] crate::ids::NameError),
}

/// Gathers what the machine is registered with, at the time `since` (RFC 3339).
///
/// # Errors
/// No machine-id or no boot id: without them nobody can tell machines apart.
pub fn gather(settings: &AgentSettings, since: String) -> Result<MachineInfo, FactsError> {
    let id = match &settings.machine_id {
        Some(id) => id.clone(),
        None => machine_id()?,
    };
    let hostname = settings.hostname.clone().or_else(|| nix::unistd::gethostname().ok()?.into_string().ok());
    Ok(MachineInfo {
        hostname: hostname.unwrap_or_else(|| id.short().into()),
        id,
        addresses: addresses(),
        metadata: settings.metadata.clone(),
        resources: Resources {
            cpus: std::thread::available_parallelism().map_or(0, |count| count.get() as u64),
            memory_bytes: std::fs::read_to_string(MEMORY).ok().and_then(|text| memory(&text)).unwrap_or(0),
        },
        version: env!("CARGO_PKG_VERSION").into(),
        boot_id: boot_id()?,
        since,
        registering: false,
        agent_stopped: false,
    })
}

/// This machine's id.
///
/// # Errors
/// The file is missing or holds no id.
pub fn machine_id() -> Result<MachineId, FactsError> {
    Ok(read(MACHINE_ID)?.parse()?)
}

/// The kernel's id of this boot.
///
/// # Errors
/// The file cannot be read.
pub fn boot_id() -> Result<String, FactsError> {
    read(BOOT_ID)
}

/// The machine's addresses that others may reach it at: no loopback, none that is valid on one link only.
pub fn addresses() -> Vec<String> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let mut all: Vec<IpAddr> =
        interfaces.filter_map(|interface| ip(&interface.address?)).filter(is_public).collect();
    all.sort();
    all.dedup();
    all.iter().map(IpAddr::to_string).collect()
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
}

fn is_public(address: &IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !address.is_loopback() && !link_local
}

fn read(path: &'static str) -> Result<String, FactsError> {
    let text = std::fs::read_to_string(Path::new(path)).map_err(|cause| FactsError::Read { path, cause })?;
    Ok(text.trim().into())
}

/// Bytes of memory by `MemTotal:`, which proc(5) gives in units of 1024.
fn memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_in_bytes() {
        assert_eq!(memory("MemTotal:       16384 kB\nMemFree: 1 kB"), Some(16_777_216));
        assert_eq!(memory("nothing"), None);
    }

    #[test]
    fn addresses_of_one_link_are_left_out() {
        for (address, public) in [
            ("127.0.0.1", false),
            ("::1", false),
            ("169.254.1.1", false),
            ("fe80::1", false),
            ("10.0.0.1", true),
        ] {
            assert_eq!(is_public(&address.parse().unwrap()), public, "{address}");
        }
    }
}
