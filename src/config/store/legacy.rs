//! Settings by the names that etcd 0.4 had: `ETCD_ADDR` and its like, as cloud-init writes them into a drop-in.

use std::net::IpAddr;

use url::{Host, Url};

use super::StoreFragment;
use super::urls::{bad, same_urls};
use crate::config::ConfigError;

/// The ports on which etcd before 2.0 was found.
const CLIENT_PORT: u16 = 4001;
const PEER_PORT: u16 = 7001;

/// Puts today's settings in the place of those of 0.4, and gives the node a name that its machine alone has.
///
/// # Errors
/// Addresses that cannot be read, and those that contradict today's settings beside them.
pub(super) fn translate(mut f: StoreFragment) -> Result<StoreFragment, ConfigError> {
    let old = f.addr.is_some() || f.peer_addr.is_some();
    // Machines that share one template, as those of a cloud do, must not share a name.
    if f.name.is_none() && (old || f.discovery.is_some() || f.discovery_srv.is_some()) {
        f.name = machine_name();
    }
    one(
        ("addr", f.addr.take()),
        ("bind_addr", f.bind_addr.take()),
        ("advertise_client_urls", &mut f.advertise_client_urls),
        ("listen_client_urls", &mut f.listen_client_urls),
    )?;
    one(
        ("peer_addr", f.peer_addr.take()),
        ("peer_bind_addr", f.peer_bind_addr.take()),
        ("initial_advertise_peer_urls", &mut f.initial_advertise_peer_urls),
        ("listen_peer_urls", &mut f.listen_peer_urls),
    )?;
    Ok(f)
}

type Old = (&'static str, Option<String>);
type Today<'a> = (&'static str, &'a mut Option<Vec<String>>);

/// An address that is told to others becomes the advertised URL, and its port is listened on: everywhere, or on the
/// host that the address to bind to names.
fn one(told: Old, bound: Old, advertised: Today<'_>, listening: Today<'_>) -> Result<(), ConfigError> {
    let listens = listening.1.is_some();
    let told_at = told.1.map(|text| host_and_port(told.0, &text)).transpose()?;
    if let Some((host, port)) = &told_at {
        set(told.0, advertised, format!("http://{host}:{port}"))?;
    }
    let bound_at = match (bound.1, &told_at) {
        (Some(text), told_at) => {
            let port = told_at.as_ref().map(|(_, port)| *port);
            Some((bound.0, host_and_maybe_port(bound.0, &text, port, told.0)?))
        }
        // Where to listen has been said in today's words.
        (None, Some(_)) if listens => None,
        (None, Some((host, port))) => {
            let everywhere = if host.starts_with('[') { "[::]" } else { "0.0.0.0" };
            Some((told.0, (everywhere.to_string(), *port)))
        }
        (None, None) => None,
    };
    match bound_at {
        Some((key, (host, port))) => set(key, listening, format!("http://{host}:{port}")),
        None => Ok(()),
    }
}

fn set(old: &str, (key, today): Today<'_>, url: String) -> Result<(), ConfigError> {
    let url = vec![url];
    match today {
        Some(there) if !same_urls(there, &url) => {
            let (there, url) = (there.join(","), url.join(","));
            Err(bad(old, format!("means {url}, but store.{key} is {there}: give one of them")))
        }
        today => {
            *today = Some(url);
            Ok(())
        }
    }
}

fn host_and_port(key: &str, text: &str) -> Result<(String, u16), ConfigError> {
    let wrong = || bad(key, format!("\"{text}\" is not an address and port such as 10.0.0.1:{CLIENT_PORT}"));
    let bare = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let (host, port) = bare.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().map_err(|_| wrong())?;
    let host = Host::parse(host).map_err(|_| wrong())?;
    Ok((host.to_string(), port))
}

/// An address to bind to may leave out the port, which then is the one that others are told.
fn host_and_maybe_port(
    key: &str,
    text: &str,
    port: Option<u16>,
    told: &str,
) -> Result<(String, u16), ConfigError> {
    let host = match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        Ok(IpAddr::V4(_)) => text.to_string(),
        Err(_) if text.contains(':') => return host_and_port(key, text),
        Err(_) => text.to_string(),
    };
    let Some(port) = port else {
        return Err(bad(
            key,
            format!("\"{text}\" has no port, and store.{told}, which would have one, is not set"),
        ));
    };
    Ok((host, port))
}

/// The host's name, or where that says nothing the machine's id (machine-id(5)).
fn machine_name() -> Option<String> {
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let usable = |name: &String| {
        let short = name.split('.').next().unwrap_or_default();
        !matches!(short, "" | "localhost" | "(none)") && !name.contains(['=', ',', '/'])
    };
    host.filter(usable).or_else(|| {
        let id = std::fs::read_to_string("/etc/machine-id").ok()?;
        Some(id.trim().to_string()).filter(|id| !id.is_empty())
    })
}

/// Adds etcd's old ports on the hosts that are listened on already.
pub(super) fn add_ports(clients: &mut Vec<Url>, peers: &mut Vec<Url>) {
    for (urls, port) in [(clients, CLIENT_PORT), (peers, PEER_PORT)] {
        for mut url in urls.clone() {
            // Cannot fail: these URLs have a host.
            let _ = url.set_port(Some(port));
            if !urls.contains(&url) {
                urls.push(url);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(change: impl FnOnce(&mut StoreFragment)) -> Result<StoreFragment, String> {
        let mut fragment = StoreFragment::default();
        change(&mut fragment);
        translate(fragment).map_err(|e| e.to_string())
    }

    #[test]
    fn a_drop_in_of_cloud_init_is_enough() {
        let f = translated(|f| {
            f.addr = Some("10.0.0.1:4001".into());
            f.peer_addr = Some("10.0.0.1:7001".into());
        })
        .unwrap();
        assert_eq!(f.advertise_client_urls.unwrap(), ["http://10.0.0.1:4001"]);
        assert_eq!(f.listen_client_urls.unwrap(), ["http://0.0.0.0:4001"]);
        assert_eq!(f.initial_advertise_peer_urls.unwrap(), ["http://10.0.0.1:7001"]);
        assert_eq!(f.listen_peer_urls.unwrap(), ["http://0.0.0.0:7001"]);
        assert!(f.name.is_some_and(|name| name != "default"));
    }

    #[test]
    fn the_address_to_bind_to_may_leave_out_the_port() {
        let listening = |addr: &str, bind: &str| {
            let f = translated(|f| (f.addr, f.bind_addr) = (Some(addr.into()), Some(bind.into())))?;
            Ok::<_, String>(f.listen_client_urls.unwrap_or_default().join(","))
        };
        assert_eq!(listening("a:4001", "127.0.0.1").unwrap(), "http://127.0.0.1:4001");
        assert_eq!(listening("a:4001", "127.0.0.1:5").unwrap(), "http://127.0.0.1:5");
        assert_eq!(listening("[::2]:4001", "::1").unwrap(), "http://[::1]:4001");
        assert!(listening("a", "127.0.0.1").unwrap_err().contains("store.addr"));
        let error = translated(|f| f.bind_addr = Some("127.0.0.1".into())).unwrap_err();
        assert!(error.contains("store.bind_addr") && error.contains("store.addr"), "{error}");
    }

    #[test]
    fn old_and_new_names_must_agree() {
        let both = |url: &str| {
            translated(|f| {
                f.addr = Some("10.0.0.1:4001".into());
                f.advertise_client_urls = Some(vec![url.into()]);
            })
        };
        assert!(both("http://10.0.0.1:4001/").is_ok());
        let error = both("http://10.0.0.1:2379").unwrap_err();
        assert!(error.contains("store.addr") && error.contains("store.advertise_client_urls"), "{error}");
        let f = translated(|f| {
            f.addr = Some("10.0.0.1:4001".into());
            f.listen_client_urls = Some(vec!["http://10.0.0.1:2379".into()]);
        });
        assert_eq!(f.unwrap().listen_client_urls.unwrap(), ["http://10.0.0.1:2379"]);
    }

    #[test]
    fn the_old_ports_are_added_once_per_host() {
        let url = |text: &str| Url::parse(text).unwrap();
        let mut clients = vec![url("http://a:2379"), url("http://a:4001"), url("http://[::1]:2379")];
        let mut peers = vec![url("http://a:2380")];
        add_ports(&mut clients, &mut peers);
        let texts: Vec<&str> = clients.iter().chain(&peers).map(Url::as_str).collect();
        let wanted = [
            "http://a:2379/",
            "http://a:4001/",
            "http://[::1]:2379/",
            "http://[::1]:4001/",
            "http://a:2380/",
        ];
        assert_eq!(texts[..5], wanted);
        assert_eq!(texts[5], "http://a:7001/");
    }
}
