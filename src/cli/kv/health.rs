//! `muster kv cluster-health`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use super::output::{Output, REFUSED};
use crate::cli::Failure;
use crate::client::{Attempt, Client, ClientError, Member};

/// Exit status when a member is not healthy.
const NOT_HEALTHY: u8 = 5;
/// Between two checks with `--forever`.
const PAUSE: Duration = Duration::from_secs(10);

/// Ask every member for its health
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Exit status: 0 all members are healthy; 4 the members cannot be listed; 5 not all are healthy."
)]
pub(super) struct ClusterHealth {
    /// Again every 10 seconds until interrupted
    #[arg(short, long)]
    forever: bool,
}

impl ClusterHealth {
    pub async fn run(self, client: &Client, output: &Output) -> Result<(), Failure> {
        check(self.forever, client, output).await
    }
}

/// Prints the members' health once, or again and again until interrupted.
pub(in crate::cli) async fn check(forever: bool, client: &Client, output: &Output) -> Result<(), Failure> {
    let members = match client.members().await {
        Ok(members) => members,
        Err(error) => {
            outln!("cluster may be unhealthy: failed to list members");
            return Err(output.refused(error));
        }
    };
    let interrupted = tokio::signal::ctrl_c();
    tokio::select! {
        outcome = rounds(forever, &members, client, output) => outcome,
        outcome = interrupted, if forever => outcome.map_err(|e| Failure::with_code(REFUSED, e)),
    }
}

async fn rounds(forever: bool, members: &[Member], client: &Client, output: &Output) -> Result<(), Failure> {
    loop {
        let mut reports = Vec::new();
        for member in members {
            reports.push(report(member, client).await);
        }
        let healthy = reports.iter().filter(|report| report.state == State::Healthy).count();
        let whole = match healthy {
            n if n == members.len() => "healthy",
            0 => "unavailable",
            _ => "degraded",
        };
        let text: String = reports.iter().map(Report::text).collect();
        output.lines(&format!("{text}cluster is {whole}\n"), &Whole { cluster: whole, members: &reports })?;
        if !forever {
            let all = healthy == members.len();
            return if all { Ok(()) } else { Err(Failure::with_code(NOT_HEALTHY, "")) };
        }
        output.lines("\nnext check after 10 second...\n\n", &())?;
        tokio::time::sleep(PAUSE).await;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Healthy,
    Unhealthy,
    Unreachable,
}

/// What came of asking one member.
#[derive(Debug, Serialize)]
struct Report<'a> {
    id: &'a str,
    state: State,
    /// The URL of the endpoint that answered.
    url: Option<&'a str>,
    /// Client URLs that gave no answer of use, each with the reason.
    problems: Vec<(&'a str, String)>,
}

#[derive(Serialize)]
struct Whole<'a> {
    cluster: &'a str,
    members: &'a [Report<'a>],
}

/// `true` as etcd 2.0 said it, or `"true"` as it has been said since.
#[derive(Deserialize)]
#[serde(untagged)]
enum Flag {
    Text(String),
    Bool(bool),
}

#[derive(Deserialize)]
struct Health {
    health: Option<Flag>,
}

async fn report<'a>(member: &'a Member, client: &Client) -> Report<'a> {
    let mut problems = Vec::new();
    for url in &member.client_urls {
        match ask(url, client).await {
            Ok(healthy) => {
                let state = if healthy { State::Healthy } else { State::Unhealthy };
                return Report { id: &member.id, state, url: Some(url), problems };
            }
            Err(problem) => problems.push((url.as_str(), problem)),
        }
    }
    Report { id: &member.id, state: State::Unreachable, url: None, problems }
}

async fn ask(url: &str, client: &Client) -> Result<bool, String> {
    let endpoint = Url::parse(url).map_err(|error| error.to_string())?;
    let (_, body) = client.get_raw(&endpoint, "/health").await.map_err(|error| match error {
        ClientError::Unavailable { attempts } if attempts.len() == 1 => in_gos_words(url, &attempts[0]),
        error => error.to_string(),
    })?;
    let health: Health = serde_json::from_str(&body).map_err(|error| error.to_string())?;
    Ok(match health.health {
        Some(Flag::Text(text)) => text == "true",
        Some(Flag::Bool(healthy)) => healthy,
        None => false,
    })
}

/// etcdctl prints this on standard output as Go's HTTP client words it.
fn in_gos_words(url: &str, attempt: &Attempt) -> String {
    let endpoint = &attempt.endpoint;
    let host = endpoint.host_str().unwrap_or_default().replace("localhost", "127.0.0.1");
    let port = endpoint.port_or_known_default().unwrap_or_default();
    let problem = if attempt.problem.starts_with("Connection refused") {
        format!("dial tcp {host}:{port}: connect: connection refused")
    } else {
        attempt.problem.to_string()
    };
    format!("Get \"{url}/health\": {problem}")
}

impl Report<'_> {
    fn text(&self) -> String {
        let Self { id, url, problems, .. } = self;
        if problems.is_empty() && url.is_none() {
            return format!("member {id} is unreachable: no available published client urls\n");
        }
        let mut text: String = problems
            .iter()
            .map(|(url, problem)| format!("failed to check the health of member {id} on {url}: {problem}\n"))
            .collect();
        let url = url.unwrap_or_default();
        text.push_str(&match self.state {
            State::Healthy => format!("member {id} is healthy: got healthy result from {url}\n"),
            State::Unhealthy => format!("member {id} is unhealthy: got unhealthy result from {url}\n"),
            State::Unreachable => {
                let urls: Vec<&str> = problems.iter().map(|(url, _)| *url).collect();
                format!("member {id} is unreachable: [{}] are all unreachable\n", urls.join(" "))
            }
        });
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_told_of_as_etcdctl_does() {
        let report = |state, url, problems| Report { id: "8e", state, url, problems };
        assert_eq!(
            report(State::Healthy, Some("http://a:1"), vec![]).text(),
            "member 8e is healthy: got healthy result from http://a:1\n"
        );
        assert_eq!(
            report(State::Unreachable, None, vec![]).text(),
            "member 8e is unreachable: no available published client urls\n"
        );
        assert_eq!(
            report(State::Unreachable, None, vec![("http://a:1", "x".into()), ("http://b:2", "y".into())])
                .text(),
            "failed to check the health of member 8e on http://a:1: x\n\
             failed to check the health of member 8e on http://b:2: y\n\
             member 8e is unreachable: [http://a:1 http://b:2] are all unreachable\n"
        );
    }

    #[test]
    fn health_is_a_text_or_a_truth_value() {
        let health = |text| serde_json::from_str::<Health>(text).expect("health").health;
        assert!(matches!(health(r#"{"health": "true"}"#), Some(Flag::Text(text)) if text == "true"));
        assert!(matches!(health(r#"{"health":true}"#), Some(Flag::Bool(true))));
        assert!(health("{}").is_none());
    }
}
