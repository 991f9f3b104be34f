//! Keys beside paths taken apart by hand.

use proptest::prelude::*;

use super::*;

fn path() -> impl Strategy<Value = String> {
    "(/{0,2}(a|b!|_h|\\.|\\.\\.|\\.a|é)){0,6}/{0,2}"
}

/// The components of a path, or nothing when one of them would lead elsewhere.
fn components(path: &str) -> Option<Vec<&str>> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    (!parts.iter().any(|part| matches!(*part, "." | ".."))).then_some(parts)
}

fn text(key: &Key) -> String {
    String::from_utf8(key.as_bytes().to_vec()).expect("text")
}

proptest! {
    #[test]
    fn a_path_is_its_components(path in path()) {
        let key = Key::parse(path.as_bytes());
        let parts = components(&path);
        let expected = parts.as_ref().map(|parts| parts.iter().map(|part| format!("/{part}")).collect::<String>());
        prop_assert_eq!(key.as_ref().map(text), expected);
        let (Some(key), Some(parts)) = (key, parts) else { return Ok(()) };
        prop_assert_eq!(key.is_root(), parts.is_empty());
        prop_assert_eq!(&Key::parse(key.as_bytes()).expect("a key"), &key, "a key is a path of its own");
        let above: Vec<String> = (1..parts.len()).map(|length| format!("/{}", parts[..length].join("/"))).collect();
        let ancestors: Vec<String> = key.ancestors().map(|bytes| String::from_utf8(bytes.to_vec()).expect("text")).collect();
        prop_assert_eq!(&ancestors, &above);
        prop_assert!(above.iter().all(|dir| key.is_below(dir.as_bytes())));
        let child = key.child("x");
        prop_assert_eq!(text(&child), format!("{}/x", text(&key)));
        prop_assert!(child.is_below(key.as_bytes()) && !key.is_below(child.as_bytes()) && !key.is_below(key.as_bytes()));
        prop_assert!(key < child, "a directory stands before what is in it");
    }

    #[test]
    fn keys_are_in_the_order_of_their_components(one in path(), other in path()) {
        let (Some(a), Some(b)) = (components(&one), components(&other)) else { return Ok(()) };
        let (one, other) = (Key::parse(one.as_bytes()).expect("a key"), Key::parse(other.as_bytes()).expect("a key"));
        prop_assert_eq!(one.cmp(&other), a.cmp(&b));
        prop_assert_eq!(one == other, a == b);
        prop_assert_eq!(one.is_below(other.as_bytes()), a.len() > b.len() && a.starts_with(&b));
        if one.is_below(other.as_bytes()) {
            let hides = a[b.len()..].iter().any(|part| part.starts_with('_'));
            prop_assert_eq!(one.is_hidden_from(other.as_bytes()), hides);
        }
    }

    #[test]
    fn a_key_is_read_as_it_was_written_and_nothing_else_is_one(path in path(), bytes in any::<Vec<u8>>()) {
        if let Some(key) = Key::parse(path.as_bytes()) {
            let written = postcard::to_allocvec(&key).expect("bytes");
            prop_assert_eq!(postcard::from_bytes::<Key>(&written).expect("the key again"), key);
        }
        let written = postcard::to_allocvec(&bytes).expect("bytes");
        let is_key = Key::parse(&bytes).is_some_and(|key| key.as_bytes() == bytes);
        prop_assert_eq!(postcard::from_bytes::<Key>(&written).is_ok(), is_key);
    }
}
