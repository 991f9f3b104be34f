//! Structs inside of others that may grow: written as bytes of a length.

use std::fmt;

use serde::de::Visitor;
use serde::{Deserializer, Serialize, Serializer};

use super::fields::{Fields, Unreadable, decode_with};

/// Lets a struct or an enum grow wherever it stands. It must be derived with `#[serde(remote = "Self")]`, which gives
/// it the two functions that this builds on, and have `#[serde(default)]` on what is added to it.
macro_rules! extendable {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                struct Inner<'a>(&'a $type);
                impl serde::Serialize for Inner<'_> {
                    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                        <$type>::serialize(self.0, serializer)
                    }
                }
                $crate::format::write_nested(&Inner(self), serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::format::read_nested(deserializer, |fields| <$type>::deserialize(fields))
            }
        }
    };
}

pub(crate) use extendable;

/// Writes `value` with its length.
///
/// # Errors
/// It cannot be encoded.
pub fn write_nested<S: Serializer>(value: &impl Serialize, serializer: S) -> Result<S::Ok, S::Error> {
    let bytes = postcard::to_allocvec(value).map_err(serde::ser::Error::custom)?;
    serializer.serialize_bytes(&bytes)
}

/// Reads what [`write_nested`] has written; `read` takes the fields.
///
/// # Errors
/// It is not there as a whole, or has fields that `read` does not know.
pub fn read_nested<'de, T, D, R>(deserializer: D, read: R) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    R: FnOnce(Fields<'_, 'de>) -> Result<T, Unreadable>,
{
    struct Nested<R>(R);

    impl<'de, T, R: FnOnce(Fields<'_, 'de>) -> Result<T, Unreadable>> Visitor<'de> for Nested<R> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a record in bytes")
        }

        fn visit_borrowed_bytes<E: serde::de::Error>(self, bytes: &'de [u8]) -> Result<T, E> {
            decode_with(bytes, self.0).map_err(E::custom)
        }
    }

    deserializer.deserialize_bytes(Nested(read))
}
