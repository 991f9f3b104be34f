//! The parameters of a keys request, checked on every method in etcd's order; the first failure answers.

use warp::http::Method;

use crate::keyspace::Ttl;
use crate::store::http::answer::ApiError;
use crate::store::http::go::form::Form;

/// What a keys request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    /// The new value.
    pub value: Vec<u8>,
    /// A directory is meant.
    pub dir: bool,
    /// The lifetime; `None` is for ever.
    pub ttl: Option<Ttl>,
    /// Whether the key must exist.
    pub prev_exist: Option<bool>,
    /// The value it must have.
    pub prev_value: Option<Vec<u8>>,
    /// The index it must have; 0 is as good as none.
    pub prev_index: u64,
    /// Keep the value and tell no watcher.
    pub refresh: bool,
    /// Answer without nodes.
    pub no_value: bool,
    /// With everything below.
    pub recursive: bool,
    /// A linearizable read, or explicitly not.
    pub quorum: Option<bool>,
    /// Wait for a change.
    pub wait: bool,
    /// From which index on.
    pub wait_index: u64,
    /// More than one change.
    pub stream: bool,
}

impl Params {
    /// Reads and checks them all.
    ///
    /// # Errors
    /// The first that is wrong, with etcd's number and words.
    pub fn parse(form: &Form, method: &Method) -> Result<Self, ApiError> {
        let field = |name: &str| ApiError::request(209, format!("invalid value for \"{name}\""));
        let quoted = |name: &str| boolean(form, name).map_err(|()| field(name));
        let index = |name: &str| {
            number(form, name)
                .map(Option::unwrap_or_default)
                .map_err(|()| ApiError::request(203, format!("invalid value for \"{name}\"")))
        };
        let prev_index = index("prevIndex")?;
        let wait_index = index("waitIndex")?;
        let recursive = quoted("recursive")?.unwrap_or_default();
        quoted("sorted")?;
        let wait = quoted("wait")?.unwrap_or_default();
        let dir = quoted("dir")?.unwrap_or_default();
        let quorum = quoted("quorum")?;
        let stream = quoted("stream")?.unwrap_or_default();
        if wait && method != Method::GET {
            return Err(ApiError::request(209, "\"wait\" can only be used with GET requests"));
        }
        let prev_value = form.get("prevValue").map(<[u8]>::to_vec);
        if prev_value.as_ref().is_some_and(Vec::is_empty) {
            return Err(ApiError::request(201, "\"prevValue\" cannot be empty"));
        }
        let no_value = quoted("noValueOnSuccess")?.unwrap_or_default();
        let ttl = match form.get("ttl") {
            None | Some(b"") => None,
            Some(_) => {
                number(form, "ttl").map_err(|()| ApiError::request(202, "invalid value for \"ttl\""))?
            }
        };
        let prev_exist =
            boolean(form, "prevExist").map_err(|()| ApiError::request(209, "invalid value for prevExist"))?;
        let refresh = boolean(form, "refresh")
            .map_err(|()| ApiError::request(209, "invalid value for refresh"))?
            .unwrap_or_default();
        let value = form.get("value").unwrap_or_default().to_vec();
        if refresh && !value.is_empty() {
            return Err(ApiError::request(211, "A value was provided on a refresh"));
        }
        if refresh && ttl.is_none() {
            return Err(ApiError::request(212, "No TTL value set"));
        }
        let ttl = ttl.map(Ttl::from_secs);
        Ok(Self {
            value,
            dir,
            ttl,
            prev_exist,
            prev_value,
            prev_index,
            refresh,
            no_value,
            recursive,
            quorum,
            wait,
            wait_index,
            stream,
        })
    }
}

/// Go's `strconv.ParseBool`; an absent field is no error.
fn boolean(form: &Form, name: &str) -> Result<Option<bool>, ()> {
    match form.get(name) {
        None => Ok(None),
        Some(b"1" | b"t" | b"T" | b"TRUE" | b"true" | b"True") => Ok(Some(true)),
        Some(b"0" | b"f" | b"F" | b"FALSE" | b"false" | b"False") => Ok(Some(false)),
        Some(_) => Err(()),
    }
}

/// Go's `strconv.ParseUint` in base 10: digits only.
fn number(form: &Form, name: &str) -> Result<Option<u64>, ()> {
    let Some(text) = form.get(name) else { return Ok(None) };
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(());
    }
    std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()).map(Some).ok_or(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str, method: &Method) -> Result<Params, ApiError> {
        Params::parse(&Form::parse(None, query).unwrap(), method)
    }

    fn refused(query: &str) -> ApiError {
        parse(query, &Method::PUT).unwrap_err()
    }

    #[test]
    fn good_values_are_read() {
        let p = parse("ttl=007&prevExist=T&prevIndex=3&recursive=1&quorum=f", &Method::PUT).unwrap();
        assert_eq!(p.ttl, Some(Ttl::from_secs(7)));
        assert_eq!((p.prev_exist, p.prev_index, p.recursive, p.quorum), (Some(true), 3, true, Some(false)));
        assert_eq!(parse("ttl=", &Method::PUT).unwrap().ttl, None);
    }

    #[test]
    fn bad_values_have_etcds_numbers_and_words() {
        assert_eq!(refused("ttl=-1"), ApiError::request(202, "invalid value for \"ttl\""));
        assert_eq!(refused("prevIndex=+1"), ApiError::request(203, "invalid value for \"prevIndex\""));
        assert_eq!(refused("dir"), ApiError::request(209, "invalid value for \"dir\""));
        assert_eq!(refused("prevExist=yes"), ApiError::request(209, "invalid value for prevExist"));
        assert_eq!(refused("prevValue="), ApiError::request(201, "\"prevValue\" cannot be empty"));
        assert_eq!(
            refused("wait=true"),
            ApiError::request(209, "\"wait\" can only be used with GET requests")
        );
        assert_eq!(
            refused("refresh=true&value=x"),
            ApiError::request(211, "A value was provided on a refresh")
        );
        assert_eq!(refused("refresh=true"), ApiError::request(212, "No TTL value set"));
    }

    #[test]
    fn the_first_failure_in_etcds_order_answers() {
        assert_eq!(
            refused("ttl=x&dir=x&waitIndex=x"),
            ApiError::request(203, "invalid value for \"waitIndex\"")
        );
    }
}
