//! `[store]`: the cluster that a new node joins, and whom it asks as.

use url::{Url, form_urlencoded};

use super::urls::{bad, parse_urls};
use crate::config::{ConfigError, Credentials};

/// The client URLs without the `user:password@` that they may hold, and that; all that hold one must hold the same.
pub(super) fn parse(given: Vec<String>) -> Result<(Vec<Url>, Option<Credentials>), ConfigError> {
    let mut urls = parse_urls("join", given)?;
    let mut found: Option<Credentials> = None;
    for url in &mut urls {
        let Some(here) = credentials(url)? else { continue };
        if found.as_ref().is_some_and(|earlier| *earlier != here) {
            return Err(bad("join", "the URLs hold different users or passwords: one user joins"));
        }
        found = Some(here);
        // Where URLs are shown, passwords must not be. A URL with a host, as this one is, can do without.
        let removed = url.set_username("").and_then(|()| url.set_password(None));
        removed.map_err(|()| bad("join", "a user can only stand in front of a host"))?;
    }
    Ok((urls, found))
}

fn credentials(url: &Url) -> Result<Option<Credentials>, ConfigError> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let username = decoded(url.username());
    if username.is_empty() || username.contains(':') {
        return Err(bad("join", "the user in front of the host must be a name without a colon"));
    }
    Ok(Some(Credentials { username, password: decoded(url.password().unwrap_or_default()) }))
}

/// Without percent-encoding. Forms mean more than that by `+` and `&`, which are themselves here.
fn decoded(text: &str) -> String {
    let form = format!("={}", text.replace('+', "%2B").replace('&', "%26"));
    form_urlencoded::parse(form.as_bytes()).map(|(_, value)| value.into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name and a password.
    type Who = Option<(String, String)>;

    fn read(urls: &[&str]) -> Result<(Vec<String>, Who), String> {
        let (urls, who) =
            parse(urls.iter().map(|url| url.to_string()).collect()).map_err(|e| e.to_string())?;
        Ok((urls.iter().map(Url::to_string).collect(), who.map(|who| (who.username, who.password))))
    }

    fn who(name: &str, password: &str) -> Who {
        Some((name.into(), password.into()))
    }

    #[test]
    fn a_user_is_taken_out_of_the_urls() {
        assert_eq!(read(&["http://h:1"]).unwrap(), (vec!["http://h:1/".into()], None));
        let (urls, found) = read(&["http://h:1", "http://root:p%40%2F%25%3A+&=w@g:2"]).unwrap();
        assert_eq!((urls.join(" ").as_str(), found), ("http://h:1/ http://g:2/", who("root", "p@/%:+&=w")));
        assert_eq!(read(&["http://u@h:1"]).unwrap().1, who("u", ""));
        assert_eq!(read(&["http://u:p@h:1", "http://u:p@g:1"]).unwrap().1, who("u", "p"));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for urls in [
            &["http://u:secret@h:1", "http://u:other@h:1"][..],
            &["http://:secret@h:1"],
            &["http://a%3Ab:secret@h:1"],
            &["http://u:secret@h:1/path"],
            &["http://u:secret@h:port"],
            &["https://u:secret@h:1"],
            &["u:secret@h:1"],
        ] {
            let error = read(urls).unwrap_err();
            assert!(!error.contains("secret") && error.contains("store.join"), "{error}");
        }
    }
}
