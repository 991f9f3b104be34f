//! Users and roles as etcd shows them: the order of members, `null` for lists that were never set, Go's escapes.

use bytes::Bytes;

use crate::keyspace::auth::{Permissions, Role};
use crate::keyspace::json_string;

/// A user with the names of the roles, and a line feed: the answer to a change.
pub fn user(name: &str, roles: Option<&[String]>) -> Bytes {
    let mut out = b"{\"user\":".to_vec();
    json_string(&mut out, name.as_bytes());
    out.extend_from_slice(b",\"roles\":");
    texts(&mut out, roles);
    out.extend_from_slice(b"}\n");
    out.into()
}

/// A user with whole roles, which are left out when there are none.
pub fn user_with_roles(name: &str, roles: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut out = b"{\"user\":".to_vec();
    json_string(&mut out, name.as_bytes());
    let roles: Vec<_> = roles.into_iter().collect();
    if !roles.is_empty() {
        out.extend_from_slice(b",\"roles\":[");
        out.extend(roles.join(&b','));
        out.push(b']');
    }
    out.push(b'}');
    out
}

/// The list of users; `null` when there are none.
pub fn users(users: &[Vec<u8>]) -> Bytes {
    if users.is_empty() {
        return Bytes::from_static(b"{\"users\":null}\n");
    }
    [b"{\"users\":[", users.join(&b',').as_slice(), b"]}\n"].concat().into()
}

/// The list of roles, which is never empty.
pub fn roles(roles: &[Vec<u8>]) -> Bytes {
    [b"{\"roles\":[", roles.join(&b',').as_slice(), b"]}\n"].concat().into()
}

/// A role.
pub fn role(name: &str, role: &Role) -> Vec<u8> {
    let mut out = b"{\"role\":".to_vec();
    json_string(&mut out, name.as_bytes());
    permissions(&mut out, "permissions", Some(&role.permissions));
    permissions(&mut out, "grant", role.grant.as_ref());
    permissions(&mut out, "revoke", role.revoke.as_ref());
    out.push(b'}');
    out
}

/// A role and a line feed.
pub fn role_line(name: &str, shown: &Role) -> Bytes {
    let mut out = role(name, shown);
    out.push(b'\n');
    out.into()
}

fn permissions(out: &mut Vec<u8>, member: &str, permissions: Option<&Permissions>) {
    let Some(Permissions { read, write }) = permissions else { return };
    out.extend_from_slice(format!(",\"{member}\":{{\"kv\":{{\"read\":").as_bytes());
    texts(out, read.as_deref());
    out.extend_from_slice(b",\"write\":");
    texts(out, write.as_deref());
    out.extend_from_slice(b"}}");
}

fn texts(out: &mut Vec<u8>, list: Option<&[String]>) {
    let Some(list) = list else {
        out.extend_from_slice(b"null");
        return;
    };
    out.push(b'[');
    for (place, text) in list.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        json_string(out, text.as_bytes());
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: impl AsRef<[u8]>) -> String {
        String::from_utf8(bytes.as_ref().to_vec()).unwrap()
    }

    #[test]
    fn lists_that_were_never_set_are_null_and_empty_ones_are_not() {
        let shown = Role {
            permissions: Permissions { read: None, write: Some(vec![]) },
            grant: Some(Permissions { read: Some(vec!["/<".into(), "/b".into()]), write: None }),
            revoke: None,
        };
        assert_eq!(
            text(role("r", &shown)),
            r#"{"role":"r","permissions":{"kv":{"read":null,"write":[]}},"grant":{"kv":{"read":["/\u003c","/b"],"write":null}}}"#
        );
        assert_eq!(text(user("u", None)), "{\"user\":\"u\",\"roles\":null}\n");
        assert_eq!(text(users(&[])), "{\"users\":null}\n");
    }

    #[test]
    fn roles_of_a_shown_user_are_left_out_when_there_are_none() {
        assert_eq!(text(user_with_roles("u", [])), r#"{"user":"u"}"#);
        let both = [b"{}".to_vec(), b"{}".to_vec()];
        assert_eq!(text(user_with_roles("u", both)), r#"{"user":"u","roles":[{},{}]}"#);
    }
}
