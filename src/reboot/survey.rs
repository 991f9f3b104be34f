//! Asks each member of the store itself how it is.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::join_all;
use url::{Host, Url};

use super::gate::Seen;
use crate::client::{Client, ClientError, GetOptions, Member};
use crate::config::ClientSettings;

/// Time limit of one question to one member: one that takes longer is not one to rely on.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks every member. `addresses` are those of this machine; members that listen for clients on one of them, or on the
/// loopback, are `here`.
///
/// Members elsewhere are asked first: what the member here says afterwards can then be compared with it.
///
/// # Errors
/// What [`Client::members`] says; a member that does not answer is no error.
pub async fn survey(client: &Client, addresses: &BTreeSet<IpAddr>) -> Result<Vec<Seen>, ClientError> {
    let members = client.members().await?;
    let places = join_all(members.iter().map(|member| is_here(member, addresses))).await;
    let asked = |here: bool| {
        let chosen = members.iter().zip(&places).filter(move |(_, place)| **place == here);
        join_all(chosen.map(move |(member, _)| ask(client, member, here)))
    };
    let mut seen = asked(false).await;
    seen.extend(asked(true).await);
    seen.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.id.cmp(&b.id)));
    Ok(seen)
}

async fn ask(client: &Client, member: &Member, here: bool) -> Seen {
    let mut seen =
        Seen { id: member.id.clone(), name: member.name.clone(), here, healthy: false, index: None };
    for endpoint in member.client_urls.iter().filter_map(|text| Url::parse(text).ok()) {
        let questions = async { (is_healthy(client, &endpoint).await, index(&endpoint).await) };
        let Ok((healthy, index)) = tokio::time::timeout(2 * PATIENCE, questions).await else { continue };
        seen.healthy = healthy;
        seen.index = index;
        if healthy {
            break;
        }
    }
    seen
}

/// `/health` says `{"health":"true"}`, with or without a blank, or a plain `true` (etcd 2.3 to 3.5).
async fn is_healthy(client: &Client, endpoint: &Url) -> bool {
    let answer = tokio::time::timeout(PATIENCE, client.get_raw(endpoint, "/health")).await;
    let Ok(Ok((200, body))) = answer else { return false };
    let Ok(body) = serde_json::from_str::<serde_json::Value>(&body) else { return false };
    match body.get("health") {
        Some(serde_json::Value::String(text)) => text == "true",
        Some(serde_json::Value::Bool(healthy)) => *healthy,
        _ => false,
    }
}

/// The index that the member's own copy has reached.
async fn index(endpoint: &Url) -> Option<u64> {
    let settings =
        ClientSettings { endpoints: vec![endpoint.clone()], request_timeout: PATIENCE, credentials: None };
    let own_copy = GetOptions { quorum: Some(false), ..GetOptions::default() };
    // The lock's folder: it exists nowhere else, and a missing key tells the index as well.
    match Client::new(&settings).ok()?.get(crate::model::REBOOT_LOCK, &own_copy).await {
        Ok(answer) => Some(answer.index),
        Err(error) => error.api().map(|api| api.index).filter(|index| *index > 0),
    }
}

async fn is_here(member: &Member, addresses: &BTreeSet<IpAddr>) -> bool {
    for url in member.client_urls.iter().filter_map(|text| Url::parse(text).ok()) {
        let found: Vec<IpAddr> = match url.host() {
            Some(Host::Ipv4(address)) => vec![address.into()],
            Some(Host::Ipv6(address)) => vec![address.into()],
            Some(Host::Domain(name)) => match tokio::net::lookup_host((name, 0)).await {
                Ok(found) => found.map(|address| address.ip()).collect(),
                Err(_) => Vec::new(),
            },
            None => Vec::new(),
        };
        if found.iter().any(|address| address.is_loopback() || addresses.contains(address)) {
            return true;
        }
    }
    false
}
