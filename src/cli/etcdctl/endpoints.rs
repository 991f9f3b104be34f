//! Where etcdctl finds its endpoints, and what it takes for one. Pure but for the environment it is given.

use super::flags::Parsed;
use url::Url;

/// What is asked when nobody says otherwise.
const DEFAULT: &str = "http://127.0.0.1:2379,http://127.0.0.1:4001";

/// Flags and variables that name endpoints; the first that is not empty counts.
const SOURCES: [(&str, &str); 3] =
    [("endpoints", "ETCDCTL_ENDPOINTS"), ("endpoint", "ETCDCTL_ENDPOINT"), ("peers", "ETCDCTL_PEERS")];

/// The text that names the endpoints.
pub(super) fn given(global: &Parsed, variable: impl Fn(&str) -> Option<String>) -> String {
    SOURCES
        .iter()
        .flat_map(|(flag, name)| [Some(global.text(flag).to_string()), variable(name)])
        .flatten()
        .find(|text| !text.is_empty())
        .unwrap_or_else(|| DEFAULT.into())
}

/// Reads endpoints separated by commas.
///
/// # Errors
/// One that is no URL, in the words of Go.
pub(super) fn parse(text: &str) -> Result<Vec<Url>, String> {
    text.split(',').map(one).collect()
}

fn one(text: &str) -> Result<Url, String> {
    let bad = |problem: &str| format!("parse {text:?}: {problem}");
    let full = match scheme(text) {
        Ok(true) => text.to_string(),
        Ok(false) => {
            let first = text.split('/').next().unwrap_or_default();
            if first.contains(':') {
                return Err(bad("first path segment in URL cannot contain colon"));
            }
            format!("http://{}", text.trim_start_matches('/'))
        }
        Err(problem) => return Err(bad(problem)),
    };
    Url::parse(&full).map_err(|error| bad(&error.to_string()))
}

/// Whether `text` begins with what Go takes for a scheme. `localhost:2379` does.
fn scheme(text: &str) -> Result<bool, &'static str> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme"),
            ':' => return Ok(true),
            _ => return Ok(false),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::super::commands::GLOBAL;
    use super::super::flags;
    use super::*;

    fn from(line: &str, variables: &[(&str, &str)]) -> String {
        let words: Vec<String> = line.split_whitespace().map(str::to_string).collect();
        let global = flags::parse(&[GLOBAL], &words).expect("flags");
        given(&global, |name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string())
        })
    }

    #[test]
    fn a_flag_wins_over_its_variable_and_the_newest_name_over_older_ones() {
        assert_eq!(from("", &[]), DEFAULT);
        assert_eq!(from("--endpoints a -C b", &[("ETCDCTL_ENDPOINTS", "c")]), "a");
        assert_eq!(from("-C b", &[("ETCDCTL_ENDPOINT", "c"), ("ETCDCTL_PEERS", "d")]), "c");
        assert_eq!(from("-C b", &[("ETCDCTL_PEERS", "d")]), "b");
        assert_eq!(from("--endpoints=", &[("ETCDCTL_PEERS", "d")]), "d");
    }

    #[test]
    fn an_endpoint_needs_a_scheme_when_it_has_a_port() {
        assert_eq!(parse("http://a:1,http://b:2").expect("two").len(), 2);
        assert_eq!(
            parse("127.0.0.1:2379").expect_err("refused"),
            "parse \"127.0.0.1:2379\": first path segment in URL cannot contain colon"
        );
        assert_eq!(parse(":1").expect_err("refused"), "parse \":1\": missing protocol scheme");
        // As Go does: the host is read as a scheme, which nobody can connect to.
        assert_eq!(parse("localhost:2379").expect("a URL")[0].scheme(), "localhost");
        assert_eq!(parse("localhost").expect("a URL")[0].as_str(), "http://localhost/");
    }
}
