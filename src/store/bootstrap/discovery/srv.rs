//! The first members by the SRV records of a domain, as etcd reads them (etcd `pkg/srv`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use url::Url;

use super::{DiscoveryError, FirstMembers};
use crate::client::srv;
use crate::client::srv::Target;
use crate::config::Srv;

/// Services whose records are asked for.
const PLAIN: &str = "etcd-server";
const TLS: &str = "etcd-server-ssl";

/// Finds the members among the records. The one that means this node, by URL or by address, gets its name; the others
/// are called `0`, `1`, … in the order of their URLs until they tell their own.
///
/// # Errors
/// See [`DiscoveryError`].
pub async fn first_members(
    settings: &Srv,
    name: &str,
    peer_urls: &[String],
) -> Result<FirstMembers, DiscoveryError> {
    let targets = records(settings).await?;
    let mut own = BTreeSet::new();
    for url in peer_urls {
        own.extend(addresses_of_url(url).await);
    }
    let mut members = BTreeMap::new();
    let mut others = 0;
    let sorted: BTreeSet<&Target> = targets.iter().collect();
    for target in sorted {
        let url = target.http_url();
        let mine = peer_urls.contains(&url)
            || addresses(&target.host, target.port).await.iter().any(|address| own.contains(address));
        let called = if mine && !members.contains_key(name) {
            name.to_string()
        } else {
            others += 1;
            // Nobody else's, even if this node is called by a number.
            let mut number = others - 1;
            while members.contains_key(&number.to_string()) || number.to_string() == name {
                number += 1;
            }
            others = number + 1;
            number.to_string()
        };
        tracing::info!(member = called, url, "found by an SRV record");
        members.insert(called, vec![url]);
    }
    if members.contains_key(name) {
        return Ok(members);
    }
    let found: Vec<String> = targets.iter().map(Target::http_url).collect();
    Err(DiscoveryError::NotAmongRecords {
        domain: settings.domain.clone(),
        found: found.join(", "),
        own: peer_urls.join(", "),
    })
}

async fn records(settings: &Srv) -> Result<Vec<Target>, DiscoveryError> {
    let suffix = settings.suffix.as_deref();
    let ask = |base| {
        let service = srv::service(base, suffix);
        async move { srv::lookup(&service, &settings.domain, settings.resolver).await }
    };
    match ask(PLAIN).await {
        Ok(targets) => Ok(targets),
        Err(_) if ask(TLS).await.is_ok() => Err(DiscoveryError::OnlyTls { domain: settings.domain.clone() }),
        Err(error) => Err(error.into()),
    }
}

async fn addresses_of_url(url: &str) -> Vec<SocketAddr> {
    let Ok(url) = Url::parse(url) else { return Vec::new() };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    addresses(host, url.port_or_known_default().unwrap_or_default()).await
}

/// A host that has no address is nobody's: its record may be ahead of its machine.
async fn addresses(host: &str, port: u16) -> Vec<SocketAddr> {
    match tokio::net::lookup_host((host, port)).await {
        Ok(found) => found.collect(),
        Err(error) => {
            tracing::warn!(host, %error, "a peer's name has no address");
            Vec::new()
        }
    }
}
