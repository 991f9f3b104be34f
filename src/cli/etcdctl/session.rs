//! A command's way to the store: the flags before the command and their variables, a client, and the members that it
//! learns of first.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use url::Url;

use super::endpoints;
use super::flags::{Parsed, Signed};
use crate::cli::kv::output::{Form, Output, REFUSED};
use crate::cli::terminal::password;
use crate::cli::terminal::say::Voice;
use crate::cli::{Failure, Format};
use crate::client::srv;
use crate::client::{CURL, Client, ClientError};
use crate::config::{ClientSettings, Credentials};

/// Exit status when nobody is connected to while the members are asked for.
const NO_CONNECTION: u8 = 2;
/// Exit status of arguments that cannot be used.
const BAD_ARGUMENTS: u8 = 1;

/// Limit of a request to one endpoint, and of a command.
const DEFAULT_LIMITS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(5));
/// No limit at all, but one that a clock can be asked for.
const UNLIMITED: Duration = Duration::from_secs(365 * 86400);

/// What a command works with.
pub(super) struct Session {
    /// A client of the endpoints that count.
    pub client: Client,
    /// How answers are printed.
    pub output: Output,
}

impl Session {
    /// For commands that take the endpoints as they are given.
    ///
    /// # Errors
    /// Flags or variables that cannot be used: status 1.
    pub async fn plain(global: &Parsed) -> Result<Self, Failure> {
        let settings = settings(global).await?;
        if global.on("debug") {
            show_requests();
            eprintln!("Cluster-Endpoints: {}", list(&settings.endpoints, ", "));
        }
        Ok(Self { client: client(settings, global)?, output: output(global) })
    }

    /// For all other commands: asks for the cluster's members and goes on with their client URLs, unless told not to.
    ///
    /// # Errors
    /// As [`Session::plain`]; nobody can be connected to: status 2; nobody has a client URL: status 4.
    pub async fn synced(global: &Parsed) -> Result<Self, Failure> {
        let mut settings = settings(global).await?;
        if global.on("debug") {
            show_requests();
        }
        if !global.on("no-sync") {
            if global.on("debug") {
                eprintln!("start to sync cluster using endpoints({})", list(&settings.endpoints, ","));
            }
            settings.endpoints = sync(settings.clone(), global).await?;
            if global.on("debug") {
                eprintln!("got endpoints({}) after sync", list(&settings.endpoints, ","));
            }
        }
        if global.on("debug") {
            eprintln!("Cluster-Endpoints: {}", list(&settings.endpoints, ", "));
        }
        Ok(Self { client: client(settings, global)?, output: output(global) })
    }
}

/// The client URLs of the members; those that are known already when the members cannot be learnt for another reason
/// than a connection.
async fn sync(settings: ClientSettings, global: &Parsed) -> Result<Vec<Url>, Failure> {
    let known = settings.endpoints.clone();
    if limits(global).1.is_none() {
        eprintln!("Error:  context deadline exceeded");
        return Err(Failure::with_code(NO_CONNECTION, ""));
    }
    match client(settings, global)?.members().await {
        Ok(members) => {
            let texts: Vec<String> = members.into_iter().flat_map(|member| member.client_urls).collect();
            if texts.is_empty() {
                eprintln!("etcd cluster has no published client endpoints.");
                let known = list(&known, ",");
                eprintln!(
                    "Try '--no-sync' if you want to access non-published client endpoints({known}).\n\
                     Error:  client: no endpoints available"
                );
                return Err(Failure::with_code(REFUSED, ""));
            }
            let urls: Result<Vec<Url>, _> = texts.iter().map(|text| Url::parse(text)).collect();
            Ok(urls.map_or(known, shuffled))
        }
        Err(ClientError::Unavailable { attempts }) if attempts.iter().all(|attempt| attempt.disconnected) => {
            let error = ClientError::Unavailable { attempts };
            eprintln!("Error:  {}", output(global).words(&error));
            Err(Failure::with_code(NO_CONNECTION, ""))
        }
        Err(_) => Ok(known),
    }
}

/// In an order of chance, so that many machines do not all ask the first.
fn shuffled(mut urls: Vec<Url>) -> Vec<Url> {
    // The standard library's seeds for hash maps are the only random numbers at hand without another crate.
    let chance = RandomState::new();
    urls.sort_by_cached_key(|url| chance.hash_one(url.as_str()));
    urls
}

/// The endpoints that the domain of `--discovery-srv` names: plain ones only when they are asked for. Of both kinds the
/// plain ones are used, as there is no TLS; secure ones alone are for the caller to refuse, who must not turn to another
/// cluster.
async fn discovered(global: &Parsed) -> Result<Vec<Url>, String> {
    let domain = text(global, "discovery-srv", "ETCDCTL_DISCOVERY_SRV");
    if domain.is_empty() {
        return Ok(Vec::new());
    }
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let name = variable("ETCDCTL_DISCOVERY_SRV_NAME");
    let found = srv::client_urls(&domain, name.as_deref(), None).await.map_err(|error| error.to_string())?;
    let (secure, plain): (Vec<Url>, Vec<Url>) = found.into_iter().partition(|url| url.scheme() == "https");
    let shown = |url: &Url| format!("{:?}", url.as_str().trim_end_matches('/'));
    if !global.on("insecure-discovery") && variable("ETCDCTL_INSECURE_DISCOVERY").is_none() {
        plain.iter().for_each(|url| eprintln!("ignoring discovered insecure endpoint {}", shown(url)));
        return Ok(secure);
    }
    if plain.is_empty() {
        return Ok(secure);
    }
    for url in &secure {
        eprintln!("ignoring discovered endpoint {}: TLS is not supported yet", shown(url));
    }
    Ok(plain)
}

async fn settings(global: &Parsed) -> Result<ClientSettings, Failure> {
    let bad = |problem: String| {
        eprintln!("{problem}");
        Failure::with_code(BAD_ARGUMENTS, "")
    };
    let mut endpoints = discovered(global).await.map_err(bad)?;
    if endpoints.is_empty() {
        let given = endpoints::given(global, |name| std::env::var(name).ok());
        endpoints = endpoints::parse(&given).map_err(bad)?;
    }
    check_tls(global).map_err(bad)?;
    if let Some(secure) = endpoints.iter().find(|url| url.scheme() == "https") {
        eprintln!("Error:  {secure}: TLS is not supported yet: use http://");
        return Err(Failure::with_code(REFUSED, ""));
    }
    let user = text(global, "username", "ETCDCTL_USERNAME");
    let credentials = match user.split_once(':') {
        _ if user.is_empty() => None,
        Some((username, password)) => {
            Some(Credentials { username: username.into(), password: password.into() })
        }
        None => {
            let password = password::ask("Password: ", Voice::Etcdctl)?;
            Some(Credentials { username: user, password })
        }
    };
    // Without any time at all, every request fails at once.
    let request_timeout = limits(global).1.unwrap_or(Duration::from_nanos(1));
    Ok(ClientSettings { endpoints, request_timeout, credentials })
}

/// Files for TLS are looked at as etcdctl does, though plain connections make no use of them.
fn check_tls(global: &Parsed) -> Result<(), String> {
    let [ca, cert, key] = [
        text(global, "ca-file", "ETCDCTL_CA_FILE"),
        text(global, "cert-file", "ETCDCTL_CERT_FILE"),
        text(global, "key-file", "ETCDCTL_KEY_FILE"),
    ];
    if cert.is_empty() != key.is_empty() {
        return Err(format!("KeyFile and CertFile must both be present[key: {key}, cert: {cert}]"));
    }
    for path in [cert, key, ca].iter().filter(|path| !path.is_empty()) {
        std::fs::read(path).map_err(|error| format!("open {path}: {error}"))?;
    }
    Ok(())
}

/// Limit of a request to one endpoint, and of all of them together; `None` when that is over before it begins.
fn limits(global: &Parsed) -> (Duration, Option<Duration>) {
    let (one, all) = DEFAULT_LIMITS;
    let one = global.time("timeout").map_or(one, |time| time.positive().unwrap_or(UNLIMITED));
    let all = global.time("total-timeout").map_or(Some(all), Signed::positive);
    (one, all)
}

fn client(settings: ClientSettings, global: &Parsed) -> Result<Client, Failure> {
    let client = Client::new(&settings).map_err(|error| Failure::with_code(BAD_ARGUMENTS, error))?;
    Ok(client.with_attempt_limit(limits(global).0))
}

fn output(global: &Parsed) -> Output {
    let form = match global.text("output") {
        "" if global.has("output") => Form::Unknown(String::new()),
        "" | "simple" => Form::Known(Format::Simple),
        "extended" => Form::Known(Format::Extended),
        "json" => Form::Known(Format::Json),
        other => Form::Unknown(other.into()),
    };
    Output { form, voice: Voice::Etcdctl }
}

/// A flag's text, or else its variable's.
fn text(global: &Parsed, flag: &str, variable: &str) -> String {
    match global.text(flag) {
        "" => std::env::var(variable).unwrap_or_default(),
        given => given.into(),
    }
}

fn list(urls: &[Url], separator: &str) -> String {
    urls.iter().map(|url| url.as_str().trim_end_matches('/')).collect::<Vec<_>>().join(separator)
}

/// From now on each request is shown on standard error.
fn show_requests() {
    let requests = Targets::new().with_target(CURL, LevelFilter::DEBUG);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .without_time()
        .with_level(false)
        .with_target(false)
        .with_ansi(false);
    let shown = tracing_subscriber::registry().with(requests).with(lines).try_init();
    // Nothing else listens in this process; if it did, it would hear of the requests.
    debug_assert!(shown.is_ok(), "{shown:?}");
}
