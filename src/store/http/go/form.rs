//! Forms as Go parses them: the body's fields before the query's, first occurrence wins, and the same complaints.

use std::borrow::Cow;

use warp::http::{HeaderMap, Method, header::CONTENT_TYPE};

use super::media;
use super::path::percent_decode;
use crate::store::http::answer::ApiError;

/// Go's complaint about the separator of old.
const SEMICOLON: &str = "invalid semicolon separator in query";

/// A field that means something on some page. Others are checked and forgotten, however many there are; and as a page asks
/// by this alone, none is forgotten that it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field(&'static str);

/// Declares the fields and the list of all of them.
macro_rules! fields {
    ($($field:ident = $name:literal, $words:literal;)*) => {
        impl Field {
            $(#[doc = $words] pub const $field: Self = Self($name);)*

            /// All of them.
            const ALL: &[Self] = &[$(Self::$field),*];
        }
    };
}

fields! {
    VALUE = "value", "The new value.";
    DIR = "dir", "A directory is meant.";
    TTL = "ttl", "The lifetime, in seconds.";
    PREV_EXIST = "prevExist", "Whether the key must exist.";
    PREV_VALUE = "prevValue", "The value that it must have.";
    PREV_INDEX = "prevIndex", "The index that it must have.";
    REFRESH = "refresh", "Keep the value and tell no watcher.";
    NO_VALUE = "noValueOnSuccess", "Answer without nodes.";
    RECURSIVE = "recursive", "With everything below.";
    SORTED = "sorted", "In order, which listings always are.";
    QUORUM = "quorum", "A linearizable read, or explicitly not.";
    WAIT = "wait", "Wait for a change.";
    WAIT_INDEX = "waitIndex", "From which index on.";
    STREAM = "stream", "More than one change.";
    TO = "to", "Which member is to lead.";
    FORCE = "force", "Whatever that does to the quorum.";
    SIZE = "size", "How many members a cluster will have.";
    CHUNKS = "chunks", "How many chunks a backup has.";
    CHAIN = "chain", "The checksum of all of them.";
    VERSION = "version", "The version that is needed to read them.";
}

impl Field {
    /// What it is called.
    pub fn name(self) -> &'static str {
        self.0
    }

    fn of(name: &[u8]) -> Option<Self> {
        Self::ALL.iter().copied().find(|field| field.0.as_bytes() == name)
    }
}

/// The fields of body and query, in that order, the first of each name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form(Vec<(Field, Vec<u8>)>);

impl Form {
    /// Parses body and query. `body` is `None` when it is not a form and so not looked at.
    ///
    /// # Errors
    /// 210 with Go's words for what is wrong.
    pub fn parse(body: Option<&[u8]>, query: &str) -> Result<Self, ApiError> {
        let mut fields = Vec::new();
        let in_body = body.map_or(Ok(()), |body| read(body, &mut fields));
        let in_query = read(query.as_bytes(), &mut fields);
        in_body.and(in_query).map_err(|cause| ApiError::request(210, cause))?;
        Ok(Self(fields))
    }

    /// The first value of a field.
    pub fn get(&self, field: Field) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| *known == field).map(|(_, value)| value.as_slice())
    }
}

/// Whether the body of such a request is a form, which is to be read; and 210 for a content type that cannot be parsed.
pub fn has_form_body(method: &Method, headers: &HeaderMap) -> (bool, Result<(), ApiError>) {
    if !matches!(*method, Method::PUT | Method::POST | Method::PATCH) {
        return (false, Ok(()));
    }
    let Some(value) = headers.get(CONTENT_TYPE) else { return (false, Ok(())) };
    let (form, checked) = media::is_form(value.as_bytes());
    (form, checked.map_err(|why| ApiError::request(210, why)))
}

/// Adds the fields of `text`; goes on behind a broken one and returns the first complaint, or the one about semicolons
/// whenever there is cause for it.
fn read(text: &[u8], fields: &mut Vec<(Field, Vec<u8>)>) -> Result<(), String> {
    let mut result = Ok(());
    for pair in text.split(|b| *b == b'&').filter(|pair| !pair.is_empty()) {
        match field(pair) {
            Ok((name, value)) => {
                if let Some(field) = Field::of(&name).filter(|field| fields.iter().all(|(f, _)| f != field)) {
                    fields.push((field, value));
                }
            }
            Err(why) if why == SEMICOLON => result = Err(why),
            Err(why) => result = result.and(Err(why)),
        }
    }
    result
}

fn field(pair: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
    if pair.contains(&b';') {
        return Err(SEMICOLON.into());
    }
    let mut parts = pair.splitn(2, |b| *b == b'=');
    let name = parts.next().unwrap_or_default();
    let value = parts.next().unwrap_or_default();
    Ok((unescape(name)?, unescape(value)?))
}

fn unescape(text: &[u8]) -> Result<Vec<u8>, String> {
    let spaced: Cow<'_, [u8]> = match text.contains(&b'+') {
        true => text.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect(),
        false => text.into(),
    };
    percent_decode(&spaced).ok_or_else(|| {
        let broken = (0..text.len())
            .filter(|i| text[*i] == b'%')
            .find(|i| percent_decode(&text[*i..(*i + 3).min(text.len())]).is_none())
            .unwrap_or_default();
        let shown = String::from_utf8_lossy(&text[broken..(broken + 3).min(text.len())]).into_owned();
        format!("invalid URL escape \"{shown}\"")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_comes_before_the_query() {
        let form = Form::parse(Some(b"value=a+b%21&ttl=5"), "value=q&dir&x=1&ttl=6").unwrap();
        assert_eq!(form.get(Field::VALUE), Some(&b"a b!"[..]));
        assert_eq!(form.get(Field::DIR), Some(&b""[..]));
        assert_eq!(form.get(Field::TTL), Some(&b"5"[..]));
        assert_eq!(form.0.len(), 3, "what nobody asks for is not kept");
        assert_eq!(Form::parse(None, "Value=x").unwrap(), Form::default(), "names are told apart by case");
    }

    #[test]
    fn every_field_that_a_page_can_ask_for_is_kept() {
        for (at, field) in Field::ALL.iter().enumerate() {
            let form = Form::parse(None, &format!("x=&{}={at}", field.name())).unwrap();
            assert_eq!(form.get(*field), Some(at.to_string().as_bytes()), "{field:?}");
        }
    }

    #[test]
    fn broken_forms_are_refused_in_gos_words() {
        let refused = |body: &str, query: &str| Form::parse(Some(body.as_bytes()), query).unwrap_err();
        assert_eq!(refused("a=%zz", ""), ApiError::request(210, "invalid URL escape \"%zz\""));
        assert_eq!(refused("a=%2", ""), ApiError::request(210, "invalid URL escape \"%2\""));
        assert_eq!(refused("", "a=1;b=2"), ApiError::request(210, SEMICOLON));
        assert_eq!(refused("a=%zz&b=1;2", ""), ApiError::request(210, SEMICOLON));
        assert_eq!(refused("a=%zz", "b=1;2"), ApiError::request(210, "invalid URL escape \"%zz\""));
    }

    #[test]
    fn only_a_form_body_is_read() {
        let with = |text: &str| HeaderMap::from_iter([(CONTENT_TYPE, text.parse().unwrap())]);
        let form = "application/x-www-form-urlencoded; charset=utf-8";
        assert_eq!(has_form_body(&Method::PUT, &with(form)), (true, Ok(())));
        assert_eq!(has_form_body(&Method::DELETE, &with(form)), (false, Ok(())));
        assert_eq!(has_form_body(&Method::PUT, &with("application/json")), (false, Ok(())));
        assert_eq!(has_form_body(&Method::PUT, &HeaderMap::new()), (false, Ok(())));
        assert!(has_form_body(&Method::PUT, &with("a b/c")).1.is_err());
    }
}
