//! The machine itself, as far as a reboot is concerned.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::RebootError;
use crate::systemd::{Bus, login1, systemd1};

/// What the coordinator asks of the machine it runs on. A trait, because tests have machines that reboot at once.
pub trait Host: Send + Sync {
    /// The kernel's id of this boot.
    ///
    /// # Errors
    /// `Machine`.
    fn boot_id(&self) -> Result<String, RebootError>;

    /// The addresses of this machine.
    ///
    /// # Errors
    /// `Machine`.
    fn addresses(&self) -> Result<BTreeSet<IpAddr>, RebootError>;

    /// What systemd says of the whole system: `running`, `degraded`, `starting`, …
    ///
    /// # Errors
    /// `Bus`.
    fn system_state(&self) -> impl Future<Output = Result<String, RebootError>> + Send;

    /// The machine's name, for people.
    fn hostname(&self) -> String;

    /// Whoever keeps the machine from going down, for people.
    ///
    /// # Errors
    /// `Bus`.
    fn inhibitors(&self) -> impl Future<Output = Result<Vec<String>, RebootError>> + Send;

    /// Asks for a reboot unless somebody keeps the machine from going down. The machine goes down some time after this
    /// has returned.
    ///
    /// # Errors
    /// `Bus`: refused, or nobody there to ask.
    fn reboot(&self) -> impl Future<Output = Result<(), RebootError>> + Send;
}

/// This machine, through systemd and logind.
pub struct ThisMachine {
    bus: Bus,
}

impl ThisMachine {
    /// Through the system bus; connects when first needed.
    pub fn new(bus: Bus) -> Self {
        Self { bus }
    }
}

impl Host for ThisMachine {
    fn boot_id(&self) -> Result<String, RebootError> {
        let path = "/proc/sys/kernel/random/boot_id";
        let text =
            std::fs::read_to_string(path).map_err(|cause| RebootError::Machine { what: path, cause })?;
        Ok(text.trim().to_string())
    }

    fn addresses(&self) -> Result<BTreeSet<IpAddr>, RebootError> {
        let interfaces = nix::ifaddrs::getifaddrs()
            .map_err(|errno| RebootError::Machine { what: "the network interfaces", cause: errno.into() })?;
        let addresses = interfaces.filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
        });
        Ok(addresses.collect())
    }

    async fn system_state(&self) -> Result<String, RebootError> {
        Ok(systemd1::system_state(&self.bus).await?)
    }

    fn hostname(&self) -> String {
        let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        name.unwrap_or_else(|| "localhost".into())
    }

    async fn inhibitors(&self) -> Result<Vec<String>, RebootError> {
        Ok(login1::inhibitors(&self.bus).await?.iter().map(ToString::to_string).collect())
    }

    async fn reboot(&self) -> Result<(), RebootError> {
        Ok(login1::reboot(&self.bus).await?)
    }
}
