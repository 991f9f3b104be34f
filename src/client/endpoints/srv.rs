//! SRV records: by them a domain says where its store nodes are (RFC 2782).

use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use url::Url;

/// How long one question to one name server may take; it is asked twice.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(2);

/// One entry: a host and a port, without the dot at the end of the name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// The host's name.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Target {
    /// `http://host:port`, without a slash at the end.
    pub fn http_url(&self) -> String {
        match self.host.contains(':') {
            true => format!("http://[{}]:{}", self.host, self.port),
            false => format!("http://{}:{}", self.host, self.port),
        }
    }
}

/// Why a domain did not say where its nodes are.
#[derive(Debug, thiserror::Error)]
pub enum SrvError {
    /// The system's resolver settings cannot be used.
    #[error("cannot use the system's resolver settings (/etc/resolv.conf): {0}")]
    Settings(String),
    /// The question was not answered, or there are no such records.
    #[error("no SRV records for {name}: {problem}")]
    Lookup {
        /// The name that was asked for.
        name: String,
        /// What the resolver said.
        problem: String,
    },
    /// A record names no host.
    #[error("the SRV records of {name} name \"{host}\", which is no host")]
    Host {
        /// The name that was asked for.
        name: String,
        /// The host of the record.
        host: String,
    },
    /// Neither kind of record is there.
    #[error("{secure}; {plain}")]
    Neither {
        /// What came of those for TLS.
        secure: Box<SrvError>,
        /// What came of the others.
        plain: Box<SrvError>,
    },
}

/// The entries of `_SERVICE._tcp.DOMAIN`, lowest priority first, then heaviest, then by name and port; never none.
///
/// Asks the name server at `resolver`, or without one those of `/etc/resolv.conf`.
///
/// # Errors
/// See [`SrvError`].
pub async fn lookup(
    service: &str,
    domain: &str,
    resolver: Option<SocketAddr>,
) -> Result<Vec<Target>, SrvError> {
    // As in Go, the system's search domains are tried as well, unless there is a dot at the end.
    let name = format!("_{service}._tcp.{}", domain.trim_start_matches('.'));
    let failed = |problem: &dyn std::fmt::Display| SrvError::Lookup {
        name: name.trim_end_matches('.').to_string(),
        problem: problem.to_string(),
    };
    let answer = self::resolver(resolver)?.srv_lookup(name.as_str()).await.map_err(|e| failed(&e))?;
    let mut found = Vec::new();
    for record in answer.answers() {
        if let RData::SRV(srv) = &record.data {
            let host = srv.target.to_utf8().trim_end_matches('.').to_string();
            found.push((srv.priority, u16::MAX - srv.weight, Target { host, port: srv.port }));
        }
    }
    found.sort();
    found.dedup();
    if found.is_empty() {
        return Err(failed(&"the answer holds none"));
    }
    Ok(found.into_iter().map(|(_, _, target)| target).collect())
}

/// The client URLs that a domain announces by `_etcd-client-ssl._tcp` and `_etcd-client._tcp` records, or
/// `_etcd-client-NAME._tcp` with a name, as etcdctl's `--discovery-srv` and `--discovery-srv-name` find them: those with
/// `https` first.
///
/// # Errors
/// Both: see [`SrvError`]. Records of one kind are enough.
pub async fn client_urls(
    domain: &str,
    name: Option<&str>,
    resolver: Option<SocketAddr>,
) -> Result<Vec<Url>, SrvError> {
    let kinds = [("etcd-client-ssl", "https"), ("etcd-client", "http")];
    let [secure, plain] = kinds.map(|(base, scheme)| {
        let service = service(base, name);
        async move { urls(scheme, &service, domain, lookup(&service, domain, resolver).await?) }
    });
    match tokio::join!(secure, plain) {
        (Ok(secure), Ok(plain)) => Ok([secure, plain].concat()),
        (Ok(found), Err(_)) | (Err(_), Ok(found)) => Ok(found),
        (Err(secure), Err(plain)) => Err(SrvError::Neither { secure: secure.into(), plain: plain.into() }),
    }
}

fn urls(scheme: &str, service: &str, domain: &str, targets: Vec<Target>) -> Result<Vec<Url>, SrvError> {
    let url = |target: Target| {
        let text = format!("{scheme}{}", target.http_url().trim_start_matches("http"));
        let name = format!("_{service}._tcp.{domain}");
        Url::parse(&text).map_err(|_| SrvError::Host { name, host: target.host })
    };
    targets.into_iter().map(url).collect()
}

/// A service's name with the suffix that etcd's `--discovery-srv-name` adds.
pub fn service(base: &str, suffix: Option<&str>) -> String {
    match suffix {
        Some(suffix) if !suffix.is_empty() => format!("{base}-{suffix}"),
        _ => base.to_string(),
    }
}

fn resolver(server: Option<SocketAddr>) -> Result<TokioResolver, SrvError> {
    let settings = |error: &dyn std::fmt::Display| SrvError::Settings(error.to_string());
    let mut builder = match server {
        None => TokioResolver::builder_tokio().map_err(|e| settings(&e))?,
        Some(address) => {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                connection.port = address.port();
                connection
            });
            let server = NameServerConfig::new(address.ip(), true, connections.into());
            let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
    };
    let options = builder.options_mut();
    options.attempts = 2;
    options.timeout = QUESTION_TIMEOUT;
    builder.build().map_err(|e| settings(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name server that gives every question the same answer section.
    async fn server(answers: Vec<u8>, count: u8) -> SocketAddr {
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut question = [0; 512];
            loop {
                let (length, from) = socket.recv_from(&mut question).await.unwrap();
                // The question ends with the root's zero byte, type and class; what follows is EDNS.
                let end = 12 + question[12..length].iter().position(|b| *b == 0).unwrap() + 5;
                let flags = if count == 0 { 0x83 } else { 0x80 };
                let mut answer = question[..2].to_vec();
                answer.extend([0x81, flags, 0, 1, 0, count, 0, 0, 0, 0]);
                answer.extend(&question[12..end]);
                answer.extend(&answers);
                socket.send_to(&answer, from).await.unwrap();
            }
        });
        address
    }

    fn record(priority: u8, weight: u8, port: u16, host: &str) -> Vec<u8> {
        let mut target = vec![u8::try_from(host.len()).unwrap()];
        target.extend(host.bytes());
        target.push(0);
        // A pointer to the question's name, SRV, IN, one minute.
        let mut record = vec![0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60, 0, u8::try_from(target.len() + 6).unwrap()];
        record.extend([0, priority, 0, weight]);
        record.extend(port.to_be_bytes());
        record.extend(target);
        record
    }

    #[tokio::test]
    async fn entries_come_by_priority_and_weight() {
        let answers = [record(2, 0, 1, "last"), record(1, 5, 2, "light"), record(1, 9, 3, "heavy")].concat();
        let server = server(answers, 3).await;
        let urls = client_urls("example.org", None, Some(server)).await.unwrap();
        let urls: Vec<&str> = urls.iter().map(Url::as_str).collect();
        // This server has the same answer for the secure ones.
        let (secure, plain) = urls.split_at(3);
        assert_eq!(secure, ["https://heavy:3/", "https://light:2/", "https://last:1/"]);
        assert_eq!(plain, ["http://heavy:3/", "http://light:2/", "http://last:1/"]);
    }

    #[tokio::test]
    async fn a_domain_without_records_is_an_error_that_names_the_question() {
        let server = server(Vec::new(), 0).await;
        let error = lookup("etcd-server", "example.org", Some(server)).await.unwrap_err().to_string();
        assert!(error.contains("_etcd-server._tcp.example.org"), "{error}");
    }

    #[test]
    fn a_suffix_goes_into_the_service() {
        assert_eq!(service("etcd-client", Some("blue")), "etcd-client-blue");
        assert_eq!(service("etcd-client", Some("")), "etcd-client");
    }
}
