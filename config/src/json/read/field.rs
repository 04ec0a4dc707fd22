//! One field's value.

use std::fmt;

use prost::encoding::{WireType, encode_key, encode_varint};
use serde::de::{DeserializeSeed, Deserializer, Error, Visitor};

use super::Reading;
use super::key::Tree;
use super::shape::{Shape, Want};
use crate::json::error::JsonError;
use crate::json::scalar;
use crate::json::schema::{Field, Kind};

/// A field that is given; the value says whether it was more than `null`.
pub(super) struct Slot<'a> {
    /// Shared.
    pub(super) cx: &'a Reading,
    /// Which.
    pub(super) field: Field,
    /// Of the message that holds it.
    pub(super) depth: u8,
    /// Where it goes.
    pub(super) out: &'a mut Vec<u8>,
}

impl Slot<'_> {
    fn takes_null(&self) -> bool {
        match self.field.kind() {
            Some(Kind::Message(m)) => m.name == "google.protobuf.Value",
            Some(Kind::Enum(e)) => e.name == "google.protobuf.NullValue",
            _ => false,
        }
    }

    fn value<'de, D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Self { cx, field, depth, out } = self;
        let Some(kind) = field.kind() else { return Err(cx.fail(JsonError::Schema)) };
        if let Some(entry) = field.map_entry() {
            return Shape { cx, want: Want::Map(field, entry), depth, out }.deserialize(deserializer);
        }
        if field.repeated {
            return Shape { cx, want: Want::List(field, kind), depth, out }.deserialize(deserializer);
        }
        let keep_default = field.presence || matches!(kind, Kind::Message(_));
        Single { cx, number: field.number, kind, depth, keep_default, out }.deserialize(deserializer)
    }
}

impl<'de> DeserializeSeed<'de> for Slot<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        if self.takes_null() {
            return self.value(deserializer).map(|()| true);
        }
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Slot<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_none<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        self.value(deserializer).map(|()| true)
    }
}

/// One value with its key.
pub(super) struct Single<'a> {
    /// Shared.
    pub(super) cx: &'a Reading,
    /// Of the field.
    pub(super) number: u32,
    /// Of the field.
    pub(super) kind: Kind,
    /// Of the message that holds it.
    pub(super) depth: u8,
    /// A default value is written all the same.
    pub(super) keep_default: bool,
    /// Where it goes.
    pub(super) out: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Single<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Self { cx, number, kind, depth, keep_default, out } = self;
        let Kind::Message(message) = kind else {
            let json = Tree { yaml: cx.yaml }.deserialize(deserializer)?;
            let scalar = scalar::read(kind, &json).map_err(|e| cx.fail(e))?;
            if keep_default || !scalar.is_default() {
                scalar.put_field(number, out);
            }
            return Ok(());
        };
        encode_key(number, WireType::LengthDelimited, out);
        let start = out.len();
        Shape { cx, want: Want::of(message), depth: depth + 1, out }.deserialize(deserializer)?;
        prefix_length(start, out);
        Ok(())
    }
}

/// Puts the length of what follows `start` before it.
pub(super) fn prefix_length(start: usize, out: &mut Vec<u8>) {
    let end = out.len();
    encode_varint((end - start) as u64, out);
    out[start..].rotate_left(end - start);
}
