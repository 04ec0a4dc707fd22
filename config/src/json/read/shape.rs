//! Objects and lists: messages, maps, repeated fields, `Any`.

use std::fmt;

use prost::encoding::WireType;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value as Json};

use super::field::{Single, Slot, prefix_length};
use super::key::{Key, Tree};
use super::{Reading, wrong_type};
use crate::json::error::{Fault, JsonError};
use crate::json::scalar::{self, Scalar};
use crate::json::schema::{Field, Kind, Message};
use crate::json::well_known::WellKnown;
use crate::json::wire::{MAX_DEPTH, put_bytes, wire_type};

/// What is expected.
#[derive(Clone, Copy)]
pub(super) enum Want {
    /// An object of fields.
    Message(Message),
    /// A form of its own.
    WellKnown(WellKnown, Message),
    /// `{"@type": …, fields}`.
    Any,
    /// A list.
    List(Field, Kind),
    /// An object of keys.
    Map(Field, Message),
}

impl Want {
    /// For a message of this type.
    pub(super) fn of(message: Message) -> Self {
        match WellKnown::of(message.name) {
            Some(WellKnown::Any) => Self::Any,
            Some(WellKnown::TypedStruct) | None => Self::Message(message),
            Some(kind) => Self::WellKnown(kind, message),
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Any => "an object with \"@type\"",
            Self::List(..) => "a list",
            Self::Message(_) | Self::WellKnown(..) | Self::Map(..) => "an object",
        }
    }
}

/// A value of some shape, to be written to `out`.
pub(super) struct Shape<'a> {
    /// Shared.
    pub(super) cx: &'a Reading,
    /// What is expected.
    pub(super) want: Want,
    /// How deep it stands.
    pub(super) depth: u8,
    /// Where it goes.
    pub(super) out: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Shape<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.depth > MAX_DEPTH {
            return Err(self.cx.fail(JsonError::here(Fault::TooDeep)));
        }
        if let Want::WellKnown(kind, message) = self.want {
            let json = Tree { yaml: self.cx.yaml }.deserialize(deserializer)?;
            return kind.read(message, &json, self.out).map_err(|e| self.cx.fail(e));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Shape<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.want.expected())
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<(), A::Error> {
        match self.want {
            Want::Message(message) => fields(self, message, entries),
            Want::Any => any(self, entries),
            Want::Map(field, entry) => map(self, field, entry, entries),
            Want::List(..) | Want::WellKnown(..) => self.wrong(&Json::Object(Map::new())),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<(), A::Error> {
        match self.want {
            Want::List(field, kind) => list(self, field, kind, items),
            _ => self.wrong(&Json::Array(Vec::new())),
        }
    }

    fn visit_bool<E: Error>(self, v: bool) -> Result<(), E> {
        self.wrong(&v.into())
    }

    fn visit_i64<E: Error>(self, v: i64) -> Result<(), E> {
        self.wrong(&v.into())
    }

    fn visit_u64<E: Error>(self, v: u64) -> Result<(), E> {
        self.wrong(&v.into())
    }

    fn visit_f64<E: Error>(self, v: f64) -> Result<(), E> {
        self.wrong(&v.into())
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<(), E> {
        self.wrong(&v.into())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.wrong(&Json::Null)
    }
}

impl Shape<'_> {
    fn wrong<E: Error>(self, found: &Json) -> Result<(), E> {
        Err(self.cx.fail(wrong_type(self.want.expected(), found)))
    }
}

/// A message's fields, but for an `@type` that was read before.
fn fields<'de, A: MapAccess<'de>>(shape: Shape<'_>, message: Message, mut entries: A) -> Result<(), A::Error> {
    let Shape { cx, depth, out, .. } = shape;
    let mut given: Vec<Field> = Vec::new();
    while let Some(name) = entries.next_key_seed(Key)? {
        if name == "@type" {
            entries.next_value::<IgnoredAny>()?;
            continue;
        }
        let Some(field) = message.field_named(&name) else {
            return Err(cx.fail(JsonError::here(Fault::UnknownField { message: message.name, name })));
        };
        let read = entries.next_value_seed(Slot { cx, field, depth, out: &mut *out });
        if cx.within(read, |e| e.in_field(field.name))? {
            check_unique(&given, field).map_err(|e| cx.fail(e))?;
            given.push(field);
        }
    }
    Ok(())
}

fn check_unique(given: &[Field], field: Field) -> Result<(), JsonError> {
    for other in given {
        if other.number == field.number {
            return Err(JsonError::here(Fault::Twice).in_field(field.name));
        }
        if field.oneof != 0 && other.oneof == field.oneof {
            let (low, high) = if other.number < field.number { (other, &field) } else { (&field, other) };
            return Err(JsonError::here(Fault::OneOf(low.name, high.name)));
        }
    }
    Ok(())
}

/// `@type` comes first in what people and Kuma write; where it does not, what comes before it is held.
fn any<'de, A: MapAccess<'de>>(shape: Shape<'_>, mut entries: A) -> Result<(), A::Error> {
    let tree = Tree { yaml: shape.cx.yaml };
    let mut held = Map::new();
    while let Some(name) = entries.next_key_seed(Key)? {
        if name != "@type" {
            held.insert(name, entries.next_value_seed(tree)?);
            continue;
        }
        let url = entries.next_value_seed(tree)?;
        let Some(url) = url.as_str() else { break };
        return extension(shape, url, held, entries);
    }
    match held.is_empty() {
        true => Ok(()),
        false => Err(shape.cx.fail(JsonError::here(Fault::NoType))),
    }
}

fn extension<'de, A: MapAccess<'de>>(
    shape: Shape<'_>,
    url: &str,
    mut held: Map<String, Json>,
    mut entries: A,
) -> Result<(), A::Error> {
    let Shape { cx, depth, out, .. } = shape;
    let Some(message) = cx.schema.message_of_url(url) else {
        return Err(cx.fail(JsonError::here(Fault::UnknownType(url.to_owned()))));
    };
    put_bytes(1, url.as_bytes(), out);
    let before = out.len();
    prost::encoding::encode_key(2, WireType::LengthDelimited, out);
    let start = out.len();
    if held.is_empty() && !WellKnown::boxed_in_any(message.name) {
        fields(Shape { cx, want: Want::Message(message), depth: depth + 1, out: &mut *out }, message, entries)?;
    } else {
        while let Some(name) = entries.next_key_seed(Key)? {
            held.insert(name, entries.next_value_seed(Tree { yaml: cx.yaml })?);
        }
        let inner = Shape { cx, want: Want::of(message), depth: depth + 1, out: &mut *out };
        let read = if WellKnown::boxed_in_any(message.name) {
            let value = held.remove("value").unwrap_or(Json::Null);
            cx.within(inner.deserialize(&value), |e| e.in_field("value"))
        } else {
            inner.deserialize(&Json::Object(held))
        };
        // The parser of a tree has nothing to say but what `cx` knows.
        read.map_err(A::Error::custom)?;
    }
    match out.len() == start {
        true => out.truncate(before),
        false => prefix_length(start, out),
    }
    Ok(())
}

fn list<'de, A: SeqAccess<'de>>(shape: Shape<'_>, field: Field, kind: Kind, mut items: A) -> Result<(), A::Error> {
    let Shape { cx, depth, out, .. } = shape;
    let mut index = 0;
    if wire_type(kind) == WireType::LengthDelimited {
        loop {
            let item = Single { cx, number: field.number, kind, depth, keep_default: true, out: &mut *out };
            if cx.within(items.next_element_seed(item), |e| e.at_index(index))?.is_none() {
                return Ok(());
            }
            index += 1;
        }
    }
    let mut packed = Vec::new();
    while let Some(json) = items.next_element_seed(Tree { yaml: cx.yaml })? {
        scalar::read(kind, &json).map_err(|e| cx.fail(e.at_index(index)))?.put(&mut packed);
        index += 1;
    }
    if !packed.is_empty() {
        put_bytes(field.number, &packed, out);
    }
    Ok(())
}

fn map<'de, A: MapAccess<'de>>(shape: Shape<'_>, field: Field, entry: Message, mut entries: A) -> Result<(), A::Error> {
    let Shape { cx, depth, out, .. } = shape;
    let kind = |n| entry.field(n).and_then(Field::kind);
    let (Some(key_kind), Some(kind)) = (kind(1), kind(2)) else { return Err(cx.fail(JsonError::Schema)) };
    while let Some(key) = entries.next_key_seed(Key)? {
        prost::encoding::encode_key(field.number, WireType::LengthDelimited, out);
        let start = out.len();
        map_key(key_kind, &key).map_err(|e| cx.fail(e.at_key(&key)))?.put_field(1, out);
        let value = Single { cx, number: 2, kind, depth, keep_default: true, out: &mut *out };
        cx.within(entries.next_value_seed(value), |e| e.at_key(&key))?;
        prefix_length(start, out);
    }
    Ok(())
}

/// Map keys are strings in JSON whatever their type.
fn map_key(kind: Kind, key: &str) -> Result<Scalar, JsonError> {
    match (kind, key) {
        (Kind::Bool, "true") => Ok(Scalar::Varint(1)),
        (Kind::Bool, "false") => Ok(Scalar::Varint(0)),
        _ => scalar::read(kind, &Json::String(key.to_owned())),
    }
}
