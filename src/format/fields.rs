//! Reads the fields of a struct or a variant that may have been written by an earlier version, and so end early.
//!
//! postcard itself cannot: it goes by the fields that the reader expects, and reads on into whatever comes next.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::U32Deserializer;
use serde::de::{DeserializeSeed, EnumAccess, IntoDeserializer, SeqAccess, VariantAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// Why bytes are not what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A later version has added this kind.
    #[error("kind {kind} is not known")]
    UnknownKind {
        /// The kind.
        kind: u32,
    },
    /// A later version has added fields.
    #[error("it has {bytes} bytes of fields that are not known")]
    UnknownFields {
        /// How many bytes are left over.
        bytes: usize,
    },
    /// It is nothing of any version.
    #[error("{0}")]
    Malformed(String),
}

impl serde::de::Error for Unreadable {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self::Malformed(what.to_string())
    }
}

impl From<postcard::Error> for Unreadable {
    fn from(error: postcard::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// The fields of `value`, behind its kind if it is an enum.
///
/// # Errors
/// It cannot be encoded.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> postcard::Result<Vec<u8>> {
    postcard::to_allocvec(value)
}

/// Reads all of `bytes`. Fields at the end that are missing are as `#[serde(default)]` says.
///
/// # Errors
/// See [`Unreadable`].
pub fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, Unreadable> {
    decode_with(bytes, |fields| T::deserialize(fields))
}

/// As [`decode`], for types that are read by `read`.
///
/// # Errors
/// See [`Unreadable`].
pub fn decode_with<'de, T>(
    bytes: &'de [u8],
    read: impl FnOnce(Fields<'_, 'de>) -> Result<T, Unreadable>,
) -> Result<T, Unreadable> {
    let mut rest = bytes;
    let value = read(Fields { rest: &mut rest })?;
    match rest.len() {
        0 => Ok(value),
        bytes => Err(Unreadable::UnknownFields { bytes }),
    }
}

/// The fields of the outermost struct or variant; what is in them is postcard's business.
pub struct Fields<'a, 'de> {
    rest: &'a mut &'de [u8],
}

impl<'de> Fields<'_, 'de> {
    /// Has postcard read one value.
    fn take<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Unreadable> {
        let mut postcard = postcard::Deserializer::from_bytes(self.rest);
        let value = seed.deserialize(&mut postcard)?;
        *self.rest = postcard.finalize()?;
        Ok(value)
    }
}

/// So many of them.
struct Sequence<'a, 'de> {
    fields: Fields<'a, 'de>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Sequence<'_, 'de> {
    type Error = Unreadable;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Unreadable> {
        if self.left == 0 || self.fields.rest.is_empty() {
            return Ok(None);
        }
        self.left -= 1;
        self.fields.take(seed).map(Some)
    }
}

/// A kind, and its fields behind it.
struct Kinds<'a, 'de> {
    fields: Fields<'a, 'de>,
    known: usize,
}

impl<'a, 'de> EnumAccess<'de> for Kinds<'a, 'de> {
    type Error = Unreadable;
    type Variant = Fields<'a, 'de>;

    fn variant_seed<T: DeserializeSeed<'de>>(
        mut self,
        seed: T,
    ) -> Result<(T::Value, Self::Variant), Unreadable> {
        let kind: u32 = self.fields.take(PhantomData)?;
        if kind as usize >= self.known {
            return Err(Unreadable::UnknownKind { kind });
        }
        let kind: U32Deserializer<Unreadable> = kind.into_deserializer();
        Ok((seed.deserialize(kind)?, self.fields))
    }
}

impl<'de> VariantAccess<'de> for Fields<'_, 'de> {
    type Error = Unreadable;

    fn unit_variant(self) -> Result<(), Unreadable> {
        Ok(())
    }

    /// The struct or enum in a variant is the outermost one as well.
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Unreadable> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Unreadable> {
        visitor.visit_seq(Sequence { fields: self, left: len })
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        visitor.visit_seq(Sequence { fields: self, left: fields.len() })
    }
}

/// Values of one field only: postcard reads them as it does anywhere.
macro_rules! leave_to_postcard {
    ($($name:ident)*) => {
        $(fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
            let mut postcard = postcard::Deserializer::from_bytes(self.rest);
            let value = postcard.$name(visitor)?;
            *self.rest = postcard.finalize()?;
            Ok(value)
        })*
    };
}

impl<'de> Deserializer<'de> for Fields<'_, 'de> {
    type Error = Unreadable;

    leave_to_postcard! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_string deserialize_bytes
        deserialize_byte_buf deserialize_option deserialize_unit deserialize_seq deserialize_map
        deserialize_identifier deserialize_ignored_any
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Unreadable> {
        visitor.visit_seq(Sequence { fields: self, left: len })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        visitor.visit_seq(Sequence { fields: self, left: len })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        visitor.visit_seq(Sequence { fields: self, left: fields.len() })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        visitor.visit_enum(Kinds { fields: self, known: variants.len() })
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{LOWEST, Version, is_written_before, written_as};

    const NEXT: Version = Version::new(9, 9);

    fn before_next<T>(_: &T) -> bool {
        is_written_before(NEXT)
    }

    /// As an earlier version has it.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Old {
        Put { key: String, seat: OldSeat },
        Get(Inside),
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Inside {
        number: u64,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(remote = "Self")]
    struct OldSeat {
        url: String,
    }
    crate::format::extendable!(OldSeat);

    /// As the next one has it.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum New {
        Put {
            key: String,
            seat: NewSeat,
            #[serde(default, skip_serializing_if = "before_next")]
            more: Option<String>,
        },
        Get(NewInside),
        Drop,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct NewInside {
        number: u64,
        #[serde(default, skip_serializing_if = "before_next")]
        more: u8,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(remote = "Self")]
    struct NewSeat {
        url: String,
        #[serde(default, skip_serializing_if = "before_next")]
        weight: u32,
    }
    crate::format::extendable!(NewSeat);

    fn old() -> Old {
        Old::Put { key: "k".into(), seat: OldSeat { url: "u".into() } }
    }

    fn new(more: Option<&str>, weight: u32) -> New {
        New::Put { key: "k".into(), seat: NewSeat { url: "u".into(), weight }, more: more.map(Into::into) }
    }

    #[test]
    fn what_an_earlier_version_wrote_is_read_with_defaults_also_inside_of_it() {
        assert_eq!(decode(&encode(&old()).unwrap()), Ok(new(None, 0)));
        let get = Old::Get(Inside { number: 5 });
        assert_eq!(decode(&encode(&get).unwrap()), Ok(New::Get(NewInside { number: 5, more: 0 })));
    }

    #[test]
    fn what_is_written_for_an_earlier_version_is_read_by_it() {
        let bytes = written_as(LOWEST, || encode(&new(Some("more"), 7)).unwrap());
        assert_eq!(decode(&bytes), Ok(old()));
        let bytes = written_as(NEXT, || encode(&new(Some("more"), 7)).unwrap());
        assert_eq!(decode(&bytes), Ok(new(Some("more"), 7)));
    }

    #[test]
    fn what_a_later_version_added_is_refused_as_such() {
        let bytes = written_as(NEXT, || encode(&New::Get(NewInside { number: 5, more: 1 })).unwrap());
        assert_eq!(decode::<Old>(&bytes), Err(Unreadable::UnknownFields { bytes: 1 }));
        assert_eq!(decode::<Old>(&encode(&New::Drop).unwrap()), Err(Unreadable::UnknownKind { kind: 2 }));
        let bytes = written_as(NEXT, || encode(&new(None, 7)).unwrap());
        assert!(decode::<Old>(&bytes).is_err(), "inside of it");
    }

    #[test]
    fn what_ends_within_a_field_or_before_one_that_was_always_there_is_malformed() {
        let bytes = encode(&old()).unwrap();
        for length in 0..bytes.len() {
            let short = decode::<New>(&bytes[..length]);
            assert!(matches!(short, Err(Unreadable::Malformed(_))), "{length} bytes: {short:?}");
        }
    }

    #[test]
    fn plain_values_are_read_whole() {
        assert_eq!(decode(&encode(&77u64).unwrap()), Ok(77u64));
        assert_eq!(decode(&encode(&Some(vec![1u8, 2])).unwrap()), Ok(Some(vec![1u8, 2])));
        assert_eq!(decode::<bool>(&[1, 1]), Err(Unreadable::UnknownFields { bytes: 1 }));
    }
}
