//! The parameters of a keys request, checked on every method in etcd's order; the first failure answers.

use warp::http::Method;

use crate::keyspace::Ttl;
use crate::store::http::answer::ApiError;
use crate::store::http::go::form::{Field, Form};

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
        let wrong =
            |code, field: Field| ApiError::request(code, format!("invalid value for \"{}\"", field.name()));
        let quoted = |field| boolean(form, field).map_err(|()| wrong(209, field));
        let index =
            |field| number(form, field).map(Option::unwrap_or_default).map_err(|()| wrong(203, field));
        let prev_index = index(Field::PREV_INDEX)?;
        let wait_index = index(Field::WAIT_INDEX)?;
        let recursive = quoted(Field::RECURSIVE)?.unwrap_or_default();
        quoted(Field::SORTED)?;
        let wait = quoted(Field::WAIT)?.unwrap_or_default();
        let dir = quoted(Field::DIR)?.unwrap_or_default();
        let quorum = quoted(Field::QUORUM)?;
        let stream = quoted(Field::STREAM)?.unwrap_or_default();
        if wait && method != Method::GET {
            return Err(ApiError::request(209, "\"wait\" can only be used with GET requests"));
        }
        let prev_value = form.get(Field::PREV_VALUE).map(<[u8]>::to_vec);
        if prev_value.as_ref().is_some_and(Vec::is_empty) {
            return Err(ApiError::request(201, "\"prevValue\" cannot be empty"));
        }
        let no_value = quoted(Field::NO_VALUE)?.unwrap_or_default();
        let ttl = match form.get(Field::TTL) {
            None | Some(b"") => None,
            Some(_) => number(form, Field::TTL).map_err(|()| wrong(202, Field::TTL))?,
        };
        let prev_exist = boolean(form, Field::PREV_EXIST)
            .map_err(|()| ApiError::request(209, "invalid value for prevExist"))?;
        let refresh = boolean(form, Field::REFRESH)
            .map_err(|()| ApiError::request(209, "invalid value for refresh"))?
            .unwrap_or_default();
        let value = form.get(Field::VALUE).unwrap_or_default().to_vec();
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
fn boolean(form: &Form, field: Field) -> Result<Option<bool>, ()> {
    match form.get(field) {
        None => Ok(None),
        Some(b"1" | b"t" | b"T" | b"TRUE" | b"true" | b"True") => Ok(Some(true)),
        Some(b"0" | b"f" | b"F" | b"FALSE" | b"false" | b"False") => Ok(Some(false)),
        Some(_) => Err(()),
    }
}

/// Go's `strconv.ParseUint` in base 10: digits only.
fn number(form: &Form, field: Field) -> Result<Option<u64>, ()> {
    let Some(text) = form.get(field) else { return Ok(None) };
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
