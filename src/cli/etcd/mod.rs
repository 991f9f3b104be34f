//! The store by etcd's own command line and variables: what a link named `etcd` runs.
//!
//! Every flag of etcd 0.4, 2.3 and 3.4 is known. Each is obeyed, or of no consequence here and said so in the log, or
//! an error that says what cannot be had.

mod flags;
mod help;
mod line;

use std::path::PathBuf;
use std::process::ExitCode;

use tracing::level_filters::LevelFilter;

use super::logging::{self, Output};
use super::{Failure, store};
use crate::config::{StoreFragment, StoreSettings, section_of};
use crate::store::http::ETCD_VERSION;
use flags::{Fate, Flag};
use line::{Given, Source};

/// Exit status of a command line that cannot be read, as Go's flag package has it.
const BAD_LINE: u8 = 2;

/// Why the store does not run, and with which status the process ends.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    code: u8,
    message: String,
}

impl Refusal {
    /// The flags can be read but not be obeyed.
    fn of_flags(message: impl std::fmt::Display) -> Self {
        Self { code: 1, message: message.to_string() }
    }

    /// The flags can be read but not be obeyed, in words that are not etcd's.
    fn of_ours(message: impl std::fmt::Display) -> Self {
        Self::of_flags(format!("etcd: {message}"))
    }

    /// The command line cannot be read.
    fn of_line(message: impl std::fmt::Display) -> Self {
        Self { code: BAD_LINE, message: message.to_string() }
    }
}

/// Parses, runs, and ends with etcd's exit statuses: 2 for a line that cannot be read, 1 for any other failure.
pub(super) fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(refusal) => {
            eprintln!("{}", refusal.message);
            if refusal.code == BAD_LINE {
                eprintln!("{}", help::USAGE);
            }
            ExitCode::from(refusal.code)
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Refusal> {
    let given = match line::parse(arguments)? {
        line::Line::Help => {
            // A reader that has seen enough, such as head, has gone by now.
            let _ = crate::cli::terminal::say::text(format_args!("{}", help::text()));
            return Ok(());
        }
        line::Line::Version => {
            let _ = crate::cli::terminal::say::text(format_args!("{}", help::version(ETCD_VERSION)));
            return Ok(());
        }
        line::Line::Flags(given) => given,
    };
    let environment: Vec<(String, String)> = std::env::vars().collect();
    let plan = Plan::make(given, &environment)?;
    let failed = |failure: Failure| Refusal::of_ours(failure.message);
    logging::init_as(plan.level, plan.output).map_err(failed)?;
    for note in &plan.notes {
        tracing::warn!("{note}");
    }
    store::serve(plan.settings).map_err(failed)
}

/// What the flags come to.
#[derive(Debug)]
struct Plan {
    settings: StoreSettings,
    level: LevelFilter,
    output: Output,
    /// What the log has to say about flags.
    notes: Vec<String>,
}

impl Plan {
    /// Puts flags over variables, obeys each, and checks the whole.
    fn make(mut given: Vec<Given>, environment: &[(String, String)]) -> Result<Self, Refusal> {
        let (from_environment, mut notes) = line::from_environment(environment, &given)?;
        given.extend(from_environment);
        let mut texts = own_variables(environment);
        let (mut level, mut output) = (LevelFilter::INFO, Output::Journal);
        for Given { flag, text, source } in &given {
            match flag.fate {
                // As in etcd, where no value is as good as no flag.
                Fate::Sets(_) if text.is_empty() => {}
                Fate::Sets(key) => texts.push((source.to_string(), key.to_string(), text.clone())),
                Fate::Idle(why) => notes.push(format!("{source} is of no consequence here: {why}")),
                Fate::Only(values, why) => refuse_unless(values, flag, text, source, why)?,
                Fate::Logging => log_as(flag, text, source, &mut level, &mut output, &mut notes)?,
                // The line has been answered by now.
                Fate::Answer => {}
            }
        }
        let settings = settings(&texts, &given)?;
        Ok(Self { settings, level, output, notes })
    }
}

/// Settings that etcd does not have can be made by Muster's own variables; they weigh less than etcd's.
fn own_variables(environment: &[(String, String)]) -> Vec<(String, String, String)> {
    let own = |(name, text): &(String, String)| {
        let key = name.strip_prefix("MUSTER_STORE_")?.to_lowercase();
        Some((format!("environment variable {name}"), key, text.clone()))
    };
    environment.iter().filter_map(own).collect()
}

fn refuse_unless(
    values: &[&str],
    flag: &Flag,
    text: &str,
    source: &Source,
    why: &str,
) -> Result<(), Refusal> {
    if text.is_empty() || values.contains(&text) {
        return Ok(());
    }
    let shown = if flag.is_switch() { String::new() } else { format!(" \"{text}\"") };
    Err(Refusal::of_ours(format!("{source}{shown} cannot be had: {why}")))
}

fn log_as(
    flag: &Flag,
    text: &str,
    source: &Source,
    level: &mut LevelFilter,
    output: &mut Output,
    notes: &mut Vec<String>,
) -> Result<(), Refusal> {
    match (flag.name, text) {
        ("debug", "true") | ("log-level", "debug") => *level = LevelFilter::DEBUG,
        ("debug", _) | ("log-level", "" | "info") => {}
        ("log-level", "warn") => *level = LevelFilter::WARN,
        ("log-level", "error" | "panic" | "fatal") => *level = LevelFilter::ERROR,
        ("log-level", other) => {
            let message =
                format!("{source}: \"{other}\" is not one of debug, info, warn, error, panic, fatal");
            return Err(Refusal::of_ours(message));
        }
        (_, "" | "default") => {}
        (_, "stderr") => *output = Output::Stderr,
        (_, "stdout") => *output = Output::Stdout,
        (_, other) => {
            notes.push(format!("{source}: the log goes to standard error, not to \"{other}\""));
            *output = Output::Stderr;
        }
    }
    Ok(())
}

/// The store's settings with etcd's defaults and etcd's demands.
fn settings(texts: &[(String, String, String)], given: &[Given]) -> Result<StoreSettings, Refusal> {
    let mut fragment: StoreFragment = section_of(texts).map_err(Refusal::of_ours)?;
    let has = |name: &str| given.iter().any(|given| given.flag.name == name && !given.text.is_empty());
    let old = fragment.addr.is_some() || fragment.peer_addr.is_some();
    if fragment.name.is_none() && !old {
        fragment.name = Some("default".into());
    }
    // etcd lets a node that may become a proxy go without.
    let may_replicate =
        fragment.discovery.is_some() && fragment.discovery_fallback.as_deref() != Some("exit");
    if has("listen-client-urls") && fragment.advertise_client_urls.is_none() && !old && !may_replicate {
        return Err(Refusal::of_flags(
            "error verifying flags, --advertise-client-urls is required when --listen-client-urls is set explicitly. \
             See 'etcd --help'.",
        ));
    }
    let data_dir = fragment.data_dir.clone();
    let verified = StoreSettings::try_from(fragment);
    let mut settings = verified
        .map_err(|error| Refusal::of_flags(format!("error verifying flags, {error}. See 'etcd --help'.")))?;
    if data_dir.is_none() {
        settings.data_dir = PathBuf::from(format!("{}.etcd", settings.name));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(line: &str, environment: &[(&str, &str)]) -> Result<Plan, Refusal> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_string).collect();
        let environment: Vec<_> = environment.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        match line::parse(&arguments)? {
            line::Line::Flags(given) => Plan::make(given, &environment),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_line_for_etcd_becomes_settings() {
        let plan = plan(
            "--name m1 -data-dir=/tmp/m1 --listen-client-urls http://127.0.0.1:1,http://127.0.0.2:1 \
             --advertise-client-urls http://127.0.0.1:1 --listen-peer-urls http://127.0.0.1:2 \
             --initial-advertise-peer-urls http://127.0.0.1:2 --initial-cluster m1=http://127.0.0.1:2 \
             --initial-cluster-state new --snapshot-count=7 --heartbeat-interval 50 --election-timeout 500 \
             --enable-v2 --logger zap --log-outputs stderr --force-new-cluster=false",
            &[],
        )
        .unwrap();
        let s = &plan.settings;
        assert_eq!((s.name.as_str(), s.listen_client.len(), s.snapshot_count), ("m1", 2, 7));
        assert_eq!(s.election.as_millis(), 500);
        assert_eq!(plan.output, Output::Stderr);
        assert!(plan.notes.iter().any(|note| note.contains("--logger")), "{:?}", plan.notes);
    }

    #[test]
    fn defaults_are_etcds() {
        let plan = plan("", &[]).unwrap();
        assert_eq!(plan.settings.data_dir, PathBuf::from("default.etcd"));
        assert_eq!(plan.settings.name, "default");
        assert_eq!(plan.notes, [] as [String; 0]);
    }

    #[test]
    fn flags_win_over_variables_and_unknown_variables_are_told() {
        let environment =
            [("ETCD_NAME", "e"), ("ETCD_SNAPSHOT_COUNT", "9"), ("ETCD_NAEM", "x"), ("ETCD_CERT_FILE", "")];
        let plan = plan("--name f", &environment).unwrap();
        assert_eq!((plan.settings.name.as_str(), plan.settings.snapshot_count), ("f", 9));
        assert!(plan.notes.iter().any(|note| note.contains("ETCD_NAEM")), "{:?}", plan.notes);
    }

    #[test]
    fn what_cannot_be_had_is_an_error_that_names_it() {
        for (line, words) in [
            ("--cert-file x", "TLS"),
            ("--client-cert-auth", "TLS"),
            ("--proxy on", "--join"),
            ("--proxy readonly", "--join"),
            ("--auth-token jwt", "jwt"),
            ("--cors http://a", "cors"),
            ("--enable-pprof", "pprof"),
            ("--enable-v2=false", "v2"),
            ("--wal-dir /x", "wal-dir"),
            ("--config-file /etc/x.yml", "config-file"),
            ("-peers 10.0.0.1:7001", "--join"),
            ("--listen-metrics-urls http://127.0.0.1:1", "/metrics"),
            ("--discovery http://h/x --initial-cluster a=http://h:1", "discovery"),
            ("--election-timeout 200", "election_timeout"),
            ("--listen-client-urls http://127.0.0.1:1", "--advertise-client-urls"),
        ] {
            let refusal = plan(line, &[]).unwrap_err();
            assert!(refusal.code == 1 && refusal.message.contains(words), "{line}: {refusal:?}");
            let says_who =
                ["etcd: ", "error verifying flags, "].iter().any(|who| refusal.message.starts_with(who));
            assert!(says_who, "{line}: {refusal:?}");
        }
        let refusal = plan("", &[("ETCD_CERT_FILE", "/x")]).unwrap_err();
        assert!(refusal.message.contains("ETCD_CERT_FILE"), "{refusal:?}");
        assert!(plan("--proxy off --cors * --cert-file= --client-cert-auth=false", &[]).is_ok());
    }

    #[test]
    fn the_flags_of_0_4_work() {
        let plan =
            plan("-addr 10.0.0.1:4001 -bind-addr 0.0.0.0 -peer-addr 10.0.0.1:7001 -v -name a", &[]).unwrap();
        assert_eq!(plan.settings.advertise_client, ["http://10.0.0.1:4001"]);
        assert_eq!(plan.settings.listen_peer[0].as_str(), "http://0.0.0.0:7001/");
    }
}
