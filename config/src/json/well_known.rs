//! The messages that JSON writes in a form of their own: this half prints, `well_known/read.rs` reads.

mod read;

use serde::ser::{Error as _, Serialize, SerializeMap, Serializer};

use super::clock;
use super::loose::{Form, Hide, Loose};
use super::print::{Base64, Item, Node, REDACTED, wire_default};
use super::schema::{Field, camel};
use super::wire::{self, Payload};

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WellKnown {
    /// `{"@type": …, fields}`
    Any,
    /// `"1.5s"`
    Duration,
    /// `"2024-01-31T12:00:00Z"`
    Timestamp,
    /// `"a,b.cD"`
    FieldMask,
    /// An object.
    Struct,
    /// Any JSON.
    Value,
    /// A list.
    ListValue,
    /// The value itself.
    Wrapper,
    /// An ordinary message that may hold a configuration in the form of a `Struct`.
    TypedStruct,
}

impl WellKnown {
    /// By full name.
    pub(super) fn of(name: &str) -> Option<Self> {
        if let "xds.type.v3.TypedStruct" | "udpa.type.v1.TypedStruct" = name {
            return Some(Self::TypedStruct);
        }
        Some(match name.strip_prefix("google.protobuf.")? {
            "Any" => Self::Any,
            "Duration" => Self::Duration,
            "Timestamp" => Self::Timestamp,
            "FieldMask" => Self::FieldMask,
            "Struct" => Self::Struct,
            "Value" => Self::Value,
            "ListValue" => Self::ListValue,
            "BoolValue" | "BytesValue" | "DoubleValue" | "FloatValue" | "Int32Value" | "Int64Value" | "StringValue"
            | "UInt32Value" | "UInt64Value" => Self::Wrapper,
            _ => return None,
        })
    }

    /// Whether an `Any` that holds it says `{"@type": …, "value": …}`.
    pub(super) fn boxed_in_any(name: &str) -> bool {
        Self::of(name).is_some_and(|w| w != Self::TypedStruct)
    }

    /// Prints a message of this type.
    pub(super) fn print<S: Serializer>(self, node: Node<'_>, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = Fields::of(node).map_err(|_| S::Error::custom(format_args!("malformed {}", node.message.name)))?;
        match self {
            Self::Any => any(node, &fields, serializer),
            Self::Duration => serializer.collect_str(&clock::print_duration(fields.int(1), fields.nanos())),
            Self::Timestamp => match clock::print_timestamp(fields.int(1), fields.nanos()) {
                Some(text) => serializer.serialize_str(&text),
                None => Err(S::Error::custom("a timestamp out of range")),
            },
            Self::FieldMask => serializer.collect_str(&field_mask(&fields)),
            Self::Struct => loose(node, Form::Struct).serialize(serializer),
            Self::Value => loose(node, Form::Value).serialize(serializer),
            Self::ListValue => loose(node, Form::List).serialize(serializer),
            Self::Wrapper => match node.message.fields().next().and_then(|f| Some((f, f.kind()?))) {
                Some((_, kind)) => {
                    let payload = fields.last(1).unwrap_or_else(|| wire_default(kind));
                    Item::new(node, kind, payload).serialize(serializer)
                }
                None => serializer.serialize_unit(),
            },
            Self::TypedStruct => typed_struct(node, &fields, serializer),
        }
    }
}

/// A message's fields.
struct Fields<'a>(Vec<(Field, Payload<'a>)>);

impl<'a> Fields<'a> {
    fn of(node: Node<'a>) -> Result<Self, wire::Malformed> {
        if node.depth > wire::MAX_DEPTH {
            return Err(wire::Malformed);
        }
        wire::fields(node.message, node.bytes).map(Self)
    }

    fn last(&self, number: u32) -> Option<Payload<'a>> {
        self.0.iter().rfind(|(f, _)| f.number == number).map(|(_, p)| *p)
    }

    fn int(&self, number: u32) -> i64 {
        if let Some(Payload::Varint(v)) = self.last(number) { v.cast_signed() } else { 0 }
    }

    #[expect(clippy::cast_possible_truncation, reason = "an int32 field")]
    fn nanos(&self) -> i32 {
        self.int(2) as i32
    }

    fn bytes(&self, number: u32) -> &'a [u8] {
        if let Some(Payload::Bytes(b)) = self.last(number) { b } else { b"" }
    }

    fn text(&self, number: u32) -> &'a str {
        std::str::from_utf8(self.bytes(number)).unwrap_or("")
    }
}

/// `Any`: of a type that is not known, or whose bytes do not decode, the bytes are printed as base64.
fn any<S: Serializer>(node: Node<'_>, fields: &Fields<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    let (url, bytes) = (fields.text(1), fields.bytes(2));
    let mut map = serializer.serialize_map(None)?;
    if url.is_empty() && bytes.is_empty() {
        return map.end();
    }
    map.serialize_entry("@type", url)?;
    let known = node.schema.message_of_url(url);
    match known.filter(|m| wire::sound(*m, bytes, node.depth.saturating_add(1)).is_ok()) {
        Some(message) if WellKnown::boxed_in_any(message.name) => {
            map.serialize_entry("value", &node.child(message, bytes, false))?;
        }
        Some(message) if WellKnown::of(message.name) == Some(WellKnown::TypedStruct) => {
            let inner = node.child(message, bytes, false);
            let fields = Fields::of(inner).map_err(|_| S::Error::custom("a malformed TypedStruct"))?;
            typed_struct_entries(inner, &fields, &mut map)?;
        }
        Some(message) => node.child(message, bytes, false).entries(&mut map)?,
        None if node.secret => map.serialize_entry("value", REDACTED)?,
        None => map.serialize_entry("value", &Base64(bytes).text())?,
    }
    map.end()
}

fn typed_struct<S: Serializer>(node: Node<'_>, fields: &Fields<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    typed_struct_entries(node, fields, &mut map)?;
    map.end()
}

/// A configuration as a `Struct`: its secrets are known by their names alone.
fn typed_struct_entries<M: SerializeMap>(node: Node<'_>, fields: &Fields<'_>, map: &mut M) -> Result<(), M::Error> {
    map.serialize_entry("type_url", fields.text(1))?;
    let hide = if node.secret { Hide::Everything } else { Hide::SecretNames };
    map.serialize_entry("value", &Loose { bytes: fields.bytes(2), hide, ..loose(node, Form::Struct) })
}

fn loose(node: Node<'_>, form: Form) -> Loose<'_> {
    let hide = if node.secret { Hide::Everything } else { Hide::Nothing };
    Loose { schema: node.schema, form, bytes: node.bytes, hide, depth: node.depth }
}

/// `path_one.two,three` as `pathOne.two,three`.
fn field_mask(fields: &Fields<'_>) -> String {
    let paths =
        fields.0.iter().filter_map(|(_, p)| if let Payload::Bytes(b) = p { std::str::from_utf8(b).ok() } else { None });
    paths.map(camel).collect::<Vec<_>>().join(",")
}
