//! `[store]`: how a node without data finds its cluster.

use std::net::SocketAddr;

use url::Url;

use super::StoreFragment;
use super::urls::bad;
use crate::config::ConfigError;

/// Where a node without data learns who the first members are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bootstrap {
    /// From `initial_cluster`, or it is alone.
    Listed,
    /// From a registry: a directory of a v2 store, agreed upon by its URL.
    Registry(Registry),
    /// From the SRV records of a domain.
    Srv(Srv),
}

/// A discovery URL and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    /// The directory, such as `http://host:2379/v2/keys/_etcd/registry/TOKEN`; without a slash at the end.
    pub url: Url,
    /// What to do when the cluster has as many members as it wanted.
    pub surplus: Surplus,
    /// An HTTP proxy on the way to the registry.
    pub proxy: Option<Url>,
}

/// What a node does that finds the cluster full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surplus {
    /// It joins as a read replica.
    Learner,
    /// It ends with an error.
    Exit,
}

/// A domain whose SRV records name the first members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Srv {
    /// The domain.
    pub domain: String,
    /// What is added to the service's name: `_etcd-server-SUFFIX._tcp`.
    pub suffix: Option<String>,
    /// The name server to ask; without one those of `/etc/resolv.conf`.
    pub resolver: Option<SocketAddr>,
}

/// Reads it from the settings.
pub(super) fn parse(f: &StoreFragment) -> Result<Bootstrap, ConfigError> {
    let given: Vec<&str> = [
        ("discovery", f.discovery.is_some()),
        ("discovery_srv", f.discovery_srv.is_some()),
        ("initial_cluster", f.initial_cluster.is_some()),
    ]
    .iter()
    .filter_map(|(key, given)| given.then_some(*key))
    .collect();
    if let [first, second, ..] = given[..] {
        return Err(bad(
            first,
            format!("store.{second} is set as well: only one of them can name the members"),
        ));
    }
    let existing = f.initial_cluster_state.as_deref() == Some("existing");
    if let [key @ ("discovery" | "discovery_srv")] = given[..]
        && existing
    {
        return Err(bad(
            key,
            "store.initial_cluster_state is \"existing\": only a new cluster is discovered",
        ));
    }
    for (key, set, needs) in [
        ("discovery_fallback", f.discovery_fallback.is_some(), "discovery"),
        ("discovery_proxy", f.discovery_proxy.is_some(), "discovery"),
        ("discovery_srv_name", f.discovery_srv_name.is_some(), "discovery_srv"),
        ("discovery_srv_resolver", f.discovery_srv_resolver.is_some(), "discovery_srv"),
    ] {
        // etcd's own default may stand there without meaning anything.
        let harmless = key == "discovery_fallback" && f.discovery_fallback.as_deref() == Some("proxy");
        if set && !harmless && !given.contains(&needs) {
            return Err(bad(key, format!("store.{needs} is not set, to which it belongs")));
        }
    }
    let registry = f.discovery.as_ref().map(|url| registry(f, url)).transpose()?;
    if f.join.is_some() {
        // A machine that was set up otherwise is told so to become a member anew.
        return Ok(Bootstrap::Listed);
    }
    if let Some(registry) = registry {
        return Ok(Bootstrap::Registry(registry));
    }
    match &f.discovery_srv {
        Some(domain) => Ok(Bootstrap::Srv(srv(f, domain)?)),
        None => Ok(Bootstrap::Listed),
    }
}

fn registry(f: &StoreFragment, text: &str) -> Result<Registry, ConfigError> {
    let mut url = http_url("discovery", text, "http://host:2379/v2/keys/_etcd/registry/TOKEN")?;
    let path = url.path().trim_end_matches('/').to_string();
    if path.is_empty() {
        return Err(bad("discovery", format!("\"{text}\" names no directory behind the host")));
    }
    url.set_path(&path);
    url.set_query(None);
    url.set_fragment(None);
    let surplus = match f.discovery_fallback.as_deref() {
        None | Some("learner" | "proxy") => Surplus::Learner,
        Some("exit") => Surplus::Exit,
        Some(other) => {
            let message =
                format!("\"{other}\" must be \"learner\" (etcd's \"proxy\" means the same) or \"exit\"");
            return Err(bad("discovery_fallback", message));
        }
    };
    let proxy = f.discovery_proxy.as_deref();
    let proxy = proxy.map(|text| http_url("discovery_proxy", text, "http://proxy:3128")).transpose()?;
    Ok(Registry { url, surplus, proxy })
}

fn http_url(key: &str, text: &str, example: &str) -> Result<Url, ConfigError> {
    let url =
        Url::parse(text).map_err(|e| bad(key, format!("\"{text}\" is not a URL such as {example}: {e}")))?;
    match url.scheme() {
        "http" if url.host().is_some() => Ok(url),
        "http" => Err(bad(key, format!("\"{text}\" names no host"))),
        "https" => Err(bad(key, format!("\"{text}\": there is no TLS; give a URL that starts with http://"))),
        _ => Err(bad(key, format!("\"{text}\" must start with http://"))),
    }
}

fn srv(f: &StoreFragment, domain: &str) -> Result<Srv, ConfigError> {
    let wrong = domain.is_empty() || domain.contains(|c: char| c.is_whitespace() || ":/".contains(c));
    if wrong {
        return Err(bad("discovery_srv", format!("\"{domain}\" is not a domain such as example.org")));
    }
    let resolver = f.discovery_srv_resolver.as_deref().map(|text| {
        let address = text.parse::<SocketAddr>();
        address.map_err(|_| {
            bad(
                "discovery_srv_resolver",
                format!("\"{text}\" is not an address and port such as 10.0.0.1:53"),
            )
        })
    });
    Ok(Srv { domain: domain.into(), suffix: f.discovery_srv_name.clone(), resolver: resolver.transpose()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(change: impl FnOnce(&mut StoreFragment)) -> Result<Bootstrap, String> {
        let mut fragment = StoreFragment::default();
        change(&mut fragment);
        parse(&fragment).map_err(|e| e.to_string())
    }

    #[test]
    fn a_discovery_url_is_taken_as_it_is_but_for_a_slash_at_the_end() {
        let found = of(|f| f.discovery = Some("http://h:1/v2/keys/a%20b/".into())).unwrap();
        let Bootstrap::Registry(registry) = found else { panic!("{found:?}") };
        assert_eq!(registry.url.as_str(), "http://h:1/v2/keys/a%20b");
        assert_eq!(registry.surplus, Surplus::Learner);
    }

    #[test]
    fn urls_that_cannot_work_say_why() {
        for (url, word) in
            [("https://discovery.etcd.io/x", "TLS"), ("http://h:1", "directory"), ("h:1/x", "http://")]
        {
            let error = of(|f| f.discovery = Some(url.into())).unwrap_err();
            assert!(error.starts_with("store.discovery:") && error.contains(word), "{error}");
        }
    }

    #[test]
    fn contradictions_name_both_keys() {
        let error = of(|f| {
            f.discovery = Some("http://h:1/x".into());
            f.initial_cluster = Some("a=http://a:1".into());
        });
        let error = error.unwrap_err();
        assert!(error.contains("store.discovery:") && error.contains("store.initial_cluster"), "{error}");
        let error = of(|f| {
            f.discovery_srv = Some("example.org".into());
            f.initial_cluster_state = Some("existing".into());
        });
        let error = error.unwrap_err();
        assert!(error.contains("discovery_srv") && error.contains("initial_cluster_state"), "{error}");
        let error = of(|f| f.discovery_fallback = Some("exit".into())).unwrap_err();
        assert!(
            error.contains("discovery_fallback") && error.contains("store.discovery is not set"),
            "{error}"
        );
    }

    #[test]
    fn etcds_word_for_surplus_nodes_is_taken() {
        let with = |word: &str| {
            of(|f| {
                f.discovery = Some("http://h:1/x".into());
                f.discovery_fallback = Some(word.into());
            })
        };
        assert!(matches!(with("proxy"), Ok(Bootstrap::Registry(r)) if r.surplus == Surplus::Learner));
        assert!(matches!(with("exit"), Ok(Bootstrap::Registry(r)) if r.surplus == Surplus::Exit));
        assert!(with("stay").unwrap_err().contains("learner"));
    }

    #[test]
    fn a_domain_may_have_a_resolver_of_its_own() {
        let found = of(|f| {
            f.discovery_srv = Some("example.org".into());
            f.discovery_srv_resolver = Some("127.0.0.1:5300".into());
        });
        assert!(matches!(found, Ok(Bootstrap::Srv(srv)) if srv.resolver.is_some()));
        assert!(of(|f| f.discovery_srv = Some("http://example.org".into())).is_err());
    }
}
