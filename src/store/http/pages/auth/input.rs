//! The JSON bodies of users and roles, read as Go reads them: names of members in any letter case, unknown ones ignored,
//! `null` as good as absent, the last of several wins, nothing behind the first value looked at.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use warp::reply::Response;

use super::Failure;
use crate::keyspace::auth::Permissions;
use crate::store::http::answer::message;
use crate::store::http::body::Broken;

/// A user as a request has it. Not shown in logs: it holds a password.
#[derive(Default)]
pub struct UserInput {
    /// The name, which the path has too.
    pub user: String,
    /// The new password, or nothing.
    pub password: String,
    /// Roles for a new user.
    pub roles: Option<Vec<String>>,
    /// Roles to give.
    pub grant: Option<Vec<String>>,
    /// Roles to take.
    pub revoke: Option<Vec<String>>,
}

/// A role as a request has it.
#[derive(Default)]
pub struct RoleInput {
    /// The name, which the path has too.
    pub role: String,
    /// What a new role may do.
    pub permissions: Permissions,
    /// What to add.
    pub grant: Option<Permissions>,
    /// What to take.
    pub revoke: Option<Permissions>,
}

/// The `kv` member of permissions.
#[derive(Default)]
struct Kv(Permissions);

/// The answer to a body that was not read whole.
pub fn unreadable(broken: &Broken) -> Response {
    let (status, words) = broken.status();
    let words = words.unwrap_or("Request body broken off or longer than 10485760 bytes");
    message(status, words.as_bytes())
}

/// Reads a body.
///
/// # Errors
/// It is not JSON, or has values of other kinds.
pub fn parse<T: Object>(body: &[u8]) -> Result<T, Failure> {
    // Go takes bytes that are no UTF-8 for U+FFFD.
    let text = replaced(body);
    let mut deserializer = serde_json::Deserializer::from_slice(&text);
    let read = Option::<Read<T>>::deserialize(&mut deserializer);
    let failed = |_| Failure::Request("Invalid JSON in request body.");
    Ok(read.map_err(failed)?.map(|read| read.0).unwrap_or_default())
}

fn replaced(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    for chunk in body.utf8_chunks() {
        out.extend_from_slice(chunk.valid().as_bytes());
        chunk.invalid().iter().for_each(|_| out.extend_from_slice("\u{fffd}".as_bytes()));
    }
    out
}

/// An object that takes its members one after the other.
pub trait Object: Default {
    /// Takes in the member called `name`, which is in lower case.
    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error>;
}

/// A value of JSON as an [`Object`].
struct Read<T>(T);

impl<'de, T: Object> Deserialize<'de> for Read<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Object> Visitor<'de> for Members<T> {
            type Value = Read<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Read<T>, A::Error> {
                let mut object = T::default();
                while let Some(name) = map.next_key::<String>()? {
                    object.member(&name.to_ascii_lowercase(), &mut map)?;
                }
                Ok(Read(object))
            }
        }

        deserializer.deserialize_map(Members(PhantomData))
    }
}

/// A text; `null` leaves what was there.
fn text<'de, A: MapAccess<'de>>(map: &mut A, place: &mut String) -> Result<(), A::Error> {
    if let Some(text) = map.next_value::<Option<String>>()? {
        *place = text;
    }
    Ok(())
}

/// A list of texts; a `null` in it is an empty text.
fn texts<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<Vec<String>>, A::Error> {
    let list = map.next_value::<Option<Vec<Option<String>>>>()?;
    Ok(list.map(|list| list.into_iter().map(Option::unwrap_or_default).collect()))
}

fn permissions<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<Permissions>, A::Error> {
    Ok(map.next_value::<Option<Read<Kv>>>()?.map(|Read(Kv(permissions))| permissions))
}

impl Object for UserInput {
    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "user" => text(map, &mut self.user)?,
            "password" => text(map, &mut self.password)?,
            "roles" => self.roles = texts(map)?,
            "grant" => self.grant = texts(map)?,
            "revoke" => self.revoke = texts(map)?,
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
        Ok(())
    }
}

impl Object for RoleInput {
    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "role" => text(map, &mut self.role)?,
            "permissions" => {
                if let Some(permissions) = permissions(map)? {
                    self.permissions = permissions;
                }
            }
            "grant" => self.grant = permissions(map)?,
            "revoke" => self.revoke = permissions(map)?,
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
        Ok(())
    }
}

impl Object for Kv {
    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "kv" => {
                if let Some(Read(permissions)) = map.next_value::<Option<Read<Permissions>>>()? {
                    self.0 = permissions;
                }
            }
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
        Ok(())
    }
}

impl Object for Permissions {
    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "read" => self.read = texts(map)?,
            "write" => self.write = texts(map)?,
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(body: &str) -> Option<UserInput> {
        parse(body.as_bytes()).ok()
    }

    #[test]
    fn members_are_read_as_in_go() {
        let read =
            user(r#"{"USER":"a","Password":"p","x":[{}],"roles":null,"grant":["r",null]} junk"#).unwrap();
        assert_eq!((read.user.as_str(), read.password.as_str(), read.roles), ("a", "p", None));
        assert_eq!(read.grant, Some(vec!["r".to_string(), String::new()]));
        assert_eq!(user(r#"{"user":"a","user":"b","user":null}"#).unwrap().user, "b");
        assert_eq!(user("null").unwrap().user, "");
        assert_eq!(parse::<UserInput>(b"{\"user\":\"\xff\"}").ok().unwrap().user, "\u{fffd}");
        for bad in
            ["", "{", "[]", "5", "\"a\"", r#"{"user":1}"#, r#"{"roles":"a"}"#, r#"{"roles":[1]}"#, "{,}"]
        {
            assert!(user(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn empty_and_absent_permissions_are_told_apart() {
        let read = |body: &str| parse::<RoleInput>(body.as_bytes()).ok().unwrap();
        let role =
            read(r#"{"role":"r","grant":{},"revoke":null,"permissions":{"KV":{"read":[],"other":1}}}"#);
        assert_eq!(role.grant, Some(Permissions::default()));
        assert_eq!(role.revoke, None);
        assert_eq!(role.permissions, Permissions { read: Some(vec![]), write: None });
        assert!(parse::<RoleInput>(br#"{"role":"r","grant":{"kv":["a"]}}"#).is_err());
    }
}
